//! Watches for sensors whose values no longer follow their old distribution.
//!
//! Takes in: `ReadingsAccepted`, `CaseOpened`, `CaseClosed`, `ModelPromoted`. Emits: `DriftDetected`.
//! Remembers: two samples of each sensor, the baseline and the recent one, thinned so that each spans days whatever
//! the sensor's rate; which assets have an open case.
//!
//! A difference is drift when it is significant, large, and clearly larger than what the baseline differs within
//! itself: a sensor that wanders all the time does not drift each time. Nothing is sampled while the asset has an open
//! case: a fault is `validation`'s to follow, and must not become the new normal here.

use analytics::drift::{self, Comparison};
use domain::case::Opened;
use domain::reading::{Accepted, Reading};
use domain::{AssetId, CaseId, Event, SensorId, Timestamp, drift::Detected};
use jiff::SignedDuration;
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// `[agents.drift]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Readings in the baseline. At least 16.
    pub baseline_readings: usize,
    /// Readings in the recent sample. At least 8.
    pub recent_readings: usize,
    /// Source time between two readings of a sample at least.
    pub spacing_minutes: u32,
    /// Readings sampled between two comparisons. At least 1.
    pub check_every: u32,
    /// Readings of a quality below this are left out, 0 to 1.
    pub quality_min: f64,
    /// How many times the baseline's own wandering a difference must be.
    pub noise_factor: f64,
    /// Time after a report in which the sensor is not judged again.
    pub cooldown_hours: u32,
    /// From when on a difference counts.
    pub comparison: drift::Settings,
}

/// Watches for sensors whose values no longer follow their old distribution.
#[derive(Debug)]
pub struct Drift {
    settings: Settings,
}

/// What is remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    sensors: HashMap<SensorId, Sampled>,
    /// Open cases, and what they are about.
    cases: BTreeMap<CaseId, AssetId>,
}

/// One sensor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sampled {
    /// Source time of the newest reading that was sampled.
    newest: Option<Timestamp>,
    baseline: Vec<f64>,
    recent: VecDeque<f64>,
    since_check: u32,
    reported_at: Option<Timestamp>,
}

/// What the agent hears.
#[derive(Debug)]
pub enum Message {
    /// Readings to sample.
    Accepted(Accepted),
    /// An asset is not to be judged.
    Opened(CaseId, AssetId),
    /// It is again.
    Closed(CaseId),
    /// The sensor has a new normal.
    Promoted(SensorId),
}

impl Agent for Drift {
    const NAME: &'static str = "drift";
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { baseline_readings, recent_readings, check_every, noise_factor, .. } = settings;
        anyhow::ensure!(16 <= baseline_readings, "baseline_readings must be at least 16, got {baseline_readings}");
        anyhow::ensure!(8 <= recent_readings, "recent_readings must be at least 8, got {recent_readings}");
        anyhow::ensure!(1 <= check_every, "check_every must be at least 1");
        anyhow::ensure!(0.0 <= noise_factor, "noise_factor must be at least 0, got {noise_factor}");
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        match event {
            Event::ReadingsAccepted(accepted) => Some(Message::Accepted(accepted.clone())),
            Event::CaseOpened(Opened { case, asset, .. }) => Some(Message::Opened(*case, asset.clone())),
            Event::CaseClosed(closed) => Some(Message::Closed(closed.case)),
            Event::ModelPromoted(promoted) => Some(Message::Promoted(promoted.sensor.clone())),
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Accepted(accepted) => {
                for reading in ctx.readings(&accepted).await?.iter() {
                    if let Some(detected) = self.sample(state, reading, ctx.now()) {
                        ctx.emit(Event::DriftDetected(detected));
                    }
                }
            }
            Message::Opened(case, asset) => {
                state.cases.insert(case, asset);
            }
            Message::Closed(case) => {
                state.cases.remove(&case);
            }
            Message::Promoted(sensor) => {
                // The model learnt the newest readings: they are what the next ones are to be compared with.
                if let Some(sampled) = state.sensors.get_mut(&sensor)
                    && sampled.recent.len() == self.settings.recent_readings
                {
                    sampled.rebase();
                }
            }
        }
        Ok(())
    }
}

