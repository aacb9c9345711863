//! Reports, and the counts that they are made of.
//!
//! Times are bounds that are included; every count is of what is stored, none is kept beside it.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::unit::NewEvent;
use crate::{History, StoreError, cases, readings, sql, texts};
use domain::anomaly::{Aspect, Verdict};
use domain::case::{Priority, Resolution};
use domain::reading::SensorType;
use domain::report::{Generated, Requested};
use domain::{CorrelationId, ReportId, TechnicianId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "reports")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub state: String,
        pub report_type: String,
        pub format: String,
        pub from_at: Option<i64>,
        pub to_at: Option<i64>,
        pub content: Option<String>,
        pub data_points: Option<i64>,
        pub error: Option<String>,
        pub requested_at: i64,
        pub generated_at: Option<i64>,
        pub correlation: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is wanted.
    Requested,
    /// It can be read.
    Ready,
    /// It could not be made.
    Failed,
}

impl State {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The report.
    pub id: ReportId,
    /// What became of it.
    pub state: State,
    /// Its type.
    pub report_type: String,
    /// Its format.
    pub format: String,
    /// Start of the time it covers, if it was asked for.
    pub from: Option<Timestamp>,
    /// End of it.
    pub to: Option<Timestamp>,
    /// The text, once it is made.
    pub content: Option<String>,
    /// Rows it was counted from.
    pub data_points: Option<u64>,
    /// What stood in the way.
    pub error: Option<String>,
    /// When it was asked for (receive time).
    pub requested_at: Timestamp,
    /// When it was made.
    pub generated_at: Option<Timestamp>,
    /// The request it came of.
    pub correlation: CorrelationId,
}

impl TryFrom<row::Model> for Report {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: ReportId::from(row.id),
            state: texts::named(&row.state)?,
            report_type: row.report_type,
            format: row.format,
            from: row.from_at.map(timestamp).transpose()?,
            to: row.to_at.map(timestamp).transpose()?,
            content: row.content,
            data_points: row.data_points.map(i64::unsigned_abs),
            error: row.error,
            requested_at: timestamp(row.requested_at)?,
            generated_at: row.generated_at.map(timestamp).transpose()?,
            correlation: CorrelationId::from(row.correlation),
        })
    }
}

/// Reports, the one asked for last first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, start: &Start, limit: usize) -> Result<Page<Report>, StoreError> {
    let keys = (row::Column::RequestedAt, row::Column::Id);
    let rows = page::page(row::Entity::find(), keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.requested_at, id: row.id.clone() };
    Page::of(rows, limit, cursor, Report::try_from)
}

/// One report.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: &ReportId) -> Result<Option<Report>, StoreError> {
    row::Entity::find_by_id(id.as_str()).one(history.db()).await?.map(Report::try_from).transpose()
}

/// How often something occurred.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Count<T> {
    /// What.
    pub of: T,
    /// How often.
    pub count: u64,
}

/// Anomalies measured within a time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AnomalyCounts {
    /// All of them.
    pub total: u64,
    /// Sensors that had any.
    pub n_sensors: u64,
    /// By what the sensor measures, most frequent first.
    pub by_sensor_type: Vec<Count<SensorType>>,
    /// By what was abnormal, most frequent first.
    pub by_aspect: Vec<Count<Aspect>>,
    /// By verdict, most frequent first; those not judged yet are in none.
    pub by_verdict: Vec<Count<Verdict>>,
}

/// Counts the anomalies measured from `from` to `to`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn anomaly_counts(history: &History, from: Timestamp, to: Timestamp) -> Result<AnomalyCounts, StoreError> {
    let select = "SELECT COUNT(*) AS total, COUNT(DISTINCT sensor) AS n_sensors FROM anomalies \
               WHERE $1 <= taken_at AND taken_at <= $2";
    let row = one(history, select, from, to).await?;
    Ok(AnomalyCounts {
        total: number(&row, "total")?,
        n_sensors: number(&row, "n_sensors")?,
        by_sensor_type: grouped(history, "anomalies", "sensor_type", "taken_at", from, to).await?,
        by_aspect: grouped(history, "anomalies", "aspect", "taken_at", from, to).await?,
        by_verdict: grouped(history, "anomalies", "verdict", "taken_at", from, to).await?,
    })
}

/// Microseconds of a day.
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// Days in one answer: ten years.
const DAYS_MAX: i64 = 3_653;

