//! Versions of each sensor's detector, and which of them is the champion.
//!
//! **Invariant**: at most one champion per sensor, held by a partial unique index.

use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::model::{Comparison, Promoted, Refused, Trained};
use domain::{ModelId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "models")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub version: i64,
        pub sensor: String,
        pub state: String,
        pub comparison: String,
        pub artefact: String,
        pub trained_at: i64,
        pub decided_at: Option<i64>,
        pub reason: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What became of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was fitted, nothing more.
    Challenger,
    /// It is in use.
    Champion,
    /// It was in use.
    Archived,
    /// It was no better than the champion.
    Rejected,
}

impl State {
    /// The name as it stands in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Challenger => "challenger",
            Self::Champion => "champion",
            Self::Archived => "archived",
            Self::Rejected => "rejected",
        }
    }
}

/// One version of one model.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Model {
    /// The version's own id.
    pub id: ModelId,
    /// Name of the model: `stream_detector/<sensor>`.
    pub name: String,
    /// 1 is the first version of that name.
    pub version: u32,
    /// The sensor.
    pub sensor: SensorId,
    /// What became of it.
    pub state: State,
    /// How it did on data that it had not seen.
    pub comparison: Comparison,
    /// The fitted parameters, as the detector reads them.
    pub artefact: serde_json::Value,
    /// When it was fitted (receive time).
    pub trained_at: Timestamp,
    /// When it was promoted or rejected.
    pub decided_at: Option<Timestamp>,
    /// Why, in words.
    pub reason: Option<String>,
}

impl TryFrom<row::Model> for Model {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: texts::id(&row.id)?,
            name: row.name,
            version: u32::try_from(row.version).map_err(|error| StoreError::Corrupt(error.to_string()))?,
            sensor: SensorId::from(row.sensor),
            state: texts::named(&row.state)?,
            comparison: texts::parsed(&row.comparison)?,
            artefact: texts::parsed(&row.artefact)?,
            trained_at: timestamp(row.trained_at)?,
            decided_at: row.decided_at.map(timestamp).transpose()?,
            reason: row.reason,
        })
    }
}

/// Models, of one state if one is named, by name and then newest version first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(
    history: &History,
    state: Option<State>,
    limit: usize,
    offset: usize,
) -> Result<Vec<Model>, StoreError> {
    let rows = row::Entity::find()
        .apply_if(state, |rows, state| rows.filter(row::Column::State.eq(state.as_str())))
        .order_by_asc(row::Column::Name)
        .order_by_desc(row::Column::Version)
        .limit(limit as u64)
        .offset(offset as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Model::try_from).collect()
}

/// Versions of one model, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn versions(history: &History, name: &str, limit: usize) -> Result<Vec<Model>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::Name.eq(name))
        .order_by_desc(row::Column::Version)
        .limit(limit as u64)
        .all(history.db())
        .await?;
    rows.into_iter().map(Model::try_from).collect()
}

/// One version.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: ModelId) -> Result<Option<Model>, StoreError> {
    row::Entity::find_by_id(id.to_string()).one(history.db()).await?.map(Model::try_from).transpose()
}

/// The model in use for one sensor, if one was ever promoted.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn champion(history: &History, sensor: &SensorId) -> Result<Option<Model>, StoreError> {
    let row = row::Entity::find()
        .filter(row::Column::Sensor.eq(sensor.as_str()))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .one(history.db())
        .await?;
    row.map(Model::try_from).transpose()
}

