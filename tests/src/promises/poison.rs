//! Events that harm whoever handles them, among many that do not.
//!
//! Each event is for one of twelve agents, all of the same kind: the pauses between attempts are most of what such a run
//! takes, and twelve can wait at once. An end of the process hits all of them, whatever they are doing.

use anyhow::{Context as _, ensure};
use config::Config;
use domain::model::{TrainingFailed, TrainingRequested};
use domain::{CorrelationId, Event, EventId, SensorId, Seq};
use persistence::Store;
use persistence::dead_letters::{self, Filter};
use persistence::page::Start;
use persistence::unit::NewEvent;
use runtime::faults::{Fault, Faults};
use runtime::{Agent, Child, Clock, Ctx, Failure, Metrics, Runtime, Tree, hosted};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Events appended at once.
const BATCH: u64 = 500;
/// Time that one event may take, in seconds: short, because every hang costs it five times.
const DEADLINE: f64 = 0.1;
/// Time that replay may take, in seconds: short, because every attempt begins with one.
const REPLAY: f64 = 0.02;
/// Neighbours in the log that are for one agent. No divisor of the distance between two bad ones of a kind, so that
/// each agent gets its share of them.
const STRETCH: u64 = 97;

/// The agents.
const NAMES: [&str; 12] = [
    "answering_1",
    "answering_2",
    "answering_3",
    "answering_4",
    "answering_5",
    "answering_6",
    "answering_7",
    "answering_8",
    "answering_9",
    "answering_10",
    "answering_11",
    "answering_12",
];

/// The agent that the `no`th event is for.
fn agent_of(no: u64) -> &'static str {
    NAMES[(no / STRETCH) as usize % NAMES.len()]
}

/// Answers each request to it once, with the number of those that it has answered.
struct Answering<const NO: usize>;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Answered {
    count: u64,
}

impl<const NO: usize> Agent for Answering<NO> {
    const NAME: &'static str = NAMES[NO];
    type Settings = ();
    type Deps = ();
    type State = Answered;
    type Message = SensorId;

    fn start((): (), (): ()) -> anyhow::Result<Self> {
        Ok(Self)
    }

    fn accept(event: &Event) -> Option<SensorId> {
        match event {
            Event::TrainingRequested(request) if request.reason == Self::NAME => Some(request.sensor.clone()),
            _ => None,
        }
    }

    async fn handle(&self, answered: &mut Answered, sensor: SensorId, ctx: &mut Ctx) -> Result<(), Failure> {
        answered.count += 1;
        ctx.emit(Event::TrainingFailed(TrainingFailed { sensor, reason: answered.count.to_string() }));
        Ok(())
    }
}

fn agents() -> [Child; NAMES.len()] {
    [
        hosted(Answering::<0>),
        hosted(Answering::<1>),
        hosted(Answering::<2>),
        hosted(Answering::<3>),
        hosted(Answering::<4>),
        hosted(Answering::<5>),
        hosted(Answering::<6>),
        hosted(Answering::<7>),
        hosted(Answering::<8>),
        hosted(Answering::<9>),
        hosted(Answering::<10>),
        hosted(Answering::<11>),
    ]
}

/// What the event at `seq` of `n` does: 1 % panics, 0.1 % hangs, four abort the process.
fn harm(seq: Seq, n: u64) -> Option<Fault> {
    let seq = seq.0.unsigned_abs();
    match seq {
        _ if n < seq => None,
        _ if seq % (n / 4) == n / 8 => Some(Fault::Abort),
        _ if seq % 1_000 == 513 => Some(Fault::Hang),
        _ if seq % 100 == 7 => Some(Fault::Panic),
        _ => None,
    }
}

fn settings(folder: &Path) -> anyhow::Result<Config> {
    let config = Config::defaults().with("store.data_dir", folder.to_string_lossy().into_owned())?;
    let config = config.with("supervision.handle_deadline_seconds", DEADLINE)?;
    Ok(config.with("supervision.replay_seconds_max", REPLAY)?.with("supervision.dead_letters_max", 1_000_000)?)
}

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Good ones that were answered once.
    pub answered_once: u64,
    /// Good ones that were not, or more than once.
    pub wrong: u64,
    /// Answers that bear another number than the one that comes next: what their agent remembered was wrong.
    pub misnumbered: u64,
    /// Bad ones that are dead letters after as many attempts as the rule says: three ends of the process, or five
    /// failures.
    pub dead_letters: u64,
    /// Those that failed when the process ended for another one's sake, and were given up earlier or later for it.
    pub cut_short: u64,
    /// Bad ones that are not, and good ones that are.
    pub misjudged: u64,
    /// Events that abort the process.
    pub killers: u64,
    /// Ends of the process.
    pub ends: u64,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Everything as promised.
    pub fn holds(&self) -> bool {
        self.wrong == 0
            && self.misnumbered == 0
            && self.misjudged == 0
            && self.ends <= 3 * self.killers
            && self.cut_short <= NAMES.len() as u64 * self.ends
    }
}

