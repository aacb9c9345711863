//! Posts notifications to a system outside, signed.
//!
//! Takes in: `NotificationRequested` for the webhook. Emits: `NotificationSent` or `NotificationFailed`.
//! Remembers: nothing. A worker: after a crash the same message is posted again under the same
//! `webhook-id`, so a receiver that keeps the ids sees each message once.
//!
//! Headers and signature are those of Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` and
//! `webhook-signature: v1,<base64>`, the HMAC-SHA256 under the shared secret of id, time of sending and body with full
//! stops between them. Redirects are not followed, and no proxy is used.

pub use crate::delivery::Settings;
use crate::delivery::{self, Unsent, undeliverable};
use crate::outbound::{self, Guard, chain};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use config::Config;
use domain::notification::{Channel, Requested};
use domain::{CorrelationId, Event, EventId, NotificationId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url, redirect};
use runtime::{Agent, Clock, Ctx, Effects, Failure};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;

/// Time that one message may take, all tries together.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who gets the messages.
#[derive(Clone, Debug)]
pub struct Receiver {
    client: Client,
    url: Url,
    secret: Vec<u8>,
    timeout: Duration,
    clock: Clock,
}

/// `[webhook]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    internal_hosts: Vec<String>,
    timeout_seconds: f64,
}

impl Receiver {
    /// The receiver of `[webhook]`, or none if it has no address.
    ///
    /// # Errors
    ///
    /// An address that is none, or one without a secret to sign with.
    pub fn of(config: &Config, secret: Option<&str>, clock: &Clock) -> anyhow::Result<Option<Self>> {
        let Webhook { url, internal_hosts, timeout_seconds } = config.section("webhook")?;
        if url.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&url).with_context(|| format!("webhook.url: {url:?}"))?;
        let guard = Guard::new(&internal_hosts);
        guard.check(&url).context("webhook.url")?;
        ensure!(
            (0.1..=30.0).contains(&timeout_seconds),
            "webhook.timeout_seconds: must be 0.1 to 30, got {timeout_seconds}"
        );
        let secret = secret
            .filter(|secret| !secret.is_empty())
            .context("webhook.url: set WEBHOOK_SECRET as well, so that the receiver can tell who posts")?;
        let timeout = Duration::from_secs_f64(timeout_seconds);
        outbound::provide_crypto();
        // A proxy would resolve the name itself, past the guard.
        let client = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(guard))
            .build()?;
        Ok(Some(Self { client, url, secret: secret_bytes(secret)?, timeout, clock: clock.clone() }))
    }

    /// Posts `body` once.
    async fn post(&self, notification: NotificationId, body: &str) -> Result<String, Unsent> {
        let (id, seconds) = (notification.to_string(), self.clock.now().as_second());
        let response = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature(&self.secret, &id, seconds, body))
            .body(body.to_owned())
            .send()
            .await
            // The address may hold a token, so it is kept out of the log.
            .map_err(|error| Unsent { error: chain(&error.without_url()), again: true })?;
        match response.status() {
            // What it says beside that is not read.
            status if status.is_success() => Ok(status.to_string()),
            status => Err(Unsent { error: format!("the receiver answered {status}"), again: is_passing(status) }),
        }
    }
}

/// What is posted.
#[derive(Debug, Serialize)]
struct Body<'a> {
    id: NotificationId,
    event_id: EventId,
    correlation_id: &'a CorrelationId,
    at: Timestamp,
    recipient: &'a str,
    priority: &'a str,
    subject: &'a str,
    body: &'a str,
}

/// The agent.
pub struct WebhookDelivery {
    settings: Settings,
    receiver: Option<Receiver>,
}

impl Agent for WebhookDelivery {
    const NAME: &'static str = "webhook_delivery";
    const EFFECTS: Effects = Effects::Outside { deadline: DEADLINE, may_end_process: false };
    type Settings = Settings;
    type Deps = Option<Receiver>;
    type State = ();
    type Message = Requested;

    fn start(settings: Settings, receiver: Option<Receiver>) -> anyhow::Result<Self> {
        let timeout = receiver.as_ref().map_or(Duration::ZERO, |receiver| receiver.timeout);
        settings.check("webhook.timeout_seconds", timeout, DEADLINE)?;
        Ok(Self { settings, receiver })
    }

