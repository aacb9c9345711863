//! Read access to readings and read models.

use crate::{StoreError, migrations};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

/// What can be asked of the store without changing it. Cheap to clone.
///
/// The questions themselves are functions beside their tables: `cases::list(&history, …)`.
#[derive(Clone, Debug)]
pub struct History {
    db: DatabaseConnection,
}

impl History {
    /// What `db` holds.
    pub(crate) fn new(db: DatabaseConnection) -> Self {
        Self { db }
    }

    /// A history in which nothing ever happened, kept in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when there is no room for one.
    pub async fn empty() -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new("sqlite::memory:");
        // The database lives as long as its only connection; any other would open an empty one of its own.
        options.min_connections(1).max_connections(1).idle_timeout(None).max_lifetime(None);
        let db = Database::connect(options).await?;
        migrations::apply(&db).await?;
        Ok(Self { db })
    }

    /// Where to ask.
    pub(crate) fn db(&self) -> &DatabaseConnection {
        &self.db
    }
}
