//! An incarnation's way through the log: what to do with the next event, and what to store when.
//!
//! A failure that was seen is charged to its event as the next incarnation starts. After an end that nobody saw, with
//! an event in hand, events are taken one at a time until past that one, and an attempt is stored before it is made.
//! That end counts as the first attempt at each of them, so that an event that ends the process does so as often as the
//! rule allows and not once more.

use super::attempts::{self, Verdict};
use domain::Seq;
use persistence::unit::Incarnation;

/// Events that may be skipped before the cursor is stored for their sake alone.
const SKIPPED_MAX: i64 = 1_024;

/// Where an incarnation stands.
#[derive(Clone, Debug)]
pub struct Passage {
    /// Stored: events up to here are done.
    cursor: Seq,
    /// Seen: events after the cursor up to here were handled or skipped.
    scanned: Seq,
    /// Handled since the last commit.
    handled: u64,
    /// What is known of the next event, while none was handled yet.
    suspect: Option<Suspect>,
    /// What was known of the first of those handled since the last commit.
    tried: Option<Suspect>,
    /// One event at a time up to here, an attempt at each stored before it is made.
    alone_until: Seq,
    /// One event at a time up to here.
    singly_until: Seq,
    /// Whether the events in hand were read one at a time.
    alone: bool,
}

/// The first event that an incarnation will handle.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// The attempt that comes next, 1 for the first.
    attempt: u32,
    /// This attempt is stored already. If it is not, it is before it is made.
    stored: bool,
}

impl Suspect {
    /// The attempts that are to stay stored until it is tried.
    fn counted(self) -> u32 {
        if self.stored { self.attempt } else { self.attempt - 1 }
    }
}

/// What a commit stores beside what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The cursor.
    pub to: Seq,
    /// Attempts at the event after it.
    pub attempts: u32,
}

/// What to do with the next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Handle it.
    Handle,
    /// Store this attempt at it, then handle it.
    Claim {
        /// What to store.
        mark: Mark,
    },
    /// Make it a dead letter.
    GiveUp {
        /// Attempts that failed.
        attempts: u32,
    },
}

/// Whom the refusal of a commit speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of the one event in hand.
    Event(Failed),
    /// Of one of several, up to this one.
    Together {
        /// The last of them.
        until: Seq,
    },
    /// Of none: nothing was said.
    Nobody,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The attempt that failed.
    pub attempt: u32,
    /// What is to be stored with it: the good prefix, with what was said about it.
    pub prefix: Option<Mark>,
}

impl Passage {
    /// The way of an incarnation that begins, and takes one event at a time up to `singly_until`.
    pub fn begin(incarnation: &Incarnation, singly_until: Seq) -> Self {
        let Incarnation { cursor, attempts, alone_until, .. } = *incarnation;
        let second = attempts::AFTER_UNSEEN_END;
        let stored = alone_until <= cursor || second <= attempts;
        let suspect = Suspect { attempt: if stored { attempts } else { second }, stored };
        Self {
            cursor,
            scanned: cursor,
            handled: 0,
            suspect: Some(suspect),
            tried: None,
            alone_until,
            singly_until,
            alone: false,
        }
    }

    /// Events up to here are done, and it is stored.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// Events up to here were seen: the next one comes after it.
    pub fn scanned(&self) -> Seq {
        self.scanned
    }

    /// How many events to read now, at most `chunk`.
    pub fn read(&mut self, chunk: usize) -> usize {
        self.alone = self.scanned < self.alone_until;
        if self.alone || self.scanned < self.singly_until { 1 } else { chunk }
    }

    /// What to do with the event at `seq`, the next one that the agent hears.
    pub fn next(&self, rule: &attempts::Settings, seq: Seq) -> Next {
        let Some(Suspect { attempt, stored }) = self.suspect else { return Next::Handle };
        match attempts::verdict(rule, attempt, seq == self.alone_until) {
            Verdict::GiveUp { attempts } => Next::GiveUp { attempts },
            Verdict::Try if stored => Next::Handle,
            Verdict::Try => Next::Claim { mark: Mark { to: self.scanned, attempts: attempt } },
        }
    }

    /// The event at `seq` does not concern the agent.
    pub fn skip(&mut self, seq: Seq) {
        self.scanned = seq;
    }

    /// The event at `seq` was handled.
    pub fn handled(&mut self, seq: Seq) {
        self.scanned = seq;
        if self.handled == 0 {
            self.tried = self.suspect;
        }
        self.handled += 1;
        self.suspect = None;
    }

    /// What to store when the event at `seq` is given up.
    pub fn buried(&mut self, seq: Seq) -> Mark {
        self.scanned = seq;
        self.suspect = None;
        self.mark()
    }

    /// The next event failed.
    pub fn failed(&self) -> Failed {
        match self.suspect {
            Some(Suspect { attempt, .. }) => Failed { attempt, prefix: None },
            // The attempt at it is kept with the prefix.
            None => Failed {
                attempt: 1,
                prefix: Some(Mark { to: self.scanned, attempts: attempts::claimed(true, self.alone) }),
            },
        }
    }