/// Handles `n` events, some of which are poison, in processes of their own: `executable poisoned FOLDER N`, which must
/// call [`serve`].
///
/// # Errors
///
/// The store or the processes do not do as they should.
pub async fn run(n: u64, executable: &Path) -> anyhow::Result<Report> {
    let folder = TempDir::new()?;
    let began = Instant::now();
    fill(folder.path(), n).await?;
    let killers = (1..=n).filter(|seq| harm(Seq(seq.cast_signed()), n) == Some(Fault::Abort)).count() as u64;
    let mut starts = 0;
    loop {
        starts += 1;
        let status = Command::new(executable)
            .arg("poisoned")
            .arg(folder.path())
            .arg(n.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if status.success() {
            break;
        }
        ensure!(starts <= 10 * (killers + 1), "the process ends again and again: {status}");
    }
    let mut report = judge(folder.path(), n).await?;
    report.killers = killers;
    report.ends = starts - 1;
    report.took = began.elapsed();
    Ok(report)
}

async fn opened<T>(folder: &Path, work: impl AsyncFnOnce(&Store) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let store = Store::open(&settings(folder)?.section("store")?).await?;
    let mut writer = JoinSet::new();
    writer.spawn({
        let store = store.clone();
        async move { store.run_writer().await }
    });
    let done = work(&store).await;
    store.close();
    writer.join_next().await.context("the writer runs")???;
    done
}

async fn fill(folder: &Path, n: u64) -> anyhow::Result<()> {
    opened(folder, async |store| {
        for first in (0..n).step_by(usize::try_from(BATCH)?) {
            let event = |no| NewEvent {
                id: EventId(Uuid::now_v7()),
                cause: None,
                correlation: CorrelationId::from("poison"),
                traceparent: None,
                source: "test".into(),
                at: Clock::System.now(),
                event: Event::TrainingRequested(TrainingRequested {
                    sensor: SensorId::from("s"),
                    as_of: Clock::System.now(),
                    reason: agent_of(no).to_owned(),
                }),
            };
            store.append((first..n.min(first + BATCH)).map(event).collect(), None).await?;
        }
        Ok(())
    })
    .await
}

/// Handles the events in `folder` until the last of `n` is done with. May be ended by one of them.
///
/// # Errors
///
/// The node does not start.
pub async fn serve(folder: &Path, n: u64) -> anyhow::Result<()> {
    let config = settings(folder)?;
    let store = Store::open(&config.section("store")?).await?;
    let faults = Faults::planned(move |_, envelope| envelope.and_then(|envelope| harm(envelope.seq, n)));
    let tree = Tree::new().agents(agents()).harmed_by(faults);
    let runtime =
        Runtime::start(tree, store.clone(), Clock::System, config.section("supervision")?, Metrics::new()).await?;
    loop {
        let status = runtime.status().await?;
        let mut answering = status.iter().filter(|agent| NAMES.contains(&agent.name));
        if answering.all(|agent| n.cast_signed() <= agent.cursor) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    runtime.stop(Duration::from_secs(10)).await;
    Ok(())
}

async fn judge(folder: &Path, n: u64) -> anyhow::Result<Report> {
    opened(folder, async |store| {
        let mut requests: HashMap<EventId, Seq> = HashMap::new();
        let mut answers: HashMap<Seq, u64> = HashMap::new();
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut misnumbered = 0;
        let mut at = Seq(0);
        loop {
            let events = store.log().after(at, 1_000).await?;
            let Some(last) = events.last() else { break };
            at = last.seq;
            for envelope in &events {
                match (&envelope.event, envelope.cause) {
                    (Event::TrainingRequested(_), _) => {
                        requests.insert(envelope.id, envelope.seq);
                    }
                    (Event::TrainingFailed(answer), Some(cause)) => {
                        *answers.entry(*requests.get(&cause).context("an answer to nothing")?).or_default() += 1;
                        let count = counts.entry(envelope.source.clone()).or_default();
                        *count += 1;
                        misnumbered += u64::from(answer.reason != count.to_string());
                    }
                    _ => {}
                }
            }
        }
        let mut attempts: HashMap<Seq, u32> = HashMap::new();
        let mut start = Start::default();
        loop {
            let page = dead_letters::list(&store.history(), &Filter::default(), &start, 1_000).await?;
            attempts.extend(page.rows.iter().map(|letter| (letter.seq, letter.attempts)));
            let Some(next) = page.next else { break };
            start = Start::After(next);
        }
        let (mut answered_once, mut wrong, mut buried, mut cut_short, mut misjudged) = (0, 0, 0, 0, 0);
        for seq in (1..=n).map(|seq| Seq(seq.cast_signed())) {
            let times = answers.get(&seq).copied().unwrap_or(0);
            match (harm(seq, n), attempts.get(&seq)) {
                (None, None) if times == 1 => answered_once += 1,
                (None, None) => wrong += 1,
                (Some(Fault::Abort), Some(3)) if times == 0 => buried += 1,
                (Some(Fault::Panic | Fault::Hang), Some(5)) if times == 0 => buried += 1,
                (Some(Fault::Panic | Fault::Hang), Some(3..=6)) if times == 0 => cut_short += 1,
                _ => misjudged += 1,
            }
        }
        let (killers, ends, took) = (0, 0, Duration::ZERO);
        Ok(Report {
            events: n,
            answered_once,
            wrong,
            misnumbered,
            dead_letters: buried,
            cut_short,
            misjudged,
            killers,
            ends,
            took,
        })
    })
    .await
}
