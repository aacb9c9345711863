//! Models that clients ask by name: their cards and artefacts, which version answered since when, and what was said.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm_migration::schema::{big_integer, blob, double, double_null, text, text_null};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Models;

impl MigrationName for Models {
    fn name(&self) -> &'static str {
        "m2026_11_22_models"
    }
}

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Models {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in ["sha256", "card"] {
            manager.alter_table(Table::alter().table("models").add_column(text_null(name)).take()).await?;
        }
        // One champion per name: that of a sensor's detector names the sensor, other models are of none.
        manager.drop_index(Index::drop().name("models_champion").table("models").to_owned()).await?;
        let champion = Index::create()
            .name("models_champion")
            .table("models")
            .col("name")
            .unique()
            .and_where(Expr::col("state").eq("champion"))
            .take();
        manager.create_index(champion).await?;
        let key = |column: &mut ColumnDef| column.primary_key().take();
        let tables = [
            ("model_artefacts", vec![key(&mut text("sha256")), blob("bytes")]),
            (
                "model_tenures",
                vec![
                    key(&mut text("event")),
                    text("name"),
                    text("model"),
                    big_integer("from_at"),
                    text("chosen_by"),
                    text("reason"),
                ],
            ),
            (
                "model_predictions",
                vec![
                    text("request"),
                    big_integer("row_no"),
                    text("name"),
                    text("version"),
                    text("sha256"),
                    text("input_sha256"),
                    double("prediction"),
                    double_null("probability"),
                    big_integer("at"),
                ],
            ),
        ];
        for (name, columns) in tables {
            let mut table = Table::create();
            table.table(name);
            for mut column in columns {
                table.col(&mut column);
            }
            if name == "model_predictions" {
                table.primary_key(Index::create().col("request").col("row_no"));
            }
            manager.create_table(table.take()).await?;
        }
        let tenures =
            Index::create().name("model_tenures_name").table("model_tenures").col("name").col("from_at").take();
        manager.create_index(tenures).await?;
        let times = Index::create().name("model_predictions_time").table("model_predictions").col("at").take();
        manager.create_index(times).await
    }
}
