//! Prognoses.

use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::prediction::Prediction;
use domain::{AssetId, CaseId, CorrelationId, EventId, Timestamp};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::Serialize;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "predictions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: String,
        pub case_id: String,
        pub asset: String,
        pub sensor: String,
        pub data: String,
        pub correlation: String,
        pub at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A prognosis and when it was made.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Record {
    /// The event that made it known.
    pub event: EventId,
    /// When it was made (receive time).
    pub at: Timestamp,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// The prognosis.
    #[serde(flatten)]
    pub prediction: Prediction,
}

impl TryFrom<row::Model> for Record {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            event: texts::id(&row.event_id)?,
            at: timestamp(row.at)?,
            correlation: CorrelationId::from(row.correlation),
            prediction: texts::parsed(&row.data)?,
        })
    }
}

/// Prognoses, of one asset if one is named, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    asset: Option<&AssetId>,
    limit: usize,
    offset: usize,
) -> Result<Vec<Record>, StoreError> {
    let rows = row::Entity::find()
        .apply_if(asset, |rows, asset| rows.filter(row::Column::Asset.eq(asset.as_str())))
        .order_by_desc(row::Column::At)
        .order_by_desc(row::Column::EventId)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// Prognoses of one case, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn of_case(history: &History, case: CaseId, limit: usize) -> Result<Vec<Record>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::CaseId.eq(case.to_string()))
        .order_by_desc(row::Column::At)
        .order_by_desc(row::Column::EventId)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// The newest prognosis of one case.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn latest_for_case(history: &History, case: CaseId) -> Result<Option<Record>, StoreError> {
    Ok(of_case(history, case, 1).await?.pop())
}

/// A prognosis was made.
pub(crate) async fn made(tx: &impl ConnectionTrait, event: &NewEvent, prediction: &Prediction) -> Result<(), DbErr> {
    let row = row::Model {
        event_id: event.id.to_string(),
        case_id: prediction.case.to_string(),
        asset: prediction.asset.as_str().to_owned(),
        sensor: prediction.sensor.as_str().to_owned(),
        data: texts::json(prediction)?,
        correlation: event.correlation.as_str().to_owned(),
        at: micros(event.at),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, predicted, second};
    use domain::Event;
    use domain::prediction::Outlook;

    #[tokio::test]
    async fn the_newest_prognosis_of_a_case_counts() -> Result<(), Box<dyn std::error::Error>> {
        let mut story = Story::begin().await?;
        story.tell(0, None, Event::MaintenancePredicted(predicted(1, "pump-1"))).await?;
        let later = Prediction { outlook: Outlook::LimitPassed, limit: None, ..predicted(1, "pump-1") };
        let event = story.tell(5, None, Event::MaintenancePredicted(later.clone())).await?;
        story.tell(9, None, Event::MaintenancePredicted(predicted(2, "pump-2"))).await?;

        let latest = latest_for_case(&story.history, case(1)).await?.expect("there are two");
        assert_eq!((latest.event, latest.at, latest.prediction), (event, second(5), later));
        assert_eq!(of_case(&story.history, case(1), 10).await?.len(), 2);
        assert_eq!(list(&story.history, None, 10, 0).await?.len(), 3);
        assert_eq!(list(&story.history, Some(&AssetId::from("pump-2")), 10, 0).await?.len(), 1);
        assert_eq!(latest_for_case(&story.history, case(3)).await?, None);
        Ok(())
    }
}
