//! What a detector finds in made-up series, and what it leaves alone.

use super::*;
use crate::evidence::{self, Confirmation};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use std::f64::consts::TAU;

const SETTINGS: Settings = Settings { warm_up_readings: 200, tail_sigmas: 4.0, record_margin: 1.5, hold_readings: 16 };
const EVIDENCE: evidence::Settings = evidence::Settings {
    false_alarms_per_month: 1.0,
    weight_min: 4.0,
    weight_max: 60.0,
    score_max: 2.0,
    delay_seconds: 60.0,
    burst_readings: 60,
};
/// What a case of a sensor takes of which nothing is known yet.
const LIMIT: f64 = 8.0;
/// Midnight of a Monday.
const MONDAY: f64 = 1_767_571_200.0;

/// Roughly normal noise with standard deviation 1.
fn noise(chance: &mut Pcg32) -> f64 {
    (0..12).map(|_| chance.random::<f64>()).sum::<f64>() - 6.0
}

/// A sensor that reads 50 ± 2 every `interval` seconds, with `fault(reading index, value)` laid over it.
struct Bench {
    detector: Detector,
    confirmation: Confirmation,
    chance: Pcg32,
    interval: f64,
    n: u32,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            detector: Detector::new(seed),
            confirmation: Confirmation::default(),
            chance: Pcg32::seed_from_u64(seed),
            interval: 60.0,
            n: 0,
        }
    }

    /// Feeds `n` readings and tells for each whether it was evidence, with its verdict.
    fn feed(&mut self, n: u32, value: impl Fn(f64, f64) -> f64) -> Vec<(bool, Verdict)> {
        let start = self.n;
        self.n += n;
        (start..self.n)
            .map(|idx| {
                let at = MONDAY + self.interval * f64::from(idx);
                let value = value(at, 50.0 + 2.0 * noise(&mut self.chance));
                let verdict = self.detector.observe(&SETTINGS, at, value, true);
                (self.confirmation.observe(&EVIDENCE, LIMIT, at, &verdict), verdict)
            })
            .collect()
    }
}

/// After 1,000 clean readings, a fault is evident within `n_max` readings and put down to `aspect`, on ten sensors.
fn found_within(n_max: usize, aspect: Aspect, fault: impl Fn(f64, f64) -> f64 + Copy) {
    for seed in 0..10 {
        let mut bench = Bench::new(seed);
        bench.feed(1_000, |_, value| value);
        let faulty = bench.feed(400, fault);
        let first = faulty.iter().position(|(evident, _)| *evident);
        assert!(first.is_some_and(|first| first < n_max), "evidence after {first:?} readings, seed {seed}");
        let named = faulty
            .iter()
            .any(|(_, verdict)| verdict.attribution.iter().any(|entry| entry.0 == aspect && 1.0 <= entry.1));
        assert!(named, "{aspect:?} was never a reason, seed {seed}");
    }
}

#[test]
fn a_shift_of_two_standard_deviations_is_found() {
    found_within(60, Aspect::Level, |_, value| value + 4.0);
}

#[test]
fn noise_three_times_as_strong_is_found() {
    found_within(60, Aspect::Spread, |_, value| 50.0 + 3.0 * (value - 50.0));
}

#[test]
fn a_stuck_value_is_found() {
    found_within(60, Aspect::Stuck, |_, _| 51.0);
}

#[test]
fn a_jump_within_the_usual_range_is_a_matter_of_rate() {
    let swing = |at: f64, value: f64| value + 30.0 * (TAU * at / 60_000.0).sin();
    let mut bench = Bench::new(2);
    bench.feed(3_250, swing);
    let jump = bench.feed(1, |at, value| swing(at, value) - 30.0)[0].1;
    assert!(jump.anomalous && jump.aspect == Aspect::Rate && jump.attribution[0].1 < 1.0, "{jump:?}");
}

