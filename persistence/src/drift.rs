//! Sensors whose distribution changed.

use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::drift::Detected;
use domain::{EventId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::Serialize;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "drifts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: String,
        pub sensor: String,
        pub data: String,
        pub at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A change, and when it was noticed.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Record {
    /// The event that made it known.
    pub event: EventId,
    /// When it was noticed (receive time).
    pub at: Timestamp,
    /// What changed.
    #[serde(flatten)]
    pub drift: Detected,
}

impl TryFrom<row::Model> for Record {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self { event: texts::id(&row.event_id)?, at: timestamp(row.at)?, drift: texts::parsed(&row.data)? })
    }
}

/// Changes, of one sensor if one is named, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    sensor: Option<&SensorId>,
    limit: usize,
    offset: usize,
) -> Result<Vec<Record>, StoreError> {
    let rows = row::Entity::find()
        .apply_if(sensor, |rows, sensor| rows.filter(row::Column::Sensor.eq(sensor.as_str())))
        .order_by_desc(row::Column::At)
        .order_by_desc(row::Column::EventId)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// A sensor's distribution changed.
pub(crate) async fn detected(tx: &impl ConnectionTrait, event: &NewEvent, drift: &Detected) -> Result<(), DbErr> {
    let row = row::Model {
        event_id: event.id.to_string(),
        sensor: drift.sensor.as_str().to_owned(),
        data: texts::json(drift)?,
        at: micros(event.at),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, second};
    use domain::Event;

    #[tokio::test]
    async fn changes_are_read_newest_first() -> Result<(), Box<dyn std::error::Error>> {
        let mut story = Story::begin().await?;
        let drift = |sensor: &str| Detected {
            sensor: sensor.into(),
            as_of: Timestamp::UNIX_EPOCH,
            ks_statistic: 0.4,
            p_value: 0.001,
            psi: 0.3,
            effect_size: 1.2,
            spread_ratio: None,
            n_baseline: 500,
            n_recent: 200,
        };
        story.tell(1, None, Event::DriftDetected(drift("a"))).await?;
        let event = story.tell(2, None, Event::DriftDetected(drift("b"))).await?;
        let found = list(&story.history, None, 1, 0).await?;
        assert_eq!(found, [Record { event, at: second(2), drift: drift("b") }]);
        assert_eq!(list(&story.history, Some(&SensorId::from("a")), 10, 0).await?.len(), 1);
        Ok(())
    }
}