    fn accept(event: &Event) -> Option<Requested> {
        delivery::requested(event, Channel::Webhook)
    }

    async fn handle(&self, (): &mut (), message: Requested, ctx: &mut Ctx) -> Result<(), Failure> {
        let Some(receiver) = &self.receiver else {
            ctx.emit(undeliverable(&message, "no webhook is configured".to_owned()));
            return Ok(());
        };
        let body = body(&message, ctx)?;
        let once = || receiver.post(message.notification, &body);
        let outcome = self.settings.deliver(&receiver.clock, &message, once).await;
        ctx.emit(outcome);
        Ok(())
    }
}

fn body(message: &Requested, ctx: &Ctx) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&Body {
        id: message.notification,
        event_id: ctx.event(),
        correlation_id: ctx.correlation(),
        at: ctx.now(),
        recipient: &message.recipient,
        priority: message.priority.as_str(),
        subject: &message.subject,
        body: &message.body,
    })?)
}

/// Whether the receiver may answer otherwise next time.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// The bytes of a secret: those that `whsec_` and Base64 stand for, or of the text itself.
fn secret_bytes(secret: &str) -> anyhow::Result<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => BASE64.decode(encoded).context("WEBHOOK_SECRET: what follows whsec_ is not Base64"),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// The value of `webhook-signature`.
///
/// # Source
///
/// Standard Webhooks 1.0.0, "Signature scheme".
fn signature(secret: &[u8], id: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::case::Priority;
    use runtime::bench::Bench;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use uuid::Uuid;

    fn requested(channel: Channel) -> Event {
        Event::NotificationRequested(Requested {
            notification: NotificationId(Uuid::from_u128(7)),
            channel,
            recipient: "operator".to_owned(),
            priority: Priority::High,
            subject: "Case opened".to_owned(),
            body: "Look at it.".to_owned(),
        })
    }

    fn clock() -> Clock {
        Clock::manual("2026-01-01T00:00:10Z".parse().unwrap())
    }

    fn toml_list(hosts: &[&str]) -> Vec<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    /// A receiver on this machine.
    async fn receiver() -> (TcpListener, Receiver) {
        patient(8.0).await
    }

    /// One that is waited for so many seconds.
    async fn patient(timeout_seconds: f64) -> (TcpListener, Receiver) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=hidden", listener.local_addr().unwrap());
        let internal = toml_list(&["127.0.0.1"]);
        let config =
            Config::defaults().with("webhook.url", url).unwrap().with("webhook.internal_hosts", internal).unwrap();
        let config = config.with("webhook.timeout_seconds", timeout_seconds).unwrap();
        let receiver = Receiver::of(&config, Some("s3cret"), &clock()).unwrap().unwrap();
        (listener, receiver)
    }

    /// Answers one request after the other with `answers`; gives the requests.
    async fn serve(listener: &TcpListener, answers: &[u16]) -> Vec<String> {
        let mut requests = Vec::new();
        for status in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.ends_with('}') {
                let mut buffer = [0; 4096];
                let n_read = stream.read(&mut buffer).await.unwrap();
                request.push_str(std::str::from_utf8(&buffer[..n_read]).unwrap());
            }
            let answer = format!(
                "HTTP/1.1 {status} Status\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            requests.push(request);
        }
        requests
    }

    /// Feeds one message; the bench has every event handled twice, as after a crash.
    async fn deliver(answers: &[u16]) -> (Vec<Event>, Vec<String>) {
        let (listener, receiver) = receiver().await;
        let mut bench = Bench::<WebhookDelivery>::start(Settings { tries: 3, pause_ms: 0 }, Some(receiver));
        let twice = [answers, answers].concat();
        tokio::join!(bench.feed(requested(Channel::Webhook)), serve(&listener, &twice))
    }

    fn error(said: &[Event]) -> &str {
        let [Event::NotificationFailed(failed)] = said else { panic!("delivery fails, instead of {said:?}") };
        &failed.error
    }

    #[tokio::test]
    async fn a_message_is_posted_under_its_id_and_signed() {
        let (said, requests) = deliver(&[204]).await;
        assert!(matches!(&said[..], [Event::NotificationSent(_)]), "{said:?}");
        assert_eq!(requests[0], requests[1], "after a crash the same is posted again");
        let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("post /hook?token=hidden "), "{head}");
        let id = "00000000-0000-0000-0000-000000000007";
        assert!(head.contains(&format!("webhook-id: {id}")), "{head}");
        let at = clock().now().as_second();
        assert!(head.contains(&format!("webhook-timestamp: {at}")), "{head}");
        let expected = signature(b"s3cret", id, at, body);
        let original = requests[0].split_once("\r\n\r\n").unwrap().0;
        assert!(original.contains(&expected), "{original}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["subject"], &body["priority"], &body["correlation_id"]),
            (&"Case opened".into(), &"high".into(), &"bench".into())
        );
    }

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of the specification's reference implementations.
        let secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, seconds, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature(&secret, id, seconds, body), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(secret_bytes("whsec_***").is_err());
    }

    #[tokio::test]
    async fn a_receiver_that_stumbles_is_tried_again() {
        let (said, requests) = deliver(&[503, 429, 200]).await;
        assert!(matches!(&said[..], [Event::NotificationSent(_)]), "{said:?}");
        assert_eq!(requests.len(), 6);
    }

    #[tokio::test]
    async fn a_receiver_that_stays_down_is_given_up() {
        let (said, _) = deliver(&[500, 500, 500]).await;
        assert_eq!(error(&said), "the receiver answered 500 Internal Server Error (3 of 3 tries)");
    }

    #[tokio::test]
    async fn a_receiver_that_never_answers_is_given_up_in_time() {
        let (_listener, receiver) = patient(0.1).await;
        let mut bench = Bench::<WebhookDelivery>::start(Settings { tries: 1, pause_ms: 0 }, Some(receiver));
        let said = bench.feed(requested(Channel::Webhook)).await;
        assert!(error(&said).contains("timed out"), "{said:?}");
    }

    #[tokio::test]
    async fn a_refusal_and_a_redirect_are_final() {
        for status in [400, 302] {
            let (said, requests) = deliver(&[status]).await;
            assert!(error(&said).contains("(1 of 3 tries)"), "{said:?}");
            assert_eq!(requests.len(), 2);
        }
    }

    #[tokio::test]
    async fn a_receiver_that_is_gone_is_told_without_its_address() {
        let (listener, receiver) = receiver().await;
        drop(listener);
        let mut bench = Bench::<WebhookDelivery>::start(Settings { tries: 1, pause_ms: 0 }, Some(receiver));
        let said = bench.feed(requested(Channel::Webhook)).await;
        assert!(!error(&said).contains("hidden"), "{said:?}");
    }

    #[tokio::test]
    async fn only_messages_for_the_webhook_are_posted() {
        let mut bench = Bench::<WebhookDelivery>::start(Settings { tries: 3, pause_ms: 0 }, None);
        assert_eq!(bench.feed(requested(Channel::Console)).await, []);
        assert_eq!(error(&bench.feed(requested(Channel::Webhook)).await), "no webhook is configured");
    }

    #[test]
    fn an_address_wants_a_secret_and_tries_that_end_in_time() {
        let at = |url: &str| Config::defaults().with("webhook.url", url).unwrap();
        let refusal = |config: &Config, secret| Receiver::of(config, secret, &clock()).unwrap_err().to_string();
        assert!(refusal(&at("https://example.org/hook"), None).contains("WEBHOOK_SECRET"));
        assert!(refusal(&at("example"), Some("s")).contains("webhook.url"));
        let inside = Receiver::of(&at("http://127.0.0.1:9/"), Some("s"), &clock()).unwrap_err();
        assert!(format!("{inside:#}").contains("internal hosts"), "{inside:#}");
        assert!(Receiver::of(&Config::defaults(), None, &clock()).unwrap().is_none());
        let slow = at("https://example.org/hook").with("webhook.timeout_seconds", 15).unwrap();
        let slow = Receiver::of(&slow, Some("s"), &clock()).unwrap();
        let refused = WebhookDelivery::start(Settings { tries: 3, pause_ms: 0 }, slow).err().unwrap().to_string();
        assert!(refused.contains("28 s"), "{refused}");
    }
}