#[test]
fn noise_is_hardly_ever_evidence() {
    let alarms = |seed| u32::from(Bench::new(seed).feed(3_000, |_, value| value).iter().any(|(evident, _)| *evident));
    let n_alarmed: u32 = (0..40).map(alarms).sum();
    assert!(n_alarmed <= 4, "{n_alarmed} of 40 sensors alarmed");
}

#[test]
fn a_single_spike_is_anomalous_but_no_evidence() {
    for seed in 0..10 {
        let mut bench = Bench::new(seed);
        bench.feed(1_000, |_, value| value);
        let (evident, spike) = bench.feed(1, |_, _| 500.0)[0];
        assert!(spike.anomalous && !evident, "seed {seed}: {spike:?}");
        assert!(spike.expected.0 < 50.0 && spike.expected.1 < 80.0 && 50.0 < spike.expected.1, "{spike:?}");
        assert!(bench.feed(100, |_, value| value).iter().all(|(evident, _)| !evident), "seed {seed}");
    }
}

#[test]
fn slow_degradation_is_found_before_it_is_the_new_normal() {
    for seed in 0..5 {
        let mut bench = Bench::new(seed);
        bench.feed(4_000, |_, value| value);
        // One standard deviation each 1,000 readings.
        let faulty = bench.feed(5_000, |at, value| value + 2.0 * ((at - MONDAY) / 60.0 - 4_000.0) / 1_000.0);
        let first = faulty.iter().position(|(evident, _)| *evident);
        assert!(first.is_some(), "never found, seed {seed}");
    }
}

#[test]
fn a_lasting_fault_stays_abnormal_until_it_is_adopted() {
    let mut bench = Bench::new(1);
    bench.feed(1_000, |_, value| value);
    let faulty = bench.feed(10_000, |_, value| value + 20.0);
    assert!(faulty[9_000..].iter().all(|(_, verdict)| verdict.anomalous), "the fault became normal");
    let points: Vec<(f64, f64)> = (0..2_000)
        .map(|idx| (MONDAY + 60.0 * f64::from(bench.n - 2_000 + idx), 70.0 + 2.0 * noise(&mut bench.chance)))
        .collect();
    bench.detector.adopt(&Baseline::fit(&points).unwrap());
    assert!(bench.feed(500, |_, value| value + 20.0).iter().all(|(evident, _)| !evident), "the adopted level alarms");
    assert!(bench.feed(60, |_, value| value).iter().any(|(evident, _)| *evident), "the old level is still normal");
}

#[test]
fn a_daily_rhythm_is_quiet_and_its_absence_is_not() {
    let rhythm = |at: f64, value: f64| value + 15.0 * (TAU * at / 86_400.0).sin();
    let mut bench = Bench { interval: 600.0, ..Bench::new(3) };
    let clean = bench.feed(144 * 14, rhythm);
    assert!(clean.iter().all(|(evident, _)| !evident), "the rhythm alarmed");
    // The level is as at midnight, all day long: nothing but the rhythm is missing.
    let flat = bench.feed(144, |_, value| value);
    assert!(
        flat.iter().any(|(evident, verdict)| *evident && verdict.aspect == Aspect::Season),
        "its absence was missed"
    );
}

#[test]
fn a_new_sensor_says_how_much_it_needs_and_raises_nothing() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.detector.readiness(&SETTINGS), Readiness::Cold { have: 0, need: 200 });
    let cold = bench.feed(200, |at, value| if (at - MONDAY) < 6_000.0 { value } else { 10.0 * value });
    assert!(cold.iter().all(|(_, verdict)| !verdict.anomalous));
    assert_eq!(cold[198].1.readiness, Readiness::Cold { have: 199, need: 200 });
    assert_eq!(bench.detector.readiness(&SETTINGS), Readiness::Ready);
}

