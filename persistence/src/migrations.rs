//! The tables, as a list of steps that are applied once each and in order.
//!
//! **Invariant**: a step that was ever released is never changed; a correction is a new step.

mod m2026_11_21_initial;
mod m2026_11_22_access;
mod m2026_11_22_delivery;
mod m2026_11_22_isolation;
mod m2026_11_22_models;
mod m2026_11_22_plant;
mod m2026_11_22_promises;
mod m2026_11_22_trace;
mod m2026_11_30_modes;
mod m2026_12_01_descriptions;

use sea_orm::{DatabaseConnection, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

struct Steps;

impl MigratorTrait for Steps {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m2026_11_21_initial::Initial),
            Box::new(m2026_11_22_plant::Plant),
            Box::new(m2026_11_22_promises::Drained),
            Box::new(m2026_11_22_delivery::Delivery),
            Box::new(m2026_11_22_models::Models),
            Box::new(m2026_11_22_access::Access),
            Box::new(m2026_11_22_isolation::Isolation),
            Box::new(m2026_11_22_trace::Trace),
            Box::new(m2026_11_30_modes::Modes),
            Box::new(m2026_12_01_descriptions::Descriptions),
        ]
    }
}

/// Applies the steps that `db` has not seen yet.
///
/// # Errors
///
/// What the database says; steps before the failed one stay applied.
pub(crate) async fn apply(db: &DatabaseConnection) -> Result<(), DbErr> {
    Steps::up(db, None).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::Database;

    #[tokio::test]
    async fn the_steps_are_applied_once() -> Result<(), DbErr> {
        // Given a database in which every step was applied,
        let db = Database::connect("sqlite::memory:").await?;
        apply(&db).await?;
        // when the program starts again, nothing is left to do.
        apply(&db).await?;
        assert!(Steps::get_pending_migrations(&db).await?.is_empty());
        Ok(())
    }
}
