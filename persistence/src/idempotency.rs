//! Keys under which requests promised to be carried out once, with the answer that a repeat gets.

use crate::instants::micros;
use crate::log::event_id;
use crate::sql;
use crate::unit::{Idempotency, Repeat};
use domain::{EventId, Timestamp};
use sea_orm::{ConnectionTrait, DbErr};
use std::collections::HashSet;

/// Old keys that are forgotten at once at most.
const FORGET_MAX: i64 = 1_000;

const MICROSECONDS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// What became of a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Claim {
    /// It is new, or its old use is forgotten: carry the request out.
    Fresh,
    /// The same request was carried out before.
    Repeat(Repeat),
    /// Another request was.
    Reused,
}

/// Claims keys, in order, for requests with the first event of each.
///
/// A key that stands twice in `requests` is claimed by the first of them.
pub(crate) async fn claim(
    tx: &impl ConnectionTrait,
    requests: &[(&Idempotency, EventId)],
    remembered_days: u32,
) -> Result<Vec<Claim>, DbErr> {
    let mut seen = HashSet::new();
    let firsts: Vec<bool> = requests.iter().map(|(request, _)| seen.insert((&request.scope, &request.key))).collect();
    let rows = requests.iter().zip(&firsts).filter(|(_, first)| **first).map(|((request, event), _)| {
        [
            request.scope.as_str().into(),
            request.key.as_str().into(),
            request.body_sha256.to_vec().into(),
            event.to_string().into(),
            request.response.as_str().into(),
            micros(request.at).into(),
        ]
    });
    // A use that is too old is overwritten; any other is left as it is, and returns no row.
    let remembered = i64::from(remembered_days) * MICROSECONDS_PER_DAY;
    let tail = format!(
        " ON CONFLICT (scope, key) DO UPDATE SET body_sha256 = excluded.body_sha256, event_id = excluded.event_id, \
         response = excluded.response, at = excluded.at WHERE idempotency.at < excluded.at - {remembered} \
         RETURNING scope, key"
    );
    let head = "INSERT INTO idempotency (scope, key, body_sha256, event_id, response, at) VALUES ";
    let mut claimed = HashSet::new();
    for row in sql::insert(tx, head, &tail, rows.collect()).await? {
        claimed.insert((row.try_get::<String>("", "scope")?, row.try_get::<String>("", "key")?));
    }
    let mut claims = Vec::with_capacity(requests.len());
    for ((request, _), first) in requests.iter().zip(firsts) {
        let fresh = first && claimed.contains(&(request.scope.clone(), request.key.clone()));
        claims.push(if fresh { Claim::Fresh } else { earlier(tx, request).await? });
    }
    Ok(claims)
}

/// What an earlier use of the key says about this one.
async fn earlier(tx: &impl ConnectionTrait, request: &Idempotency) -> Result<Claim, DbErr> {
    let select = "SELECT body_sha256, event_id, response FROM idempotency WHERE scope = $1 AND key = $2";
    let values = [request.scope.as_str().into(), request.key.as_str().into()];
    let row = sql::row(tx, select, values)
        .await?
        .ok_or_else(|| DbErr::RecordNotFound(format!("idempotency key {}", request.key)))?;
    if row.try_get::<Vec<u8>>("", "body_sha256")? != request.body_sha256 {
        return Ok(Claim::Reused);
    }
    Ok(Claim::Repeat(Repeat {
        event: event_id(&row.try_get::<String>("", "event_id")?).map_err(|error| DbErr::Type(error.to_string()))?,
        response: row.try_get("", "response")?,
    }))
}

/// Digest and answer of an earlier request that used a key, unless that is forgotten at `now`.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    scope: &str,
    key: &str,
    now: Timestamp,
    remembered_days: u32,
) -> Result<Option<(Vec<u8>, String)>, DbErr> {
    let select = "SELECT body_sha256, response FROM idempotency WHERE scope = $1 AND key = $2 AND $3 <= at";
    let oldest = micros(now) - i64::from(remembered_days) * MICROSECONDS_PER_DAY;
    let row = sql::row(db, select, [scope.into(), key.into(), oldest.into()]).await?;
    row.map(|row| Ok((row.try_get("", "body_sha256")?, row.try_get("", "response")?))).transpose()
}

/// Keeps the answer of a request that caused no event.
pub(crate) async fn keep(tx: &impl ConnectionTrait, answer: &Idempotency) -> Result<(), DbErr> {
    let upsert = "INSERT INTO idempotency (scope, key, body_sha256, event_id, response, at) \
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (scope, key) DO UPDATE SET \
                  body_sha256 = excluded.body_sha256, event_id = excluded.event_id, response = excluded.response, \
                  at = excluded.at";
    let values = [
        answer.scope.as_str().into(),
        answer.key.as_str().into(),
        answer.body_sha256.to_vec().into(),
        uuid::Uuid::nil().to_string().into(),
        answer.response.as_str().into(),
        micros(answer.at).into(),
    ];
    sql::execute(tx, upsert, values).await?;
    Ok(())
}

/// Forgets keys that are too old at `now`, some at a time.
pub(crate) async fn forget(tx: &impl ConnectionTrait, now: Timestamp, remembered_days: u32) -> Result<(), DbErr> {
    let delete = "DELETE FROM idempotency WHERE (scope, key) IN \
                  (SELECT scope, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2)";
    let oldest = micros(now) - i64::from(remembered_days) * MICROSECONDS_PER_DAY;
    let values = [oldest.into(), FORGET_MAX.into()];
    sql::execute(tx, delete, values).await?;
    Ok(())
}
