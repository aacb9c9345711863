//! The plant as it is declared, and the life of cases and orders after they were opened and booked.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm_migration::schema::{big_integer, big_integer_null, double, text, text_null};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// The step.
pub(super) struct Plant;

impl MigrationName for Plant {
    fn name(&self) -> &'static str {
        "m2026_11_22_plant"
    }
}

/// States in which an order takes its technician's time.
const OPEN: [&str; 3] = ["scheduled", "in_progress", "on_hold"];

#[sea_orm_migration::async_trait::async_trait]
impl MigrationTrait for Plant {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns: [(&'static str, Vec<ColumnDef>); 4] = [
            (
                "cases",
                vec![
                    text_null("detector"),
                    text_null("sensor_type"),
                    big_integer_null("acknowledged_at"),
                    text_null("acknowledgement"),
                    big_integer_null("shelved_until"),
                    text_null("shelf"),
                ],
            ),
            (
                "work_orders",
                vec![
                    big_integer_null("started_at"),
                    big_integer_null("held_at"),
                    big_integer_null("held_micros"),
                    text_null("last_step"),
                ],
            ),
            (
                "sensors",
                vec![
                    big_integer_null("declared_at"),
                    text_null("failure_mode"),
                    big_integer_null("baseline_at"),
                    big_integer_null("baseline_count"),
                ],
            ),
            ("knowledge", vec![text_null("record")]),
        ];
        for (table, columns) in columns {
            // One at a time, because SQLite adds no more at once.
            for mut column in columns {
                manager.alter_table(Table::alter().table(table).add_column(&mut column).take()).await?;
            }
        }
        manager
            .create_table(
                Table::create()
                    .table("assets")
                    .col(text("id").primary_key())
                    .col(text_null("name"))
                    .col(text_null("class"))
                    .col(text_null("parent"))
                    .col(big_integer_null("declared_at"))
                    .col(text_null("maintenance"))
                    .take(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("detector_ratings")
                    .col(text("detector"))
                    .col(text("sensor_type"))
                    .col(double("precision"))
                    .col(text("record"))
                    .col(big_integer("at"))
                    .primary_key(Index::create().col("detector").col("sensor_type"))
                    .take(),
            )
            .await?;
        // An order that was begun or rests is still its case's only one, and still takes its technician's time.
        for (name, columns) in
            [("work_orders_booking", &["technician", "start_at"][..]), ("work_orders_case", &["case_id"][..])]
        {
            manager.drop_index(Index::drop().table("work_orders").name(name).to_owned()).await?;
            let mut index = Index::create();
            index.table("work_orders").name(name).unique().and_where(Expr::col("state").is_in(OPEN));
            for column in columns {
                index.col(*column);
            }
            manager.create_index(index.take()).await?;
        }
        Ok(())
    }
}
