//! Figures of maintenance, each with what it is divided by. Counted from the store at the time of the question.

use crate::instants::micros;
use crate::{History, StoreError, sql, texts};
use domain::work_order::{Completed, Scheduled};
use domain::{AssetId, Timestamp};
use schemars::JsonSchema;
use sea_orm::Value;
use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Kpi {
    /// Short name.
    pub name: &'static str,
    /// Numerator divided by denominator; absent when there is nothing to divide by.
    pub value: Option<f64>,
    /// Unit of the value: `hours`, or `share` from 0 to 1.
    pub unit: &'static str,
    /// What is divided.
    pub numerator: f64,
    /// By what.
    pub denominator: f64,
    /// Both, in words.
    pub formula: &'static str,
}

fn kpi(name: &'static str, unit: &'static str, numerator: f64, denominator: f64, formula: &'static str) -> Kpi {
    let value = (0.0 < denominator).then(|| numerator / denominator);
    Kpi { name, value, unit, numerator, denominator, formula }
}

const MICROS_PER_HOUR: f64 = 3_600_000_000.0;

/// The figures of the time from `from` to `to`, of one asset if one is named.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    asset: Option<&AssetId>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Kpi>, StoreError> {
    let period = Period { history, asset: asset.map_or("", AssetId::as_str), from: micros(from), to: micros(to) };
    // Time in which an asset was watched: from its oldest reading in the period to its newest.
    let watched = period
        .sum(
            "SELECT SUM(hours) AS n FROM (SELECT \
             MAX(CASE WHEN last_at < $2 THEN last_at ELSE $2 END) \
             - MIN(CASE WHEN first_at > $1 THEN first_at ELSE $1 END) AS hours \
             FROM sensors WHERE reading_count > 0 AND first_at < $2 AND $1 < last_at AND ($3 = '' OR asset = $3) \
             GROUP BY asset) AS spans",
        )
        .await?
        / MICROS_PER_HOUR;
    let repaired = "FROM work_orders WHERE completion IS NOT NULL AND $1 <= completed_at AND completed_at < $2 \
                    AND ($3 = '' OR asset = $3)";
    let (mut n_repairs, mut n_faults, mut repair_hours, mut n_on_time, mut n_planned) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let select = format!("SELECT completion, data {repaired}");
    for row in sql::rows(history.db(), select, period.values()).await? {
        let completion: Completed = texts::parsed(&row.try_get::<String>("", "completion")?)?;
        let order: Scheduled = texts::parsed(&row.try_get::<String>("", "data")?)?;
        n_repairs += 1.0;
        n_planned += f64::from(u8::from(!order.proposal.maintenance_type.contains("corrective")));
        n_on_time += f64::from(u8::from(completion.completed_at <= order.end_at));
        if completion.fault_found {
            n_faults += 1.0;
            repair_hours += completion.duration_hours.unwrap_or(0.0);
        }
    }
    let opened = "FROM cases WHERE $1 <= opened_at AND opened_at < $2 AND ($3 = '' OR asset = $3)";
    let n_cases = period.sum(&format!("SELECT COUNT(*) AS n {opened}")).await?;
    let acknowledged = format!("{opened} AND acknowledged_at IS NOT NULL");
    let n_acknowledged = period.sum(&format!("SELECT COUNT(*) AS n {acknowledged}")).await?;
    let waited = period.sum(&format!("SELECT SUM(acknowledged_at - opened_at) AS n {acknowledged}")).await?;
    let n_recurring = period.sum(&format!("SELECT COUNT(*) AS n {opened} AND recurrence_of IS NOT NULL")).await?;
    let closed = format!("{opened} AND resolution = 'repaired'");
    let n_repaired_cases = period.sum(&format!("SELECT COUNT(*) AS n {closed}")).await?;
    let to_repair = period.sum(&format!("SELECT SUM(closed_at - opened_at) AS n {closed}")).await?;
    Ok(vec![
        kpi(
            "mtbf",
            "hours",
            (watched - repair_hours).max(0.0),
            n_faults,
            "hours in which assets were watched, without hours of repair, by repairs that found a fault",
        ),
        kpi("mttr", "hours", repair_hours, n_faults, "hours of repair by repairs that found a fault"),
        kpi(
            "availability",
            "share",
            (watched - repair_hours).max(0.0),
            watched,
            "hours in which assets were watched, without hours of repair, by hours in which they were watched",
        ),
        kpi(
            "no_fault_found_rate",
            "share",
            n_repairs - n_faults,
            n_repairs,
            "completed orders that found no fault by completed orders",
        ),
        kpi(
            "schedule_compliance",
            "share",
            n_on_time,
            n_repairs,
            "orders completed by the end that was booked, by completed orders",
        ),
        kpi(
            "planned_share",
            "share",
            n_planned,
            n_repairs,
            "completed orders that were not corrective by completed orders",
        ),
        kpi(
            "time_to_acknowledge",
            "hours",
            waited / MICROS_PER_HOUR,
            n_acknowledged,
            "hours from the opening of a case to its acknowledgement by acknowledged cases",
        ),
        kpi(
            "time_to_resolve",
            "hours",
            to_repair / MICROS_PER_HOUR,
            n_repaired_cases,
            "hours from the opening of a case to its repair by repaired cases",
        ),
        kpi("recurrence_rate", "share", n_recurring, n_cases, "cases that repeat an earlier one by cases"),
    ])
}

