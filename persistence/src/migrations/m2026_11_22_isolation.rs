//! Events that are handled one at a time, because one of them may have ended the process.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::schema::big_integer;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Isolation;

impl MigrationName for Isolation {
    fn name(&self) -> &'static str {
        "m2026_11_22_isolation"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Isolation {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = big_integer("alone_until").default(0).take();
        manager.alter_table(Table::alter().table("consumers").add_column(column).take()).await
    }
}
