//! The tries to deliver a message.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::schema::text_null;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Delivery;

impl MigrationName for Delivery {
    fn name(&self) -> &'static str {
        "m2026_11_22_delivery"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Delivery {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("notifications").add_column(text_null("tries")).to_owned()).await
    }
}
