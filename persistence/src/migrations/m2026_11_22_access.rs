//! Keys know their successor and their last use; the audit chain.

use sea_orm::sea_query::{ColumnDef, ColumnType, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::schema::{big_integer_null, big_integer_uniq, blob, text_null};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Access;

impl MigrationName for Access {
    fn name(&self) -> &'static str {
        "m2026_11_22_access"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Access {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for mut column in [big_integer_null("last_used_at"), text_null("replaced_by")] {
            manager.alter_table(Table::alter().table("api_keys").add_column(&mut column).take()).await?;
        }
        manager.drop_index(Index::drop().table("api_keys").name("api_keys_name").to_owned()).await?;
        // A key and its successor bear the same name while both work.
        let name = Index::create()
            .table("api_keys")
            .name("api_keys_name")
            .col("name")
            .unique()
            .and_where(Expr::col("revoked_at").is_null().and(Expr::col("replaced_by").is_null()))
            .take();
        manager.create_index(name).await?;
        // SQLite makes only a column of the very type `INTEGER` the table's own key.
        let kind = match manager.get_database_backend() {
            DbBackend::Sqlite => ColumnType::custom("INTEGER"),
            _ => ColumnType::BigInteger,
        };
        let mut no = ColumnDef::new_with_type("no", kind).not_null().primary_key().take();
        let audit = Table::create().table("audit").col(&mut no).col(big_integer_uniq("seq")).col(blob("mac")).take();
        manager.create_table(audit).await
    }
}
