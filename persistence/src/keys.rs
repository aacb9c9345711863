//! API keys, hashed.
//!
//! Holds what a key may do and for how long; making, hashing and comparing keys is the edge's task.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::{History, StoreError, sql, texts};
use domain::Timestamp;
use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};
use uuid::Uuid;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub prefix: String,
        pub hash: Vec<u8>,
        pub scopes: String,
        pub created_at: i64,
        pub expires_at: Option<i64>,
        pub revoked_at: Option<i64>,
        pub last_used_at: Option<i64>,
        pub replaced_by: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A key, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// What people call it; unique among keys that were neither revoked nor replaced.
    pub name: String,
    /// The part of the key that may be shown; unique.
    pub prefix: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute or so.
    pub last_used_at: Option<Timestamp>,
    /// The key that takes its place.
    pub replaced_by: Option<Uuid>,
}

impl TryFrom<row::Model> for ApiKey {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        let id = texts::id(&row.id)?;
        let hash = row.hash.try_into();
        Ok(Self {
            id,
            name: row.name,
            prefix: row.prefix,
            hash: hash.map_err(|_| StoreError::Corrupt(format!("the hash of key {id} is not 32 bytes long")))?,
            scopes: texts::parsed(&row.scopes)?,
            created_at: timestamp(row.created_at)?,
            expires_at: row.expires_at.map(timestamp).transpose()?,
            revoked_at: row.revoked_at.map(timestamp).transpose()?,
            last_used_at: row.last_used_at.map(timestamp).transpose()?,
            replaced_by: row.replaced_by.as_deref().map(texts::id).transpose()?,
        })
    }
}

/// Keys, newest first, revoked and expired ones too.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, start: &Start, limit: usize) -> Result<Page<ApiKey>, StoreError> {
    let keys = (row::Column::CreatedAt, row::Column::Id);
    let rows = page::page(row::Entity::find(), keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.created_at, id: row.id.clone() };
    Page::of(rows, limit, cursor, ApiKey::try_from)
}

/// The key that shows `prefix`, also if it was revoked or has expired.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn find_by_prefix(history: &History, prefix: &str) -> Result<Option<ApiKey>, StoreError> {
    let row = row::Entity::find().filter(row::Column::Prefix.eq(prefix)).one(history.db()).await?;
    row.map(ApiKey::try_from).transpose()
}

/// The key of that id, also if it was revoked or has expired.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn find(history: &History, id: Uuid) -> Result<Option<ApiKey>, StoreError> {
    let row = row::Entity::find_by_id(id.to_string()).one(history.db()).await?;
    row.map(ApiKey::try_from).transpose()
}

/// How many keys there ever were.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count(history: &History) -> Result<u64, StoreError> {
    Ok(row::Entity::find().count(history.db()).await?)
}

/// Keeps a new key.
pub(crate) async fn create(tx: &impl ConnectionTrait, key: &ApiKey) -> Result<(), DbErr> {
    let row = row::Model {
        id: key.id.to_string(),
        name: key.name.clone(),
        prefix: key.prefix.clone(),
        hash: key.hash.to_vec(),
        scopes: texts::json(&key.scopes)?,
        created_at: micros(key.created_at),
        expires_at: key.expires_at.map(micros),
        revoked_at: key.revoked_at.map(micros),
        last_used_at: key.last_used_at.map(micros),
        replaced_by: key.replaced_by.map(|id| id.to_string()),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// Takes a key back. One that was taken back keeps its first instant.
pub(crate) async fn revoke(tx: &impl ConnectionTrait, id: Uuid, at: Timestamp) -> Result<(), DbErr> {
    let first = Func::coalesce([Expr::col(row::Column::RevokedAt), Expr::value(micros(at))]);
    let updated = row::Entity::update_many()
        .col_expr(row::Column::RevokedAt, first.into())
        .filter(row::Column::Id.eq(id.to_string()))
        .exec(tx)
        .await?;
    if updated.rows_affected == 0 { Err(DbErr::Custom(format!("no key has the id {id}"))) } else { Ok(()) }
}

/// Keeps `successor` in the place of the key `id`, which ends at `ends_at` unless it ends before.
pub(crate) async fn rotate(
    tx: &impl ConnectionTrait,
    id: Uuid,
    successor: &ApiKey,
    ends_at: Timestamp,
) -> Result<(), DbErr> {
    let update = "UPDATE api_keys SET replaced_by = $1, \
                  expires_at = CASE WHEN expires_at < $2 THEN expires_at ELSE $2 END \
                  WHERE id = $3 AND revoked_at IS NULL AND replaced_by IS NULL";
    let values = [successor.id.to_string().into(), micros(ends_at).into(), id.to_string().into()];
    if sql::execute(tx, update, values).await? == 0 {
        return Err(DbErr::Custom(format!("the key {id} is not there, was revoked, or has a successor")));
    }
    create(tx, successor).await
}

/// Notes that a key was used.
pub(crate) async fn used(tx: &impl ConnectionTrait, id: Uuid, at: Timestamp) -> Result<(), DbErr> {
    let update = "UPDATE api_keys SET last_used_at = $1 WHERE id = $2";
    sql::execute(tx, update, [micros(at).into(), id.to_string().into()]).await?;
    Ok(())
}
