//! Assets are declared with their operating modes.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::schema::text_null;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Modes;

impl MigrationName for Modes {
    fn name(&self) -> &'static str {
        "m2026_11_30_modes"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Modes {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table("assets").add_column(text_null("modes")).take();
        manager.alter_table(table).await
    }
}
