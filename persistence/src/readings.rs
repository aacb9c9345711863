//! Measurements, by sensor and source time.
//!
//! Two readings of one sensor at one instant are both kept; they stand in their order of arrival.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::sensors::{self, Numbered};
use crate::{History, StoreError, sql, texts};
use domain::reading::{Reading, Sensor};
use domain::{ReadingNo, SensorId, Timestamp};
use sea_orm::sea_query::Order;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};
use std::sync::Arc;

#[expect(unreachable_pub, reason = "the derived entity is public and shows its model; the module is not")]
mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "readings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub no: i64,
        pub taken_at: i64,
        pub sensor: i32,
        pub value: f64,
        pub quality: f64,
        pub received_at: i64,
        pub extra: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

fn reading(row: &row::Model, sensor: &Arc<Sensor>) -> Result<Reading, StoreError> {
    Ok(Reading {
        no: ReadingNo(row.no),
        sensor: Arc::clone(sensor),
        value: row.value,
        quality: row.quality,
        taken_at: timestamp(row.taken_at)?,
        received_at: timestamp(row.received_at)?,
    })
}

/// A reading and what else its sender told.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The reading.
    pub reading: Reading,
    /// Metadata, a unit or type other than the sensor's, as it came.
    pub extra: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Which readings to list; `None` means any. Bounds are inclusive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one sensor.
    pub sensor: Option<SensorId>,
    /// Source time at least this.
    pub from: Option<Timestamp>,
    /// Source time at most this.
    pub to: Option<Timestamp>,
}

/// Readings, newest source time first. None of a sensor that never sent any.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, filter: &Filter, start: &Start, limit: usize) -> Result<Page<Entry>, StoreError> {
    // A page that begins far down must not be walked to from the top.
    let span = Span::of(filter.from, filter.to).ending(start.newest());
    let chosen = match &filter.sensor {
        None => span.rows(),
        Some(sensor) => match sensors::numbered(history, sensor).await? {
            Some(numbered) => span.of_sensor(&numbered),
            None => return Ok(Page { rows: Vec::new(), next: None }),
        },
    };
    let keys = (row::Column::TakenAt, row::Column::No);
    let rows = page::page(chosen, keys, Way::Down, page::number, start, limit).all(history.db()).await?;
    let known = sensors::by_number(history, rows.iter().map(|row| row.sensor).collect()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.taken_at, id: row.no.to_string() };
    Page::of(rows, limit, cursor, |row| {
        let unknown = || StoreError::Corrupt(format!("reading {} is of no sensor", row.no));
        Ok(Entry {
            reading: reading(&row, known.get(&row.sensor).ok_or_else(unknown)?)?,
            extra: row.extra.as_deref().map(texts::parsed).transpose()?,
        })
    })
}

/// The last readings of a sensor measured at `at_or_before`, or at any time, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn recent(
    history: &History,
    sensor: &SensorId,
    at_or_before: Option<Timestamp>,
    limit: usize,
) -> Result<Vec<Reading>, StoreError> {
    some(history, sensor, Span::of(None, at_or_before), None, Order::Desc, limit).await
}

/// The last readings of a sensor measured at `at_or_before` among the first `up_to` to arrive, newest first: what `recent`
/// said, or would have said, when that reading was the last one stored. Time bounds the search, so that whoever is far
/// behind does not walk through all that came since.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn recent_as_of(
    history: &History,
    sensor: &SensorId,
    up_to: ReadingNo,
    at_or_before: Timestamp,
    limit: usize,
) -> Result<Vec<Reading>, StoreError> {
    some(history, sensor, Span::of(None, Some(at_or_before)), Some(up_to), Order::Desc, limit).await
}

/// Readings of a sensor measured from `from` to `to`, both included, oldest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn range(
    history: &History,
    sensor: &SensorId,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Vec<Reading>, StoreError> {
    some(history, sensor, Span::of(Some(from), Some(to)), None, Order::Asc, limit).await
}

/// How many readings were measured from `from` to `to`, both included.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count(history: &History, from: Timestamp, to: Timestamp) -> Result<u64, StoreError> {
    Ok(Span::of(Some(from), Some(to)).rows().count(history.db()).await?)
}

/// Mean quality, 0 to 1, of the newest `limit` readings measured from `from` to `to`; none without readings.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn mean_quality(
    history: &History,
    from: Timestamp,
    to: Timestamp,
    limit: usize,
) -> Result<Option<f64>, StoreError> {
    let qualities: Vec<f64> = Span::of(Some(from), Some(to))
        .rows()
        .select_only()
        .column(row::Column::Quality)
        .order_by_desc(row::Column::TakenAt)
        .limit(limit as u64)
        .into_tuple()
        .all(history.db())
        .await?;
    let n_qualities = qualities.len() as f64;
    Ok((!qualities.is_empty()).then(|| qualities.iter().sum::<f64>() / n_qualities))
}

