//! Versions that answer: found by name, read once, trained at their first use, chosen and called back.
//!
//! A version is read from the store once and then kept in memory under the digest of its artefact. A model of the
//! catalogue that has no version yet is trained when it is first asked for, from simulated rows; one training at a time.

use super::artefact::Artefact;
use super::catalogue::{self, Recipe, SEED, Source};
use super::fit::{Card, fit};
use super::mlflow::{Fetched, Listed, Mlflow, MlflowError, Remote};
use super::table::Table;
use analytics::trees::shap::Explainer;
use domain::model::{Chosen, Promoted, Registered};
use domain::{CorrelationId, Event, EventId, ModelId, Timestamp};
use persistence::admin::Change;
use persistence::models::{self, Model, Predicted};
use persistence::unit::{NewEvent, Refused};
use persistence::{Store, StoreError};
use serde::Deserialize as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;
use tracing::info;
use uuid::Uuid;

/// What the detector of one sensor was fitted on.
pub use analytics::stream::Baseline;

/// Who says what is said here.
const SOURCE: &str = "models";
/// Versions kept in memory.
const LOADED_MAX: usize = 64;
/// Versions of one model that are looked through for one.
const VERSIONS_MAX: usize = 1_000;

/// Makes simulated rows for a source with a seed.
pub type Rows = fn(Source, u64) -> Table;

/// A version that is read and ready.
#[derive(Debug)]
pub struct Loaded {
    /// The numbers.
    pub artefact: Artefact,
    /// For trees.
    pub explainer: Option<Explainer>,
}

/// A version that answers.
#[derive(Clone, Debug)]
pub struct Version {
    /// As it stands in the registry.
    pub model: Arc<Model>,
    /// Its numbers.
    pub loaded: Arc<Loaded>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The registry that a version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The store.
    Embedded,
    /// An MLflow server.
    Mlflow,
}

/// What became of a question for a version.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// It is there.
    Found(Box<Version>),
    /// No model is called so.
    NoModel,
    /// The model has no such version.
    NoVersion,
}

/// What a training led to.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The version as it stands in the registry.
    pub model: Model,
    /// Its card.
    pub card: Card,
    /// False when there was this version before.
    pub is_new: bool,
}

impl Trained {
    fn of(model: Model, is_new: bool) -> Result<Self, ServingError> {
        let card = model.card.as_ref().ok_or_else(|| anyhow::anyhow!("the version {} has no card", model.id))?;
        let card = Card::deserialize(card).map_err(anyhow::Error::new)?;
        Ok(Self { model, card, is_new })
    }
}

/// Why a version cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store did not take what was to be written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// What is stored cannot be used, or training failed.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
    /// MLflow has the version in use, and it must not be served.
    #[error("{0}")]
    Unserved(String),
    /// MLflow cannot be asked, and the store has nothing of that name.
    #[error("{0}")]
    Away(String),
}

/// Versions that answer. Clones share what they have read.
#[derive(Clone)]
pub struct Serving {
    store: Store,
    rows: Rows,
    remote: Remote,
    // Leaves: nothing is awaited while they are held.
    loaded: Arc<Mutex<HashMap<String, Arc<Loaded>>>>,
    resolved: Arc<Mutex<Known>>,
    training: Arc<tokio::sync::Mutex<()>>,
    trainings: TaskTracker,
}

/// Which version a name and a version mean, until something is said of any model. Only what is said here can change
/// it: detectors of single sensors, which agents promote, are not resolved.
#[derive(Default)]
struct Known {
    /// Times that something was said.
    n_changes: u64,
    versions: HashMap<(String, String), Version>,
}

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

impl Serving {
    /// Serves what is in `store` and what `remote` registers, which comes first; `rows` makes what models of the
    /// catalogue learn from.
    pub fn new(store: Store, rows: Rows, remote: Remote) -> Self {
        Self {
            store,
            rows,
            remote,
            loaded: Arc::default(),
            resolved: Arc::default(),
            training: Arc::default(),
            trainings: TaskTracker::new(),
        }
    }

