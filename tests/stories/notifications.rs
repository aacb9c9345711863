//! `/api/v1/notifications`: e-mails and webhooks arrive once each, and under the same id when they have to come again.

use crate::cases::{calm, ingest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::client::{Client, PATIENCE};
use tests::process::Process;
use tests::sinks::{MailServer, Receiver, header};

const SECRETS: [(&str, &str); 1] = [("WEBHOOK_SECRET", "whsec_c3RvcnkgdGVsbGVy")];
const N_CALM: u32 = 400;

/// A plant of one folder, and what its node tells.
struct Plant {
    folder: TempDir,
    settings: PathBuf,
    mail: MailServer,
    receiver: Receiver,
}

impl Plant {
    async fn new() -> Self {
        let (folder, mail, receiver) = (TempDir::new().unwrap(), MailServer::start(), Receiver::start().await);
        let settings = folder.path().join("settings.toml");
        let text = format!(
            r#"
            [webhook]
            url = "http://{}/hook"
            internal_hosts = ["127.0.0.1"]
            [smtp]
            host = "127.0.0.1"
            port = {}
            encryption = "none"
            from = "Press shop <press@example.org>"
            [agents.notification]
            email_priority_min = "low"
            contacts = [
              {{ role = "operator", email = "ana@example.org" }},
              {{ role = "maintenance_supervisor", email = "ana@example.org" }},
              {{ role = "maintenance_supervisor", email = "rui@example.org" }},
            ]
            "#,
            receiver.address(),
            mail.port(),
        );
        std::fs::write(&settings, text).unwrap();
        Self { folder, settings, mail, receiver }
    }

    fn start(&self, key: Option<&str>) -> Process {
        let settings = ["--config", self.settings.to_str().unwrap()];
        Process::start_with(&self.folder.path().join("data"), key, &settings, &SECRETS).unwrap()
    }

    /// How often each message has arrived by e-mail.
    fn mailed(&self) -> BTreeMap<String, usize> {
        count(self.mail.mails().iter().map(|mail| header(mail, "X-Notification-Id").unwrap()))
    }

    /// How often each message has been posted.
    fn posted(&self) -> BTreeMap<String, usize> {
        count(self.receiver.requests().iter().map(|request| header(request, "webhook-id").unwrap()))
    }
}

fn count(ids: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    ids.fold(BTreeMap::new(), |mut counts, id| {
        *counts.entry(id).or_default() += 1;
        counts
    })
}

/// A press runs hot, so that there is something to tell.
async fn trouble(client: &Client, press: &str) {
    ingest(client, &calm(press, N_CALM)).await;
    let hot: Vec<Value> = (0..10)
        .map(
            |n| json!({ "sensor_id": press, "value": 95.0, "timestamp": f64::from(1_767_225_600 + (N_CALM + n) * 60) }),
        )
        .collect();
    ingest(client, &hot).await;
}

/// Ids of the messages of `channel`, each of which must have been delivered.
async fn delivered(client: &Client, channel: &str) -> Vec<String> {
    let path = format!("/api/v1/notifications?limit=1000&channel={channel}");
    let all_sent = |list: &Value| {
        let list = list.as_array()?;
        let is_done = !list.is_empty() && list.iter().all(|message| message["state"] == "sent");
        is_done.then(|| list.clone())
    };
    client.until_idle().await.unwrap();
    let messages = client.until(&path, all_sent).await.unwrap();
    for message in &messages {
        let tries = message["tries"].as_array().unwrap();
        assert!(tries.last().unwrap()["answer"].is_string(), "the log of its delivery: {message}");
    }
    messages.iter().map(|message| message["notification"].as_str().unwrap().to_owned()).collect()
}

fn once_each(ids: &[String]) -> BTreeMap<String, usize> {
    count(ids.iter().cloned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_normal_running_a_notice_arrives_once_by_mail_and_once_by_webhook() {
    let plant = Plant::new().await;
    let node = plant.start(None);
    let client = node.client();
    trouble(client, "press-1").await;
    let (by_mail, by_webhook) = (delivered(client, "email").await, delivered(client, "webhook").await);
    assert_eq!(plant.mailed(), once_each(&by_mail));
    assert_eq!(plant.posted(), once_each(&by_webhook));

    let mails = plant.mail.mails();
    for mail in &mails {
        let id = header(mail, "X-Notification-Id").unwrap();
        assert_eq!(header(mail, "Message-ID").unwrap(), format!("<{id}@example.org>"));
        assert_eq!(header(mail, "From").unwrap(), "\"Press shop\" <press@example.org>");
    }
    let opened = |mail: &&String| header(mail, "Subject").unwrap().starts_with("Case opened");
    let to_ana = |mail: &&String| header(mail, "To").unwrap() == "ana@example.org";
    assert_eq!(mails.iter().filter(opened).filter(to_ana).count(), 1, "two roles, one mail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_while_it_delivers_sends_again_under_the_same_id() {
    let plant = Plant::new().await;
    // Given a node that is killed right after the receiver got its first message and before it could answer,
    plant.receiver.silence(true);
    let node = plant.start(None);
    trouble(node.client(), "press-1").await;
    let key = node.client().key().map(str::to_owned);
    let began = Instant::now();
    while plant.receiver.requests().is_empty() || plant.mail.mails().is_empty() {
        assert!(began.elapsed() < PATIENCE, "something is posted and something is mailed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.kill().unwrap();
    let unanswered = header(&plant.receiver.requests()[0], "webhook-id").unwrap();
    plant.receiver.silence(false);

    // when it runs again, then each message has arrived, none under another id,
    let node = plant.start(key.as_deref());
    let (by_mail, by_webhook) = (delivered(node.client(), "email").await, delivered(node.client(), "webhook").await);
    let (mailed, posted) = (plant.mailed(), plant.posted());
    assert_eq!(mailed.keys().collect::<Vec<_>>(), once_each(&by_mail).keys().collect::<Vec<_>>());
    assert_eq!(posted.keys().collect::<Vec<_>>(), once_each(&by_webhook).keys().collect::<Vec<_>>());
    // and the one that nobody had acknowledged came again.
    assert!(2 <= posted[&unanswered], "{posted:?}");
}
