//! Events name the trace of the request that they came of.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::schema::text_null;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Trace;

impl MigrationName for Trace {
    fn name(&self) -> &'static str {
        "m2026_11_22_trace"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Trace {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table("events").add_column(text_null("traceparent")).take();
        manager.alter_table(table).await
    }
}