#[test]
fn aspects_that_are_independent_and_a_little_off_are_anomalous_together() {
    let mut bench = Bench::new(9);
    bench.feed(500, |_, value| value);
    let verdict = |level, rate, spread, pattern, season| {
        let mut scores = no_scores();
        for (entry, score) in scores.iter_mut().zip([level, rate, spread, 0.0, pattern, season]) {
            entry.1 = score;
        }
        bench.detector.verdict(&SETTINGS, scores, None)
    };
    let off = verdict(0.8, 0.7, 0.0, 0.8, 0.0);
    assert!(off.anomalous && 1.0 <= off.score && off.aspect == Aspect::Level, "{off:?}");
    // How fast it moves and how much say the same, as do where it is and where it should be at that hour.
    assert!(!verdict(0.0, 0.8, 0.8, 0.0, 0.0).anomalous && !verdict(0.8, 0.0, 0.0, 0.0, 0.8).anomalous);
    // One that is off by itself is as far off as it is.
    assert_eq!(verdict(1.1, 0.9, 0.0, 0.9, 0.0).score, 1.1);
}

#[test]
fn a_baseline_that_is_adopted_leaves_what_is_known_of_shapes() {
    let mut bench = Bench::new(10);
    bench.feed(1_000, |_, value| value);
    let (offered, usual) = (bench.detector.pattern.clone(), bench.detector.odd.mean());
    let points: Vec<(f64, f64)> = (0..200).map(|idx| (MONDAY + 60.0 * f64::from(idx), f64::from(idx % 7))).collect();
    bench.detector.adopt(&Baseline::fit(&points).unwrap());
    assert_eq!(postcard::to_stdvec(&bench.detector.pattern), postcard::to_stdvec(&offered));
    assert_eq!(bench.detector.odd.mean(), usual);
}

#[test]
fn a_baseline_that_is_days_old_takes_over_without_an_alarm() {
    // Given a rhythm whose baseline was fitted up to a peak,
    let rhythm = |at: f64, value: f64| value + 15.0 * (TAU * at / 86_400.0).sin();
    for seed in 0..10 {
        let mut bench = Bench { interval: 600.0, ..Bench::new(seed) };
        bench.feed(144 * 14 + 36, rhythm);
        let points: Vec<(f64, f64)> = (0..144 * 7 + 36)
            .map(|idx| MONDAY + 600.0 * f64::from(144 * 7 + idx))
            .map(|at| (at, rhythm(at, 50.0 + 2.0 * noise(&mut bench.chance))))
            .collect();
        let baseline = Baseline::fit(&points).unwrap();
        // when it takes over three days and a half later, in a trough,
        bench.feed(144 * 3 + 72, rhythm);
        bench.detector.adopt(&baseline);
        // then the sensor is where it should be.
        let after = bench.feed(288, rhythm);
        let n_anomalous = after.iter().filter(|(_, verdict)| verdict.anomalous).count();
        assert!(n_anomalous <= 1 && after.iter().all(|(evident, _)| !evident), "seed {seed}: {n_anomalous}");
    }
}

#[test]
fn what_was_learnt_of_motion_is_kept_when_a_baseline_is_adopted() {
    // Given a sensor that jumped now and then when it was new, and a baseline of a time without a jump,
    let mut bench = Bench::new(11);
    bench.feed(200, |at, value| if (at / 60.0).rem_euclid(50.0) < 1.0 { value + 40.0 } else { value });
    bench.feed(300, |_, value| value);
    let points: Vec<(f64, f64)> =
        (0..400).map(|idx| (MONDAY + 60.0 * f64::from(idx), 50.0 + 2.0 * noise(&mut bench.chance))).collect();
    bench.detector.adopt(&Baseline::fit(&points).unwrap());
    // then another jump is no matter of rate, as it would have been none.
    let jump = bench.feed(1, |_, _| 90.0)[0].1;
    assert!((0.5..1.0).contains(&jump.attribution[1].1), "{jump:?}");
}

