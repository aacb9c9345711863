//! The rules of log, tail, wake-up, cursor, attempt, timer and supervision under a simulated clock and store.
//!
//! What decides is the product's own code: `runtime::rules` (passage, attempts, wake-up, bequest, restart, intensity),
//! `persistence::consumers::Stored` and `persistence::tail::Tail`. What is simulated is what waits and what breaks:
//! the disk, the writer's steps, the processes, the clock. One thread and one seed: a seed that fails fails again.
//!
//! The process may end between any two steps. What must hold is checked at each commit and once all is quiet.

mod disk;
mod host;
mod supervisor;
mod world;
mod writer;

use world::World;

/// Something is left out or done in the wrong order, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Clients are answered before the commit.
    AnswerBeforeCommit,
    /// The cursor is committed first, what was said afterwards.
    CursorBeforeEffects,
    /// What was said is committed first, the cursor afterwards.
    EffectsBeforeCursor,
    /// Any incarnation may commit.
    NoGuard,
    /// A new incarnation takes over the old one's wake-up, which went away with its mailbox.
    WakeTakenOver,
    /// A start is not charged to the event that failed.
    AttemptsForgotten,
    /// Replay handles events that were given up.
    BuriedReplayed,
    /// A checkpoint holds the state of events that are not committed yet.
    CheckpointAhead,
    /// Followers see events before they are committed.
    PublishedBeforeCommit,
    /// A timer is deleted in one transaction and fires in another.
    TimerDeletedFirst,
    /// Requests are recognised by memory only.
    KeysInMemory,
    /// A writer that starts again does not look at what its predecessor committed.
    HeadNotReread,
    /// An end that nobody saw is taken for an orderly one, so that nothing is held against what was in hand.
    UnseenEndTakenForOrderly,
}

impl Bug {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::AnswerBeforeCommit,
        Self::CursorBeforeEffects,
        Self::EffectsBeforeCursor,
        Self::NoGuard,
        Self::WakeTakenOver,
        Self::AttemptsForgotten,
        Self::BuriedReplayed,
        Self::CheckpointAhead,
        Self::PublishedBeforeCommit,
        Self::TimerDeletedFirst,
        Self::KeysInMemory,
        Self::HeadNotReread,
        Self::UnseenEndTakenForOrderly,
    ];
}

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Steps taken.
    pub steps: u64,
    /// Ends of the whole process.
    pub crashes: u64,
    /// Ends of single incarnations.
    pub ends: u64,
    /// Events in the log.
    pub events: u64,
    /// Events given up.
    pub dead_letters: u64,
}

impl Outcome {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            crashes: self.crashes + other.crashes,
            ends: self.ends + other.ends,
            events: self.events + other.events,
            dead_letters: self.dead_letters + other.dead_letters,
        }
    }
}

/// Runs the history of `seed`, with `bug` planted.
///
/// # Errors
///
/// What did not hold.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Outcome, String> {
    World::new(seed, bug).run().map_err(|violation| format!("seed {seed}: {violation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_thousand_histories_hold_and_end_as_they_did() {
        let mut total = Outcome::default();
        for seed in 0..3_000 {
            total = total.and(run(seed, None).unwrap_or_else(|violation| panic!("{violation}")));
        }
        assert_eq!(run(7, None), run(7, None), "a seed repeats itself");
        // It was no calm journey.
        assert!(3_000 < total.crashes && 3_000 < total.ends && 3_000 < total.dead_letters, "{total:?}");
    }

    #[test]
    fn each_planted_bug_is_found() {
        for bug in Bug::ALL {
            assert!((0..2_000).any(|seed| run(seed, Some(bug)).is_err()), "{bug:?} was not found");
        }
    }
}
