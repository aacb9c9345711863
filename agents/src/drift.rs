//! Watches for sensors whose values no longer follow their old distribution.
//!
//! Takes in: `ReadingsAccepted`, `CaseOpened`, `CaseClosed`, `ModelPromoted`. Emits: `DriftDetected`.
//! Remembers: two samples of each sensor, the baseline and the recent one, thinned so that each spans days whatever
//! the sensor's rate; which assets have an open case.
//!
//! A difference is drift when it is significant, large, and clearly larger than what the baseline differs within
//! itself: a sensor that wanders all the time does not drift each time. Two full samples are compared now and then; in
//! between each reading is watched, and what came since a change began is compared as soon as it spans a day. Such an
//! early report leaves the baseline: it takes a full sample to know the new normal, which is then told, too. Nothing is
//! sampled while the asset has an open case: a fault is `validation`'s to follow, and must not become the new normal.

use analytics::drift::{self, Comparison, Watch};
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
    /// Readings sampled between two comparisons, and readings since a change that are compared at least. At least 8.
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
    /// Follows the recent readings once there is a baseline.
    watch: Option<Watch>,
    reported_at: Option<Timestamp>,
    /// A change was told of before it filled the recent sample. Until the baseline moves, that is not done again: a new
    /// challenger every day would never end its time in the shadow.
    told_early: bool,
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
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        let Settings { baseline_readings, recent_readings, check_every, noise_factor, ref comparison, .. } = settings;
        anyhow::ensure!(16 <= baseline_readings, "baseline_readings must be at least 16, got {baseline_readings}");
        anyhow::ensure!(8 <= recent_readings, "recent_readings must be at least 8, got {recent_readings}");
        anyhow::ensure!(8 <= check_every, "check_every must be at least 8, got {check_every}");
        anyhow::ensure!(0.0 <= noise_factor, "noise_factor must be at least 0, got {noise_factor}");
        let ratio = comparison.spread_ratio_min;
        anyhow::ensure!(1.0 < ratio, "comparison.spread_ratio_min must be above 1, got {ratio}");
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
                    sampled.rebase(self.settings.recent_readings);
                }
            }
        }
        Ok(())
    }
}

impl Drift {
    /// Takes `reading` into the samples, if its turn has come. Gives the drift, when a comparison shows one.
    fn sample(&self, state: &mut State, reading: &Reading, now: Timestamp) -> Option<Detected> {
        let Settings { baseline_readings, recent_readings, .. } = self.settings;
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
            sampled.watch = None;
            return None;
        }
        if sampled.baseline.len() < baseline_readings {
            sampled.baseline.push(reading.value);
            return None;
        }
        let since = sampled.watch(self.settings.comparison.effect_size_min, reading.value);
        if sampled.recent.len() == recent_readings {
            sampled.recent.pop_front();
        }
        sampled.recent.push_back(reading.value);
        sampled.since_check += 1;
        let cooldown = SignedDuration::from_hours(self.settings.cooldown_hours.into());
        if sampled.reported_at.is_some_and(|at| now.duration_since(at) < cooldown) {
            return None;
        }
        let n_compared = self.due(sampled, since)?;
        let compared = self.drifted(sampled, n_compared)?;
        let Comparison { ks_statistic, p_value, psi, effect_size, spread_ratio, .. } = compared;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (n_baseline, n_recent) = (count(sampled.baseline.len()), count(n_compared));
        if n_compared == recent_readings {
            sampled.rebase(n_compared);
        } else {
            sampled.told_early = true;
        }
        sampled.reported_at = Some(now);
        let (sensor, as_of) = (reading.sensor.id.clone(), reading.taken_at);
        let spread_ratio = Some(spread_ratio);
        Some(Detected { sensor, as_of, ks_statistic, p_value, psi, effect_size, spread_ratio, n_baseline, n_recent })
    }

    /// How many of the last readings are to be compared now, if any are.
    fn due(&self, sampled: &mut Sampled, since: Option<u32>) -> Option<usize> {
        let Settings { recent_readings, check_every, .. } = self.settings;
        if sampled.recent.len() == recent_readings && check_every <= sampled.since_check {
            sampled.since_check = 0;
            return Some(recent_readings);
        }
        // A day again and again, until the change fills the whole sample.
        let since = since.filter(|since| since.is_multiple_of(check_every))? as usize;
        if recent_readings <= since {
            sampled.watch.as_mut().map(Watch::restart);
        }
        Some(since.min(sampled.recent.len())).filter(|n| check_every as usize <= *n && !sampled.told_early)
    }

    /// How the last `n` readings differ from the baseline, if that is drift.
    fn drifted(&self, sampled: &mut Sampled, n: usize) -> Option<Comparison> {
        let Sampled { baseline, recent, .. } = sampled;
        let recent = recent.make_contiguous();
        let comparison = drift::compare(baseline, &recent[recent.len() - n..])?;
        if !drift::verdict(&comparison, &self.settings.comparison) {
            return None;
        }
        let own = wandering(baseline, n);
        let least = self.settings.comparison.sizes();
        let is_clear = |idx: usize, size: f64| least[idx] <= size && self.settings.noise_factor * own[idx] <= size;
        comparison.sizes().into_iter().enumerate().any(|(idx, size)| is_clear(idx, size)).then_some(comparison)
    }
}

