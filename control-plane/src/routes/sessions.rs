//! `/api/v1/sessions`: browser sessions, in place of a key that a page cannot keep.

use super::route::{Kind, Param};
use super::{Mounted, entry, mount};
use crate::access::{CSRF, Caller};
use crate::api_error::ApiError;
use crate::app::App;
use crate::instants;
use crate::reply::Reply;
use crate::request::{Call, lax};
use domain::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;
use warp::http::StatusCode;

pub(super) const TOKEN: &[Param] = &[Param::required("token", Kind::Text, "What the link holds")];

pub(crate) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("POST", "/api/v1/sessions") }, open),
        mount(app, const { entry("GET", "/api/v1/sessions/current") }, current),
        mount(app, const { entry("POST", "/api/v1/sessions/close") }, close),
        mount(app, const { entry("POST", "/api/v1/sessions/links") }, link),
        mount(app, const { entry("GET", "/api/v1/sessions/open") }, follow),
    ])
}

/// A session, and what its pages must send along.
#[derive(Serialize, JsonSchema)]
pub(super) struct Session {
    id: Uuid,
    /// The name of the key behind it.
    name: String,
    scopes: Vec<String>,
    /// The header for requests that change something.
    csrf_header: &'static str,
    /// Its value. It is told again only by making a new one.
    csrf_token: String,
    ends_at: String,
}

/// A link that opens one session.
#[derive(Serialize, JsonSchema)]
pub(super) struct Link {
    /// To be opened in a browser, after the node's address.
    path: String,
    /// The same after the address on which the node listens, for a browser that reaches it there.
    url: String,
    expires_at: String,
}

/// That a session was opened.
#[derive(Serialize, JsonSchema)]
pub(super) struct Opened {
    status: &'static str,
}

/// That a session was ended.
#[derive(Serialize, JsonSchema)]
pub(super) struct Closed {
    status: &'static str,
}

fn session(id: Uuid, caller: &Caller, csrf_token: String, ends_at: Timestamp) -> Session {
    Session {
        id,
        name: caller.name.clone(),
        scopes: caller.scopes.to_vec(),
        csrf_header: CSRF,
        csrf_token,
        ends_at: instants::zulu(ends_at),
    }
}

async fn open(app: App, call: Call) -> Result<Reply, ApiError> {
    let (opened, cookie) = app.access.open_session(&app, &call.caller, &call.correlation()).await?;
    let told = session(opened.id, &call.caller, opened.csrf, opened.ends_at);
    Ok(Reply::json(&told)?.header("set-cookie", &cookie))
}

async fn current(app: App, call: Call) -> Result<Reply, ApiError> {
    let Some((id, csrf, ends_at)) = app.access.renew_csrf(&call.headers)? else {
        return Err(ApiError::NotFound("The request belongs to no session".to_owned()));
    };
    Reply::json(&session(id, &call.caller, csrf, ends_at))
}

async fn close(app: App, call: Call) -> Result<Reply, ApiError> {
    let cookie = app.access.close_session(&app, &call).await?;
    Ok(Reply::json(&Closed { status: "closed" })?.header("set-cookie", &cookie))
}

async fn link(app: App, call: Call) -> Result<Reply, ApiError> {
    let (token, ends_at) = app.access.link(&call.caller)?;
    let path = format!("/api/v1/sessions/open?token={token}");
    let url = format!("{}{path}", app.base);
    Reply::json(&Link { path, url, expires_at: instants::zulu(ends_at) })
}

async fn follow(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let token = query.required("token", lax::string);
    query.finish()?;
    let (_, cookie) = app.access.follow(&app, &call, &token).await?;
    // The token is used up; what follows is an ordinary page.
    let reply = Reply::json(&Opened { status: "open" })?.status(StatusCode::SEE_OTHER);
    Ok(reply.header("location", "/").header("set-cookie", &cookie))
}