    /// What was said about the events in hand contradicts what is stored.
    pub fn refused(&self) -> Refusal {
        match (self.handled, self.tried) {
            (0, _) => Refusal::Nobody,
            (1, Some(Suspect { attempt, .. })) => Refusal::Event(Failed { attempt, prefix: None }),
            // The attempt at it is kept.
            (1, None) => Refusal::Event(Failed {
                attempt: 1,
                prefix: Some(Mark { to: self.cursor, attempts: attempts::claimed(true, self.alone) }),
            }),
            _ => Refusal::Together { until: self.scanned },
        }
    }

    /// What to store after the events in hand, if anything.
    pub fn due(&self) -> Option<Mark> {
        let due = 0 < self.handled || SKIPPED_MAX <= self.scanned.0 - self.cursor.0;
        due.then(|| self.mark())
    }

    /// What to store at an orderly end, if anything.
    pub fn rest(&self) -> Option<Mark> {
        (self.cursor < self.scanned)
            .then(|| Mark { to: self.scanned, attempts: self.suspect.map_or(0, Suspect::counted) })
    }

    /// What was to be stored up to `to` is stored.
    pub fn committed(&mut self, to: Seq) {
        self.cursor = to;
        self.handled = 0;
    }

    fn mark(&self) -> Mark {
        let claimed = attempts::claimed(false, self.scanned < self.alone_until);
        // Skipping events is no reason to forget attempts at the one that comes after them.
        Mark { to: self.scanned, attempts: self.suspect.map_or(claimed, Suspect::counted) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: attempts::Settings = attempts::Settings { attempts_max: 5, attempts_fatal_max: 3 };

    fn begun(attempts: u32, clean: bool) -> Passage {
        let alone_until = if clean { Seq(0) } else { Seq(14) };
        Passage::begin(&Incarnation { epoch: 1, cursor: Seq(10), attempts, alone_until }, Seq(0))
    }

    #[test]
    fn a_chunk_is_stored_as_a_whole() {
        let mut passage = begun(1, true);
        assert_eq!(passage.read(4), 4);
        passage.handled(Seq(11));
        passage.skip(Seq(12));
        assert_eq!(passage.next(&RULE, Seq(13)), Next::Handle);
        passage.handled(Seq(13));
        assert_eq!(passage.due(), Some(Mark { to: Seq(13), attempts: 0 }));
        passage.committed(Seq(13));
        assert_eq!(passage.due(), None);
    }

    #[test]
    fn a_failure_keeps_the_prefix_and_is_charged_to_its_event() {
        let mut passage = begun(1, true);
        passage.read(4);
        passage.handled(Seq(11));
        let prefix = Some(Mark { to: Seq(11), attempts: 1 });
        assert_eq!(passage.failed(), Failed { attempt: 1, prefix });
        assert_eq!(begun(4, true).failed(), Failed { attempt: 4, prefix: None });
    }

    #[test]
    fn after_an_end_that_nobody_saw_each_attempt_is_stored_before_it_is_made() {
        let mut passage = begun(1, false);
        assert_eq!(passage.read(4), 1);
        let mark = Mark { to: Seq(10), attempts: 2 };
        assert_eq!(passage.next(&RULE, Seq(11)), Next::Claim { mark });
        passage.handled(Seq(11));
        assert_eq!(passage.due(), Some(Mark { to: Seq(11), attempts: 2 }), "the next one is claimed with it");
        passage.committed(Seq(11));
        passage.skip(Seq(12));
        assert_eq!(passage.due(), None, "the claim stands for the next one that is heard");
        for seq in 13..=14 {
            assert_eq!(passage.read(4), 1);
            passage.handled(Seq(seq));
        }
        assert_eq!(passage.read(4), 4, "the old chunk is behind");
        assert_eq!(begun(3, false).next(&RULE, Seq(14)), Next::Handle, "its start has counted it");
        assert_eq!(begun(4, false).next(&RULE, Seq(14)), Next::GiveUp { attempts: 3 });
        assert_eq!(begun(4, false).next(&RULE, Seq(11)), Next::Handle, "another one was in hand at the end");
    }

    #[test]
    fn a_failure_in_between_forgets_no_suspicion() {
        // Given an event that was seen to fail among those that may have ended the process,
        let among = |attempts| Incarnation { epoch: 3, cursor: Seq(11), attempts, alone_until: Seq(14) };
        let mut passage = Passage::begin(&among(6), Seq(0));
        assert_eq!(passage.read(4), 1);
        assert_eq!(passage.next(&RULE, Seq(12)), Next::GiveUp { attempts: 5 });
        // when it is given up, then the next one is claimed with it;
        assert_eq!(passage.buried(Seq(12)), Mark { to: Seq(12), attempts: 2 });
        // and one that was never tried since is claimed before it is.
        let mark = Mark { to: Seq(11), attempts: 2 };
        assert_eq!(Passage::begin(&among(1), Seq(0)).next(&RULE, Seq(12)), Next::Claim { mark });
    }

    #[test]
    fn events_that_are_skipped_ride_along_or_are_stored_when_there_are_many() {
        let mut passage = begun(1, true);
        passage.read(4);
        passage.skip(Seq(11));
        assert_eq!(passage.due(), None);
        assert_eq!(passage.rest(), Some(Mark { to: Seq(11), attempts: 1 }));
        passage.skip(Seq(10 + SKIPPED_MAX));
        assert!(passage.due().is_some());
    }
}