/// What is counted.
struct Period<'a> {
    history: &'a History,
    /// Empty for every asset.
    asset: &'a str,
    from: i64,
    to: i64,
}

impl Period<'_> {
    fn values(&self) -> [Value; 3] {
        [self.from.into(), self.to.into(), self.asset.into()]
    }

    /// The one number `n` that `select` gives, 0 for none.
    async fn sum(&self, select: &str) -> Result<f64, StoreError> {
        let row = sql::row(self.history.db(), select, self.values()).await?;
        let n: Option<i64> = row.map_or(Ok(None), |row| row.try_get("", "n"))?;
        Ok(n.unwrap_or(0) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, completed, scheduled, second, started};
    use domain::Event;
    use domain::case::Acknowledged;
    use domain::reading::SensorType;

    #[tokio::test]
    async fn each_figure_tells_what_it_is_divided_by() -> Result<(), Box<dyn std::error::Error>> {
        // Given two sensors of one asset that was watched for 100 hours, a repair of 1.5 hours, and one in vain,
        let mut story = Story::begin().await?;
        let hours = |hours: i64| hours * 3_600;
        story.sensor(1, "pump-1/temperature", "pump-1", SensorType::Temperature, hours(100)).await?;
        story.sensor(2, "pump-1/pressure", "pump-1", SensorType::Pressure, hours(50)).await?;
        for (id, fault_found) in [(1, true), (2, false)] {
            story.open(hours(10), id, "pump-1").await?;
            let seen = Acknowledged { case: case(id), by: "shift".to_owned(), reason: None };
            story.tell(hours(12), None, Event::CaseAcknowledged(seen)).await?;
            let order = scheduled(id, Some(id), "tech-1", hours(20), hours(24));
            story.tell(hours(13), None, Event::MaintenanceScheduled(order)).await?;
            story.tell(hours(20), None, started(id, Some(case(id)))).await?;
            story.tell(hours(22), None, completed(id, Some(case(id)), hours(22), fault_found)).await?;
            story.close(hours(22), id).await?;
        }
        // when the figures are asked for,
        let kpis = list(&story.history, None, second(0), second(hours(1_000))).await?;
        let figure = |name: &str| {
            let kpi = kpis.iter().find(|kpi| kpi.name == name).unwrap_or_else(|| panic!("no {name}"));
            (kpi.numerator, kpi.denominator, kpi.value)
        };
        // then they are these.
        assert_eq!(figure("mtbf"), (98.5, 1.0, Some(98.5)));
        assert_eq!(figure("mttr"), (1.5, 1.0, Some(1.5)));
        assert_eq!(figure("availability"), (98.5, 100.0, Some(0.985)));
        assert_eq!(figure("no_fault_found_rate"), (1.0, 2.0, Some(0.5)));
        assert_eq!(figure("schedule_compliance"), (2.0, 2.0, Some(1.0)));
        assert_eq!(figure("time_to_acknowledge"), (4.0, 2.0, Some(2.0)));
        assert_eq!(figure("recurrence_rate"), (0.0, 2.0, Some(0.0)));
        // Where nothing happened there is nothing to divide by.
        let none = list(&story.history, Some(&"press".into()), second(0), second(hours(1_000))).await?;
        assert!(none.iter().all(|kpi| kpi.value.is_none() && kpi.numerator == 0.0), "{none:?}");
        Ok(())
    }
}