async fn some(
    history: &History,
    sensor: &SensorId,
    span: Span,
    up_to: Option<ReadingNo>,
    order: Order,
    limit: usize,
) -> Result<Vec<Reading>, StoreError> {
    let Some(numbered) = sensors::numbered(history, sensor).await? else { return Ok(Vec::new()) };
    let rows = span
        .of_sensor(&numbered)
        .apply_if(up_to, |rows, up_to| rows.filter(row::Column::No.lte(up_to.0)))
        .order_by(row::Column::TakenAt, order.clone())
        .order_by(row::Column::No, order)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.iter().map(|row| reading(row, &numbered.sensor)).collect()
}

/// Between which instants readings were measured, both included, in microseconds.
///
/// One bound at each end, the tightest: a database walks its index from one of those that it is given, and not
/// necessarily from the nearest.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Option<i64>,
    to: Option<i64>,
}

impl Span {
    fn of(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        Self { from: from.map(micros), to: to.map(micros) }
    }

    /// The same, but not beyond `to`.
    fn ending(self, to: Option<i64>) -> Self {
        Self { to: self.to.into_iter().chain(to).min(), ..self }
    }

    /// The readings of all sensors.
    fn rows(self) -> Select<row::Entity> {
        row::Entity::find()
            .apply_if(self.from, |rows, from| rows.filter(row::Column::TakenAt.gte(from)))
            .apply_if(self.to, |rows, to| rows.filter(row::Column::TakenAt.lte(to)))
    }

    /// The readings of one sensor.
    ///
    /// The index is in order of time, so the search is told between which instants the sensor sent at all: one
    /// that has been silent for long is found without walking over what the others sent since.
    fn of_sensor(self, sensor: &Numbered) -> Select<row::Entity> {
        let from = self.from.into_iter().chain([sensor.first_at]).max();
        Self { from, ..self.ending(Some(sensor.last_at)) }.rows().filter(row::Column::Sensor.eq(sensor.no))
    }
}

