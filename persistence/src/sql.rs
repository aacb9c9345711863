//! Hand-written statements. Their text is understood by SQLite and PostgreSQL alike, `$1` being the first value;
//! only bulk inserts number no placeholder.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

/// Rows per statement at most. Halved until the rest is done, so that few statements serve every number of rows and
/// stay prepared. SQLite binds at most 32,766 values in one.
const ROWS_MAX: usize = 1024;

/// Runs a statement; tells how many rows it touched.
pub(crate) async fn execute(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<u64, DbErr> {
    let done = db.execute_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await?;
    Ok(done.rows_affected())
}

/// The rows of a query.
pub(crate) async fn rows(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await
}

/// The first row of a query, if there is one.
pub(crate) async fn row(
    db: &impl ConnectionTrait,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = Value>,
) -> Result<Option<QueryResult>, DbErr> {
    db.query_one_raw(Statement::from_sql_and_values(db.get_database_backend(), sql, values)).await
}

/// Inserts `rows`, with `head` and `tail` around their placeholders, in few large statements; tells what they return.
pub(crate) async fn insert<const COLUMNS: usize>(
    db: &impl ConnectionTrait,
    head: &str,
    tail: &str,
    rows: Vec<[Value; COLUMNS]>,
) -> Result<Vec<QueryResult>, DbErr> {
    let mut returned = Vec::new();
    let mut n_left = rows.len();
    let mut values = rows.into_iter().flatten();
    let mut n_rows = ROWS_MAX;
    while 0 < n_left {
        while n_left < n_rows {
            n_rows /= 2;
        }
        n_left -= n_rows;
        // Not numbered, because SQLite looks a numbered placeholder up among all others.
        let row = format!("({}?),", "?,".repeat(COLUMNS - 1));
        let placeholders = row.repeat(n_rows);
        let statement = format!("{head}{}{tail}", placeholders.trim_end_matches(','));
        let values: Vec<Value> = values.by_ref().take(n_rows * COLUMNS).collect();
        returned.extend(self::rows(db, statement, values).await?);
    }
    Ok(returned)
}
