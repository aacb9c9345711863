//! The frame of a worker that carries messages out of the node: which ones, how often each is tried, and what is said of
//! it then.

use anyhow::ensure;
use domain::Event;
use domain::notification::{Channel, Failed, Requested, Sent, Try};
use runtime::Clock;
use serde::Deserialize;
use std::time::Duration;

/// What of a message's time is left for everything but the tries.
const SLACK: Duration = Duration::from_secs(2);

/// `[agents.email_delivery]`, `[agents.webhook_delivery]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How often a message is tried. At least 1.
    pub tries: u32,
    /// Pause after a try that failed, in milliseconds.
    pub pause_ms: u64,
}

/// A try that failed, and whether another one makes sense.
#[derive(Debug)]
pub(crate) struct Unsent {
    pub(crate) error: String,
    pub(crate) again: bool,
}

impl Settings {
    /// Refuses tries that cannot all end within `deadline` when each takes as long as the setting `name` lets it,
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn check(&self, name: &str, timeout: Duration, deadline: Duration) -> anyhow::Result<()> {
        ensure!(0 < self.tries, "tries must be at least 1");
        let longest = (timeout + Duration::from_millis(self.pause_ms)) * self.tries;
        let (longest, most) = (longest.as_secs_f64(), (deadline - SLACK).as_secs_f64());
        ensure!(longest <= most, "tries, pause_ms and {name} may take {most} s together, got {longest} s");
        Ok(())
    }

    /// Tries `once` until it works, makes no sense any more or was tried often enough; gives what is to be said of
    /// `message`.
    pub(crate) async fn deliver<F>(&self, clock: &Clock, message: &Requested, once: impl Fn() -> F) -> Event
    where
        F: Future<Output = Result<String, Unsent>>,
    {
        let mut tries = Vec::new();
        loop {
            let at = clock.now();
            let told = once().await;
            let elapsed_seconds = clock.now().duration_since(at).as_secs_f64();
            let Requested { notification, channel, .. } = *message;
            match told {
                Ok(answer) => {
                    tries.push(Try { at, elapsed_seconds, answer: Some(answer), error: None });
                    return Event::NotificationSent(Sent { notification, channel, tries });
                }
                Err(Unsent { error, again }) => {
                    tries.push(Try { at, elapsed_seconds, answer: None, error: Some(error.clone()) });
                    let (n_tries, tries_max) = (tries.len(), self.tries);
                    if !again || tries_max as usize <= n_tries {
                        let error = format!("{error} ({n_tries} of {tries_max} tries)");
                        let is_final = !again;
                        return Event::NotificationFailed(Failed { notification, channel, error, is_final, tries });
                    }
                    tokio::time::sleep(Duration::from_millis(self.pause_ms)).await;
                }
            }
        }
    }
}

/// The message in `event`, if it is for `channel`.
pub(crate) fn requested(event: &Event, channel: Channel) -> Option<Requested> {
    match event {
        Event::NotificationRequested(requested) if requested.channel == channel => Some(requested.clone()),
        _ => None,
    }
}

/// What is to be said of a message that cannot even be tried.
pub(crate) fn undeliverable(message: &Requested, error: String) -> Event {
    let Requested { notification, channel, .. } = *message;
    Event::NotificationFailed(Failed { notification, channel, error, is_final: true, tries: Vec::new() })
}
