//! What one agent takes in and says, a line for each event, for whoever writes it.

use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Where the host tells that an event was handled.
pub(super) const TARGET: &str = "runtime::host";
const MESSAGE: &str = "event handled";

/// Prints what the agent called `name` does.
pub(crate) struct AgentLog {
    name: String,
}

impl AgentLog {
    pub(crate) fn of(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

/// The fields of one event that concern us.
#[derive(Debug, Default, PartialEq)]
struct Handled {
    message: String,
    agent: String,
    seq: String,
    heard: String,
    said: String,
}

impl Visit for Handled {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let slot = match field.name() {
            "message" => &mut self.message,
            "agent" => &mut self.agent,
            "seq" => &mut self.seq,
            "heard" => &mut self.heard,
            "said" => &mut self.said,
            _ => return,
        };
        write!(slot, "{value:?}").expect("writing to a string does not fail");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl Handled {
    fn line(&self) -> String {
        let Self { agent, seq, heard, said, .. } = self;
        let said = if said.is_empty() { "nothing" } else { said };
        format!("{agent}  #{seq}  takes in {heard}, says {said}")
    }
}

impl<S: Subscriber> Layer<S> for AgentLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut handled = Handled::default();
        event.record(&mut handled);
        if handled.message == MESSAGE && handled.agent == self.name {
            super::output::aside(handled.line());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_came_in_and_what_was_said() {
        let mut handled =
            Handled { agent: "drift".into(), seq: "7".into(), heard: "timer_due".into(), ..Default::default() };
        assert_eq!(handled.line(), "drift  #7  takes in timer_due, says nothing");
        handled.said = "drift_detected".into();
        assert_eq!(handled.line(), "drift  #7  takes in timer_due, says drift_detected");
    }
}
