//! Learns from decisions and close-outs which alarms can be trusted.
//!
//! Takes in: `CaseOpened` (what an alarm was about), `MaintenanceApproved` and `MaintenanceDeclined` by a
//! person, `FeedbackReceived`, `MaintenanceCompleted`.
//! Emits: `FeedbackLearned` and `DetectorRated`, whenever a judgement changes a count.
//! Remembers: the newest cases with how they were judged, and the counts for each failure mode of each
//! sensor, and for each detector on each type of sensor. A case counts once: what a technician found overrides
//! what was said before, and the newer word the older one. What the policy or a deadline decided teaches nothing.

use analytics::proportion::{LEVEL, wilson};
use domain::case::FailureMode;
use domain::decision::By;
use domain::model::{DetectorRated, FeedbackLearned, Record};
use domain::reading::SensorType;
use domain::{CaseId, Event, SensorId};
use runtime::{Agent, Ctx, Failure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// `[agents.learning]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Newest cases that can still be judged. At least 1.
    pub cases_max: usize,
}

/// The agent.
pub struct Learning {
    settings: Settings,
}

/// What it remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    cases: BTreeMap<CaseId, Case>,
    /// Order in which the cases opened.
    opened: VecDeque<CaseId>,
    counts: BTreeMap<(FailureMode, SensorId), Counts>,
    ratings: BTreeMap<Detector, Counts>,
}

/// A detector, by name and version, on one type of sensor.
type Detector = (String, SensorType);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    alarm: (FailureMode, SensorId),
    detector: Option<Detector>,
    judged: Option<Judgement>,
}

/// Cases of one kind that were judged.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Counts {
    confirmed: u32,
    dismissed: u32,
    /// Of the dismissed ones, those that were inspected.
    no_fault_found: u32,
}

impl Counts {
    /// Counts `judgement` in place of `earlier`.
    fn judged(&mut self, earlier: Option<Judgement>, judgement: Judgement) {
        if let Some(earlier) = earlier {
            *self.of(earlier.real) -= 1;
            self.no_fault_found -= u32::from(earlier.found_nothing());
        }
        *self.of(judgement.real) += 1;
        self.no_fault_found += u32::from(judgement.found_nothing());
    }

    fn of(&mut self, real: bool) -> &mut u32 {
        if real { &mut self.confirmed } else { &mut self.dismissed }
    }

    fn record(self) -> Record {
        let Self { confirmed, dismissed, no_fault_found } = self;
        let (low, high) = wilson(confirmed, confirmed + dismissed);
        Record { confirmed, dismissed, no_fault_found, low, high, level: LEVEL }
    }

    /// Posterior mean of the chance that the next alarm is real, from a flat prior, Beta(1, 1).
    ///
    /// # Source
    ///
    /// Laplace's rule of succession.
    fn precision(self) -> f64 {
        (f64::from(self.confirmed) + 1.0) / (f64::from(self.confirmed) + f64::from(self.dismissed) + 2.0)
    }
}

/// What somebody made of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    real: bool,
    /// Somebody looked at the machine.
    inspected: bool,
}

impl Judgement {
    fn found_nothing(self) -> bool {
        self.inspected && !self.real
    }
}

/// What it hears.
pub enum Message {
    /// A case, and the alarm that it is about.
    Opened(CaseId, (FailureMode, SensorId), Option<Detector>),
    /// What somebody made of it.
    Judged(CaseId, Judgement),
}

impl Agent for Learning {
    const NAME: &'static str = "learning";
    const STATE_VERSION: u16 = 2;
    type Settings = Settings;
    type Deps = ();
    type State = State;
    type Message = Message;

    fn start(settings: Settings, (): ()) -> anyhow::Result<Self> {
        anyhow::ensure!(0 < settings.cases_max, "cases_max must be at least 1");
        Ok(Self { settings })
    }

    fn accept(event: &Event) -> Option<Message> {
        let decided = |case: Option<CaseId>, by: &By, real| match by {
            By::Person(_) => Some(Message::Judged(case?, Judgement { real, inspected: false })),
            By::Policy | By::Expiry => None,
        };
        match event {
            Event::CaseOpened(opened) => {
                let alarm = (opened.failure_mode.clone(), opened.sensor.clone());
                Some(Message::Opened(opened.case, alarm, opened.detector.clone().zip(opened.sensor_type)))
            }
            Event::MaintenanceApproved(approved) => decided(approved.proposal.case, &approved.by, true),
            Event::MaintenanceDeclined(declined) => decided(declined.proposal.case, &declined.by, false),
            Event::FeedbackReceived(feedback) => {
                let judgement = Judgement { real: feedback.confirmed, inspected: false };
                Some(Message::Judged(feedback.case, judgement))
            }
            Event::MaintenanceCompleted(completed) => {
                let judgement = Judgement { real: completed.fault_found, inspected: true };
                Some(Message::Judged(completed.case?, judgement))
            }
            _ => None,
        }
    }

