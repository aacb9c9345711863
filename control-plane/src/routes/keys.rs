//! `/api/v1/keys`: API keys, made, listed, replaced and taken back.

use super::route::{Kind, Param};
use super::{Mounted, entry, mount, pages};
use crate::access::{NewKey, SCOPES, change, new_key};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::Event;
use persistence::admin::Change;
use persistence::keys::{self, ApiKey};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use uuid::Uuid;

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;

const HOUR: Duration = Duration::from_secs(3_600);
const HOURS_PER_DAY: f64 = 24.0;
/// How long a key goes on working beside its successor unless told otherwise.
const OVERLAP_HOURS: f64 = 24.0;
/// Longest time until a key ends, and longest overlap.
const HOURS_MAX: f64 = DAYS_MAX * HOURS_PER_DAY;
/// The same in days.
const DAYS_MAX: f64 = 100.0 * 365.0;

pub(super) const MEMBERS: &[Param] = &[
    Param::required("name", Kind::Text, "What people call it; unique among keys that work"),
    Param::optional("scopes", Kind::List(&Kind::Text), "What it may do; without this, what the caller may"),
    Param::optional("expires_days", Kind::Number(Some(0.0), Some(DAYS_MAX)), "Days after which it ends"),
    Param::optional(
        "expires_in_hours",
        Kind::Number(Some(0.0), Some(HOURS_MAX)),
        "The same in hours; without either it never ends",
    ),
];

pub(super) const ROTATION: &[Param] = &[Param::or(
    "overlap_hours",
    Kind::Number(Some(0.0), Some(HOURS_MAX)),
    "24.0",
    "How long the old key goes on working",
)];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/keys") }, list),
        mount(app, const { entry("POST", "/api/v1/keys") }, create),
        mount(app, const { entry("POST", "/api/v1/keys/{id}/rotate") }, rotate),
        mount(app, const { entry("POST", "/api/v1/keys/{id}/revoke") }, revoke),
    ])
}

/// A key, without the key.
#[derive(Serialize, JsonSchema)]
pub(super) struct Shown {
    id: Uuid,
    name: String,
    /// The part of the key that may be shown.
    prefix: String,
    scopes: Vec<String>,
    /// `valid`, `expired`, `replaced` (and still valid) or `revoked`.
    state: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// To the minute.
    last_used_at: Option<String>,
    /// The key that takes its place.
    replaced_by: Option<Uuid>,
}

/// A new key. It is told this once.
#[derive(Serialize, JsonSchema)]
pub(super) struct Made {
    /// The key itself.
    key: String,
    #[serde(flatten)]
    shown: Shown,
}

fn shown(key: &ApiKey, app: &App) -> Shown {
    let state = match key {
        ApiKey { revoked_at: Some(_), .. } => "revoked",
        ApiKey { expires_at: Some(end), .. } if *end <= app.now() => "expired",
        ApiKey { replaced_by: Some(_), .. } => "replaced",
        _ => "valid",
    };
    Shown {
        id: key.id,
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        scopes: key.scopes.clone(),
        state,
        created_at: instants::zulu(key.created_at),
        expires_at: key.expires_at.map(instants::zulu),
        revoked_at: key.revoked_at.map(instants::zulu),
        last_used_at: key.last_used_at.map(instants::zulu),
        replaced_by: key.replaced_by,
    }
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    query.finish()?;
    let here = app.clone();
    let page = move |start, limit| {
        let app = here.clone();
        async move { Ok(keys::list(&app.history, &start, limit).await?.map(|key| shown(&key, &app))) }
    };
    pages::answer(&app, &call, asked, page).await
}

async fn create(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut fields = call.object()?;
    let name = fields.required("name", lax::name_max(app.limits.string_bytes_max));
    let scopes = fields.optional("scopes", lax::list(SCOPES.len(), lax::string));
    let days = fields.optional("expires_days", lax::float_in(0.0, DAYS_MAX));
    let hours = fields.optional("expires_in_hours", lax::float_in(0.0, HOURS_MAX));
    if days.is_some() && hours.is_some() {
        fields.refuse("expires_days", "Give this or expires_in_hours, not both");
    }
    // A misspelt end would be a key for ever.
    fields.refuse_unknown();
    fields.finish()?;
    let scopes = scopes.unwrap_or_else(|| call.caller.scopes.to_vec());
    if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        let message = format!("there is no scope {unknown}; the scopes are {}", SCOPES.join(", "));
        return Err(ApiError::invalid("body → scopes", &message));
    }
    // Nobody hands out more than they have.
    if let Some(missing) = scopes.iter().find(|scope| !call.caller.scopes.contains(scope)) {
        return Err(ApiError::Forbidden(format!("The API key does not have the scope {missing} itself")));
    }
    let hours = hours.or(days.map(|days| days * HOURS_PER_DAY));
    let now = app.now();
    let expires_at = hours.map(|hours| now + HOUR.mul_f64(hours));
    let NewKey { secret, kept } = new_key(&name, scopes, now, expires_at).map_err(ApiError::internal)?;
    let made = Made { key: secret, shown: shown(&kept, &app) };
    commit(&app, &call, change::creation(kept, &call.caller.name)).await.map_err(|error| match error {
        // Nothing but the name can speak against a new key.
        ApiError::Conflict(_) => ApiError::Conflict(format!(
            "There is a key called {name:?} already; take another name, or rotate or revoke that key"
        )),
        other => other,
    })?;
    Reply::json(&made)
}

async fn rotate(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut fields = call.object()?;
    let overlap = fields.or("overlap_hours", OVERLAP_HOURS, lax::float_in(0.0, HOURS_MAX));
    fields.refuse_unknown();
    fields.finish()?;
    let old = wanted(&app, &call).await?;
    if !change::is_replaceable(&old, app.now()) {
        return Err(ApiError::Conflict("The key has ended, or has a successor already".to_owned()));
    }
    if let Some(missing) = old.scopes.iter().find(|scope| !call.caller.scopes.contains(scope)) {
        return Err(ApiError::Forbidden(format!("The API key does not have the scope {missing} itself")));
    }
    let NewKey { secret, kept } = change::successor(&old, app.now()).map_err(ApiError::internal)?;
    let ends_at = app.now() + HOUR.mul_f64(overlap);
    let made = Made { key: secret, shown: shown(&kept, &app) };
    commit(&app, &call, change::rotation(&old, kept, ends_at, &call.caller.name)).await?;
    app.access.forget(&old.prefix);
    Reply::json(&made)
}

async fn revoke(app: App, call: Call) -> Result<Reply, ApiError> {
    let old = wanted(&app, &call).await?;
    if old.revoked_at.is_none() {
        commit(&app, &call, change::revocation(&old, app.now(), &call.caller.name)).await?;
        app.access.forget(&old.prefix);
    }
    let revoked_at = old.revoked_at.or(Some(app.now()));
    Reply::json(&shown(&ApiKey { revoked_at, ..old }, &app))
}

/// Changes a key and records it, in one commit.
async fn commit(app: &App, call: &Call, (change, event): (Change, Event)) -> Result<(), ApiError> {
    let event = app.event(&call.correlation(), event);
    Ok(app.store.admin_told(change, vec![event]).await?)
}

/// The key that the path names by its id or its prefix.
async fn wanted(app: &App, call: &Call) -> Result<ApiKey, ApiError> {
    let named = call.param(0);
    let found = match named.parse() {
        Ok(id) => keys::find(&app.history, id).await?,
        Err(_) => keys::find_by_prefix(&app.history, named).await?,
    };
    found.ok_or_else(|| ApiError::NotFound(format!("There is no key {named}")))
}