    /// What is asked first.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The version of `name` that `version` means: `auto`, `latest` and nothing mean the one in use, or the newest
    /// where none was chosen. What MLflow has under that name wins; while it cannot be reached, or has the model in a
    /// form that is not served here, the store answers.
    ///
    /// # Errors
    ///
    /// See [`ServingError`].
    pub async fn resolve(&self, name: &str, version: &str, now: Timestamp) -> Result<Resolved, ServingError> {
        let Remote::Server(mlflow) = &self.remote else { return self.embedded(name, version, now).await };
        match registered(mlflow, name, version, now).await {
            Ok(Some(fetched)) => Ok(Resolved::Found(Box::new(fetched.into()))),
            Ok(None) => self.embedded(name, version, now).await,
            Err(MlflowError::Broken(why)) => Err(ServingError::Unserved(format!("{name} as MLflow has it: {why}"))),
            Err(error) => match self.embedded(name, version, now).await? {
                found @ Resolved::Found(_) => Ok(found),
                Resolved::NoModel | Resolved::NoVersion => {
                    let why = format!("{name} is not in the store, and MLflow does not help: {error}");
                    Err(if matches!(error, MlflowError::Unreachable(_)) {
                        ServingError::Away(why)
                    } else {
                        ServingError::Unserved(why)
                    })
                }
            },
        }
    }

    async fn embedded(&self, name: &str, version: &str, now: Timestamp) -> Result<Resolved, ServingError> {
        let key = (name.to_owned(), version.to_owned());
        let n_changes = {
            let known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(version) = known.versions.get(&key) {
                return Ok(Resolved::Found(Box::new(version.clone())));
            }
            known.n_changes
        };
        let resolved = self.stored(name, version, now).await?;
        if let Resolved::Found(version) = &resolved {
            let mut known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            // What was read before a change may be what the change has made old.
            if known.n_changes == n_changes {
                if LOADED_MAX <= known.versions.len() {
                    known.versions.clear();
                }
                known.versions.insert(key, (**version).clone());
            }
        }
        Ok(resolved)
    }

    async fn stored(&self, name: &str, version: &str, now: Timestamp) -> Result<Resolved, ServingError> {
        if let Some(model) = self.find(name, version).await? {
            return Ok(Resolved::Found(Box::new(self.load(model).await?)));
        }
        let is_known = !models::versions(&self.store.history(), name, 1).await?.is_empty();
        match catalogue::find(name).filter(|_| !is_known) {
            Some(recipe) => {
                self.ensure(recipe, now).await?;
                Ok(match self.find(name, version).await? {
                    Some(model) => Resolved::Found(Box::new(self.load(model).await?)),
                    None => Resolved::NoVersion,
                })
            }
            None if is_known => Ok(Resolved::NoVersion),
            None => Ok(Resolved::NoModel),
        }
    }

