//! Messages that wait to be told together.

use super::{Notification, State};
use domain::Timestamp;
use domain::case::Priority;
use serde::{Deserialize, Serialize};

/// Lines that one message tells; the rest is counted.
const LINES_MAX: usize = 100;

/// Messages that wait, at least one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    lines: Vec<String>,
    n_more: u32,
    priority: Option<Priority>,
}

impl Held {
    pub(super) fn add(&mut self, line: String, priority: Priority) {
        self.priority = self.priority.max(Some(priority));
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.n_more += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.lines.len() as u64 + u64::from(self.n_more)
    }

    /// The highest among them.
    pub(super) fn priority(&self) -> Priority {
        self.priority.unwrap_or(Priority::Low)
    }

    /// A line for each.
    pub(super) fn text(&self) -> String {
        let mut text = self.lines.join("\r\n");
        if 0 < self.n_more {
            text += &format!("\r\nand {} more, which the lists of cases, decisions and work orders have.", self.n_more);
        }
        text
    }
}

impl Notification {
    /// A message as a line among others.
    pub(super) fn line(&self, state: &State, at: Timestamp, priority: Priority, subject: &str) -> String {
        format!("{}  {}  {subject}", self.wall(state, at), priority.as_str())
    }
}