/// Source time of the `n`-th reading of `sensor`, from 1, of those measured at `since` or later.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn nth_since(
    history: &History,
    sensor: &SensorId,
    since: Timestamp,
    n: u64,
) -> Result<Option<Timestamp>, StoreError> {
    let Some(numbered) = sensors::numbered(history, sensor).await? else { return Ok(None) };
    let select = "SELECT taken_at FROM readings WHERE $1 <= taken_at AND taken_at <= $2 AND sensor = $3 \
                  ORDER BY taken_at LIMIT 1 OFFSET $4";
    let offset = i64::try_from(n.saturating_sub(1)).unwrap_or(i64::MAX);
    let values = [micros(since).into(), numbered.last_at.into(), numbered.no.into(), offset.into()];
    let row = sql::row(history.db(), select, values).await?;
    row.map(|row| timestamp(row.try_get("", "taken_at")?)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql;
    use crate::story::{Story, second};
    use domain::reading::SensorType;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    /// Sensor a sent at 10, 30, late at 20, and twice at 40; sensor b at 25.
    async fn sent() -> Result<Story, Box<dyn std::error::Error>> {
        let story = Story::begin().await?;
        story.sensor(1, "a", "pump-1", SensorType::Temperature, 40).await?;
        story.sensor(2, "b", "pump-1", SensorType::Vibration, 25).await?;
        for (no, sensor, at) in [(1, 1, 10), (2, 1, 30), (3, 2, 25), (4, 1, 20), (5, 1, 40), (6, 1, 40)] {
            let sql = "INSERT INTO readings (no, taken_at, sensor, value, quality, received_at, extra) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7)";
            let extra = (no == 3).then_some(r#"{"location":"hall"}"#);
            let taken_at = micros(second(at));
            let value = no as f64;
            let received_at = micros(second(100));
            let values = [
                i64::from(no).into(),
                taken_at.into(),
                sensor.into(),
                value.into(),
                (1.0 / value).into(),
                received_at.into(),
                extra.into(),
            ];
            story.run(sql, values).await?;
        }
        Ok(story)
    }

    fn numbers(readings: &[Reading]) -> Vec<i64> {
        readings.iter().map(|reading| reading.no.0).collect()
    }

    #[tokio::test]
    async fn a_list_is_ordered_by_source_time_and_bounded() -> Outcome {
        let story = sent().await?;
        let of = async |filter: Filter, limit, offset| -> Result<Vec<i64>, StoreError> {
            let entries = list(&story.history, &filter, &Start::Offset(offset), limit).await?.rows;
            Ok(entries.iter().map(|entry| entry.reading.no.0).collect())
        };
        let any = Filter::default;
        let a = || Some(SensorId::from("a"));
        assert_eq!(of(any(), 10, 0).await?, [6, 5, 2, 3, 4, 1]);
        assert_eq!(of(any(), 2, 1).await?, [5, 2]);
        assert_eq!(of(Filter { sensor: a(), ..any() }, 10, 0).await?, [6, 5, 2, 4, 1]);
        let bounds = Filter { sensor: a(), from: Some(second(20)), to: Some(second(30)) };
        assert_eq!(of(bounds, 10, 0).await?, [2, 4]);
        assert_eq!(of(Filter { sensor: Some("nobody".into()), ..any() }, 10, 0).await?, [0; 0]);
        // With a reading comes what its sender told, and the sensor that it is of.
        let entries = list(&story.history, &any(), &Start::Offset(3), 10).await?.rows;
        assert_eq!(entries[0].reading.sensor.sensor_type, SensorType::Vibration);
        let location = entries[0].extra.as_ref().and_then(|extra| extra.get("location"));
        assert_eq!(location, Some(&"hall".into()));
        assert_eq!(entries[1].extra, None);
        Ok(())
    }

    #[tokio::test]
    async fn history_is_read_back_from_an_instant_or_an_arrival() -> Outcome {
        let story = sent().await?;
        let a = SensorId::from("a");
        assert_eq!(numbers(&recent(&story.history, &a, None, 3).await?), [6, 5, 2]);
        assert_eq!(numbers(&recent(&story.history, &a, Some(second(30)), 10).await?), [2, 4, 1]);
        assert_eq!(numbers(&recent_as_of(&story.history, &a, ReadingNo(2), second(60), 10).await?), [2, 1]);
        assert_eq!(numbers(&recent_as_of(&story.history, &a, ReadingNo(4), second(60), 2).await?), [2, 4]);
        assert_eq!(numbers(&recent_as_of(&story.history, &a, ReadingNo(6), second(20), 10).await?), [4, 1]);
        assert_eq!(numbers(&range(&story.history, &a, second(10), second(30), 2).await?), [1, 4]);
        assert_eq!(numbers(&recent(&story.history, &"nobody".into(), None, 3).await?), [0; 0]);
        assert_eq!(count(&story.history, second(20), second(30)).await?, 3);
        // Readings 6 and 5 are the newest.
        let mean = mean_quality(&story.history, second(0), second(50), 2).await?.expect("there are some");
        assert!((mean - (1.0 / 6.0 + 1.0 / 5.0) / 2.0).abs() < 1e-12, "{mean}");
        assert_eq!(mean_quality(&story.history, second(60), second(70), 2).await?, None);
        Ok(())
    }

    #[tokio::test]
    async fn a_sensors_history_is_found_by_the_index_of_times() -> Outcome {
        let story = sent().await?;
        let numbered = sensors::numbered(&story.history, &SensorId::from("a")).await?.expect("it sent");
        let db = story.history.db();
        let span = Span::of(None, Some(second(20))).of_sensor(&numbered);
        let bounded = span.filter(row::Column::No.lte(4)).order_by_desc(row::Column::TakenAt);
        let query = bounded.order_by_desc(row::Column::No).limit(10).build(db.get_database_backend());
        let values = query.values.map(|values| values.0).unwrap_or_default();
        let plan = sql::rows(db, format!("EXPLAIN QUERY PLAN {}", query.sql), values).await?;
        let first: String = plan[0].try_get("", "detail")?;
        assert!(first.contains("INDEX readings_time (taken_at>? AND taken_at<?)"), "{first}");
        // With a second bound at an end, the walk could begin at the wrong one.
        assert_eq!(query.sql.matches("\"taken_at\" <=").count(), 1, "{}", query.sql);
        assert_eq!(query.sql.matches("\"taken_at\" >=").count(), 1, "{}", query.sql);
        Ok(())
    }

    #[tokio::test]
    async fn sensors_tell_how_much_they_sent() -> Outcome {
        let story = sent().await?;
        let all = sensors::list(&story.history, &Start::Offset(0), 10).await?.rows;
        let names: Vec<&str> = all.iter().map(|summary| summary.sensor.id.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(
            (all[0].reading_count, all[0].first_reading, all[0].last_reading),
            (3, Some(second(0)), Some(second(40)))
        );
        assert_eq!(sensors::list(&story.history, &Start::Offset(1), 10).await?.rows.len(), 1);
        assert_eq!(sensors::of_asset(&story.history, &"pump-1".into(), 10).await?.len(), 2);
        assert_eq!(sensors::get(&story.history, &"c".into()).await?, None);
        Ok(())
    }
}
