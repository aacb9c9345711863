//! Agents that are drained: they rest after an event that is named.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::schema::big_integer_null;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Drained;

impl MigrationName for Drained {
    fn name(&self) -> &'static str {
        "m2026_11_22_promises"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Drained {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table("consumers").add_column(big_integer_null("drain_to")).take();
        manager.alter_table(table).await
    }
}