/// Anomalies measured on each day (UTC) from `from` to `to`, by the day's first instant, oldest first. Days
/// without any are left out.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn anomalies_per_day(
    history: &History,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Count<Timestamp>>, StoreError> {
    let select = "SELECT taken_at / $3 AS day, COUNT(*) AS n FROM anomalies WHERE $1 <= taken_at AND taken_at <= $2 \
               GROUP BY day ORDER BY day LIMIT $4";
    let values = [micros(from).into(), micros(to).into(), DAY_MICROS.into(), DAYS_MAX.into()];
    let rows = sql::rows(history.db(), select, values).await?;
    rows.iter()
        .map(|row| {
            let day: i64 = row.try_get("", "day")?;
            Ok(Count { of: timestamp(day.saturating_mul(DAY_MICROS))?, count: number(row, "n")? })
        })
        .collect()
}

/// Cases opened within a time, as they are now.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaseCounts {
    /// All of them.
    pub opened: u64,
    /// By how far they have come, most frequent first.
    pub by_state: Vec<Count<cases::State>>,
    /// By urgency, most frequent first.
    pub by_priority: Vec<Count<Priority>>,
    /// By why they ended, most frequent first.
    pub by_resolution: Vec<Count<Resolution>>,
    /// How long those that ended were open, on average.
    pub mean_open_hours: Option<f64>,
}

/// Counts the cases opened from `from` to `to`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn case_counts(history: &History, from: Timestamp, to: Timestamp) -> Result<CaseCounts, StoreError> {
    let select = "SELECT COUNT(*) AS opened, AVG(CAST(closed_at - opened_at AS DOUBLE PRECISION)) AS open_micros \
               FROM cases WHERE $1 <= opened_at AND opened_at <= $2";
    let row = one(history, select, from, to).await?;
    Ok(CaseCounts {
        opened: number(&row, "opened")?,
        by_state: grouped(history, "cases", "state", "opened_at", from, to).await?,
        by_priority: grouped(history, "cases", "priority", "opened_at", from, to).await?,
        by_resolution: grouped(history, "cases", "resolution", "opened_at", from, to).await?,
        mean_open_hours: hours(&row, "open_micros")?,
    })
}

/// Orders booked within a time, as they are now.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MaintenanceCounts {
    /// All of them.
    pub total: u64,
    /// Those that were done.
    pub completed: u64,
    /// Those that are booked still.
    pub pending: u64,
    /// Those of `pending` that should have ended before the time's end.
    pub overdue: u64,
    /// From booking to start, on average.
    pub mean_booking_delay_hours: Option<f64>,
    /// From the start to the end of those that were done, without the time they were held, on average.
    pub mean_work_hours: Option<f64>,
    /// From the opening of the case to the end of those that were done, on average.
    pub mean_repair_hours: Option<f64>,
    /// Who has how much to do, the busiest first.
    pub by_technician: Vec<Load>,
}

/// What one technician has to do.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Load {
    /// The technician.
    pub technician: TechnicianId,
    /// Orders.
    pub n_orders: u64,
    /// Hours they are booked for.
    pub booked_hours: f64,
}

/// Counts the orders booked from `from` to `to`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn maintenance_counts(
    history: &History,
    from: Timestamp,
    to: Timestamp,
) -> Result<MaintenanceCounts, StoreError> {
    let select = "SELECT COUNT(*) AS total, \
               COUNT(CASE WHEN state IN ('completed', 'verified') THEN 1 END) AS completed, \
               COUNT(CASE WHEN state IN ('scheduled', 'in_progress', 'on_hold') THEN 1 END) AS pending, \
               COUNT(CASE WHEN state IN ('scheduled', 'in_progress', 'on_hold') AND end_at < $2 THEN 1 END) AS overdue, \
               AVG(CAST(start_at - created_at AS DOUBLE PRECISION)) AS delay_micros, \
               AVG(CAST(CASE WHEN completed_at - started_at < COALESCE(held_micros, 0) THEN 0 \
               ELSE completed_at - started_at - COALESCE(held_micros, 0) END AS DOUBLE PRECISION)) AS work_micros \
               FROM work_orders WHERE $1 <= created_at AND created_at <= $2";
    let row = one(history, select, from, to).await?;
    let select = "SELECT AVG(CAST(completed_at - opened_at AS DOUBLE PRECISION)) AS repair_micros \
               FROM work_orders JOIN cases ON cases.id = work_orders.case_id \
               WHERE $1 <= created_at AND created_at <= $2";
    let repair = one(history, select, from, to).await?;
    Ok(MaintenanceCounts {
        total: number(&row, "total")?,
        completed: number(&row, "completed")?,
        pending: number(&row, "pending")?,
        overdue: number(&row, "overdue")?,
        mean_booking_delay_hours: hours(&row, "delay_micros")?,
        mean_work_hours: hours(&row, "work_micros")?,
        mean_repair_hours: hours(&repair, "repair_micros")?,
        by_technician: loads(history, from, to).await?,
    })
}

