//! Fits a sensor's detector anew and measures it against the champion on readings that neither has seen.
//!
//! Takes in: `TrainingRequested`. Emits: `ModelTrained`, or `TrainingFailed` with the reason.
//! Remembers: nothing. It is a worker: it reads what is stored, computes off the actor, and is carried out again
//! after a crash, with the same model id. Who wins is `retraining`'s to say.
//!
//! The challenger is fitted on the first part of the newest readings, the rest is held out. The champion is the stored
//! one; where none was ever promoted, a fit on the time before stands for what the detector knew. Episodes of a case
//! are left out of everything, unless a person said that they are nothing; so are readings of poor quality and those
//! taken while somebody worked on the asset.

use analytics::stream::Baseline;
use domain::case::Resolution;
use domain::model::{Comparison, Trained, TrainingFailed, TrainingRequested};
use domain::reading::Reading;
use domain::{AssetId, Event, ModelId, SensorId, Timestamp};
use jiff::SignedDuration;
use persistence::page::Start;
use persistence::work_orders::WorkOrder;
use persistence::{History, assets, cases, models, readings, work_orders};
use runtime::{Agent, Ctx, Effects, Failure};
use serde::Deserialize;
use std::time::Duration;
use tracing::warn;

/// Newest cases of an asset whose episodes are left out.
const CASES_MAX: usize = 100;
/// Newest work orders of an asset whose time is left out.
const ORDERS_MAX: usize = 100;

/// `[agents.trainer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Newest readings that are looked at, at most.
    pub history_readings: usize,
    /// Time over which the newest readings reach back, unless they are fewer than `readings_min` then.
    pub span_days: u32,
    /// Clean readings needed. At least 100.
    pub readings_min: usize,
    /// Share of the newest readings that is held out to compare on, above 0 and below 1.
    pub holdout_share: f64,
    /// Readings of a quality below this are left out, 0 to 1.
    pub quality_min: f64,
}

/// Fits detectors anew.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    history: History,
}

impl Agent for Trainer {
    const NAME: &'static str = "trainer";
    const EFFECTS: Effects = Effects::Outside { deadline: Duration::from_secs(300), may_end_process: true };
    type Settings = Settings;
    type Deps = History;
    type State = ();
    type Message = TrainingRequested;

    fn start(settings: Settings, history: History) -> anyhow::Result<Self> {
        let Settings { history_readings, readings_min, holdout_share, .. } = settings;
        anyhow::ensure!(100 <= readings_min, "readings_min must be at least 100, got {readings_min}");
        anyhow::ensure!(
            readings_min <= history_readings,
            "history_readings must be at least readings_min, got {history_readings}"
        );
        anyhow::ensure!(
            0.0 < holdout_share && holdout_share < 1.0,
            "holdout_share must be above 0 and below 1, got {holdout_share}"
        );
        Ok(Self { settings, history })
    }

    fn accept(event: &Event) -> Option<TrainingRequested> {
        match event {
            Event::TrainingRequested(wish) => Some(wish.clone()),
            _ => None,
        }
    }

    async fn handle(&self, (): &mut (), wish: TrainingRequested, ctx: &mut Ctx) -> Result<(), Failure> {
        let model = ModelId(ctx.id());
        let sensor = wish.sensor;
        ctx.emit(match self.train(&sensor, wish.as_of, model).await? {
            Ok(trained) => Event::ModelTrained(trained),
            Err(Impossible(reason)) => Event::TrainingFailed(TrainingFailed { sensor, reason }),
        });
        Ok(())
    }
}

/// Why there is no model. An answer, not a failure: trying again would not help.
struct Impossible(String);

/// (seconds since the epoch, value) in order of time.
type Points = Vec<(f64, f64)>;

