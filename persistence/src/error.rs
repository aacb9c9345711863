//! Why the store could not do its work.

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// One variant per reaction of the caller.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or not be written to, now: wait, try again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The disk did not sync what it was given: end the process, and let the next start check the store. A second
    /// sync would succeed without what the first one lost.
    #[error("store failing: {0}")]
    Failing(String),
    /// What is stored does not make sense: an operator must restore it.
    #[error("store corrupt: {0}")]
    Corrupt(String),
    /// A promise could not be kept on this machine: do not start.
    #[error("store unsafe: {0}")]
    Unsafe(String),
    /// Another process has the folder: do not start.
    #[error("store locked: {0}")]
    Locked(String),
}

/// Primary result codes of SQLite for a file that is damaged or none of its own.
///
/// # Source
///
/// <https://www.sqlite.org/rescode.html>, `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
const DAMAGED: [i32; 2] = [11, 26];

/// Extended result codes of SQLite for a sync that failed, of a file and of a folder.
///
/// # Source
///
/// <https://www.sqlite.org/rescode.html>, `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`.
const UNSYNCED: [i32; 2] = [1034, 1290];

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        let text = error.to_string();
        let corrupt = match &error {
            DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => true,
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => match cause.as_ref() {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
                _ => sqlite_code(&error).is_some_and(|code| DAMAGED.contains(&code)),
            },
            _ => false,
        };
        match extended_code(&error) {
            Some(code) if UNSYNCED.contains(&code) => Self::Failing(text),
            _ if corrupt => Self::Corrupt(text),
            _ => Self::Unavailable(text),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
    }
}

/// SQLite's primary result code, if `error` came from SQLite itself.
pub(crate) fn sqlite_code(error: &DbErr) -> Option<i32> {
    // The low byte is the primary code, the rest tells it apart further.
    extended_code(error).map(|code| code & 0xff)
}

fn extended_code(error: &DbErr) -> Option<i32> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => cause.as_database_error()?.code()?.parse().ok(),
        _ => None,
    }
}
