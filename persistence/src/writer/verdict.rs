//! Whether a failed statement speaks against its unit or against the store.

use crate::StoreError;
use crate::error::sqlite_code;
use crate::unit::Refused;
use sea_orm::{DbErr, RuntimeErr, sqlx};

/// Why a unit was not applied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The unit is guilty; the others can be committed.
    Refused(Refused),
    /// The store is; nothing more may be applied to this transaction.
    Store(StoreError),
}

/// Primary result codes of SQLite after which the transaction still stands: the statement contradicts what is stored
/// (`CONSTRAINT`), or could never have worked (`ERROR`, `TOOBIG`, `MISMATCH`, `RANGE`).
///
/// # Source
///
/// <https://www.sqlite.org/rescode.html>; which errors end a transaction: <https://www.sqlite.org/lang_transaction.html>,
/// "Response To Errors Within A Transaction".
const STATEMENT_ONLY: [i32; 5] = [19, 1, 18, 20, 25];

impl From<DbErr> for Trouble {
    fn from(error: DbErr) -> Self {
        let guilty = match &error {
            DbErr::Conn(_) | DbErr::ConnectionAcquire(_) | DbErr::MutexPoisonError => false,
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
                match cause.as_ref() {
                    sqlx::Error::Database(_) => sqlite_code(&error).is_some_and(|code| STATEMENT_ONLY.contains(&code)),
                    sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => true,
                    _ => false,
                }
            }
            // Found without asking the database: a row that must be there is not, a value has no form.
            _ => true,
        };
        if guilty { Self::Refused(Refused::Conflict(error.to_string())) } else { Self::Store(error.into()) }
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

    async fn refused(db: &DatabaseConnection, statement: &str) -> bool {
        let error = db.execute_unprepared(statement).await.expect_err("the statement fails");
        matches!(Trouble::from(error), Trouble::Refused(Refused::Conflict(_)))
    }

    #[tokio::test]
    async fn a_statement_that_contradicts_speaks_against_its_unit() {
        let db = Database::connect("sqlite::memory:").await.expect("there is room for a database");
        db.execute_unprepared("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL CHECK (b <> ''))")
            .await
            .expect("the statement works");
        db.execute_unprepared("INSERT INTO t VALUES (1, 'x')").await.expect("the statement works");
        for guilty in [
            "INSERT INTO t VALUES (1, 'y')",
            "INSERT INTO t VALUES (2, NULL)",
            "INSERT INTO t VALUES (2, '')",
            "INSERT INTO t VALUES ('two', 'x')",
            "INSERT INTO nowhere VALUES (1)",
        ] {
            assert!(refused(&db, guilty).await, "{guilty}");
        }
        assert!(matches!(Trouble::from(DbErr::RecordNotInserted), Trouble::Refused(_)));
    }

    #[tokio::test]
    async fn a_database_that_cannot_be_written_to_speaks_against_the_store() {
        let db = Database::connect("sqlite::memory:").await.expect("there is room for a database");
        db.execute_unprepared("CREATE TABLE t (a BLOB)").await.expect("the statement works");
        db.execute_unprepared("PRAGMA max_page_count = 2").await.expect("the statement works");
        assert!(!refused(&db, "INSERT INTO t VALUES (zeroblob(100000))").await);
        db.execute_unprepared("PRAGMA query_only = ON").await.expect("the statement works");
        assert!(!refused(&db, "INSERT INTO t VALUES (1)").await);
        db.close_by_ref().await.expect("it can be closed");
        assert!(!refused(&db, "INSERT INTO t VALUES (1)").await);
    }
}
