//! What was learnt from people's verdicts, and past cases that resemble a new one.

use crate::cases::Case;
use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, cases, sensors, texts, work_orders};
use domain::case::FailureMode;
use domain::model::{DetectorRated, FeedbackLearned};
use domain::reading::SensorType;
use domain::work_order::Completed;
use domain::{CaseId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryOrder, QuerySelect};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "knowledge")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub failure_mode: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sensor: String,
        pub confirmed: i64,
        pub dismissed: i64,
        pub precision: f64,
        pub at: i64,
        pub record: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod rating_row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "detector_ratings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub detector: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sensor_type: String,
        pub precision: f64,
        pub record: String,
        pub at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What is known of one kind of alarm.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Lesson {
    /// When it was learnt (receive time).
    pub at: Timestamp,
    /// What was learnt.
    #[serde(flatten)]
    pub learned: FeedbackLearned,
}

impl TryFrom<row::Model> for Lesson {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        let count = |n: i64| u32::try_from(n).map_err(|error| StoreError::Corrupt(error.to_string()));
        Ok(Self {
            at: timestamp(row.at)?,
            learned: FeedbackLearned {
                failure_mode: row.failure_mode,
                sensor: SensorId::from(row.sensor),
                confirmed: count(row.confirmed)?,
                dismissed: count(row.dismissed)?,
                precision: row.precision,
                record: row.record.as_deref().map(texts::parsed).transpose()?,
            },
        })
    }
}

/// What alarms of one detector on one type of sensor are worth.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Rating {
    /// When it was learnt (receive time).
    pub at: Timestamp,
    /// What was learnt.
    #[serde(flatten)]
    pub rated: DetectorRated,
}

impl TryFrom<rating_row::Model> for Rating {
    type Error = StoreError;

    fn try_from(row: rating_row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            at: timestamp(row.at)?,
            rated: DetectorRated {
                detector: row.detector,
                sensor_type: texts::named(&row.sensor_type)?,
                precision: row.precision,
                record: texts::parsed(&row.record)?,
            },
        })
    }
}

/// What each detector's alarms are worth, by type of sensor.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn ratings(history: &History, limit: usize) -> Result<Vec<Rating>, StoreError> {
    let rows = rating_row::Entity::find()
        .order_by_asc(rating_row::Column::Detector)
        .order_by_asc(rating_row::Column::SensorType)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Rating::try_from).collect()
}

/// A detector's alarms on one type of sensor turned out to be worth more, or less.
pub(crate) async fn rated(tx: &impl ConnectionTrait, event: &NewEvent, rated: &DetectorRated) -> Result<(), DbErr> {
    use rating_row::Column;
    let row = rating_row::Model {
        detector: rated.detector.clone(),
        sensor_type: rated.sensor_type.as_str().to_owned(),
        precision: rated.precision,
        record: texts::json(&rated.record)?,
        at: micros(event.at),
    };
    let newest = OnConflict::columns([Column::Detector, Column::SensorType])
        .update_columns([Column::Precision, Column::Record, Column::At])
        .to_owned();
    rating_row::Entity::insert(row.into_active_model()).on_conflict(newest).exec_without_returning(tx).await?;
    Ok(())
}

/// The newest lesson of each kind of alarm, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, limit: usize, offset: usize) -> Result<Vec<Lesson>, StoreError> {
    let rows = row::Entity::find()
        .order_by_desc(row::Column::At)
        .order_by_asc(row::Column::FailureMode)
        .order_by_asc(row::Column::Sensor)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Lesson::try_from).collect()
}

/// The newest lesson about one kind of alarm.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, mode: &FailureMode, sensor: &SensorId) -> Result<Option<Lesson>, StoreError> {
    let key = (mode.0.clone(), sensor.as_str().to_owned());
    row::Entity::find_by_id(key).one(history.db()).await?.map(Lesson::try_from).transpose()
}

/// A past case that resembles another, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SimilarCase {
    /// The past case.
    pub case: Case,
    /// It was the same asset.
    pub same_asset: bool,
    /// The evidence came from a sensor of the same type.
    pub same_sensor_type: bool,
    /// What the repair found, if there was one.
    pub completion: Option<Completed>,
}

/// How many past cases are ranked, the newest ones.
const CANDIDATES_MAX: usize = 1_000;

