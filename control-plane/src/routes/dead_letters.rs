//! `/api/v1/dead-letters`: events that an agent gave up, and what becomes of them.
//!
//! A dead letter that is replayed is heard by its agent alone, as an event at the end of the log. Each is dealt with
//! once, by an event that says by whom; what fails again is a new dead letter.

use super::route::{Kind, Param};
use super::{Mounted, entry, mount, one_of, pages};
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::Reply;
use crate::request::{Call, fresh_correlation, lax};
use domain::{Envelope, Event};
use persistence::dead_letters::{self, DeadLetter, State};
use persistence::seen::Seen;
use persistence::unit::Refused;
use schemars::JsonSchema;
use serde::Serialize;

/// Rows in a page when nobody says how many.
const ROWS_DEFAULT: usize = 100;
/// Causes of an event that are followed.
const CAUSES_MAX: usize = 32;

/// What can be done about a dead letter.
#[derive(Clone, Copy)]
enum Deed {
    Replay,
    Discard,
}

pub(crate) fn routes(app: &App) -> Mounted {
    let replay = |app: App, call: Call| settle_one(app, call, Deed::Replay);
    let discard = |app: App, call: Call| settle_one(app, call, Deed::Discard);
    let replay_many = |app: App, call: Call| settle_many(app, call, Deed::Replay);
    let discard_many = |app: App, call: Call| settle_many(app, call, Deed::Discard);
    Mounted::all([
        mount(app, const { entry("GET", "/api/v1/dead-letters") }, list),
        mount(app, const { entry("GET", "/api/v1/dead-letters/{id}") }, inspect),
        mount(app, const { entry("POST", "/api/v1/dead-letters/{id}/replay") }, replay),
        mount(app, const { entry("POST", "/api/v1/dead-letters/{id}/discard") }, discard),
        mount(app, const { entry("POST", "/api/v1/dead-letters/replay") }, replay_many),
        mount(app, const { entry("POST", "/api/v1/dead-letters/discard") }, discard_many),
    ])
}

async fn list(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut query = call.query();
    let states = [State::Open, State::Replayed, State::Discarded];
    let asked = pages::asked(&mut query, ROWS_DEFAULT, app.limits.page_size_max);
    let filter = dead_letters::Filter {
        agent: query.optional("agent", lax::string),
        state: query.optional("state", one_of(states, State::as_str)),
    };
    query.finish()?;
    let history = app.history.clone();
    let page = move |start, limit| {
        let (history, filter) = (history.clone(), filter.clone());
        async move { Ok(dead_letters::list(&history, &filter, &start, limit).await?) }
    };
    pages::answer(&app, &call, asked, page).await
}

/// A dead letter with all that led to it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Inspected {
    #[serde(flatten)]
    letter: DeadLetter,
    /// The event that was given up; absent when the log has forgotten it.
    event: Option<Envelope>,
    /// What it came of, the nearest cause first.
    causes: Vec<Envelope>,
}

async fn inspect(app: App, call: Call) -> Result<Reply, ApiError> {
    let (letter, event) = find(&app, &call).await?;
    let mut causes: Vec<Envelope> = Vec::new();
    let mut next = event.as_ref().and_then(|event| event.cause);
    while let Some(cause) = next.filter(|_| causes.len() < CAUSES_MAX) {
        let Some(found) = app.store.log().by_id(cause).await? else { break };
        next = found.cause;
        causes.push(found);
    }
    let seen = letter.clone();
    Ok(Reply::json(&Inspected { letter, event, causes })?.of_state(seen))
}

async fn find(app: &App, call: &Call) -> Result<(DeadLetter, Option<Envelope>), ApiError> {
    let id = call.param(0);
    let not_there = || ApiError::NotFound(format!("There is no dead letter {id}"));
    let number: i64 = id.parse().map_err(|_| not_there())?;
    dead_letters::get(&app.history, number).await?.ok_or_else(not_there)
}

