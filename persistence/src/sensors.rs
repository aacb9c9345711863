//! Sensors as the plant declares them or as they registered themselves, and how much they sent.

use crate::instants::{micros, timestamp};
use crate::page::{Cursor, Page, Start};
use crate::registry::Earlier;
use crate::unit::NewEvent;
use crate::{History, StoreError, sql, texts};
use domain::asset::Declared;
use domain::case::FailureMode;
use domain::reading::{Sensor, SensorType};
use domain::{AssetId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
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
        pub declared_at: Option<i64>,
        pub failure_mode: Option<String>,
        pub baseline_at: Option<i64>,
        pub baseline_count: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A sensor and what it sent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// The sensor.
    #[serde(flatten)]
    pub sensor: Sensor,
    /// How many of its readings were stored.
    pub reading_count: u64,
    /// Source time of the oldest one.
    pub first_reading: Option<Timestamp>,
    /// Source time of the newest one.
    pub last_reading: Option<Timestamp>,
    /// When the plant declared it; one that never was described itself with its first reading.
    pub declared_at: Option<Timestamp>,
    /// How its asset fails when it is abnormal, as declared.
    pub failure_mode: Option<FailureMode>,
    /// When its baseline began anew, after a repair.
    pub baseline_at: Option<Timestamp>,
    /// Readings since its baseline began.
    pub baseline_readings: u64,
}

impl TryFrom<row::Model> for Summary {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        let sent = 0 < row.reading_count;
        let since = row.reading_count - row.baseline_count.unwrap_or(0);
        Ok(Self {
            reading_count: row.reading_count.unsigned_abs(),
            first_reading: sent.then(|| timestamp(row.first_at)).transpose()?,
            last_reading: sent.then(|| timestamp(row.last_at)).transpose()?,
            declared_at: row.declared_at.map(timestamp).transpose()?,
            failure_mode: row.failure_mode.clone().map(FailureMode),
            baseline_at: row.baseline_at.map(timestamp).transpose()?,
            baseline_readings: since.max(0).unsigned_abs(),
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
pub async fn list(history: &History, start: &Start, limit: usize) -> Result<Page<Summary>, StoreError> {
    let sent = row::Entity::find().filter(row::Column::ReadingCount.gt(0));
    let rows = sent.order_by_asc(row::Column::Id).limit(limit.saturating_add(1) as u64);
    let rows = match start {
        Start::Offset(offset) => rows.offset(*offset as u64),
        Start::After(last) => rows.filter(row::Column::Id.gt(last.id.as_str())),
    };
    let cursor = |row: &row::Model| Cursor { at: 0, id: row.id.clone() };
    Page::of(rows.all(history.db()).await?, limit, cursor, Summary::try_from)
}

/// One sensor, if it was declared or ever sent anything.
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

/// The sensors of all of `assets`, in the order of their names.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn of_assets(history: &History, assets: &[AssetId]) -> Result<Vec<Summary>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Asset.is_in(assets.iter().map(AssetId::as_str)))
        .order_by_asc(row::Column::Id)
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
    let sent = row::Column::ReadingCount.gt(0);
    let row = row::Entity::find().filter(row::Column::Id.eq(sensor.as_str())).filter(sent).one(history.db()).await?;
    row.map(|row| {
        let (no, first_at, last_at) = (row.no, row.first_at, row.last_at);
        Ok(Numbered { no, sensor: Arc::new(described(row)?), first_at, last_at })
    })
    .transpose()
}

/// The plant declares the sensor of that number. One that sent nothing yet gets its row.
pub(crate) async fn declared(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    no: i32,
    Declared { sensor, failure_mode }: &Declared,
) -> Result<(), DbErr> {
    use row::Column;
    let row = row::Model {
        no,
        id: sensor.id.as_str().to_owned(),
        asset: sensor.asset.as_str().to_owned(),
        sensor_type: sensor.sensor_type.as_str().to_owned(),
        unit: sensor.unit.clone(),
        limit_high: sensor.limit_high,
        limit_low: sensor.limit_low,
        // Any reading is earlier than the one and later than the other.
        first_at: i64::MAX,
        last_at: i64::MIN,
        reading_count: 0,
        declared_at: Some(micros(event.at)),
        failure_mode: failure_mode.as_ref().map(|mode| mode.0.clone()),
        baseline_at: None,
        baseline_count: None,
    };
    let described = OnConflict::column(Column::No)
        .update_columns([
            Column::Asset,
            Column::SensorType,
            Column::Unit,
            Column::LimitHigh,
            Column::LimitLow,
            Column::DeclaredAt,
            Column::FailureMode,
        ])
        .to_owned();
    row::Entity::insert(row.into_active_model()).on_conflict(described).exec_without_returning(tx).await?;
    Ok(())
}

/// Keeps how a sensor was described, for what it sent until then.
pub(crate) async fn described_before(tx: &impl ConnectionTrait, earlier: &Earlier) -> Result<(), DbErr> {
    let Earlier { no, until, sensor } = earlier;
    // Of two that end with the same reading the first one held for it.
    let insert = "INSERT INTO sensor_descriptions (no, until_reading, asset, sensor_type, unit, limit_high, limit_low) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (no, until_reading) DO NOTHING";
    let values = [
        (*no).into(),
        until.0.into(),
        sensor.asset.as_str().into(),
        sensor.sensor_type.as_str().into(),
        sensor.unit.clone().into(),
        sensor.limit_high.into(),
        sensor.limit_low.into(),
    ];
    sql::execute(tx, insert, values).await?;
    Ok(())
}

/// What `sensors` measure from now on is a new normal.
pub(crate) async fn baseline_began(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    sensors: &[SensorId],
) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::BaselineAt, Expr::value(micros(event.at)))
        .col_expr(row::Column::BaselineCount, Expr::col(row::Column::ReadingCount))
        .filter(row::Column::Id.is_in(sensors.iter().map(SensorId::as_str)))
        .exec(tx)
        .await?;
    Ok(())
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
