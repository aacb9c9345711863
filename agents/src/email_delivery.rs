//! Sends notifications by e-mail.
//!
//! Takes in: `NotificationRequested` for e-mail. Emits: `NotificationSent` or `NotificationFailed`.
//! Remembers: nothing. A worker: after a crash the same message is sent again under the same `Message-ID`, which
//! also stands in `X-Notification-Id`, so that a reader or a filter can tell a repeat.

pub use crate::delivery::Settings;
use crate::delivery::{self, Unsent, undeliverable};
use crate::outbound::chain;
use anyhow::{Context as _, ensure};
use config::Config;
use domain::notification::{Channel, Requested};
use domain::{Event, NotificationId};
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use runtime::{Agent, Clock, Ctx, Effects, Failure};
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Time that one message may take, all tries together.
const DEADLINE: Duration = Duration::from_secs(60);

/// How the connection to the mail server is kept private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encryption {
    /// Begun in plain, then encrypted; never goes on without.
    Starttls,
    /// Encrypted from the first byte.
    Implicit,
    /// Not at all.
    None,
}

/// `[smtp]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    username: String,
    from: String,
    timeout_seconds: f64,
}

/// The way to the mail server.
#[derive(Clone, Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
    clock: Clock,
}

impl Mailer {
    /// The mail server of `[smtp]`, or none if it has no host. `password` belongs to its `username`.
    ///
    /// # Errors
    ///
    /// A sender that is no address, a user without a password, a password that would travel in plain.
    pub fn of(config: &Config, password: Option<&str>, clock: &Clock) -> anyhow::Result<Option<Self>> {
        let Smtp { host, port, encryption, username, from, timeout_seconds } = config.section("smtp")?;
        if host.is_empty() {
            return Ok(None);
        }
        let from: Mailbox = from.parse().with_context(|| format!("smtp.from: {from:?} is no address"))?;
        ensure!(
            (0.1..=30.0).contains(&timeout_seconds),
            "smtp.timeout_seconds: must be 0.1 to 30, got {timeout_seconds}"
        );
        let timeout = Duration::from_secs_f64(timeout_seconds);
        let parameters = || TlsParameters::new(host.clone()).context("smtp.host");
        let tls = match encryption {
            Encryption::Starttls => Tls::Required(parameters()?),
            Encryption::Implicit => Tls::Wrapper(parameters()?),
            Encryption::None => Tls::None,
        };
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).tls(tls);
        let mut server = server.timeout(Some(timeout));
        if !username.is_empty() {
            ensure!(encryption != Encryption::None, "smtp.username: a password is not sent over a plain connection");
            let password =
                password.filter(|password| !password.is_empty()).context("smtp.username: set SMTP_PASSWORD as well")?;
            server = server.credentials(Credentials::new(username, password.to_owned()));
        }
        Ok(Some(Self { transport: server.build(), from, timeout, clock: clock.clone() }))
    }

    /// The mail that says `message`; the same one again for the same message.
    fn mail(&self, message: &Requested, ctx: &Ctx) -> anyhow::Result<Mail> {
        let NotificationId(id) = message.notification;
        let header = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let recipient: Mailbox = message.recipient.parse().with_context(|| format!("{:?}", message.recipient))?;
        let text = format!("{}\r\n\r\nPriority: {}\r\nReference: {id}\r\n", message.body, message.priority.as_str());
        let mail = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .date(SystemTime::from(ctx.now()))
            .from(self.from.clone())
            .to(recipient)
            .subject(&message.subject)
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(header("X-Notification-Id", id.to_string()))
            .raw_header(header("X-Correlation-Id", ascii(ctx.correlation().as_str())))
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        Ok(Mail { envelope: mail.envelope().clone(), bytes: mail.formatted() })
    }

    async fn send(&self, mail: &Mail) -> Result<String, Unsent> {
        match self.transport.send_raw(&mail.envelope, &mail.bytes).await {
            Ok(response) => {
                let said = response.first_line().unwrap_or_default();
                Ok(format!("{} {said}", response.code()).chars().take(ANSWER_CHARS_MAX).collect())
            }
            Err(error) => Err(Unsent { again: !error.is_permanent(), error: chain(&error) }),
        }
    }
}

/// Characters of the server's answer that are kept.
const ANSWER_CHARS_MAX: usize = 200;

/// A mail as it goes over the wire.
struct Mail {
    envelope: Envelope,
    bytes: Vec<u8>,
}

/// The agent.
pub struct EmailDelivery {
    settings: Settings,
    mailer: Option<Mailer>,
}

impl Agent for EmailDelivery {
    const NAME: &'static str = "email_delivery";
    const EFFECTS: Effects = Effects::Outside { deadline: DEADLINE, may_end_process: false };
    type Settings = Settings;
    type Deps = Option<Mailer>;
    type State = ();
    type Message = Requested;

