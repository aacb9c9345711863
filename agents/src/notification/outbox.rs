//! Messages on their way out: handed to a worker, and handed out anew when they could not be delivered.

use domain::notification::{Channel, Failed, Requested};
use domain::{Event, NotificationId};
use jiff::SignedDuration;
use runtime::Ctx;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Messages that are remembered; the oldest is forgotten for one more, and then not handed out anew.
const MESSAGES_MAX: usize = 10_000;

/// Messages that nobody has taken yet, by the key of their timer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outbox(BTreeMap<String, OnTheWay>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OnTheWay {
    message: Requested,
    n_failed: usize,
    order: i64,
}

impl Outbox {
    /// Hands `message` to the worker of its channel.
    pub(super) fn send(&mut self, message: Requested, ctx: &mut Ctx) {
        if MESSAGES_MAX <= self.0.len()
            && let Some(oldest) = self.0.iter().min_by_key(|(_, one)| one.order).map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
        }
        let key = key(message.notification, message.channel);
        self.0.insert(key, OnTheWay { message: message.clone(), n_failed: 0, order: ctx.seq().0 });
        ctx.emit(Event::NotificationRequested(message));
    }

    /// A message arrived.
    pub(super) fn sent(&mut self, notification: NotificationId, channel: Channel, ctx: &mut Ctx) {
        let key = key(notification, channel);
        if self.0.remove(&key).is_some() {
            ctx.cancel_wake(timer(&key));
        }
    }

    /// A message did not arrive; it is handed out anew after the next of `pauses`, in minutes, if there is one left.
    pub(super) fn failed(&mut self, failed: &Failed, pauses: &[i64], ctx: &mut Ctx) {
        let key = key(failed.notification, failed.channel);
        let Some(on_the_way) = self.0.get_mut(&key) else { return };
        match pauses.get(on_the_way.n_failed).filter(|_| !failed.is_final) {
            Some(minutes) => {
                on_the_way.n_failed += 1;
                ctx.wake_at(timer(&key), ctx.now() + SignedDuration::from_mins(*minutes));
            }
            None => {
                self.0.remove(&key);
            }
        }
    }

    /// Hands the message with that key out anew, under the same id.
    pub(super) fn resend(&self, key: &str, ctx: &mut Ctx) {
        if let Some(on_the_way) = self.0.get(key) {
            ctx.emit(Event::NotificationRequested(on_the_way.message.clone()));
        }
    }
}

fn key(notification: NotificationId, channel: Channel) -> String {
    format!("{notification}/{}", channel.as_str())
}

fn timer(key: &str) -> String {
    format!("resend/{key}")
}
