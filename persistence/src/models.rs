//! Versions of each model, which of them is the champion and was at what time, and what they said.
//!
//! A sensor's detector begins without a version: it learns by itself. What it had learnt when a challenger was first
//! fitted is kept as version 0, so that there is something to compare with and to go back to.
//!
//! **Invariant**: at most one champion per name, held by a partial unique index.

use crate::instants::{micros, timestamp};
use crate::unit::NewEvent;
use crate::{History, StoreError, sql, texts};
use domain::model::{Chosen, Comparison, Promoted, Refused, Registered, Trained};
use domain::{ModelId, SensorId, Timestamp};
use schemars::JsonSchema;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use serde::{Deserialize, Serialize};

/// The version that stands for what a sensor's detector learnt by itself.
const BY_ITSELF: i64 = 0;

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
        pub sha256: Option<String>,
        pub card: Option<String>,
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
    /// Name of the model: `stream_detector/<sensor>`, or what clients ask for.
    pub name: String,
    /// 1 is the first version of that name that was fitted; 0 is what a sensor's detector had learnt by itself before.
    pub version: u32,
    /// The sensor; empty for a model that is of none.
    pub sensor: SensorId,
    /// What became of it.
    pub state: State,
    /// How a sensor's detector did beside its champion; absent for other models, whose card tells.
    pub comparison: Option<Comparison>,
    /// The fitted parameters of a sensor's detector, as it reads them; null for other models.
    pub artefact: serde_json::Value,
    /// What the artefact of another model is kept under.
    pub sha256: Option<String>,
    /// What such a model learnt from, how well it does, and what it is not for.
    pub card: Option<serde_json::Value>,
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
            sha256: row.sha256,
            card: row.card.as_deref().map(texts::parsed).transpose()?,
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

/// The version that was put in use for one sensor, if one ever was: not what its detector learns by itself.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn champion(history: &History, sensor: &SensorId) -> Result<Option<Model>, StoreError> {
    let row = row::Entity::find()
        .filter(row::Column::Sensor.eq(sensor.as_str()))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .filter(row::Column::DecidedAt.is_not_null())
        .one(history.db())
        .await?;
    row.map(Model::try_from).transpose()
}

/// The version of `name` that answers, if one was ever chosen.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn champion_of(history: &History, name: &str) -> Result<Option<Model>, StoreError> {
    let row = row::Entity::find()
        .filter(row::Column::Name.eq(name))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .one(history.db())
        .await?;
    row.map(Model::try_from).transpose()
}

/// From when a version answered, and who wanted it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tenure {
    /// The version.
    pub model: ModelId,
    /// Since when (receive time); until the next one's.
    pub from: Timestamp,
    /// Who chose it.
    pub chosen_by: String,
    /// Why, in words.
    pub reason: String,
}

/// Which versions of `name` answered up to `until`, the newest first; the first of them did at that moment.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn tenures(history: &History, name: &str, until: Timestamp, limit: usize) -> Result<Vec<Tenure>, StoreError> {
    let select = "SELECT model, from_at, chosen_by, reason FROM model_tenures WHERE name = $1 AND from_at <= $2 \
                  ORDER BY from_at DESC, event DESC LIMIT $3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sql::rows(history.db(), select, [name.into(), micros(until).into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Tenure {
                model: texts::id(&row.try_get::<String>("", "model")?)?,
                from: timestamp(row.try_get("", "from_at")?)?,
                chosen_by: row.try_get("", "chosen_by")?,
                reason: row.try_get("", "reason")?,
            })
        })
        .collect()
}

/// The bytes that are kept under `sha256`.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn artefact(history: &History, sha256: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let found = sql::row(history.db(), "SELECT bytes FROM model_artefacts WHERE sha256 = $1", [sha256.into()]).await?;
    Ok(found.map(|row| row.try_get("", "bytes")).transpose()?)
}

/// What a model said of one row.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Predicted {
    /// The request.
    pub request: String,
    /// Which of its rows, from 0.
    pub row: i64,
    /// The model.
    pub name: String,
    /// The version that answered.
    pub version: String,
    /// Digest of its artefact.
    pub sha256: String,
    /// Digest of the features as they were given to the model.
    pub input_sha256: String,
    /// The class, or the value.
    pub prediction: f64,
    /// The probability of class 1, where there are classes.
    pub probability: Option<f64>,
    /// When.
    pub at: Timestamp,
}

