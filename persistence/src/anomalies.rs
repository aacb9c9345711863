//! Anomalous readings, and what validation made of them.

use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::anomaly::{Anomaly, Reason, Validated, Verdict};
use domain::{AssetId, CaseId, CorrelationId, EventId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};
use serde::Serialize;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "anomalies")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub sensor: String,
        pub asset: String,
        pub sensor_type: String,
        pub taken_at: i64,
        pub aspect: String,
        pub score: f64,
        pub data: String,
        pub correlation: String,
        pub at: i64,
        pub verdict: Option<String>,
        pub confidence: Option<f64>,
        pub reasons: Option<String>,
        pub case_id: Option<String>,
        pub validated_event: Option<String>,
        pub validated_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An anomaly as far as its story went.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Record {
    /// The event that reported it.
    pub event: EventId,
    /// When we learnt of it.
    pub at: Timestamp,
    /// The request it came of.
    pub correlation: CorrelationId,
    /// What was seen.
    #[serde(flatten)]
    pub anomaly: Anomaly,
    /// What validation made of it; absent until it did.
    pub validation: Option<Validation>,
}

/// What validation made of an anomaly.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Validation {
    /// The event that said so.
    pub event: EventId,
    /// When.
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// Confidence that it is real, 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The case it is evidence of, if any.
    pub case: Option<CaseId>,
}

impl TryFrom<row::Model> for Record {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        let validation = match (row.validated_event, row.validated_at, row.verdict, row.confidence, row.reasons) {
            (Some(event), Some(at), Some(verdict), Some(confidence), Some(reasons)) => Some(Validation {
                event: texts::id(&event)?,
                at: timestamp(at)?,
                verdict: texts::named(&verdict)?,
                confidence,
                reasons: texts::parsed(&reasons)?,
                case: texts::id_or_none(row.case_id.as_deref())?,
            }),
            _ => None,
        };
        Ok(Self {
            event: texts::id(&row.id)?,
            at: timestamp(row.at)?,
            correlation: CorrelationId::from(row.correlation),
            anomaly: texts::parsed(&row.data)?,
            validation,
        })
    }
}

/// Which anomalies to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one sensor.
    pub sensor: Option<SensorId>,
    /// Those of one asset.
    pub asset: Option<AssetId>,
    /// Those that are evidence of one case.
    pub case: Option<CaseId>,
    /// Those of one verdict.
    pub verdict: Option<Verdict>,
    /// Source time at least this.
    pub from: Option<Timestamp>,
    /// Source time at most this.
    pub to: Option<Timestamp>,
    /// Receive time at least this.
    pub received_from: Option<Timestamp>,
}

/// Anomalies, newest source time first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, filter: &Filter, limit: usize, offset: usize) -> Result<Vec<Record>, StoreError> {
    let rows = chosen(filter)
        .order_by_desc(row::Column::TakenAt)
        .order_by_desc(row::Column::Id)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Record::try_from).collect()
}

/// How many anomalies there are.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn count(history: &History, filter: &Filter) -> Result<u64, StoreError> {
    Ok(chosen(filter).count(history.db()).await?)
}

fn chosen(filter: &Filter) -> sea_orm::Select<row::Entity> {
    row::Entity::find()
        .apply_if(filter.sensor.as_ref(), |rows, sensor| rows.filter(row::Column::Sensor.eq(sensor.as_str())))
        .apply_if(filter.asset.as_ref(), |rows, asset| rows.filter(row::Column::Asset.eq(asset.as_str())))
        .apply_if(filter.case, |rows, case| rows.filter(row::Column::CaseId.eq(case.to_string())))
        .apply_if(filter.verdict, |rows, verdict| rows.filter(row::Column::Verdict.eq(verdict.as_str())))
        .apply_if(filter.from, |rows, from| rows.filter(row::Column::TakenAt.gte(micros(from))))
        .apply_if(filter.to, |rows, to| rows.filter(row::Column::TakenAt.lte(micros(to))))
        .apply_if(filter.received_from, |rows, from| rows.filter(row::Column::At.gte(micros(from))))
}

/// Anomalies of one sensor measured at `since` or later, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn recent(
    history: &History,
    sensor: &SensorId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let filter = Filter { sensor: Some(sensor.clone()), from: Some(since), ..Filter::default() };
    list(history, &filter, limit, 0).await
}

/// Anomalies of one asset measured at `since` or later, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn recent_on_asset(
    history: &History,
    asset: &AssetId,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let filter = Filter { asset: Some(asset.clone()), from: Some(since), ..Filter::default() };
    list(history, &filter, limit, 0).await
}

/// Evidence of one case, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn of_case(history: &History, case: CaseId, limit: usize) -> Result<Vec<Record>, StoreError> {
    list(history, &Filter { case: Some(case), ..Filter::default() }, limit, 0).await
}