/// How much level, spread and shape of a part of `baseline` differ from the rest of it, at most. Parts are `n` long, or
/// half of it.
fn wandering(baseline: &[f64], n: usize) -> [f64; 3] {
    let length = n.min(baseline.len() / 2);
    let parts = baseline.chunks_exact(length).enumerate();
    let own = parts.filter_map(|(idx, part)| {
        let rest = [&baseline[..idx * length], &baseline[(idx + 1) * length..]].concat();
        drift::compare(&rest, part)
    });
    own.fold([0.0; 3], |most, own| {
        let sizes = own.sizes();
        std::array::from_fn(|idx| f64::max(most[idx], sizes[idx]))
    })
}

impl Sampled {
    /// Takes a reading after the baseline. Gives how many of the last ones lie after a change, if one has begun.
    fn watch(&mut self, shift_min: f64, value: f64) -> Option<u32> {
        if self.watch.is_none() {
            self.watch = Watch::of(&self.baseline, shift_min);
        }
        self.watch.as_mut()?.take(shift_min, value)
    }

    /// The last `n` readings become what the future is compared with; a baseline that is short is filled up.
    fn rebase(&mut self, n: usize) {
        let recent = std::mem::take(&mut self.recent);
        self.baseline = recent.range(recent.len() - n..).copied().collect();
        self.since_check = 0;
        self.watch = None;
        self.told_early = false;
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

    /// One value an hour, as evenly as a logistic distribution around `level` allows, with a standard deviation of 0.6.
    fn even(level: f64, hours: Range<i64>) -> Vec<(Timestamp, f64)> {
        let share = |at: i64| ((at * 37) % 101) as f64 / 101.0 + 0.005;
        hours.map(|at| (hour(at), level + (share(at) / (1.0 - share(at))).ln() / 3.0)).collect()
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
    async fn a_shift_is_told_early_and_in_full_and_then_is_the_baseline() {
        // Given a sensor around 5,
        let mut bench = bench();
        assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 0..300)).await, []);
        // when it moves to 7 for good,
        let said = bench.feed_readings(&sensor(), &noise(7.0, 300..420)).await;
        // then drift is reported with its size,
        let [detected] = drifts(&said)[..] else { panic!("{said:?}") };
        assert!(0.5 < detected.effect_size && detected.p_value < 0.001, "{detected:?}");
        // of the readings since then, as soon as they are enough,
        assert_eq!((detected.n_baseline, detected.n_recent), (100, 10));
        assert!(detected.as_of <= hour(312), "{detected:?}");
        // and once more when they fill a sample, which is the baseline from then on.
        bench.advance(bench.now() + SignedDuration::from_hours(720)).await;
        let said = bench.feed_readings(&sensor(), &noise(7.0, 420..1_000)).await;
        let [detected] = drifts(&said)[..] else { panic!("{said:?}") };
        assert_eq!((detected.n_baseline, detected.n_recent), (100, 100));
        bench.advance(bench.now() + SignedDuration::from_hours(720)).await;
        assert_eq!(bench.feed_readings(&sensor(), &noise(7.0, 1_000..3_000)).await, []);
    }

    #[tokio::test]
    async fn a_sensor_that_becomes_noisier_around_its_level_drifts() {
        let mut bench = bench();
        assert_eq!(bench.feed_readings(&sensor(), &noise(5.0, 0..300)).await, []);
        let wider: Vec<_> =
            noise(5.0, 300..500).into_iter().map(|(at, value)| (at, 5.0 + 2.0 * (value - 5.0))).collect();
        let said = bench.feed_readings(&sensor(), &wider).await;
        let [detected] = drifts(&said)[..] else { panic!("{said:?}") };
        assert!(1.41 < detected.spread_ratio.expect("it is told") && detected.effect_size.abs() < 0.5, "{detected:?}");
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
            // Given a sensor at 5 that has gone a third of a standard deviation up, too little to be drift,
            let mut bench = bench();
            assert_eq!(bench.feed_readings(&sensor(), &even(5.0, 0..100)).await, []);
            assert_eq!(bench.feed_readings(&sensor(), &even(5.18, 100..200)).await, []);
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
            let said = bench.feed_readings(&sensor(), &even(5.36, 200..300)).await;
            assert_eq!(drifts(&said).len(), expected, "promoted: {promoted}");
        }
        check(false, 1).await;
        check(true, 0).await;
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let error = Drift::start(Settings { check_every: 0, ..settings() }, ()).expect_err("never checked");
        assert_eq!(error.to_string(), "check_every must be at least 8, got 0");
    }
}
