//! How a sensor was described before it was described anew.

use sea_orm::DbErr;
use sea_orm::sea_query::{Index, Table};
use sea_orm_migration::schema::{big_integer, double_null, integer, text, text_null};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Descriptions;

impl MigrationName for Descriptions {
    fn name(&self) -> &'static str {
        "m2026_12_01_descriptions"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Descriptions {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("sensor_descriptions")
            .col(integer("no"))
            .col(big_integer("until_reading"))
            .col(text("asset"))
            .col(text("sensor_type"))
            .col(text_null("unit"))
            .col(double_null("limit_high"))
            .col(double_null("limit_low"))
            .primary_key(Index::create().col("no").col("until_reading"))
            .take();
        manager.create_table(table).await
    }
}
