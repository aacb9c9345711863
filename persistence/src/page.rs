//! Pages of lists: where one begins, and where the next one does.

use crate::StoreError;
use sea_orm::sea_query::{Condition, Value};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use std::fmt;
use std::str::FromStr;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// After so many rows. The further, the slower.
    Offset(usize),
    /// After the row with which another page ended. As fast wherever that is.
    After(Cursor),
}

impl Start {
    /// The first key, as far as it is known, of the row with which a list begins that goes down.
    pub(crate) fn newest(&self) -> Option<i64> {
        match self {
            Self::Offset(_) => None,
            Self::After(cursor) => Some(cursor.at),
        }
    }
}

impl Default for Start {
    fn default() -> Self {
        Self::Offset(0)
    }
}

/// The keys of the row with which a page ended. Opaque to clients: print it, hand it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The key that rows are ordered by first; 0 where there is only one.
    pub(crate) at: i64,
    /// What tells rows with the same `at` apart.
    pub(crate) id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id)
    }
}

/// A text that no page ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list")]
pub struct UnknownCursor;

impl FromStr for Cursor {
    type Err = UnknownCursor;

    fn from_str(text: &str) -> Result<Self, UnknownCursor> {
        let (at, id) = text.split_once('.').ok_or(UnknownCursor)?;
        Ok(Self { at: at.parse().map_err(|_| UnknownCursor)?, id: id.to_owned() })
    }
}

/// Some rows, and where the next ones begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// In the order of the list.
    pub rows: Vec<T>,
    /// Absent when there are no more.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// The same rows in another form.
    pub fn map<U>(self, form: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(form).collect(), next: self.next }
    }

    /// Up to `limit` of `rows`, which are one more if there is another page; `cursor` gives a row's keys.
    pub(crate) fn of<R>(
        mut rows: Vec<R>,
        limit: usize,
        cursor: impl Fn(&R) -> Cursor,
        read: impl Fn(R) -> Result<T, StoreError>,
    ) -> Result<Self, StoreError> {
        let more = limit < rows.len();
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(cursor);
        Ok(Self { rows: rows.into_iter().map(read).collect::<Result<_, _>>()?, next })
    }
}

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Smallest keys first.
    Up,
    /// Largest keys first.
    Down,
}

/// `rows` in the order of `at` and then `id`, from `start`, and one more than `limit` of them.
///
/// `id` tells rows of the same `at` apart; `key` makes a value of its type from a cursor.
pub(crate) fn page<E: EntityTrait>(
    rows: Select<E>,
    (at, id): (E::Column, E::Column),
    way: Way,
    key: impl Fn(&str) -> Option<Value>,
    start: &Start,
    limit: usize,
) -> Select<E> {
    let rows = match way {
        Way::Up => rows.order_by_asc(at).order_by_asc(id),
        Way::Down => rows.order_by_desc(at).order_by_desc(id),
    };
    let rows = rows.limit(limit.saturating_add(1) as u64);
    match start {
        Start::Offset(offset) => rows.offset(*offset as u64),
        Start::After(Cursor { at: last, id: last_id }) => {
            // The first bound is what an index can use; the second leaves out what was shown of the same instant.
            let (bound, beyond) = match way {
                Way::Up => (at.gte(*last), at.gt(*last)),
                Way::Down => (at.lte(*last), at.lt(*last)),
            };
            let same = key(last_id).map(|key| match way {
                Way::Up => id.gt(key),
                Way::Down => id.lt(key),
            });
            rows.filter(bound).filter(Condition::any().add(beyond).add_option(same))
        }
    }
}

/// An id that is text.
pub(crate) fn text(id: &str) -> Option<Value> {
    Some(id.into())
}

/// An id that is a number.
pub(crate) fn number(id: &str) -> Option<Value> {
    id.parse::<i64>().ok().map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_told() {
        for (at, id) in [(5, "a.b"), (-1, ""), (i64::MAX, "pump 1/ü")] {
            let cursor = Cursor { at, id: id.to_owned() };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "5", "x.y", ".5", "99999999999999999999.1"] {
            assert_eq!(text.parse::<Cursor>(), Err(UnknownCursor), "{text}");
        }
    }

    #[test]
    fn a_row_too_many_is_the_sign_of_another_page() {
        let cursor = |row: &i64| Cursor { at: *row, id: String::new() };
        let page = |rows: Vec<i64>| Page::of(rows, 2, cursor, Ok).unwrap();
        assert_eq!(page(vec![3, 2, 1]), Page { rows: vec![3, 2], next: Some(cursor(&2)) });
        assert_eq!(page(vec![3, 2]), Page { rows: vec![3, 2], next: None });
    }
}