impl Trainer {
    async fn train(
        &self,
        sensor: &SensorId,
        as_of: Timestamp,
        model: ModelId,
    ) -> Result<Result<Trained, Impossible>, Failure> {
        let newest = readings::recent(&self.history, sensor, Some(as_of), self.settings.history_readings).await?;
        let Some(last) = newest.first() else {
            return Ok(Err(Impossible("the sensor has no readings".to_owned())));
        };
        let last_at = last.taken_at;
        let episodes = match self.episodes(&last.sensor.asset).await? {
            Ok(episodes) => episodes,
            Err(impossible) => return Ok(Err(impossible)),
        };
        let span = SignedDuration::from_hours(24 * i64::from(self.settings.span_days));
        let mut window = self.clean(newest, &episodes);
        let n_in_span = window.iter().take_while(|reading| last_at.duration_since(reading.taken_at) <= span).count();
        window.truncate(n_in_span.max(self.settings.readings_min));
        let Some(begin) = window.last().filter(|_| self.settings.readings_min <= window.len()) else {
            let (have, need) = (window.len(), self.settings.readings_min);
            return Ok(Err(Impossible(format!("there are {have} clean readings, it takes {need}"))));
        };
        let champion = match self.champion(sensor).await? {
            Some(champion) => Champion::Stored(Box::new(champion)),
            None => {
                // Before the whole span, even where a fast sensor's window covers but its last days.
                let known_until = last_at.checked_sub(span).unwrap_or(Timestamp::MIN).min(begin.taken_at);
                let limit = self.settings.history_readings;
                let mut before = readings::recent(&self.history, sensor, Some(known_until), limit).await?;
                before.retain(|reading| reading.taken_at < begin.taken_at);
                Champion::Before(points(&self.clean(before, &episodes)))
            }
        };
        let (window, share) = (points(&window), self.settings.holdout_share);
        Ok(match runtime::background(move || compare(&window, share, champion)).await? {
            Ok((challenger, champion, comparison)) => Ok(Trained {
                model,
                name: format!("stream_detector/{sensor}"),
                sensor: sensor.clone(),
                comparison,
                artefact: artefact(&challenger)?,
                champion: Some(artefact(&champion)?),
            }),
            Err(impossible) => Err(impossible),
        })
    }

    /// When the asset was faulty or worked on, as far as its newest cases and work orders tell.
    async fn episodes(&self, asset: &AssetId) -> Result<Result<Vec<(Timestamp, Timestamp)>, Impossible>, Failure> {
        let filter = cases::Filter { asset: Some(asset.clone()), ..cases::Filter::default() };
        let cases = cases::list(&self.history, &filter, &Start::default(), CASES_MAX).await?.rows;
        if let Some(open) = cases.iter().find(|case| case.closed_at.is_none()) {
            return Ok(Err(Impossible(format!(
                "case {} of asset {asset} is open: a fault is not to be learnt",
                open.id
            ))));
        }
        let described = assets::get(&self.history, asset).await?;
        if let Some(maintenance) = described.and_then(|described| described.maintenance) {
            return Ok(Err(Impossible(format!("asset {asset} is in maintenance since {}", maintenance.since))));
        }
        let filter = work_orders::Filter { asset: Some(asset.clone()), ..work_orders::Filter::default() };
        let orders = work_orders::list(&self.history, &filter, &Start::default(), ORDERS_MAX).await?.rows;
        let begun = |order: &&WorkOrder| order.started_at.is_some();
        if let Some(order) = orders.iter().filter(begun).find(|order| order.state.is_open()) {
            let id = order.order.work_order;
            return Ok(Err(Impossible(format!("asset {asset} is being worked on, as order {id} says"))));
        }
        let faulty = cases.iter().filter(|case| case.resolution != Some(Resolution::Declined));
        let worked = orders.iter().filter_map(|order| {
            let completed = order.completion.as_ref()?;
            let took = SignedDuration::try_from_secs_f64(3_600.0 * completed.duration_hours.unwrap_or(0.0)).ok()?;
            let from = completed.completed_at.checked_sub(took).unwrap_or(completed.completed_at);
            Some((order.started_at.map_or(from, |started_at| started_at.min(from)), completed.completed_at))
        });
        Ok(Ok(faulty.map(|case| (case.first_evidence_at, case.last_evidence_at)).chain(worked).collect()))
    }

    fn clean(&self, mut readings: Vec<Reading>, episodes: &[(Timestamp, Timestamp)]) -> Vec<Reading> {
        let faulty = |at: Timestamp| episodes.iter().any(|(first, last)| *first <= at && at <= *last);
        readings.retain(|reading| self.settings.quality_min <= reading.quality && !faulty(reading.taken_at));
        readings
    }

    async fn champion(&self, sensor: &SensorId) -> Result<Option<Baseline>, Failure> {
        let Some(model) = models::champion(&self.history, sensor).await? else { return Ok(None) };
        match serde_json::from_value(model.artefact) {
            Ok(baseline) => Ok(Some(baseline)),
            Err(error) => {
                warn!(agent = Self::NAME, %sensor, model = %model.id, %error, "champion of another version cannot be compared with");
                Ok(None)
            }
        }
    }
}

/// What the challenger is measured against.
enum Champion {
    Stored(Box<Baseline>),
    /// Readings from before the window; a fit on them stands for what the detector knew.
    Before(Points),
}