    async fn handle(&self, state: &mut State, message: Message, ctx: &mut Ctx) -> Result<(), Failure> {
        match message {
            Message::Opened(case, alarm, detector) => {
                state.cases.insert(case, Case { alarm, detector, judged: None });
                state.opened.push_back(case);
                if self.settings.cases_max < state.opened.len()
                    && let Some(oldest) = state.opened.pop_front()
                {
                    state.cases.remove(&oldest);
                }
            }
            Message::Judged(case, judgement) => {
                let Some(case) = state.cases.get_mut(&case) else { return Ok(()) };
                if case.judged.is_some_and(|earlier| earlier.inspected && !judgement.inspected) {
                    return Ok(());
                }
                let earlier = case.judged.replace(judgement);
                let counts_as = |one: Judgement| (one.real, one.found_nothing());
                if earlier.is_some_and(|earlier| counts_as(earlier) == counts_as(judgement)) {
                    return Ok(());
                }
                let counts = state.counts.entry(case.alarm.clone()).or_default();
                counts.judged(earlier, judgement);
                let (failure_mode, sensor) = case.alarm.clone();
                ctx.emit(Event::FeedbackLearned(FeedbackLearned {
                    failure_mode: failure_mode.0,
                    sensor,
                    confirmed: counts.confirmed,
                    dismissed: counts.dismissed,
                    precision: counts.precision(),
                    record: Some(counts.record()),
                }));
                if let Some((detector, sensor_type)) = case.detector.clone() {
                    let counts = state.ratings.entry((detector.clone(), sensor_type)).or_default();
                    counts.judged(earlier, judgement);
                    let (precision, record) = (counts.precision(), counts.record());
                    ctx.emit(Event::DetectorRated(DetectorRated { detector, sensor_type, precision, record }));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::WorkOrderId;
    use domain::case::{Feedback, Opened, Priority};
    use domain::decision::{Approved, Declined, Proposal};
    use domain::work_order::Completed;
    use runtime::bench::Bench;
    use uuid::Uuid;

    fn bench(cases_max: usize) -> Bench<Learning> {
        Bench::start(Settings { cases_max }, ())
    }

    fn opened(case: u128) -> Event {
        Event::CaseOpened(Opened {
            case: CaseId(Uuid::from_u128(case)),
            asset: "pump-1".into(),
            failure_mode: FailureMode("abnormal_pump".to_owned()),
            sensor: "pump-1/p".into(),
            priority: Priority::Low,
            first_evidence_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            last_evidence_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            reason: String::new(),
            evidence: Vec::new(),
            recurrence_of: None,
            detector: None,
            sensor_type: None,
        })
    }

    fn proposal(case: u128) -> Proposal {
        Proposal {
            case: Some(CaseId(Uuid::from_u128(case))),
            asset: "pump-1".into(),
            sensor: "pump-1/p".into(),
            maintenance_type: "preventive".to_owned(),
            priority: Priority::Low,
            due_at: None,
            confidence: 0.9,
            recommended_actions: Vec::new(),
        }
    }

    fn approved(case: u128, by: By) -> Event {
        Event::MaintenanceApproved(Approved { request: None, proposal: proposal(case), by, reason: String::new() })
    }

    fn declined(case: u128, by: By) -> Event {
        let request = "r".into();
        Event::MaintenanceDeclined(Declined { request, proposal: proposal(case), by, reason: String::new() })
    }

    fn completed(case: u128, fault_found: bool) -> Event {
        Event::MaintenanceCompleted(Completed {
            work_order: WorkOrderId(Uuid::from_u128(9)),
            case: Some(CaseId(Uuid::from_u128(case))),
            asset: "pump-1".into(),
            technician: "tech_001".into(),
            completed_at: "2026-01-02T00:00:00Z".parse().unwrap(),
            duration_hours: None,
            fault_found,
            notes: String::new(),
            close_out: None,
            by: None,
        })
    }

    fn ana() -> By {
        By::Person("ana".to_owned())
    }

    /// Confirmed, dismissed and precision as said.
    fn counts(said: &[Event]) -> (u32, u32, f64) {
        let [Event::FeedbackLearned(learned)] = said else { panic!("something is learnt, not {said:?}") };
        assert_eq!((learned.failure_mode.as_str(), learned.sensor.as_str()), ("abnormal_pump", "pump-1/p"));
        (learned.confirmed, learned.dismissed, learned.precision)
    }

    #[tokio::test]
    async fn precision_is_the_posterior_mean_of_what_people_said() {
        let mut bench = bench(10);
        for case in 1..=3 {
            bench.feed(opened(case)).await;
        }
        assert_eq!(counts(&bench.feed(approved(1, ana())).await), (1, 0, 2.0 / 3.0));
        assert_eq!(counts(&bench.feed(declined(2, ana())).await), (1, 1, 0.5));
        assert_eq!(counts(&bench.feed(declined(3, ana())).await), (1, 2, 0.4));
    }

    #[tokio::test]
    async fn what_a_technician_found_overrides_the_decision_and_is_not_overridden() {
        let mut bench = bench(10);
        bench.feed(opened(1)).await;
        assert_eq!(counts(&bench.feed(approved(1, ana())).await), (1, 0, 2.0 / 3.0));
        assert_eq!(bench.feed(approved(1, ana())).await, [], "a case counts once");
        assert_eq!(counts(&bench.feed(completed(1, false)).await), (0, 1, 1.0 / 3.0));
        assert_eq!(bench.feed(completed(1, false)).await, [], "the same word twice changes nothing");
        assert_eq!(bench.feed(approved(1, ana())).await, [], "a decision does not override what was found");
        assert_eq!(counts(&bench.feed(completed(1, true)).await), (1, 0, 2.0 / 3.0), "a second look does");
    }

    #[tokio::test]
    async fn what_no_person_decided_teaches_nothing() {
        let mut bench = bench(10);
        bench.feed(opened(1)).await;
        assert_eq!(bench.feed(approved(1, By::Policy)).await, []);
        assert_eq!(bench.feed(declined(1, By::Expiry)).await, []);
        assert_eq!(bench.feed(declined(2, ana())).await, [], "nor does a case that is not known");
    }

    #[tokio::test]
    async fn only_the_newest_cases_can_still_be_judged() {
        let mut bench = bench(2);
        for case in 1..=3 {
            bench.feed(opened(case)).await;
        }
        assert_eq!(bench.feed(approved(1, ana())).await, []);
        assert_eq!(counts(&bench.feed(approved(2, ana())).await), (1, 0, 2.0 / 3.0));
    }

    fn rated(said: &[Event]) -> &DetectorRated {
        let [Event::FeedbackLearned(learned), Event::DetectorRated(rated)] = said else {
            panic!("the alarm and its detector are rated, not {said:?}")
        };
        assert_eq!(learned.record.map(|record| record.n_judged()), Some(learned.confirmed + learned.dismissed));
        rated
    }

    #[tokio::test]
    async fn a_detector_is_rated_over_all_sensors_of_a_type_with_how_sure_that_is() {
        let mut bench = bench(100);
        for case in 1..=14 {
            let Event::CaseOpened(begun) = opened(case) else { panic!("a case opens") };
            bench
                .feed(Event::CaseOpened(Opened {
                    sensor: format!("pump-{case}/p").into(),
                    detector: Some("stream/1".to_owned()),
                    sensor_type: Some(SensorType::Pump),
                    ..begun
                }))
                .await;
        }
        for case in 1..14 {
            bench.feed(completed(case, case != 5)).await;
        }
        let said = bench.feed(completed(14, false)).await;
        let rated = rated(&said);
        assert_eq!((rated.detector.as_str(), rated.sensor_type), ("stream/1", SensorType::Pump));
        assert_eq!(rated.record.to_string(), "12 of 14 confirmed, 2 no fault found");
        assert_eq!(rated.precision, 13.0 / 16.0);
        assert!((rated.record.low - 0.6006).abs() < 1e-4 && (rated.record.high - 0.9599).abs() < 1e-4, "{rated:?}");
    }

    #[tokio::test]
    async fn what_somebody_says_without_a_repair_counts_until_somebody_looks() {
        let mut bench = bench(10);
        bench.feed(opened(1)).await;
        let says = |confirmed| {
            let case = CaseId(Uuid::from_u128(1));
            Event::FeedbackReceived(Feedback { case, confirmed, by: "shift".to_owned(), comment: None })
        };
        let said = bench.feed(says(false)).await;
        assert_eq!(counts(&said), (0, 1, 1.0 / 3.0));
        let [Event::FeedbackLearned(learned)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(learned.record.expect("there is one").to_string(), "0 of 1 confirmed, 1 dismissed");
        // Somebody looks, and finds nothing either: that counts for more than a word.
        let said = bench.feed(completed(1, false)).await;
        let [Event::FeedbackLearned(learned)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(learned.record.expect("there is one").to_string(), "0 of 1 confirmed, 1 no fault found");
        assert_eq!(bench.feed(says(true)).await, []);
    }
}