/// An anomaly was reported.
pub(crate) async fn detected(tx: &impl ConnectionTrait, event: &NewEvent, anomaly: &Anomaly) -> Result<(), DbErr> {
    let row = reported(event, event.id, anomaly)?;
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// An anomaly was judged.
pub(crate) async fn validated(tx: &impl ConnectionTrait, event: &NewEvent, validated: &Validated) -> Result<(), DbErr> {
    let row = row::Model {
        verdict: Some(validated.verdict.as_str().to_owned()),
        confidence: Some(validated.confidence),
        reasons: Some(texts::json(&validated.reasons)?),
        case_id: validated.case.map(|case| case.to_string()),
        validated_event: Some(event.id.to_string()),
        validated_at: Some(micros(event.at)),
        ..reported(event, validated.anomaly_event, &validated.anomaly)?
    };
    row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(row::Column::Id)
                .update_columns([
                    row::Column::Verdict,
                    row::Column::Confidence,
                    row::Column::Reasons,
                    row::Column::CaseId,
                    row::Column::ValidatedEvent,
                    row::Column::ValidatedAt,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

fn reported(event: &NewEvent, id: EventId, anomaly: &Anomaly) -> Result<row::Model, DbErr> {
    Ok(row::Model {
        id: id.to_string(),
        sensor: anomaly.sensor.as_str().to_owned(),
        asset: anomaly.asset.as_str().to_owned(),
        sensor_type: anomaly.sensor_type.as_str().to_owned(),
        taken_at: micros(anomaly.taken_at),
        aspect: anomaly.aspect.as_str().to_owned(),
        score: anomaly.score,
        data: texts::json(anomaly)?,
        correlation: event.correlation.as_str().to_owned(),
        at: micros(event.at),
        verdict: None,
        confidence: None,
        reasons: None,
        case_id: None,
        validated_event: None,
        validated_at: None,
    })
}

/// Earlier anomalies turn out to be evidence of `case`. Tells the events that judged them.
pub(crate) async fn adopted(
    tx: &impl ConnectionTrait,
    case: CaseId,
    anomalies: &[EventId],
) -> Result<Vec<EventId>, DbErr> {
    if anomalies.is_empty() {
        return Ok(Vec::new());
    }
    let those = row::Column::Id.is_in(anomalies.iter().map(EventId::to_string));
    let validated: Vec<Option<String>> = row::Entity::find()
        .select_only()
        .column(row::Column::ValidatedEvent)
        .filter(those.clone())
        .into_tuple()
        .all(tx)
        .await?;
    row::Entity::update_many()
        .col_expr(row::Column::CaseId, Expr::value(case.to_string()))
        .filter(those)
        .exec(tx)
        .await?;
    let id = |text: String| text.parse().map_err(|_| DbErr::Type(format!("event id {text:?}")));
    validated.into_iter().flatten().map(id).collect()
}

/// How much evidence of `case` is stored.
pub(crate) async fn n_of_case(tx: &impl ConnectionTrait, case: CaseId) -> Result<i64, DbErr> {
    let count = row::Entity::find().filter(row::Column::CaseId.eq(case.to_string())).count(tx).await?;
    Ok(count.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, anomaly, case, second, validated};
    use domain::Event;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn an_anomaly_is_kept_with_its_verdict() -> Outcome {
        // Given an anomaly that is judged later, and one that nobody has judged,
        let mut story = Story::begin().await?;
        let first = story.tell(10, None, Event::AnomalyDetected(anomaly(1, "pump-1"))).await?;
        let second_one = story.tell(11, None, Event::AnomalyDetected(anomaly(5, "pump-1"))).await?;
        story.tell(11, None, Event::AnomalyDetected(anomaly(5, "pump-2"))).await?;
        let judged = story.tell(12, Some(first), validated(1, "pump-1", first, Some(case(1)))).await?;
        // when the sensor's are asked for,
        let sensor = SensorId::from("pump-1/temperature");
        let recent_ones = recent(&story.history, &sensor, second(0), 10).await?;
        // then the newest measurement is first, and both are as they were said.
        assert_eq!(recent_ones.iter().map(|record| record.event).collect::<Vec<_>>(), [second_one, first]);
        assert_eq!(recent_ones[0].validation, None);
        assert_eq!(recent_ones[1].anomaly, anomaly(1, "pump-1"));
        assert_eq!((recent_ones[1].at, recent_ones[1].correlation.as_str()), (second(10), "corr-1"));
        let validation = recent_ones[1].validation.as_ref().expect("it was judged");
        assert_eq!((validation.event, validation.at), (judged, second(12)));
        assert_eq!((validation.verdict, validation.case), (Verdict::CredibleAnomaly, Some(case(1))));
        assert_eq!(validation.reasons[0].rule, "quality");
        // And questions are bounded by source time, asset, case and verdict.
        assert_eq!(recent(&story.history, &sensor, second(2), 10).await?.len(), 1);
        assert_eq!(recent_on_asset(&story.history, &AssetId::from("pump-2"), second(0), 10).await?.len(), 1);
        assert_eq!(of_case(&story.history, case(1), 10).await?.len(), 1);
        assert_eq!(count(&story.history, &Filter::default()).await?, 3);
        let credible = Filter { verdict: Some(Verdict::CredibleAnomaly), to: Some(second(1)), ..Filter::default() };
        assert_eq!(list(&story.history, &credible, 10, 0).await?.len(), 1);
        assert_eq!(list(&story.history, &credible, 10, 1).await?.len(), 0);
        Ok(())
    }
}
