//! Lists: a page at a time with links from one to the next, or as CSV, and then the whole of it.

mod csv;

use super::Route;
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::{Broken, Reply};
use crate::request::{Call, Fields, lax};
use persistence::page::{Cursor, Page, Start};
use serde::Serialize;
use std::future::Future;
use tokio::sync::mpsc;

pub(super) const CSV: &str = "text/csv";
const CSV_UTF8: &str = "text/csv; charset=utf-8";
/// Pages that are made before the client has taken the one before.
const PAGES_AHEAD: usize = 2;

/// The page that is asked for.
pub(super) struct Asked {
    pub(super) start: Start,
    pub(super) limit: usize,
    /// Nobody said how many rows.
    unlimited: bool,
}

/// Reads `limit`, `offset` and `after`, which wins over `offset`.
pub(super) fn asked(query: &mut Fields, default: usize, max: usize) -> Asked {
    let limit = query.optional("limit", lax::count_in(1, max));
    let offset = query.or("offset", 0, lax::count_in(0, usize::MAX >> 1));
    let after = query.optional("after", lax::string).and_then(|text| match text.parse::<Cursor>() {
        Ok(cursor) => Some(cursor),
        Err(error) => {
            query.refuse("after", format!("Input is {error}"));
            None
        }
    });
    let start = after.map_or(Start::Offset(offset), Start::After);
    Asked { start, limit: limit.unwrap_or(default.min(max)), unlimited: limit.is_none() }
}

/// Answers with what `page` gives: a page as a JSON array; as CSV everything from there, unless a limit was given.
pub(super) async fn answer<T, P, F>(app: &App, call: &Call, asked: Asked, page: P) -> Result<Reply, ApiError>
where
    T: Serialize + Send + 'static,
    P: Fn(Start, usize) -> F + Send + 'static,
    F: Future<Output = Result<Page<T>, ApiError>> + Send + 'static,
{
    if !call.prefers(CSV) {
        let Page { rows, next } = page(asked.start, asked.limit).await?;
        return Ok(linked(Reply::json(&rows)?, call, next.as_ref()));
    }
    let columns = csv::columns(call.route);
    let limit = if asked.unlimited { app.limits.page_size_max } else { asked.limit };
    let Page { rows, next } = page(asked.start, limit).await?;
    let head = csv::text(&columns, &rows, true)?;
    if !asked.unlimited {
        return Ok(linked(Reply::new(CSV_UTF8, head), call, next.as_ref()));
    }
    let (send, parts) = mpsc::channel(PAGES_AHEAD);
    let rest = async move {
        let (mut part, mut next) = (head, next);
        loop {
            // Whoever asked has gone.
            if send.send(Ok(part)).await.is_err() {
                return;
            }
            let Some(cursor) = next.take() else { return };
            let following = page(Start::After(cursor), limit).await;
            let written = following.and_then(|Page { rows, next }| Ok((csv::text(&columns, &rows, false)?, next)));
            match written {
                Ok(written) => (part, next) = written,
                // The connection breaks off, so that nobody takes the part for the whole.
                Err(error) => {
                    tracing::warn!(?error, "a list broke off");
                    drop(send.send(Err(Broken)).await);
                    return;
                }
            }
        }
    };
    let stopping = app.stopping.clone();
    app.tasks.spawn(async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = rest => {}
        }
    });
    Ok(Reply::parts(CSV_UTF8, parts))
}

/// Some rows of the list that `route` answers with, as CSV.
pub(super) fn csv_page<T: Serialize>(route: &Route, rows: &[T]) -> Result<Reply, ApiError> {
    Ok(Reply::new(CSV_UTF8, csv::text(&csv::columns(route), rows, true)?))
}

/// `reply` with a link to the page after `next`.
pub(super) fn linked(reply: Reply, call: &Call, next: Option<&Cursor>) -> Reply {
    match next {
        Some(next) => reply.header("link", &link_to_next(call.route, &call.query, &next.to_string())),
        None => reply,
    }
}

/// The same question for the page after `cursor`, as RFC 8288 writes links.
pub(super) fn link_to_next(route: &Route, query: &[(String, String)], cursor: &str) -> String {
    let same = query.iter().filter(|(name, _)| !["after", "offset"].contains(&name.as_str()));
    let mut target = format!("{}?after={}", route.pattern, escaped(cursor));
    for (name, value) in same {
        target.push_str(&format!("&{}={}", escaped(name), escaped(value)));
    }
    format!("<{target}>; rel=\"next\"")
}

/// `text` as it stands in a query.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::entry;
    use super::*;

    #[test]
    fn the_link_to_the_next_page_keeps_the_question() {
        let query = [("state", "open"), ("after", "old"), ("offset", "3"), ("asset", "pump 1&2")];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let route = const { entry("GET", "/api/v1/cases") };
        let link = link_to_next(route, &query, "5.ab/c");
        assert_eq!(link, "</api/v1/cases?after=5.ab%2Fc&state=open&asset=pump%201%262>; rel=\"next\"");
    }
}