/// Past cases of the same failure mode that a person or a repair has judged, or that ended: those of the
/// same asset first, then those seen by the same type of sensor, then the newest.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn similar_cases(history: &History, case: &Case, limit: usize) -> Result<Vec<SimilarCase>, StoreError> {
    let past = cases::of_mode(history, &case.failure_mode, case.id, CANDIDATES_MAX).await?;
    let names = past.iter().map(|past| &past.sensor).chain([&case.sensor]);
    let types: HashMap<SensorId, SensorType> = sensors::types(history, names.cloned().collect::<BTreeSet<_>>()).await?;
    let sensor_type = types.get(&case.sensor);
    let mut similar: Vec<SimilarCase> = past
        .into_iter()
        .map(|past| SimilarCase {
            same_asset: past.asset == case.asset,
            same_sensor_type: sensor_type.is_some() && types.get(&past.sensor) == sensor_type,
            completion: None,
            case: past,
        })
        .collect();
    similar.sort_by_key(|past| Reverse((past.same_asset, past.same_sensor_type, past.case.opened_at)));
    similar.truncate(limit);
    let ids: Vec<CaseId> = similar.iter().map(|past| past.case.id).collect();
    let mut completions = work_orders::completions(history, &ids).await?;
    for past in &mut similar {
        past.completion = completions.remove(&past.case.id);
    }
    Ok(similar)
}

/// Something was learnt; it replaces what was known of that kind of alarm.
pub(crate) async fn learned(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    learned: &FeedbackLearned,
) -> Result<(), DbErr> {
    let row = row::Model {
        failure_mode: learned.failure_mode.clone(),
        sensor: learned.sensor.as_str().to_owned(),
        confirmed: i64::from(learned.confirmed),
        dismissed: i64::from(learned.dismissed),
        precision: learned.precision,
        at: micros(event.at),
        record: learned.record.map(|record| texts::json(&record)).transpose()?,
    };
    row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::columns([row::Column::FailureMode, row::Column::Sensor])
                .update_columns([
                    row::Column::Confirmed,
                    row::Column::Dismissed,
                    row::Column::Precision,
                    row::Column::At,
                    row::Column::Record,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, completed, hot, opened, scheduled, second, started};
    use domain::Event;
    use domain::case::Opened;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn the_newest_lesson_replaces_the_older() -> Outcome {
        let mut story = Story::begin().await?;
        let lesson = |confirmed| FeedbackLearned {
            failure_mode: hot().0,
            sensor: "pump-1/temperature".into(),
            confirmed,
            dismissed: 1,
            precision: 0.75,
            record: None,
        };
        for confirmed in [1, 2] {
            story.tell(confirmed.into(), None, Event::FeedbackLearned(lesson(confirmed))).await?;
        }
        let known = list(&story.history, 10, 0).await?;
        assert_eq!(known, [Lesson { at: second(2), learned: lesson(2) }]);
        let sensor = SensorId::from("pump-1/temperature");
        assert_eq!(get(&story.history, &hot(), &sensor).await?, known.first().cloned());
        assert_eq!(get(&story.history, &FailureMode::sensor_fault(), &sensor).await?, None);
        Ok(())
    }

    #[tokio::test]
    async fn similar_cases_are_ranked_by_asset_then_sensor_type_then_age() -> Outcome {
        // Given past cases on this pump, on another one, and on a mill with another type of sensor,
        let mut story = Story::begin().await?;
        for (no, asset, kind) in [
            (1, "pump-1", SensorType::Temperature),
            (2, "pump-2", SensorType::Temperature),
            (3, "mill", SensorType::Bearing),
        ] {
            story.sensor(no, &format!("{asset}/temperature"), asset, kind, 10).await?;
        }
        for (id, asset, at) in [(1, "pump-1", 0), (2, "pump-2", 10), (3, "mill", 20), (4, "pump-2", 30)] {
            story.open(at, id, asset).await?;
            if id == 1 {
                story.tell(at, None, Event::MaintenanceScheduled(scheduled(1, Some(1), "tech-1", 100, 200))).await?;
                story.tell(at, None, started(1, Some(case(1)))).await?;
                story.tell(at, None, completed(1, Some(case(1)), 180, true)).await?;
            }
            story.close(at + 5, id).await?;
        }
        // one that nobody has judged yet, and one of another failure mode,
        story.open(40, 5, "pump-3").await?;
        let other = Opened { failure_mode: FailureMode::sensor_fault(), ..opened(41, 6, "pump-1") };
        story.tell(41, None, Event::CaseOpened(other)).await?;
        story.close(42, 6).await?;
        // when a new case of this pump is compared with them,
        story.open(50, 7, "pump-1").await?;
        let new = cases::get(&story.history, case(7)).await?.expect("it was opened");
        let similar = similar_cases(&story.history, &new, 10).await?;
        // then they come in that order, with what the repair found.
        let found: Vec<_> = similar.iter().map(|past| (past.case.id, past.same_asset, past.same_sensor_type)).collect();
        assert_eq!(
            found,
            [(case(1), true, true), (case(4), false, true), (case(2), false, true), (case(3), false, false)]
        );
        assert_eq!(similar[0].completion.as_ref().map(|completion| completion.fault_found), Some(true));
        assert_eq!(similar_cases(&story.history, &new, 1).await?.len(), 1);
        Ok(())
    }
}
