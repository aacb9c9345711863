//! The database file: its folder and lock, its connections, and the checks without which no promise holds.

use crate::{Settings, StoreError, migrations, sql};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sea_orm::sqlx::{self, ConnectOptions as _, SqlitePool};
use sea_orm::{DatabaseConnection, QueryResult, SqlxSqliteConnector};
use std::fs::{DirBuilder, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first release of SQLite that does not damage a WAL that is reset while in use, and the one withdrawn after it.
///
/// # Source
///
/// <https://www.sqlite.org/changes.html>, 3.51.3 and 3.52.0.
const VERSION_MIN: [u32; 3] = [3, 51, 3];
const VERSION_WITHDRAWN: [u32; 3] = [3, 52, 0];

/// How long to wait for another program that has the database locked. Short, so that a refusal comes in time.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Prepared statements kept per connection: all that there are, bulk inserts in each of their sizes included.
const STATEMENTS_KEPT: usize = 256;

/// Pages that the WAL grows to before they are moved into the file. Each move costs two more syncs.
const WAL_PAGES: &str = "8192";

/// Size that the WAL shrinks to when it is used from its beginning again.
const WAL_BYTES_KEPT: &str = "67108864";

/// Page cache of the writer; SQLite takes a negative number for KiB.
const WRITER_CACHE: &str = "-65536";

/// The database file.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join("store.sqlite")
}

/// The file that commits go to first.
pub(crate) fn wal(dir: &Path) -> PathBuf {
    dir.join("store.sqlite-wal")
}

/// Creates the folder, readable by its owner only, and takes it for this process until the file is dropped.
///
/// # Errors
///
/// [`StoreError::Locked`] when another store has it, [`StoreError::Unavailable`] when it cannot be used.
pub(crate) fn take(dir: &Path) -> Result<File, StoreError> {
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", dir.display()));
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(unusable)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(format!("another process uses {}", dir.display()))),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// Bytes that a process without privileges may still write to the disk of `dir`.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when the file system does not tell.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let told = rustix::fs::statvfs(dir);
    let told = told.map_err(|error| StoreError::Unavailable(format!("{}: {error}", dir.display())))?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Brings the file to the present form and checks that it can be trusted.
///
/// # Errors
///
/// [`StoreError::Unsafe`] for an SQLite that loses data, [`StoreError::Corrupt`] for a damaged file.
pub(crate) async fn prepare(settings: &Settings) -> Result<(), StoreError> {
    // A WAL that was left behind means that nobody closed the store.
    let unclean = std::fs::metadata(wal(&settings.data_dir)).is_ok_and(|wal| 0 < wal.len());
    let db = writer(settings).await?;
    check_version(&text(&db, "SELECT sqlite_version()").await?)?;
    if unclean {
        tracing::warn!(data_dir = %settings.data_dir.display(), "store was not closed, checking it");
        let found = text(&db, "PRAGMA quick_check(1)").await?;
        if found != "ok" {
            return Err(StoreError::Corrupt(found));
        }
    }
    checkpoint(&db).await?;
    migrations::apply(&db).await?;
    close(db).await
}

/// The one connection that writes, with durability set and read back.
///
/// # Errors
///
/// [`StoreError::Unsafe`] when SQLite did not take the settings.
pub(crate) async fn writer(settings: &Settings) -> Result<DatabaseConnection, StoreError> {
    let options = options(settings)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL may lose the last commits at a power failure, and they were acknowledged.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", WAL_PAGES)
        // What a long reader made the WAL grow to is given back.
        .pragma("journal_size_limit", WAL_BYTES_KEPT)
        .pragma("cache_size", WRITER_CACHE);
    let db = connect(options, 1).await?;
    let journal = text(&db, "PRAGMA journal_mode").await?;
    let synchronous = integer(&db, "PRAGMA synchronous").await?;
    if journal != "wal" || synchronous != 2 {
        return Err(StoreError::Unsafe(format!("journal_mode is {journal}, synchronous is {synchronous}")));
    }
    let page_bytes = integer(&db, "PRAGMA page_size").await?;
    let pages_max = i64::try_from(settings.size_bytes_max).unwrap_or(i64::MAX) / page_bytes;
    integer(&db, &format!("PRAGMA max_page_count = {pages_max}")).await?;
    Ok(db)
}

/// Connections that only read.
pub(crate) async fn readers(settings: &Settings) -> Result<DatabaseConnection, StoreError> {
    connect(options(settings).read_only(true), settings.readers).await
}

/// Moves everything from the WAL into the file and empties it.
///
/// # Errors
///
/// [`StoreError::Unavailable`] when a reader stands in the way for longer than the busy time.
pub(crate) async fn checkpoint(db: &DatabaseConnection) -> Result<(), StoreError> {
    match integer(db, "PRAGMA wal_checkpoint(TRUNCATE)").await? {
        0 => Ok(()),
        _ => Err(StoreError::Unavailable("a reader keeps the WAL from being emptied".to_owned())),
    }
}

/// Ends all connections of `db`.
pub(crate) async fn close(db: DatabaseConnection) -> Result<(), StoreError> {
    Ok(db.close().await?)
}

fn options(settings: &Settings) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file(&settings.data_dir))
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
}

async fn connect(options: SqliteConnectOptions, n_connections: u32) -> Result<DatabaseConnection, StoreError> {
    // Connections to a file do not go stale: neither a ping before each use nor an end of life is needed.
    let pool: SqlitePool = SqlitePoolOptions::new()
        .max_connections(n_connections)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|error: sqlx::Error| StoreError::from(error))?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

fn check_version(version: &str) -> Result<(), StoreError> {
    let parts: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    if VERSION_MIN[..] <= parts[..] && VERSION_WITHDRAWN[..] != parts[..] {
        Ok(())
    } else {
        Err(StoreError::Unsafe(format!("SQLite {version} may damage its WAL")))
    }
}

async fn text(db: &DatabaseConnection, pragma: &str) -> Result<String, StoreError> {
    Ok(first_row(db, pragma).await?.try_get_by_index(0)?)
}

async fn integer(db: &DatabaseConnection, pragma: &str) -> Result<i64, StoreError> {
    Ok(first_row(db, pragma).await?.try_get_by_index(0)?)
}

async fn first_row(db: &DatabaseConnection, pragma: &str) -> Result<QueryResult, StoreError> {
    sql::row(db, pragma, []).await?.ok_or_else(|| StoreError::Corrupt(format!("{pragma} told nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_sqlite_that_lose_data_are_refused() {
        for good in ["3.51.3", "3.51.4", "3.53.0", "4.0.0"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        for bad in ["3.46.1", "3.51.2", "3.52.0", "three"] {
            assert!(matches!(check_version(bad), Err(StoreError::Unsafe(_))), "{bad}");
        }
    }
}