impl Drift {
    /// Takes `reading` into the samples, if its turn has come. Gives the drift, when a comparison shows one.
    fn sample(&self, state: &mut State, reading: &Reading, now: Timestamp) -> Option<Detected> {
        let Settings { baseline_readings, recent_readings, check_every, .. } = self.settings;
        let sampled = state.sensors.entry(reading.sensor.id.clone()).or_default();
        let spacing = SignedDuration::from_mins(self.settings.spacing_minutes.into());
        let elapsed = sampled.newest.map(|newest| reading.taken_at.duration_since(newest));
        if elapsed.is_some_and(|elapsed| elapsed < spacing || !elapsed.is_positive())
            || reading.quality < self.settings.quality_min
        {
            return None;
        }
        sampled.newest = Some(reading.taken_at);
        if state.cases.values().any(|asset| *asset == reading.sensor.asset) {
            // What led up to the case is part of it.
            sampled.recent.clear();
            return None;
        }
        if sampled.baseline.len() < baseline_readings {
            sampled.baseline.push(reading.value);
            return None;
        }
        if sampled.recent.len() == recent_readings {
            sampled.recent.pop_front();
        }
        sampled.recent.push_back(reading.value);
        sampled.since_check += 1;
        if sampled.recent.len() < recent_readings || sampled.since_check < check_every {
            return None;
        }
        sampled.since_check = 0;
        let cooldown = SignedDuration::from_hours(self.settings.cooldown_hours.into());
        if sampled.reported_at.is_some_and(|at| now.duration_since(at) < cooldown) {
            return None;
        }
        let Comparison { ks_statistic, p_value, psi, effect_size } = self.drifted(sampled)?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (n_baseline, n_recent) = (count(sampled.baseline.len()), count(sampled.recent.len()));
        sampled.rebase();
        sampled.reported_at = Some(now);
        let sensor = reading.sensor.id.clone();
        let as_of = reading.taken_at;
        Some(Detected { sensor, as_of, ks_statistic, p_value, psi, effect_size, n_baseline, n_recent })
    }

    /// How the recent sample differs from the baseline, if that is drift.
    fn drifted(&self, sampled: &mut Sampled) -> Option<Comparison> {
        let recent = sampled.recent.make_contiguous();
        let comparison = drift::compare(&sampled.baseline, recent)?;
        if !drift::verdict(&comparison, &self.settings.comparison) {
            return None;
        }
        let (older, newer) = sampled.baseline.split_at(sampled.baseline.len() / 2);
        let own = drift::compare(older, newer)?;
        let beyond = |own: f64, now: f64| self.settings.noise_factor * own.abs() <= now.abs();
        let clear = beyond(own.effect_size, comparison.effect_size)
            && self.settings.comparison.effect_size_min <= comparison.effect_size.abs()
            || beyond(own.psi, comparison.psi) && self.settings.comparison.psi_min <= comparison.psi;
        clear.then_some(comparison)
    }
}

