//! Counts the cases that plants open on which nothing is wrong, by what a node runs: this agent, then `validation`.

use super::{AnomalyDetection, State};
use crate::validation::{self, Validation};
use analytics::budget::MONTH;
use domain::reading::{Reading, Sensor};
use domain::{AssetId, Event, ReadingNo};
use jiff::SignedDuration;
use persistence::History;
use runtime::Agent;
use runtime::bench::Bench;
use simulations::quiet::Quiet;
use std::sync::Arc;

const PLANTS: u64 = 200;
const SENSORS: usize = 2;
const DAYS: i64 = 21;
const MINUTES: i64 = 10;
/// Budgets that are measured side by side; the one in the middle is the default.
const BUDGETS: [f64; 3] = [0.1, 1.0, 10.0];

fn defaults() -> validation::Settings {
    config::Config::defaults().section("agents.validation").expect("the defaults are complete")
}

fn settings(false_alarms_per_month: f64) -> validation::Settings {
    let mut settings = defaults();
    settings.evidence.false_alarms_per_month = false_alarms_per_month;
    settings
}

/// Cases that the plant of `seed` opens under each budget.
async fn cases(seed: u64, history: &History) -> [u32; BUDGETS.len()] {
    let detection = config::Config::defaults().section("agents.anomaly_detection").expect("the defaults are complete");
    let detection = AnomalyDetection::start(detection, ()).expect("the defaults make sense");
    let mut state = State::default();
    let mut judges = BUDGETS.map(|budget| Bench::<Validation>::start(settings(budget), history.clone()));
    let mut opened = [0; BUDGETS.len()];
    let mut plant = Quiet::new(seed, &AssetId::from("quiet"), SENSORS);
    let start = judges[0].now();
    for step in 0..DAYS * 24 * 60 / MINUTES {
        let taken_at = start + SignedDuration::from_mins(MINUTES * step);
        for sample in plant.sample(taken_at) {
            let (id, asset, sensor_type) = (sample.sensor, sample.asset, sample.sensor_type);
            let sensor = Sensor { id, asset, sensor_type, unit: None, limit_high: None, limit_low: None };
            let (no, sensor) = (ReadingNo(step + 1), Arc::new(sensor));
            let (value, received_at) = (sample.value, taken_at);
            let reading = Reading { no, sensor, value, quality: 1.0, taken_at, received_at };
            let Some(anomaly) = detection.judge(&mut state, &reading) else { continue };
            for (idx, judge) in judges.iter_mut().enumerate() {
                let mut said = judge.advance(taken_at).await;
                said.extend(judge.feed(Event::AnomalyDetected(anomaly.clone())).await);
                opened[idx] += said.iter().filter(|event| matches!(event, Event::CaseOpened(_))).count() as u32;
                // What is learnt meanwhile goes by the cases of the default.
                for event in said.iter().filter(|_| idx == 1) {
                    hear(&mut state, event);
                }
            }
        }
    }
    opened
}

fn hear(state: &mut State, event: &Event) {
    match event {
        Event::CaseOpened(opened) => {
            state.assets.entry(opened.asset.clone()).or_default().open(opened.case);
            state.cases.insert(opened.case, opened.asset.clone());
        }
        Event::CaseClosed(closed) => {
            if let Some(machine) = state.cases.remove(&closed.case).and_then(|asset| state.assets.get_mut(&asset)) {
                machine.close(closed.case);
            }
        }
        _ => {}
    }
}

/// Cases that the plants of `seeds` open under each budget.
fn total(seeds: std::ops::Range<u64>) -> [u32; BUDGETS.len()] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let history = History::empty().await.expect("an empty history");
        let mut total = [0; BUDGETS.len()];
        for seed in seeds {
            for (sum, opened) in total.iter_mut().zip(cases(seed, &history).await) {
                *sum += opened;
            }
        }
        total
    })
}

#[test]
fn two_hundred_quiet_plants_stay_within_the_budget_of_false_alarms() {
    assert_eq!(BUDGETS[1], defaults().evidence.false_alarms_per_month);
    let opened = std::thread::scope(|scope| {
        let other = scope.spawn(|| total(PLANTS / 2..PLANTS));
        let mut opened = total(0..PLANTS / 2);
        let other = other.join().expect("no plant fails");
        opened.iter_mut().zip(other).for_each(|(sum, opened)| *sum += opened);
        opened
    });
    let months = PLANTS as f64 * SENSORS as f64 * (DAYS * 86_400) as f64 / MONTH;
    // A count of rare and independent events varies with its root: 95 of 100 counts lie within 1.96 of those.
    let highest = BUDGETS.map(|budget| budget * months + 1.96 * (budget * months).sqrt());
    for (idx, budget) in BUDGETS.into_iter().enumerate() {
        let (opened, highest) = (f64::from(opened[idx]), highest[idx]);
        assert!(opened <= highest, "{opened} cases in {months:.0} months at {budget} a month: at most {highest:.0}");
    }
    // It is the budget that does it: a larger one opens more, and the largest would break the smallest.
    let [tight, default, loose] = opened;
    assert!(0 < tight && 2 * tight <= default && default < loose, "{opened:?}");
    assert!(highest[0] < f64::from(loose), "{opened:?}, {highest:?}");
}