async fn loads(history: &History, from: Timestamp, to: Timestamp) -> Result<Vec<Load>, StoreError> {
    let select = "SELECT technician, COUNT(*) AS n, SUM(CAST(end_at - start_at AS DOUBLE PRECISION)) AS booked_micros \
               FROM work_orders WHERE $1 <= created_at AND created_at <= $2 \
               GROUP BY technician ORDER BY booked_micros DESC, technician LIMIT $3";
    let rows = sql::rows(history.db(), select, [micros(from).into(), micros(to).into(), GROUPS_MAX.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Load {
                technician: TechnicianId::from(row.try_get::<String>("", "technician")?),
                n_orders: number(row, "n")?,
                booked_hours: hours(row, "booked_micros")?.unwrap_or(0.0),
            })
        })
        .collect()
}

/// What the whole installation did within a time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SystemCounts {
    /// Sensors that ever sent anything.
    pub n_sensors: u64,
    /// Those whose newest reading is of that time or later.
    pub n_active_sensors: u64,
    /// Readings measured within the time.
    pub n_readings: u64,
    /// Mean quality, 0 to 1, of the newest [`QUALITY_SAMPLE`] of them.
    pub mean_quality: Option<f64>,
    /// Anomalies measured within the time.
    pub n_anomalies: u64,
    /// Cases opened within it.
    pub n_cases: u64,
    /// Those of `n_cases` that are critical.
    pub n_critical_cases: u64,
    /// Cases that are open now, whenever they were opened.
    pub n_open_cases: u64,
    /// Dead letters that nobody has dealt with.
    pub n_dead_letters: u64,
}

/// What happened within a shift, beside its cases.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftCounts {
    /// Readings measured within it.
    pub n_readings: u64,
    /// Anomalies measured within it.
    pub n_anomalies: u64,
    /// Cases that ended.
    pub n_cases_closed: u64,
    /// Orders on which work began.
    pub n_orders_started: u64,
    /// Orders that were completed.
    pub n_orders_completed: u64,
    /// Answers of people.
    pub n_decisions: u64,
    /// Messages that could not be delivered, and were not since.
    pub n_messages_failed: u64,
    /// Events given up with which nobody has dealt yet.
    pub n_dead_letters: u64,
}

/// Counts what happened from `from` to `to`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn shift_counts(history: &History, from: Timestamp, to: Timestamp) -> Result<ShiftCounts, StoreError> {
    let select = "SELECT \
               (SELECT COUNT(*) FROM anomalies WHERE $1 <= taken_at AND taken_at <= $2) AS n_anomalies, \
               (SELECT COUNT(*) FROM cases WHERE $1 <= closed_at AND closed_at <= $2) AS n_cases_closed, \
               (SELECT COUNT(*) FROM work_orders WHERE $1 <= started_at AND started_at <= $2) AS n_orders_started, \
               (SELECT COUNT(*) FROM work_orders WHERE $1 <= completed_at AND completed_at <= $2 \
               AND state IN ('completed', 'verified')) AS n_orders_completed, \
               (SELECT COUNT(*) FROM decisions WHERE $1 <= at AND at <= $2) AS n_decisions, \
               (SELECT COUNT(*) FROM notifications WHERE $1 <= updated_at AND updated_at <= $2 \
               AND state = 'failed') AS n_messages_failed, \
               (SELECT COUNT(*) FROM dead_letters WHERE state = 'open') AS n_dead_letters";
    let row = one(history, select, from, to).await?;
    Ok(ShiftCounts {
        n_readings: readings::count(history, from, to).await?,
        n_anomalies: number(&row, "n_anomalies")?,
        n_cases_closed: number(&row, "n_cases_closed")?,
        n_orders_started: number(&row, "n_orders_started")?,
        n_orders_completed: number(&row, "n_orders_completed")?,
        n_decisions: number(&row, "n_decisions")?,
        n_messages_failed: number(&row, "n_messages_failed")?,
        n_dead_letters: number(&row, "n_dead_letters")?,
    })
}