async fn settle_one(app: App, call: Call, deed: Deed) -> Result<Reply, ApiError> {
    let (letter, event) = find(&app, &call).await?;
    let seen = call.if_match(letter.clone())?;
    match settle(&app, &call.caller.name, deed, (&letter, event), seen).await? {
        Outcome::Done => {
            let state = match deed {
                Deed::Replay => State::Replayed,
                Deed::Discard => State::Discarded,
            };
            Reply::json(&DeadLetter { state, ..letter })
        }
        Outcome::Refused(why) => Err(ApiError::Conflict(why)),
    }
}

/// What became of an attempt to deal with a dead letter.
enum Outcome {
    Done,
    Refused(String),
}

/// Writes down, in one commit, that a dead letter was dealt with, and lets its agent hear of it.
async fn settle(
    app: &App,
    by: &str,
    deed: Deed,
    (letter, event): (&DeadLetter, Option<Envelope>),
    seen: Option<Seen>,
) -> Result<Outcome, ApiError> {
    let (id, agent, seq, by) = (letter.id, letter.agent.clone(), letter.seq, by.to_owned());
    let (correlation, cause) = match &event {
        Some(event) => (event.correlation.clone(), Some(event.id)),
        None => (fresh_correlation(), None),
    };
    let said = match deed {
        Deed::Replay if event.is_none() => {
            return Ok(Outcome::Refused(format!("The log has forgotten the event of dead letter {id}")));
        }
        Deed::Replay => Event::DeadLetterReplayed { letter: id, agent, seq, by },
        Deed::Discard => Event::DeadLetterDiscarded { letter: id, agent, seq, by },
    };
    let mut said = app.event(&correlation, said);
    said.cause = cause;
    match app.store.append_if(seen, vec![said]).await {
        Ok(_) => Ok(Outcome::Done),
        Err(Refused::Conflict(_)) => Ok(Outcome::Refused(format!("Dead letter {id} was dealt with before"))),
        Err(refused) => Err(refused.into()),
    }
}

/// What became of many dead letters.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Settled {
    /// Those dealt with, by number.
    settled: Vec<i64>,
    /// Those that could not be.
    refused: Vec<Refusal>,
    /// Those that are left, of the agent if one was named.
    open: u64,
}

/// A dead letter that could not be dealt with.
#[derive(Serialize, JsonSchema)]
struct Refusal {
    id: i64,
    /// Why.
    reason: String,
}

pub(crate) const MEMBERS: &[Param] = &[
    Param::optional("ids", Kind::List(&Kind::Int(Some(1), None)), "Those of these numbers"),
    Param::optional("agent", Kind::Text, "Instead: open ones of this agent, the oldest first"),
    Param::or("limit", Kind::Int(Some(1), Some(1000)), "100", "Most of them"),
];

async fn settle_many(app: App, call: Call, deed: Deed) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let most = app.limits.page_size_max;
    let ids = body.optional("ids", lax::list(most, lax::int_in(1, i64::MAX)));
    let agent = body.optional("agent", lax::name_max(app.limits.string_bytes_max));
    let limit = body.or("limit", ROWS_DEFAULT, lax::count_in(1, most));
    if ids.is_none() && agent.is_none() {
        body.refuse("ids", "Field required, unless agent is given");
    }
    body.finish()?;
    let open = dead_letters::Filter { agent, state: Some(State::Open) };
    let chosen = match ids {
        Some(ids) => ids,
        None => dead_letters::numbers(&app.history, &open, limit).await?,
    };
    let (mut settled, mut refused) = (Vec::new(), Vec::new());
    for id in chosen {
        let outcome = match dead_letters::get(&app.history, id).await? {
            Some((letter, event)) => settle(&app, &call.caller.name, deed, (&letter, event), None).await?,
            None => Outcome::Refused(format!("There is no dead letter {id}")),
        };
        match outcome {
            Outcome::Done => settled.push(id),
            Outcome::Refused(reason) => refused.push(Refusal { id, reason }),
        }
    }
    let open = dead_letters::count(&app.history, &open).await?;
    Reply::json(&Settled { settled, refused, open })
}