    /// The stored version that `version` means.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn find(&self, name: &str, version: &str) -> Result<Option<Model>, StoreError> {
        let history = self.store.history();
        if let Some(asked) = number(version) {
            let versions = models::versions(&history, name, VERSIONS_MAX).await?;
            return Ok(versions.into_iter().find(|model| model.version.to_string() == asked));
        }
        match models::champion_of(&history, name).await? {
            Some(champion) => Ok(Some(champion)),
            None => Ok(models::versions(&history, name, 1).await?.into_iter().next()),
        }
    }

    /// The detector of one sensor that `version` of `name` means, with what it was fitted on; `None` when there is none,
    /// or it is a model of another kind.
    ///
    /// # Errors
    ///
    /// See [`ServingError`].
    pub async fn detector(&self, name: &str, version: &str) -> Result<Option<(Model, Baseline)>, ServingError> {
        let Some(model) = self.find(name, version).await?.filter(|model| model.sha256.is_none()) else {
            return Ok(None);
        };
        let baseline = Baseline::deserialize(&model.artefact);
        Ok(Some((model, baseline.map_err(anyhow::Error::new)?)))
    }

    async fn load(&self, model: Model) -> Result<Version, ServingError> {
        let sha256 = model
            .sha256
            .clone()
            .ok_or_else(|| anyhow::anyhow!("{} is the detector of a sensor and takes no features", model.name))?;
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&sha256).cloned();
        if let Some(loaded) = known {
            return Ok(Version { model: Arc::new(model), loaded, origin: Origin::Embedded });
        }
        let bytes = models::artefact(&self.store.history(), &sha256).await?;
        let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the artefact {sha256} is not kept"))?;
        let artefact = Artefact::unpacked(&bytes, &sha256)?;
        let explainer = artefact.explainer();
        let loaded = Arc::new(Loaded { artefact, explainer });
        let mut all = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if LOADED_MAX <= all.len() {
            all.clear();
        }
        all.insert(sha256, Arc::clone(&loaded));
        drop(all);
        Ok(Version { model: Arc::new(model), loaded, origin: Origin::Embedded })
    }

    /// Trains `recipe` from simulated rows unless there is a version of it; true when it trained.
    ///
    /// # Errors
    ///
    /// See [`ServingError`].
    pub async fn ensure(&self, recipe: &'static Recipe, now: Timestamp) -> Result<bool, ServingError> {
        let turn = Arc::clone(&self.training).lock_owned().await;
        if !models::versions(&self.store.history(), recipe.name, 1).await?.is_empty() {
            return Ok(false);
        }
        let rows = self.rows;
        self.fit_and_register(turn, recipe, move || rows(recipe.source, SEED), now).await?;
        Ok(true)
    }

    /// Trains a version of `recipe` from `table` and registers it. The first version of a model is chosen at once, a
    /// later one waits as challenger. What is the same to the last bit as a version there is, is that version: whoever
    /// was not answered may ask again.
    ///
    /// # Errors
    ///
    /// See [`ServingError`].
    pub async fn train(
        &self,
        recipe: &'static Recipe,
        table: impl FnOnce() -> Table + Send + 'static,
        now: Timestamp,
    ) -> Result<Trained, ServingError> {
        let turn = Arc::clone(&self.training).lock_owned().await;
        self.fit_and_register(turn, recipe, table, now).await
    }

    /// What has begun goes on when whoever asked is gone, so that it is there when they ask again. If it fails then, they
    /// are told when they do. The end of a node waits for none: what is not registered by then is trained another time.
    async fn fit_and_register(
        &self,
        turn: OwnedMutexGuard<()>,
        recipe: &'static Recipe,
        table: impl FnOnce() -> Table + Send + 'static,
        now: Timestamp,
    ) -> Result<Trained, ServingError> {
        let own = self.clone();
        let begun = self.trainings.spawn(async move {
            let _turn = turn;
            own.fitted_and_registered(recipe, table, now).await
        });
        begun.await.map_err(anyhow::Error::new)?
    }

    async fn fitted_and_registered(
        &self,
        recipe: &'static Recipe,
        table: impl FnOnce() -> Table + Send + 'static,
        now: Timestamp,
    ) -> Result<Trained, ServingError> {
        let until = now.to_string();
        let fitted = runtime::background(move || fit(recipe, &table(), &until)).await?;
        let (artefact, card) = fitted.map_err(anyhow::Error::new)?;
        let (bytes, sha256) = artefact.packed()?;
        let versions = models::versions(&self.store.history(), recipe.name, VERSIONS_MAX).await?;
        if let Some(model) = versions.into_iter().find(|version| version.sha256.as_ref() == Some(&sha256)) {
            return Trained::of(model, false);
        }
        let first = models::champion_of(&self.store.history(), recipe.name).await?.is_none();
        self.store.admin(Change::KeepArtefact { sha256: sha256.clone(), bytes }).await?;
        let id = ModelId(Uuid::now_v7());
        let name = recipe.name.to_owned();
        let registered = Registered {
            model: id,
            name: name.clone(),
            sha256,
            card: serde_json::to_value(&card).map_err(anyhow::Error::new)?,
        };
        let mut events = vec![Event::ModelRegistered(registered)];
        if first {
            let reason = "the first version of its name".to_owned();
            events.push(Event::ChampionChosen(Chosen { model: id, name, by: SOURCE.to_owned(), reason }));
        }
        self.append(events, now).await?;
        info!(model = recipe.name, "model trained");
        let model = models::get(&self.store.history(), id).await?;
        Trained::of(model.ok_or_else(|| anyhow::anyhow!("the version {id} is registered and not there"))?, true)
    }

    /// Has `model` answer from now on: a promotion, or a rollback.
    ///
    /// # Errors
    ///
    /// See [`ServingError`].
    pub async fn choose(&self, model: &Model, by: String, reason: String, now: Timestamp) -> Result<(), ServingError> {
        let event = if model.sha256.is_some() {
            Event::ChampionChosen(Chosen { model: model.id, name: model.name.clone(), by, reason })
        } else {
            let (sensor, artefact) = (model.sensor.clone(), model.artefact.clone());
            Event::ModelPromoted(Promoted { model: model.id, sensor, artefact, by: Some(by), reason })
        };
        self.append(vec![event], now).await
    }

    /// Keeps what was said.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn keep(&self, said: Vec<Predicted>) -> Result<(), Refused> {
        self.store.admin(Change::KeepPredictions(said)).await
    }

    async fn append(&self, events: Vec<Event>, at: Timestamp) -> Result<(), ServingError> {
        let correlation = CorrelationId::new(Uuid::new_v4().to_string());
        let new = |event| NewEvent {
            id: EventId(Uuid::now_v7()),
            cause: None,
            correlation: correlation.clone(),
            traceparent: None,
            source: SOURCE.into(),
            at,
            event,
        };
        let appended = self.store.append(events.into_iter().map(new).collect(), None).await;
        // Also where it failed: the answer to a commit may be lost, and the commit not.
        let mut known = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        known.n_changes += 1;
        known.versions.clear();
        drop(known);
        appended?;
        Ok(())
    }
}