/// Readings whose quality is averaged at most.
pub const QUALITY_SAMPLE: usize = 10_000;

/// Counts what happened from `from` to `to`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn system_counts(history: &History, from: Timestamp, to: Timestamp) -> Result<SystemCounts, StoreError> {
    let select = "SELECT (SELECT COUNT(*) FROM sensors) AS n_sensors, \
               (SELECT COUNT(*) FROM sensors WHERE $1 <= last_at AND first_at <= $2) AS n_active_sensors, \
               (SELECT COUNT(*) FROM anomalies WHERE $1 <= taken_at AND taken_at <= $2) AS n_anomalies, \
               (SELECT COUNT(*) FROM cases WHERE $1 <= opened_at AND opened_at <= $2) AS n_cases, \
               (SELECT COUNT(*) FROM cases WHERE $1 <= opened_at AND opened_at <= $2 AND priority = 'critical') \
               AS n_critical_cases, \
               (SELECT COUNT(*) FROM cases WHERE closed_at IS NULL) AS n_open_cases, \
               (SELECT COUNT(*) FROM dead_letters WHERE state = 'open') AS n_dead_letters";
    let row = one(history, select, from, to).await?;
    Ok(SystemCounts {
        n_sensors: number(&row, "n_sensors")?,
        n_active_sensors: number(&row, "n_active_sensors")?,
        n_readings: readings::count(history, from, to).await?,
        mean_quality: readings::mean_quality(history, from, to, QUALITY_SAMPLE).await?,
        n_anomalies: number(&row, "n_anomalies")?,
        n_cases: number(&row, "n_cases")?,
        n_critical_cases: number(&row, "n_critical_cases")?,
        n_open_cases: number(&row, "n_open_cases")?,
        n_dead_letters: number(&row, "n_dead_letters")?,
    })
}

/// Groups in one answer.
const GROUPS_MAX: i64 = 1_000;

/// Counts the rows of `table` by the name in `column`, those without a name left out.
async fn grouped<T: DeserializeOwned>(
    history: &History,
    table: &'static str,
    column: &'static str,
    at: &'static str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Count<T>>, StoreError> {
    let select = format!(
        "SELECT {column} AS name, COUNT(*) AS n FROM {table} \
         WHERE $1 <= {at} AND {at} <= $2 AND {column} IS NOT NULL \
         GROUP BY {column} ORDER BY n DESC, name LIMIT $3"
    );
    let rows = sql::rows(history.db(), select, [micros(from).into(), micros(to).into(), GROUPS_MAX.into()]).await?;
    rows.iter()
        .map(|row| {
            let name: String = row.try_get("", "name")?;
            Ok(Count { of: texts::named(&name)?, count: number(row, "n")? })
        })
        .collect()
}

async fn one(history: &History, select: &str, from: Timestamp, to: Timestamp) -> Result<QueryResult, StoreError> {
    let row = sql::row(history.db(), select, [micros(from).into(), micros(to).into()]).await?;
    row.ok_or_else(|| StoreError::Corrupt("a count has no answer".to_owned()))
}

fn number(row: &QueryResult, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get("", column)?;
    Ok(number.unsigned_abs())
}

fn hours(row: &QueryResult, column: &str) -> Result<Option<f64>, StoreError> {
    let micros: Option<f64> = row.try_get("", column)?;
    Ok(micros.map(|micros| micros / 3_600e6))
}