/// What was said in answer to `request`, by row.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn predictions(history: &History, request: &str, limit: usize) -> Result<Vec<Predicted>, StoreError> {
    let select = "SELECT row_no, name, version, sha256, input_sha256, prediction, probability, at \
                  FROM model_predictions WHERE request = $1 ORDER BY row_no LIMIT $2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sql::rows(history.db(), select, [request.into(), limit.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Predicted {
                request: request.to_owned(),
                row: row.try_get("", "row_no")?,
                name: row.try_get("", "name")?,
                version: row.try_get("", "version")?,
                sha256: row.try_get("", "sha256")?,
                input_sha256: row.try_get("", "input_sha256")?,
                prediction: row.try_get("", "prediction")?,
                probability: row.try_get("", "probability")?,
                at: timestamp(row.try_get("", "at")?)?,
            })
        })
        .collect()
}

/// A challenger was fitted.
pub(crate) async fn trained(tx: &impl ConnectionTrait, event: &NewEvent, trained: &Trained) -> Result<(), DbErr> {
    if let Some(champion) = &trained.champion {
        learnt_by_itself(tx, event, trained, champion).await?;
    }
    let row = row::Model {
        id: trained.model.to_string(),
        name: trained.name.clone(),
        version: next_version(tx, &trained.name).await?,
        sensor: trained.sensor.as_str().to_owned(),
        state: State::Challenger.as_str().to_owned(),
        comparison: texts::json(&Some(&trained.comparison))?,
        artefact: texts::json(&trained.artefact)?,
        trained_at: micros(event.at),
        decided_at: None,
        reason: None,
        sha256: None,
        card: None,
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// Keeps what the challenger was compared with, unless somebody has put a version in use: then it was that one.
async fn learnt_by_itself(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    trained: &Trained,
    champion: &serde_json::Value,
) -> Result<(), DbErr> {
    let found = row::Entity::find()
        .filter(row::Column::Name.eq(trained.name.as_str()))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .one(tx)
        .await?;
    let artefact = texts::json(champion)?;
    match found {
        None => {
            let row = row::Model {
                id: event.id.to_string(),
                name: trained.name.clone(),
                version: BY_ITSELF,
                sensor: trained.sensor.as_str().to_owned(),
                state: State::Champion.as_str().to_owned(),
                comparison: "null".to_owned(),
                artefact,
                trained_at: micros(event.at),
                decided_at: None,
                reason: None,
                sha256: None,
                card: None,
            };
            tenure(tx, event, &row, event.source.as_ref(), "what the sensor's detector had learnt by itself").await?;
            row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
        }
        // It has gone on learning since the last challenger.
        Some(own) if own.decided_at.is_none() => {
            row::Entity::update_many()
                .col_expr(row::Column::Artefact, Expr::value(artefact))
                .col_expr(row::Column::TrainedAt, Expr::value(micros(event.at)))
                .filter(row::Column::Id.eq(own.id))
                .exec(tx)
                .await?;
        }
        Some(_) => {}
    }
    Ok(())
}

async fn next_version(tx: &impl ConnectionTrait, name: &str) -> Result<i64, DbErr> {
    let newest: Option<i64> = row::Entity::find()
        .select_only()
        .column(row::Column::Version)
        .filter(row::Column::Name.eq(name))
        .order_by_desc(row::Column::Version)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(newest.unwrap_or(0) + 1)
}

/// A version was trained and its artefact kept.
pub(crate) async fn registered(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    registered: &Registered,
) -> Result<(), DbErr> {
    let row = row::Model {
        id: registered.model.to_string(),
        name: registered.name.clone(),
        version: next_version(tx, &registered.name).await?,
        sensor: String::new(),
        state: State::Challenger.as_str().to_owned(),
        comparison: "null".to_owned(),
        artefact: "null".to_owned(),
        trained_at: micros(event.at),
        decided_at: None,
        reason: None,
        sha256: Some(registered.sha256.clone()),
        card: Some(texts::json(&registered.card)?),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

/// The challenger is the champion from now on.
pub(crate) async fn promoted(tx: &impl ConnectionTrait, event: &NewEvent, promoted: &Promoted) -> Result<(), DbErr> {
    let by = promoted.by.as_deref().unwrap_or(&event.source);
    enthrone(tx, event, promoted.model, by, &promoted.reason).await?;
    row::Entity::update_many()
        .col_expr(row::Column::Artefact, Expr::value(texts::json(&promoted.artefact)?))
        .filter(row::Column::Id.eq(promoted.model.to_string()))
        .exec(tx)
        .await?;
    Ok(())
}

/// A version was chosen.
pub(crate) async fn chosen(tx: &impl ConnectionTrait, event: &NewEvent, chosen: &Chosen) -> Result<(), DbErr> {
    enthrone(tx, event, chosen.model, &chosen.by, &chosen.reason).await
}

/// Makes `model` the champion of its name, and writes down since when.
async fn enthrone(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    model: ModelId,
    by: &str,
    reason: &str,
) -> Result<(), DbErr> {
    let Some(found) = row::Entity::find_by_id(model.to_string()).one(tx).await? else {
        return Err(DbErr::Custom(format!("there is no model {model}")));
    };
    row::Entity::update_many()
        .col_expr(row::Column::State, Expr::value(State::Archived.as_str()))
        .filter(row::Column::Name.eq(found.name.as_str()))
        .filter(row::Column::State.eq(State::Champion.as_str()))
        .exec(tx)
        .await?;
    decided(event, State::Champion, reason).filter(row::Column::Id.eq(model.to_string())).exec(tx).await?;
    tenure(tx, event, &found, by, reason).await
}

/// Writes down that `model` answers from `event` on.
async fn tenure(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    model: &row::Model,
    by: &str,
    reason: &str,
) -> Result<(), DbErr> {
    let insert = "INSERT INTO model_tenures (event, name, model, from_at, chosen_by, reason) \
                  VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        event.id.to_string().into(),
        model.name.clone().into(),
        model.id.clone().into(),
        micros(event.at).into(),
        by.into(),
        reason.into(),
    ];
    sql::execute(tx, insert, values).await?;
    Ok(())
}

/// Keeps an artefact under the digest of its bytes; one that is kept already stays.
pub(crate) async fn keep_artefact(tx: &impl ConnectionTrait, sha256: &str, bytes: &[u8]) -> Result<(), DbErr> {
    let insert = "INSERT INTO model_artefacts (sha256, bytes) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING";
    sql::execute(tx, insert, [sha256.into(), bytes.to_vec().into()]).await?;
    Ok(())
}

/// Keeps what models said.
pub(crate) async fn keep_predictions(tx: &impl ConnectionTrait, predictions: &[Predicted]) -> Result<(), DbErr> {
    let rows = predictions.iter().map(|said| {
        [
            said.request.clone().into(),
            said.row.into(),
            said.name.clone().into(),
            said.version.clone().into(),
            said.sha256.clone().into(),
            said.input_sha256.clone().into(),
            said.prediction.into(),
            said.probability.into(),
            micros(said.at).into(),
        ]
    });
    let head = "INSERT INTO model_predictions \
                (request, row_no, name, version, sha256, input_sha256, prediction, probability, at) VALUES ";
    sql::insert(tx, head, "", rows.collect()).await?;
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
            champion: None,
        })
    }

    fn promoted(id: u128, sensor: &str) -> Event {
        Event::ModelPromoted(Promoted {
            model: ModelId(Uuid::from_u128(id)),
            sensor: sensor.into(),
            artefact: json!({"id": id.to_string()}),
            by: None,
            reason: "half the loss".to_owned(),
        })
    }

    #[tokio::test]
    async fn it_is_known_which_version_answered_when() -> Result<(), Box<dyn std::error::Error>> {
        // Given two versions of which the first was chosen, then the second, then the first again,
        let mut story = Story::begin().await?;
        let registered = |id: u128| {
            Event::ModelRegistered(Registered {
                model: ModelId(Uuid::from_u128(id)),
                name: "pump".to_owned(),
                sha256: format!("digest-{id}"),
                card: json!({"n": id.to_string()}),
            })
        };
        let chosen = |id: u128| {
            Event::ChampionChosen(Chosen {
                model: ModelId(Uuid::from_u128(id)),
                name: "pump".to_owned(),
                by: "ana".to_owned(),
                reason: format!("try {id}"),
            })
        };
        for (at, event) in [registered(1), chosen(1), registered(2), chosen(2), chosen(1)].into_iter().enumerate() {
            story.tell(i64::try_from(at)? + 1, None, event).await?;
        }
        // then each moment names its own, with who wanted it.
        let live = async |at| -> Result<Option<Tenure>, StoreError> {
            Ok(tenures(&story.history, "pump", second(at), 1).await?.into_iter().next())
        };
        assert_eq!(live(1).await?, None);
        for (at, id) in [(2, 1), (3, 1), (4, 2), (5, 1), (99, 1)] {
            let tenure = live(at).await?.expect("one was chosen");
            assert_eq!((tenure.model, tenure.chosen_by.as_str()), (ModelId(Uuid::from_u128(id)), "ana"), "at {at}");
        }
        let champion = champion_of(&story.history, "pump").await?.expect("one was chosen");
        assert_eq!((champion.version, champion.sha256.as_deref()), (1, Some("digest-1")));
        assert!(story.tell(9, None, chosen(7)).await.is_err());
        Ok(())
    }

    #[tokio::test]
    async fn artefacts_and_predictions_are_kept() -> Result<(), Box<dyn std::error::Error>> {
        let story = Story::begin().await?;
        let db = story.history.db();
        for bytes in [b"one", b"two"] {
            keep_artefact(db, "digest", bytes).await?;
        }
        assert_eq!(artefact(&story.history, "digest").await?.as_deref(), Some(&b"one"[..]));
        assert_eq!(artefact(&story.history, "other").await?, None);
        let said = |row: i64| Predicted {
            request: "r".to_owned(),
            row,
            name: "pump".to_owned(),
            version: "2".to_owned(),
            sha256: "digest".to_owned(),
            input_sha256: "input".to_owned(),
            prediction: 1.0,
            probability: (row == 0).then_some(0.75),
            at: second(3),
        };
        keep_predictions(db, &[said(0), said(1)]).await?;
        assert_eq!(predictions(&story.history, "r", 10).await?, [said(0), said(1)]);
        Ok(())
    }

    #[tokio::test]
    async fn one_can_go_back_to_what_a_detector_learnt_by_itself() -> Result<(), Box<dyn std::error::Error>> {
        // Given a challenger that lost and one that won, both compared with what the detector knew at that time,
        let mut story = Story::begin().await?;
        let compared = |id: u128, knew: &str| {
            let Event::ModelTrained(one) = trained(id, "a") else { unreachable!() };
            Event::ModelTrained(Trained { champion: Some(json!({"knew": knew})), ..one })
        };
        let lost = Refused { model: ModelId(Uuid::from_u128(1)), sensor: "a".into(), reason: "worse".to_owned() };
        story.tell(1, None, compared(1, "little")).await?;
        story.tell(2, None, Event::ModelRejected(lost)).await?;
        let sensor = SensorId::from("a");
        assert_eq!(champion(&story.history, &sensor).await?, None);
        story.tell(3, None, compared(2, "more")).await?;
        story.tell(4, None, promoted(2, "a")).await?;
        // then version 0 answered until the winner did,
        let name = "stream_detector/a";
        let tenures = tenures(&story.history, name, second(9), 10).await?;
        let own = get(&story.history, tenures[1].model).await?.expect("it is kept");
        assert_eq!((tenures.len(), tenures[0].model), (2, ModelId(Uuid::from_u128(2))));
        assert_eq!((own.version, own.state, &own.artefact), (0, State::Archived, &json!({"knew": "more"})));
        // does so again when it is chosen, and is the one to beat from then on.
        let back = Event::ModelPromoted(Promoted {
            model: own.id,
            sensor: sensor.clone(),
            artefact: own.artefact,
            by: Some("ana".to_owned()),
            reason: "a fault was learnt".to_owned(),
        });
        story.tell(5, None, back).await?;
        story.tell(6, None, compared(3, "something else")).await?;
        let best = champion(&story.history, &sensor).await?.expect("it was chosen");
        assert_eq!((best.version, best.artefact), (0, json!({"knew": "more"})));
        let versions = versions(&story.history, name, 10).await?;
        assert_eq!(versions.iter().map(|model| model.version).collect::<Vec<_>>(), [3, 2, 1, 0]);
        Ok(())
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