/// The number that `version` asks for; `None` for the version in use.
fn number(version: &str) -> Option<String> {
    let asked = version.trim().to_lowercase();
    (!matches!(asked.as_str(), "" | "auto" | "latest")).then_some(asked)
}

/// The version of `name` that MLflow has, downloaded.
async fn registered(
    mlflow: &Mlflow,
    name: &str,
    version: &str,
    now: Timestamp,
) -> Result<Option<Fetched>, MlflowError> {
    match mlflow.resolve(name, number(version).as_deref(), now).await? {
        Some(listed) => mlflow.fetch(&listed, now).await.map(Some),
        None => Ok(None),
    }
}

impl From<Fetched> for Version {
    fn from(Fetched { listed, sha256, loaded }: Fetched) -> Self {
        Self { model: Arc::new(described(&listed, sha256, &loaded.artefact)), loaded, origin: Origin::Mlflow }
    }
}

/// A version from MLflow as one of the store would be described.
fn described(listed: &Listed, sha256: String, artefact: &Artefact) -> Model {
    Model {
        id: listed.id(),
        name: listed.name.clone(),
        version: listed.version.parse().unwrap_or_default(),
        sensor: "".into(),
        state: listed.state(),
        comparison: None,
        artefact: serde_json::Value::Null,
        sha256: Some(sha256),
        card: Some(serde_json::json!({
            "description": listed.description, "task": artefact.task, "inputs": artefact.inputs,
            "limits": "registered in MLflow; nothing was measured of it here",
        })),
        trained_at: Timestamp::from_millisecond(listed.creation_timestamp).unwrap_or(Timestamp::UNIX_EPOCH),
        decided_at: None,
        reason: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;
    use simulations::labelled::{self, Labelled};
    use tokio::sync::Notify;

    static BEGUN: Notify = Notify::const_new();

    fn few_pumps(_: Source, seed: u64) -> Table {
        BEGUN.notify_one();
        let Labelled { columns, rows, labels, machines, source } = labelled::pump(30, 5, seed);
        let columns = columns.into_iter().map(str::to_owned).collect();
        Table { columns, rows, labels, machines, source: source.to_owned() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_training_goes_on_when_whoever_asked_is_gone() -> anyhow::Result<()> {
        // Given somebody who asks for a model, and goes away when its training has begun,
        let dir = tempfile::tempdir()?;
        let config = Config::defaults().with("store.data_dir", dir.path().to_str().expect("Unicode"))?;
        let store = Store::open(&config.section("store")?).await?;
        let (writer, tasks) = (store.clone(), TaskTracker::new());
        let written = tasks.spawn(async move { writer.run_writer().await });
        let serving = Serving::new(store.clone(), few_pumps, Remote::Unset);
        let recipe = catalogue::find("pump_classifier_randomforest").expect("a recipe");
        tokio::select! {
            biased;
            () = BEGUN.notified() => {}
            ended = serving.ensure(recipe, Timestamp::UNIX_EPOCH) => panic!("it told nobody of its beginning: {ended:?}"),
        }
        // when somebody asks again, then the model is there and nothing is trained twice.
        assert!(!serving.ensure(recipe, Timestamp::UNIX_EPOCH).await?);
        store.close();
        written.await??;
        Ok(())
    }
}