/// A report is wanted, under an id that none has yet.
pub(crate) async fn requested(tx: &impl ConnectionTrait, event: &NewEvent, wanted: &Requested) -> Result<(), DbErr> {
    let row = row::Model {
        id: wanted.report.as_str().to_owned(),
        state: State::Requested.as_str().to_owned(),
        report_type: wanted.report_type.clone(),
        format: wanted.format.clone(),
        from_at: Some(micros(wanted.from)),
        to_at: Some(micros(wanted.to)),
        content: None,
        data_points: None,
        error: None,
        requested_at: micros(event.at),
        generated_at: None,
        correlation: event.correlation.as_str().to_owned(),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// A report was made, or could not be. It may be one that nobody asked for: a timer did. What is made twice of one
/// request, when the first time was not seen to the end, is stored once.
pub(crate) async fn generated(tx: &impl ConnectionTrait, event: &NewEvent, made: &Generated) -> Result<(), DbErr> {
    let state = if made.error.is_none() { State::Ready } else { State::Failed };
    let row = row::Model {
        id: made.report.as_str().to_owned(),
        state: state.as_str().to_owned(),
        report_type: made.report_type.clone(),
        format: made.format.clone(),
        from_at: made.from.map(micros),
        to_at: made.to.map(micros),
        content: Some(made.content.clone()),
        data_points: Some(made.data_points.cast_signed()),
        error: made.error.clone(),
        requested_at: micros(event.at),
        generated_at: Some(micros(event.at)),
        correlation: event.correlation.as_str().to_owned(),
    };
    row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(row::Column::Id)
                .update_columns([
                    row::Column::State,
                    row::Column::ReportType,
                    row::Column::Format,
                    row::Column::Content,
                    row::Column::DataPoints,
                    row::Column::Error,
                    row::Column::GeneratedAt,
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
    use crate::story::{Story, anomaly, case, completed, order, scheduled, second, started, validated};
    use domain::Event;
    use domain::work_order::Held;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const DAY: i64 = 86_400;

    /// `count` of everything, by what it is.
    fn pairs<T: Clone>(counts: &[Count<T>]) -> Vec<(T, u64)> {
        counts.iter().map(|count| (count.of.clone(), count.count)).collect()
    }

    #[tokio::test]
    async fn a_report_is_wanted_once_under_its_id_and_made() -> Outcome {
        let mut story = Story::begin().await?;
        let wanted = || {
            Event::ReportRequested(Requested {
                report: "r-1".into(),
                report_type: "system_health".to_owned(),
                format: "json".to_owned(),
                from: second(0),
                to: second(DAY),
            })
        };
        let made = |report: &str, error: Option<&str>| {
            Event::ReportGenerated(Generated {
                notice: None,
                from: (report == "r-2").then(|| second(10)),
                to: (report == "r-2").then(|| second(20)),
                report: report.into(),
                report_type: "system_health".to_owned(),
                format: "json".to_owned(),
                content: "{}".to_owned(),
                data_points: 12,
                error: error.map(str::to_owned),
            })
        };
        let id = ReportId::from("r-1");
        story.tell(1, None, wanted()).await?;
        assert_eq!(get(&story.history, &id).await?.map(|report| report.state), Some(State::Requested));
        story.tell(2, None, made("r-1", None)).await?;
        let report = get(&story.history, &id).await?.expect("it was made");
        assert_eq!((report.state, report.to, report.data_points), (State::Ready, Some(second(DAY)), Some(12)));
        assert_eq!((report.requested_at, report.generated_at), (second(1), Some(second(2))));
        assert!(story.tell(3, None, wanted()).await.is_err(), "another one has that id");
        assert_eq!(get(&story.history, &id).await?, Some(report), "which stays as it was");
        // Made again after a crash it is the same report; so is one of a timer, which says itself what it covers.
        story.tell(4, None, made("r-1", Some("no data"))).await?;
        for _ in 0..2 {
            story.tell(5, None, made("r-2", None)).await?;
        }
        let of_timer = get(&story.history, &ReportId::from("r-2")).await?.expect("it was made");
        assert_eq!((of_timer.from, of_timer.to), (Some(second(10)), Some(second(20))));
        let first = list(&story.history, &Start::default(), 1).await?;
        let rest = list(&story.history, &Start::After(first.next.expect("there is one more")), 10).await?;
        assert_eq!((first.rows[0].state, rest.rows[0].state, rest.rows.len()), (State::Ready, State::Failed, 1));
        Ok(())
    }

    #[tokio::test]
    async fn anomalies_are_counted_by_day_and_kind() -> Outcome {
        // Given three anomalies on one day, one two days later, and one outside,
        let mut story = Story::begin().await?;
        for (at, asset) in [(0, "pump-1"), (10, "pump-1"), (20, "pump-2"), (2 * DAY, "pump-1"), (9 * DAY, "pump-1")] {
            let detected = story.tell(at, None, Event::AnomalyDetected(anomaly(at, asset))).await?;
            if at < 20 {
                story.tell(at, None, validated(at, asset, detected, (at == 0).then(|| case(1)))).await?;
            }
        }
        let (from, to) = (second(0), second(3 * DAY));
        let counts = anomaly_counts(&story.history, from, to).await?;
        assert_eq!((counts.total, counts.n_sensors), (4, 2));
        assert_eq!(pairs(&counts.by_sensor_type), [(SensorType::Temperature, 4)]);
        assert_eq!(pairs(&counts.by_aspect), [(Aspect::Level, 4)]);
        assert_eq!(pairs(&counts.by_verdict), [(Verdict::CredibleAnomaly, 1), (Verdict::FalsePositiveSuspected, 1)]);
        // The story begins on 2023-11-14 at 22:13:20.
        let days = pairs(&anomalies_per_day(&story.history, from, to).await?);
        let day = |text: &str| text.parse::<Timestamp>().expect("a day");
        assert_eq!(days, [(day("2023-11-14T00:00:00Z"), 3), (day("2023-11-16T00:00:00Z"), 1)]);
        Ok(())
    }

    #[tokio::test]
    async fn work_is_counted_by_state_technician_and_time() -> Outcome {
        // Given an order for a case that is done, one that is late, and one that is to come,
        let mut story = Story::begin().await?;
        story.open(0, 1, "pump-1").await?;
        let orders = [
            scheduled(1, Some(1), "tech-1", 3_600, 7_200),
            scheduled(2, None, "tech-1", 10_800, 14_400),
            scheduled(3, None, "tech-2", 2 * DAY, 2 * DAY + 7_200),
        ];
        for order in orders {
            story.tell(0, None, Event::MaintenanceScheduled(order)).await?;
        }
        let held = Event::WorkOrderHeld(Held {
            work_order: order(1),
            case: Some(case(1)),
            asset: "pump-1".into(),
            by: "shift".to_owned(),
            reason: "no seal in stock".to_owned(),
        });
        // Work began before the time that was booked, and rested for a while.
        story.tell(900, None, started(1, Some(case(1)))).await?;
        story.tell(1_000, None, held).await?;
        story.tell(4_600, None, started(1, Some(case(1)))).await?;
        story.tell(9_000, None, completed(1, Some(case(1)), 9_000, true)).await?;
        let counts = maintenance_counts(&story.history, second(0), second(DAY)).await?;
        assert_eq!((counts.total, counts.completed, counts.pending, counts.overdue), (3, 1, 2, 1));
        assert_eq!(counts.mean_booking_delay_hours, Some((1.0 + 3.0 + 48.0) / 3.0));
        assert_eq!((counts.mean_work_hours, counts.mean_repair_hours), (Some(1.25), Some(2.5)));
        let load = |technician: &str, n_orders| Load { technician: technician.into(), n_orders, booked_hours: 2.0 };
        assert_eq!(counts.by_technician, [load("tech-1", 2), load("tech-2", 1)]);
        let none = maintenance_counts(&story.history, second(5 * DAY), second(6 * DAY)).await?;
        assert_eq!((none.total, none.mean_work_hours, none.by_technician.len()), (0, None, 0));
        Ok(())
    }

    #[tokio::test]
    async fn cases_and_the_system_are_counted() -> Outcome {
        let mut story = Story::begin().await?;
        story.sensor(1, "pump-1/temperature", "pump-1", SensorType::Temperature, DAY).await?;
        story.sensor(2, "pump-2/temperature", "pump-2", SensorType::Temperature, 10).await?;
        story.open(0, 1, "pump-1").await?;
        story.open(100, 2, "pump-2").await?;
        story.close(7_200, 1).await?;
        let counts = case_counts(&story.history, second(0), second(DAY)).await?;
        assert_eq!((counts.opened, counts.mean_open_hours), (2, Some(2.0)));
        assert_eq!(pairs(&counts.by_state), [(cases::State::Closed, 1), (cases::State::Open, 1)]);
        assert_eq!(pairs(&counts.by_priority), [(Priority::High, 2)]);
        assert_eq!(pairs(&counts.by_resolution), [(Resolution::ReturnedToNormal, 1)]);
        let system = system_counts(&story.history, second(50), second(DAY)).await?;
        let expected = SystemCounts {
            n_sensors: 2,
            n_active_sensors: 1,
            n_readings: 0,
            mean_quality: None,
            n_anomalies: 0,
            n_cases: 1,
            n_critical_cases: 0,
            n_open_cases: 1,
            n_dead_letters: 0,
        };
        assert_eq!(system, expected);
        Ok(())
    }
}
