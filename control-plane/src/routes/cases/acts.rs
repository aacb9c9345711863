//! What people do with a case: see it, put it aside, take it back, say whether it was real.

use super::one_called;
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, lax};
use crate::routes::{Kind, Mounted, Param, entry, mount};
use domain::Event;
use domain::case::{Acknowledged, Act, Feedback, Shelved, Unshelved};
use domain::decision::By;
use jiff::SignedDuration;
use persistence::cases::Case;
use persistence::seen::Seen;
use persistence::unit::Refused;

/// Words of a person, in bytes.
const TEXT_BYTES_MAX: usize = 8192;

/// Members of the bodies.
pub(crate) const ACKNOWLEDGE: &[Param] = &[Param::optional("reason", Kind::Text, "A note")];
pub(crate) const SHELVE: &[Param] = &[
    Param::required("reason", Kind::Text, "Why it is put aside"),
    Param::required("until", Kind::Time, "When it comes back by itself; at most limits.shelf_hours_max ahead"),
];
pub(crate) const UNSHELVE: &[Param] = &[Param::optional("reason", Kind::Text, "A note")];
pub(crate) const FEEDBACK: &[Param] = &[
    Param::required("confirmed", Kind::Flag, "Whether it was real"),
    Param::optional("comment", Kind::Text, "In words"),
];

pub(super) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("POST", "/api/v1/cases/{id}/acknowledge") }, acknowledge),
        mount(app, const { entry("POST", "/api/v1/cases/{id}/shelve") }, shelve),
        mount(app, const { entry("POST", "/api/v1/cases/{id}/unshelve") }, unshelve),
        mount(app, const { entry("POST", "/api/v1/cases/{id}/feedback") }, feedback),
    ])
}

/// Appends `event` about `case`, which must stand as `seen`, and tells how it stands then.
async fn say(app: &App, case: &Case, seen: Option<Seen>, act: Option<Act>, event: Event) -> Result<Reply, ApiError> {
    let mut event = app.event(&case.correlation, event);
    event.cause = Some(case.event);
    let appended = app.store.append_if(seen, vec![event]).await;
    let id = case.id.to_string();
    let now = one_called(app, &id).await?;
    match appended {
        Ok(_) => Reply::json(&now),
        Err(Refused::Conflict(why)) => {
            let refusal = act.and_then(|act| now.standing().allows(act).err());
            let why = refusal.map_or(why, |refusal| refusal.to_string());
            Err(ApiError::Conflict(format!("Case {id}: {why}")))
        }
        Err(refused) => Err(refused.into()),
    }
}

async fn acknowledge(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let reason = body.optional("reason", lax::string_max(TEXT_BYTES_MAX));
    body.finish()?;
    let case = one_called(&app, call.param(0)).await?;
    let seen = call.if_match(case.clone())?;
    let event = Event::CaseAcknowledged(Acknowledged { case: case.id, by: call.caller.name, reason });
    say(&app, &case, seen, Some(Act::Acknowledge), event).await
}

async fn shelve(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let reason = body.required("reason", lax::name_max(TEXT_BYTES_MAX));
    let until = body.required("until", |value| lax::datetime(value).map(Some)).unwrap_or_default();
    let (now, hours_max) = (app.now(), app.limits.shelf_hours_max);
    if body.problem().is_none() && !(now < until && until <= now + SignedDuration::from_hours(hours_max)) {
        body.refuse("until", format!("Input should lie in the future, at most {hours_max} hours ahead"));
    }
    body.finish()?;
    let case = one_called(&app, call.param(0)).await?;
    let seen = call.if_match(case.clone())?;
    let event = Event::CaseShelved(Shelved { case: case.id, by: call.caller.name, reason, until });
    say(&app, &case, seen, Some(Act::Shelve), event).await
}

async fn unshelve(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object_or_nothing()?;
    let reason = body.optional("reason", lax::string_max(TEXT_BYTES_MAX)).unwrap_or_default();
    body.finish()?;
    let case = one_called(&app, call.param(0)).await?;
    let seen = call.if_match(case.clone())?;
    let by = By::Person(call.caller.name);
    say(&app, &case, seen, Some(Act::Unshelve), Event::CaseUnshelved(Unshelved { case: case.id, by, reason })).await
}

async fn feedback(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let confirmed = body.required("confirmed", lax::boolean);
    let comment = body.optional("comment", lax::string_max(TEXT_BYTES_MAX));
    body.finish()?;
    let case = one_called(&app, call.param(0)).await?;
    let seen = call.if_match(case.clone())?;
    let event = Event::FeedbackReceived(Feedback { case: case.id, confirmed, by: call.caller.name, comment });
    say(&app, &case, seen, None, event).await
}
