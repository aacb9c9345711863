//! Sensors as they registered themselves, and how much they sent.

use crate::instants::timestamp;
use crate::{History, StoreError, texts};
use domain::reading::{Sensor, SensorType};
use domain::{AssetId, SensorId, Timestamp};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "sensors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub no: i32,
        pub id: String,
        pub asset: String,
        pub sensor_type: String,
        pub unit: Option<String>,
        pub limit_high: Option<f64>,
        pub limit_low: Option<f64>,
        pub first_at: i64,
        pub last_at: i64,
        pub reading_count: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A sensor and what it sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The sensor.
    #[serde(flatten)]
    pub sensor: Sensor,
    /// How many of its readings were stored.
    pub reading_count: u64,
    /// Source time of the oldest one.
    pub first_reading: Timestamp,
    /// Source time of the newest one.
    pub last_reading: Timestamp,
}

impl TryFrom<row::Model> for Summary {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            reading_count: row.reading_count.unsigned_abs(),
            first_reading: timestamp(row.first_at)?,
            last_reading: timestamp(row.last_at)?,
            sensor: described(row)?,
        })
    }
}

fn described(row: row::Model) -> Result<Sensor, StoreError> {
    Ok(Sensor {
        id: SensorId::from(row.id),
        asset: AssetId::from(row.asset),
        sensor_type: texts::named(&row.sensor_type)?,
        unit: row.unit,
        limit_high: row.limit_high,
        limit_low: row.limit_low,
    })
}

/// Sensors in the order of their names.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, limit: usize, offset: usize) -> Result<Vec<Summary>, StoreError> {
    let rows = row::Entity::find()
        .order_by_asc(row::Column::Id)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Summary::try_from).collect()
}

/// One sensor, if it ever sent anything.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, sensor: &SensorId) -> Result<Option<Summary>, StoreError> {
    let row = row::Entity::find().filter(row::Column::Id.eq(sensor.as_str())).one(history.db()).await?;
    row.map(Summary::try_from).transpose()
}

/// The sensors of one asset, in the order of their names.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn of_asset(history: &History, asset: &AssetId, limit: usize) -> Result<Vec<Summary>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Asset.eq(asset.as_str()))
        .order_by_asc(row::Column::Id)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Summary::try_from).collect()
}

/// What each of `sensors` measures, as far as they are known.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub(crate) async fn types(
    history: &History,
    sensors: BTreeSet<SensorId>,
) -> Result<HashMap<SensorId, SensorType>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Id.is_in(sensors.iter().map(SensorId::as_str)))
        .all(history.db())
        .await?;
    rows.into_iter().map(|row| Ok((SensorId::from(row.id), texts::named(&row.sensor_type)?))).collect()
}

/// A sensor's number, its description, and the source times of its oldest and newest reading.
pub(crate) struct Numbered {
    /// Its number in the readings' table.
    pub(crate) no: i32,
    /// The sensor.
    pub(crate) sensor: Arc<Sensor>,
    /// Source time of its oldest reading, in microseconds.
    pub(crate) first_at: i64,
    /// Source time of its newest one.
    pub(crate) last_at: i64,
}

/// The number that `sensor` has in the readings' table.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub(crate) async fn numbered(history: &History, sensor: &SensorId) -> Result<Option<Numbered>, StoreError> {
    let row = row::Entity::find().filter(row::Column::Id.eq(sensor.as_str())).one(history.db()).await?;
    row.map(|row| {
        let (no, first_at, last_at) = (row.no, row.first_at, row.last_at);
        Ok(Numbered { no, sensor: Arc::new(described(row)?), first_at, last_at })
    })
    .transpose()
}

/// The sensors of those numbers.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub(crate) async fn by_number(
    history: &History,
    numbers: BTreeSet<i32>,
) -> Result<HashMap<i32, Arc<Sensor>>, StoreError> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = row::Entity::find().filter(row::Column::No.is_in(numbers)).all(history.db()).await?;
    rows.into_iter().map(|row| Ok((row.no, Arc::new(described(row)?)))).collect()
}