#[test]
fn a_pause_does_not_make_one_reading_stand_for_a_long_mean() {
    let n_alarmed: u32 = (0..20)
        .map(|seed| {
            let mut bench = Bench::new(seed);
            bench.feed(3_000, |_, value| value);
            // Ten pauses of a thousand intervals.
            let mut alarmed = false;
            for _ in 0..10 {
                bench.n += 1_000;
                alarmed |= bench.feed(300, |_, value| value).iter().any(|(evident, _)| *evident);
            }
            u32::from(alarmed)
        })
        .sum();
    assert!(n_alarmed <= 2, "{n_alarmed} of 20 sensors alarmed");
}

#[test]
fn a_detector_stays_within_its_memory() {
    let mut largest = 0;
    for interval in [1.0, 60.0, 3_600.0] {
        let mut bench = Bench { interval, ..Bench::new(12) };
        for _ in 0..20 {
            bench.feed(2_000, |at, value| value + 15.0 * (TAU * at / 86_400.0).sin());
            largest = largest.max(bench.detector.size());
        }
    }
    // A forest of 64 trees is part of it.
    assert!((24_576..=65_536).contains(&largest), "{largest} bytes");
}

#[test]
fn a_late_or_repeated_reading_changes_nothing() {
    let mut bench = Bench::new(5);
    bench.feed(500, |_, value| value);
    let before = postcard::to_stdvec(&bench.detector).unwrap();
    let verdict = bench.detector.observe(&SETTINGS, MONDAY + 60.0, 500.0, true);
    assert!(verdict.anomalous && verdict.aspect == Aspect::Level);
    assert_eq!(postcard::to_stdvec(&bench.detector).unwrap(), before);
}

#[test]
fn nothing_is_learnt_when_it_is_not_allowed() {
    let mut bench = Bench::new(6);
    bench.feed(500, |_, value| value);
    let before = bench.detector.level.clone();
    bench.detector.observe(&SETTINGS, MONDAY + 60.0 * 500.0, 51.0, false);
    assert_eq!(bench.detector.level, before);
}

#[test]
fn a_detector_goes_on_from_a_small_checkpoint_as_if_nothing_had_happened() {
    let mut bench = Bench { interval: 600.0, ..Bench::new(7) };
    bench.feed(3_000, |_, value| value);
    let bytes = postcard::to_stdvec(&bench.detector).unwrap();
    assert!(bytes.len() < 16_384, "{} bytes", bytes.len());
    let mut restored = Bench { detector: postcard::from_bytes(&bytes).unwrap(), chance: bench.chance.clone(), ..bench };
    let mut bench = Bench { detector: bench.detector, chance: bench.chance, ..restored };
    assert_eq!(bench.feed(2_000, |_, value| value), restored.feed(2_000, |_, value| value));
}

#[test]
fn extreme_and_constant_values_give_finite_scores() {
    for values in [[0.0, 0.0], [1e300, -1e300], [5.0, 5.0], [1e-300, 2e-300]] {
        let mut detector = Detector::new(8);
        for idx in 0..1_000u32 {
            let verdict = detector.observe(&SETTINGS, f64::from(idx), values[(idx % 2) as usize], true);
            assert!(verdict.score.is_finite() && verdict.expected.0 <= verdict.expected.1, "{values:?} {verdict:?}");
        }
        let kept: Detector = serde_json::from_str(&serde_json::to_string(&detector).unwrap()).unwrap();
        assert_eq!(kept.n, 1_000);
    }
}

#[test]
fn settings_are_complete_and_unknown_keys_refused() {
    let keys = "warm_up_readings = 200\ntail_sigmas = 4.0\nrecord_margin = 1.5\nhold_readings = 16\n";
    assert_eq!(toml::from_str::<Settings>(keys).unwrap(), SETTINGS);
    assert!(toml::from_str::<Settings>(&format!("{keys}windw = 3\n")).unwrap_err().to_string().contains("windw"));
}