fn compare(
    window: &Points,
    holdout_share: f64,
    champion: Champion,
) -> Result<(Baseline, Baseline, Comparison), Impossible> {
    let n_holdout = ((window.len() as f64 * holdout_share) as usize).max(1);
    let (train, holdout) = window.split_at(window.len() - n_holdout);
    let fit = |points: &[(f64, f64)]| {
        Baseline::fit(points).ok_or_else(|| Impossible(format!("{} readings are too few for a fit", points.len())))
    };
    let (champion, train) = match champion {
        Champion::Stored(baseline) => (*baseline, train),
        Champion::Before(before) => match Baseline::fit(&before) {
            Some(baseline) => (baseline, train),
            // The window is all there is: its older half stands for the time before.
            None => {
                let (older, newer) = train.split_at(train.len() / 2);
                (fit(older)?, newer)
            }
        },
    };
    let challenger = fit(train)?;
    let (champion_loss, challenger_loss) = (champion.loss(holdout), challenger.loss(holdout));
    if !champion_loss.is_finite() || !challenger_loss.is_finite() {
        return Err(Impossible(format!("the losses {champion_loss} and {challenger_loss} do not compare")));
    }
    let count = |points: &[(f64, f64)]| u32::try_from(points.len()).unwrap_or(u32::MAX);
    let comparison = Comparison { champion_loss, challenger_loss, n_train: count(train), n_holdout: count(holdout) };
    Ok((challenger, champion, comparison))
}

fn artefact(baseline: &Baseline) -> Result<serde_json::Value, Failure> {
    Ok(serde_json::to_value(baseline).map_err(|error| anyhow::anyhow!("artefact: {error}"))?)
}