    fn start(settings: Settings, mailer: Option<Mailer>) -> anyhow::Result<Self> {
        let timeout = mailer.as_ref().map_or(Duration::ZERO, |mailer| mailer.timeout);
        settings.check("smtp.timeout_seconds", timeout, DEADLINE)?;
        Ok(Self { settings, mailer })
    }

    fn accept(event: &Event) -> Option<Requested> {
        delivery::requested(event, Channel::Email)
    }

    async fn handle(&self, (): &mut (), message: Requested, ctx: &mut Ctx) -> Result<(), Failure> {
        let Some(mailer) = &self.mailer else {
            ctx.emit(undeliverable(&message, "no mail server is configured".to_owned()));
            return Ok(());
        };
        let outcome = match mailer.mail(&message, ctx) {
            Ok(mail) => self.settings.deliver(&mailer.clock, &message, || mailer.send(&mail)).await,
            Err(error) => undeliverable(&message, format!("{error:#}")),
        };
        ctx.emit(outcome);
        Ok(())
    }
}

/// `text` as it may stand in a header.
fn ascii(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::Priority;
    use domain::notification::Failed;
    use runtime::bench::Bench;
    use uuid::Uuid;

    const SETTINGS: Settings = Settings { tries: 2, pause_ms: 0 };

    fn clock() -> Clock {
        Clock::manual("2026-01-01T00:00:10Z".parse().unwrap())
    }

    fn config(values: &[(&str, &str)]) -> Config {
        let config = Config::defaults().with("smtp.host", "127.0.0.1").unwrap();
        let config = config.with("smtp.encryption", "none").unwrap().with("smtp.from", "plant@example.org").unwrap();
        values.iter().fold(config, |config, (name, value)| config.with(name, *value).unwrap())
    }

    fn requested(channel: Channel, recipient: &str) -> Event {
        Event::NotificationRequested(Requested {
            notification: NotificationId(Uuid::from_u128(7)),
            channel,
            recipient: recipient.to_owned(),
            priority: Priority::High,
            subject: "Case opened: Überhitzung\r\nBcc: all@example.org".to_owned(),
            body: "Look at it.".to_owned(),
        })
    }

    fn failure(said: &[Event]) -> &Failed {
        let [Event::NotificationFailed(failed)] = said else { panic!("delivery fails, instead of {said:?}") };
        failed
    }

    #[tokio::test]
    async fn without_a_server_a_mail_fails_for_good_and_other_messages_do_not_concern_it() {
        let mut bench = Bench::<EmailDelivery>::start(SETTINGS, None);
        assert_eq!(bench.feed(requested(Channel::Console, "ana@example.org")).await, []);
        let said = bench.feed(requested(Channel::Email, "ana@example.org")).await;
        assert!(failure(&said).is_final, "{said:?}");
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_tried_again_and_may_be_back_later() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = i64::from(listener.local_addr().unwrap().port());
        drop(listener);
        let config = config(&[]).with("smtp.port", port).unwrap();
        let mailer = Mailer::of(&config, None, &clock()).unwrap();
        let mut bench = Bench::<EmailDelivery>::start(SETTINGS, mailer);
        let said = bench.feed(requested(Channel::Email, "ana@example.org")).await;
        let failed = failure(&said);
        assert!(failed.error.ends_with("(2 of 2 tries)") && !failed.is_final, "{failed:?}");
        assert_eq!(failed.tries.len(), 2);
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused_without_a_try() {
        let mailer = Mailer::of(&config(&[]), None, &clock()).unwrap();
        let mut bench = Bench::<EmailDelivery>::start(SETTINGS, mailer);
        let said = bench.feed(requested(Channel::Email, "nobody")).await;
        assert!(failure(&said).is_final && failure(&said).tries.is_empty(), "{said:?}");
    }

    #[test]
    fn settings_that_cannot_work_or_tell_a_password_are_refused() {
        let refusal = |config: &Config, password| Mailer::of(config, password, &clock()).unwrap_err().to_string();
        assert!(Mailer::of(&Config::defaults(), None, &clock()).unwrap().is_none());
        assert!(refusal(&config(&[("smtp.from", "nobody")]), None).contains("smtp.from"));
        assert!(refusal(&config(&[("smtp.username", "ana")]), Some("s")).contains("plain connection"));
        let private = config(&[("smtp.username", "ana"), ("smtp.encryption", "starttls")]);
        assert!(refusal(&private, None).contains("SMTP_PASSWORD"));
        assert!(Mailer::of(&private, Some("s"), &clock()).unwrap().is_some());
        let slow = config(&[]).with("smtp.timeout_seconds", 30).unwrap();
        let slow = Mailer::of(&slow, None, &clock()).unwrap();
        let refused = EmailDelivery::start(Settings { tries: 3, pause_ms: 0 }, slow).err().unwrap().to_string();
        assert!(refused.contains("58 s together"), "{refused}");
    }
}