impl Sampled {
    /// What is recent becomes what the future is compared with.
    fn rebase(&mut self) {
        self.baseline = std::mem::take(&mut self.recent).into();
        self.since_check = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::{Closed, FailureMode, Priority, Resolution};
    use domain::model::Promoted;
    use domain::reading::{Sensor, SensorType};
    use domain::{EventId, ModelId};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;
    use runtime::bench::Bench;
    use std::ops::Range;
    use std::sync::Arc;
    use uuid::Uuid;

    fn settings() -> Settings {
        config::Config::defaults().section("agents.drift").expect("the defaults are complete")
    }

    /// Small samples of readings that are an hour apart.
    fn bench() -> Bench<Drift> {
        let settings = Settings { baseline_readings: 100, recent_readings: 100, check_every: 10, ..settings() };
        Bench::start(settings, ())
    }

    fn sensor() -> Arc<Sensor> {
        let (id, asset) = (SensorId::from("sensor-1"), AssetId::from("pump-1"));
        Arc::new(Sensor { id, asset, sensor_type: SensorType::Pressure, unit: None, limit_high: None, limit_low: None })
    }

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + 3_600 * hour).expect("an hour of this century")
    }

    /// One value an hour, spread evenly over `level` ± 1.
    fn noise(level: f64, hours: Range<i64>) -> Vec<(Timestamp, f64)> {
        let mut chance = Pcg32::seed_from_u64(hours.start.unsigned_abs());
        hours.map(|at| (hour(at), level + 2.0 * chance.random::<f64>() - 1.0)).collect()
    }

    fn opened(case: CaseId) -> Event {
        Event::CaseOpened(Opened {
            case,
            asset: AssetId::from("pump-1"),
            failure_mode: FailureMode::abnormal(SensorType::Pressure),
            sensor: SensorId::from("sensor-2"),
            priority: Priority::High,
            first_evidence_at: hour(0),
            last_evidence_at: hour(0),
            reason: "a test".to_owned(),
            evidence: vec![EventId(Uuid::from_u128(7))],
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        })
    }

    fn drifts(said: &[Event]) -> Vec<&Detected> {
        said.iter()
            .map(|event| match event {
                Event::DriftDetected(detected) => detected,
                other => panic!("said {other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn a_steady_sensor_does_not_drift() {
        let mut bench = bench();
        assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 0..5_000)).await, []);
    }

    #[tokio::test]
    async fn a_shift_is_reported_once_and_then_is_the_baseline() {
        // Given a sensor around 5,
        let mut bench = bench();
        assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 0..300)).await, []);
        // when it moves to 7 for good,
        let said = bench.feed_readings(&sensor(), &noise(7.0, 300..420)).await;
        // then drift is reported with its size,
        let [detected] = drifts(&said)[..] else { panic!("{said:?}") };
        assert!(0.5 < detected.effect_size && detected.p_value < 0.001, "{detected:?}");
        assert_eq!((detected.n_baseline, detected.n_recent), (100, 100));
        // and a month later once more at most, since what was recent then was a mixture, and after that never again.
        bench.advance(bench.now() + SignedDuration::from_hours(720)).await;
        let later = bench.feed_readings(&sensor(), &noise(7.0, 1_000..2_000)).await;
        assert!(drifts(&later).len() <= 1, "{later:?}");
        assert_eq!(bench.feed_readings(&sensor(), &noise(7.0, 2_000..3_000)).await, []);
    }

    #[tokio::test]
    async fn a_sensor_that_wanders_all_the_time_does_not_drift_each_time() {
        // Given a sensor whose level swings by several times its noise every 80 hours,
        let mut bench = bench();
        let swinging = |at: i64| (hour(at), 5.0 * (at as f64 / 40.0).floor().rem_euclid(2.0) + (at as f64 * 1.7).sin());
        // then a comparison that happens to fall on one side of a swing is no drift.
        let said = bench.feed_readings(&sensor(), &(0..4_000).map(swinging).collect::<Vec<_>>()).await;
        assert_eq!(said, []);
    }

    #[tokio::test]
    async fn a_fault_under_way_is_not_judged_and_not_learnt() {
        // Given a sensor around 5 on an asset whose case opens,
        let mut bench = bench();
        bench.feed_readings(&sensor(), &noise(5.0, 0..300)).await;
        let case = CaseId(Uuid::from_u128(1));
        assert_eq!(bench.feed(opened(case)).await, []);
        // when it stays at 9 until the repair and is back at 5 afterwards,
        assert_eq!(bench.feed_readings(&sensor(), &noise(9.0, 300..900)).await, []);
        let closed = Closed { case, resolution: Resolution::Repaired, reason: "a test".to_owned() };
        assert_eq!(bench.feed(Event::CaseClosed(closed)).await, []);
        // then nothing has drifted.
        assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 900..1_500)).await, []);
    }

    #[tokio::test]
    async fn the_cooldown_is_kept() {
        let mut bench = bench();
        bench.feed_readings(&sensor(), &noise(5.0, 0..300)).await;
        assert_eq!(drifts(&bench.feed_readings(&sensor(), &noise(7.0, 300..420)).await).len(), 1);
        // When it moves on within the cooldown, nothing is said until that is over.
        assert_eq!(bench.feed_readings(&sensor(), &noise(20.0, 420..700)).await, []);
        bench.advance(bench.now() + SignedDuration::from_hours(settings().cooldown_hours.into())).await;
        assert_eq!(drifts(&bench.feed_readings(&sensor(), &noise(20.0, 700..720)).await).len(), 1);
    }

    #[tokio::test]
    async fn fast_sensors_are_thinned_to_the_same_span() {
        // Given as many readings as two samples hold, a second apart,
        let mut bench = bench();
        let second = |at: i64| hour(0) + SignedDuration::from_secs(at);
        let fast = |level: f64, seconds: Range<i64>| seconds.map(|at| (second(at), level)).collect::<Vec<_>>();
        assert_eq!(bench.feed_readings(&sensor(), &fast(5.0, 0..300)).await, []);
        // then a jump within minutes is nothing that drift judges.
        assert_eq!(bench.feed_readings(&sensor(), &fast(9.0, 300..900)).await, []);
    }

    #[tokio::test]
    async fn a_promoted_model_moves_the_baseline() {
        async fn check(promoted: bool, expected: usize) {
            // Given a sensor at 5 that has gone to 5.25, too little to be drift,
            let mut bench = bench();
            assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 0..100)).await, []);
            assert_eq!(bench.feed_readings(&sensor(), &noise(5.25, 100..200)).await, []);
            if promoted {
                let promoted = Promoted {
                    model: ModelId(Uuid::from_u128(1)),
                    sensor: SensorId::from("sensor-1"),
                    artefact: serde_json::Value::Null,
                    by: None,
                    reason: "better".to_owned(),
                };
                assert_eq!(bench.feed(Event::ModelPromoted(promoted)).await, []);
            }
            // when it goes on by as much again, then that is judged from where it was when the model was promoted.
            let said = bench.feed_readings(&sensor(), &noise(5.5, 200..300)).await;
            assert_eq!(drifts(&said).len(), expected, "promoted: {promoted}");
        }
        check(false, 1).await;
        check(true, 0).await;
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let error = Drift::start(Settings { check_every: 0, ..settings() }, ()).expect_err("never checked");
        assert_eq!(error.to_string(), "check_every must be at least 1");
    }
}