/// Points in order of time, of readings in the opposite order.
fn points(newest_first: &[Reading]) -> Points {
    newest_first.iter().rev().map(|reading| (reading.taken_at.as_microsecond() as f64 / 1e6, reading.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::Stored;
    use domain::EventId;
    use domain::asset::MaintenanceBegan;
    use domain::case::{Closed, FailureMode, Opened, Priority};
    use domain::model::Promoted;
    use domain::reading::{Sensor, SensorType};
    use domain::{CaseId, ReadingNo};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;
    use runtime::bench::Bench;
    use std::ops::Range;
    use std::sync::Arc;
    use uuid::Uuid;

    fn settings() -> Settings {
        config::Config::defaults().section("agents.trainer").expect("the defaults are complete")
    }

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + 3_600 * hour).expect("an hour of this century")
    }

    type Stretch = Vec<(Arc<Sensor>, Timestamp, f64)>;

    /// One value an hour, spread evenly over `level` ± 1.
    fn noise(level: f64, hours: Range<i64>) -> Stretch {
        let sensor = Arc::new(Sensor {
            id: "sensor-1".into(),
            asset: "pump-1".into(),
            sensor_type: SensorType::Pressure,
            unit: None,
            limit_high: None,
            limit_low: None,
        });
        let mut chance = Pcg32::seed_from_u64(7);
        hours.map(|at| (Arc::clone(&sensor), hour(at), level + 2.0 * chance.random::<f64>() - 1.0)).collect()
    }

    fn case(first: i64, last: i64, resolution: Option<Resolution>) -> Vec<Event> {
        let case = CaseId(Uuid::from_u128(9));
        let opened = Event::CaseOpened(Opened {
            case,
            asset: "pump-1".into(),
            failure_mode: FailureMode::abnormal(SensorType::Pressure),
            sensor: "sensor-1".into(),
            priority: Priority::High,
            first_evidence_at: hour(first),
            last_evidence_at: hour(last),
            reason: "a test".to_owned(),
            evidence: Vec::<EventId>::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        });
        let closed = resolution.map(|resolution| Closed { case, resolution, reason: "a test".to_owned() });
        std::iter::once(opened).chain(closed.map(Event::CaseClosed)).collect()
    }

    /// What comes of a training when these readings and events are stored.
    async fn outcome(readings: Stretch, events: Vec<Event>) -> Event {
        let stored = Stored::with(&readings, events).await;
        let mut bench = Bench::<Trainer>::start(settings(), stored.history());
        let wish = TrainingRequested { sensor: "sensor-1".into(), as_of: Timestamp::MAX, reason: "a test".to_owned() };
        let said = bench.feed(Event::TrainingRequested(wish)).await;
        let [outcome] = &said[..] else { panic!("said {said:?}") };
        outcome.clone()
    }

    async fn trained(readings: Stretch, events: Vec<Event>) -> Trained {
        match outcome(readings, events).await {
            Event::ModelTrained(trained) => trained,
            other => panic!("said {other:?}"),
        }
    }

    async fn refusal(readings: Stretch, events: Vec<Event>) -> String {
        match outcome(readings, events).await {
            Event::TrainingFailed(failed) => failed.reason,
            other => panic!("said {other:?}"),
        }
    }

    #[tokio::test]
    async fn after_a_shift_the_challenger_foretells_better() {
        // Given a sensor that moved from 5 to 9 for the last week,
        let readings = [noise(5.0, 0..800), noise(9.0, 800..1_000)].concat();
        let trained = trained(readings, Vec::new()).await;
        // then a fit on that week beats one on the time before, on readings that neither has seen.
        let Comparison { champion_loss, challenger_loss, n_train, n_holdout } = trained.comparison;
        assert!(challenger_loss < 0.2 * champion_loss, "{:?}", trained.comparison);
        assert_eq!((n_train, n_holdout), (150, 50));
        assert_eq!(trained.name, "stream_detector/sensor-1");
        // The artefact is what the detector reads.
        let baseline: Baseline = serde_json::from_value(trained.artefact).expect("a baseline");
        assert!((baseline.level - 9.0).abs() < 0.3, "{}", baseline.level);
    }

    #[tokio::test]
    async fn without_a_shift_nobody_is_much_better() {
        let trained = trained(noise(5.0, 0..1_000), Vec::new()).await;
        let Comparison { champion_loss, challenger_loss, .. } = trained.comparison;
        assert!((challenger_loss / champion_loss - 1.0).abs() < 0.2, "{:?}", trained.comparison);
    }

    #[tokio::test]
    async fn a_sensor_with_little_history_is_compared_with_its_older_half() {
        let comparison = trained(noise(5.0, 0..200), Vec::new()).await.comparison;
        assert_eq!((comparison.n_train, comparison.n_holdout), (75, 50));
    }

    #[tokio::test]
    async fn the_stored_champion_is_the_one_to_beat() {
        // Given a champion that was fitted on the level of today,
        let today: Points = points(
            &noise(9.0, 0..300)
                .into_iter()
                .map(|(sensor, taken_at, value)| Reading {
                    no: ReadingNo(1),
                    sensor,
                    value,
                    quality: 1.0,
                    taken_at,
                    received_at: taken_at,
                })
                .rev()
                .collect::<Vec<_>>(),
        );
        let model = ModelId(Uuid::from_u128(3));
        let artefact = serde_json::to_value(Baseline::fit(&today)).expect("a baseline is JSON");
        let promoted = Event::ModelPromoted(Promoted {
            model,
            sensor: "sensor-1".into(),
            artefact: artefact.clone(),
            by: None,
            reason: "a test".to_owned(),
        });
        let comparison = Comparison { champion_loss: 1.0, challenger_loss: 0.5, n_train: 1, n_holdout: 1 };
        let name = "stream_detector/sensor-1".to_owned();
        let first = Event::ModelTrained(Trained {
            model,
            name,
            sensor: "sensor-1".into(),
            comparison,
            artefact,
            champion: None,
        });
        // then it does as well as a new one, although the time before was different.
        let readings = [noise(5.0, 0..800), noise(9.0, 800..1_000)].concat();
        let comparison = trained(readings, vec![first, promoted]).await.comparison;
        assert!((comparison.challenger_loss / comparison.champion_loss - 1.0).abs() < 0.3, "{comparison:?}");
    }

    #[tokio::test]
    async fn a_fault_is_not_learnt() {
        let readings = || [noise(5.0, 0..900), noise(50.0, 900..960), noise(5.0, 960..1_000)].concat();
        // Not while its case is open,
        let reason = refusal(readings(), case(900, 959, None)).await;
        assert!(reason.ends_with("of asset pump-1 is open: a fault is not to be learnt"), "{reason}");
        // nor afterwards,
        let repaired = trained(readings(), case(900, 959, Some(Resolution::Repaired))).await;
        let level = |trained: Trained| serde_json::from_value::<Baseline>(trained.artefact).expect("a baseline").level;
        assert!((level(repaired) - 5.0).abs() < 0.3);
        // unless a person said that it is none: then the fault's sixty hours are among the newest two hundred.
        let declined = trained(readings(), case(900, 959, Some(Resolution::Declined))).await;
        assert!(1.0 < declined.comparison.champion_loss / declined.comparison.challenger_loss);
    }

    #[tokio::test]
    async fn nothing_is_learnt_of_an_asset_that_is_worked_on() {
        let (asset, by) = (AssetId::from("pump-1"), "ana".to_owned());
        let began = MaintenanceBegan { asset, by, reason: "overhaul".to_owned(), until: None, work_order: None };
        let reason = refusal(noise(5.0, 0..1_000), vec![Event::AssetMaintenanceBegan(began)]).await;
        assert!(reason.starts_with("asset pump-1 is in maintenance since 1970-01-01"), "{reason}");
    }

    #[tokio::test]
    async fn too_little_history_is_an_answer() {
        assert_eq!(refusal(Vec::new(), Vec::new()).await, "the sensor has no readings");
        let reason = refusal(noise(5.0, 0..150), Vec::new()).await;
        assert_eq!(reason, "there are 150 clean readings, it takes 200");
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused() {
        let history = History::empty().await.expect("an empty history");
        let settings = Settings { holdout_share: 1.0, ..settings() };
        let error = Trainer::start(settings, history).expect_err("nothing to train on");
        assert_eq!(error.to_string(), "holdout_share must be above 0 and below 1, got 1");
    }
}