/// A challenger was fitted.
pub(crate) async fn trained(tx: &impl ConnectionTrait, event: &NewEvent, trained: &Trained) -> Result<(), DbErr> {
    let newest: Option<i64> = row::Entity::find()
        .select_only()
        .column(row::Column::Version)
        .filter(row::Column::Name.eq(trained.name.as_str()))
        .order_by_desc(row::Column::Version)
        .into_tuple()
        .one(tx)
        .await?;
    let row = row::Model {
        id: trained.model.to_string(),
        name: trained.name.clone(),
        version: newest.unwrap_or(0) + 1,
        sensor: trained.sensor.as_str().to_owned(),
        state: State::Challenger.as_str().to_owned(),
        comparison: texts::json(&trained.comparison)?,
        artefact: texts::json(&trained.artefact)?,
        trained_at: micros(event.at),
        decided_at: None,
        reason: None,
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// The challenger is the champion from now on.
pub(crate) async fn promoted(tx: &impl ConnectionTrait, event: &NewEvent, promoted: &Promoted) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(State::Archived.as_str()))
        .filter(row::Column::Sensor.eq(promoted.sensor.as_str()))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .exec(tx)
        .await?;
    decided(event, State::Champion, &promoted.reason)
        .col_expr(row::Column::Artefact, Expr::value(texts::json(&promoted.artefact)?))
        .filter(row::Column::Id.eq(promoted.model.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

/// The challenger was no better.
pub(crate) async fn rejected(tx: &impl ConnectionTrait, event: &NewEvent, refused: &Refused) -> Result<(), DbErr> {
    decided(event, State::Rejected, &refused.reason)
        .filter(row::Column::Id.eq(refused.model.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

fn decided(event: &NewEvent, state: State, reason: &str) -> sea_orm::UpdateMany<row::Entity> {
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(state.as_str()))
        .col_expr(row::Column::DecidedAt, Expr::value(micros(event.at)))
        .col_expr(row::Column::Reason, Expr::value(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, second};
    use domain::Event;
    use serde_json::json;
    use uuid::Uuid;

    fn trained(id: u128, sensor: &str) -> Event {
        Event::ModelTrained(Trained {
            model: ModelId(Uuid::from_u128(id)),
            name: format!("stream_detector/{sensor}"),
            sensor: sensor.into(),
            comparison: Comparison { champion_loss: 0.5, challenger_loss: 0.25, n_train: 300, n_holdout: 100 },
            artefact: json!({"id": id.to_string()}),
        })
    }

    fn promoted(id: u128, sensor: &str) -> Event {
        Event::ModelPromoted(Promoted {
            model: ModelId(Uuid::from_u128(id)),
            sensor: sensor.into(),
            artefact: json!({"id": id.to_string()}),
            reason: "half the loss".to_owned(),
        })
    }

    #[tokio::test]
    async fn a_sensor_has_one_champion() -> Result<(), Box<dyn std::error::Error>> {
        // Given three versions, of which the second replaced the first and the third was no better,
        let mut story = Story::begin().await?;
        let sensor = SensorId::from("a");
        assert_eq!(champion(&story.history, &sensor).await?, None);
        story.tell(1, None, trained(1, "a")).await?;
        story.tell(2, None, promoted(1, "a")).await?;
        story.tell(3, None, trained(2, "a")).await?;
        story.tell(4, None, promoted(2, "a")).await?;
        story.tell(5, None, trained(3, "a")).await?;
        let worse = Refused { model: ModelId(Uuid::from_u128(3)), sensor: sensor.clone(), reason: "worse".to_owned() };
        story.tell(6, None, Event::ModelRejected(worse)).await?;
        story.tell(7, None, trained(9, "b")).await?;
        // then that one is in use, and every version tells what became of it.
        let best = champion(&story.history, &sensor).await?.expect("one was promoted");
        assert_eq!((best.id, best.version, best.decided_at), (ModelId(Uuid::from_u128(2)), 2, Some(second(4))));
        assert_eq!((best.artefact, best.reason.as_deref()), (json!({"id": "2"}), Some("half the loss")));
        let versions = versions(&story.history, "stream_detector/a", 10).await?;
        let states: Vec<_> = versions.iter().map(|model| (model.version, model.state)).collect();
        assert_eq!(states, [(3, State::Rejected), (2, State::Champion), (1, State::Archived)]);
        assert_eq!(list(&story.history, None, 10, 0).await?.len(), 4);
        assert_eq!(list(&story.history, Some(State::Challenger), 10, 0).await?.len(), 1);
        assert_eq!(get(&story.history, ModelId(Uuid::from_u128(9))).await?.map(|model| model.version), Some(1));
        Ok(())
    }
}
