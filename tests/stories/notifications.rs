//! `/api/v1/notifications`: e-mails and webhooks arrive once each, and under the same id when they have to come again.

use crate::cases::{calm, ingest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::client::{Client, PATIENCE};
use tests::process::Process;
use tests::sinks::{MailServer, Receiver, Relay, Trouble, header};

const SECRETS: [(&str, &str); 1] = [("WEBHOOK_SECRET", "whsec_c3RvcnkgdGVsbGVy")];
const N_CALM: u32 = 400;
/// More often than an event may be tried that ends its process.
const N_KILLS: usize = 6;

/// A plant of one folder, and what its node tells.
struct Plant {
    folder: TempDir,
    settings: PathBuf,
    mail: MailServer,
    way_to_mail: Relay,
    receiver: Receiver,
}

impl Plant {
    async fn new(mail: MailServer, encryption: &str) -> Self {
        let (folder, receiver) = (TempDir::new().unwrap(), Receiver::start().await);
        let way_to_mail = Relay::to(mail.port()).await;
        let settings = folder.path().join("settings.toml");
        let text = format!(
            r#"
            [webhook]
            url = "http://{}/hook"
            internal_hosts = ["127.0.0.1"]
            [smtp]
            host = "127.0.0.1"
            port = {}
            encryption = "{encryption}"
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
            way_to_mail.port(),
        );
        std::fs::write(&settings, text).unwrap();
        Self { folder, settings, mail, way_to_mail, receiver }
    }

    fn start(&self, key: Option<&str>) -> Process {
        self.start_trusting(key, &[])
    }

    /// A node that trusts the certificates in the file `trusted`, if there is one.
    fn start_trusting(&self, key: Option<&str>, trusted: &[&str]) -> Process {
        let settings = ["--config", self.settings.to_str().unwrap()];
        let trusted = trusted.iter().map(|file| ("SSL_CERT_FILE", *file));
        let variables: Vec<(&str, &str)> = SECRETS.into_iter().chain(trusted).collect();
        Process::start_with(&self.folder.path().join("data"), key, &settings, &variables).unwrap()
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
    let plant = Plant::new(MailServer::start(), "none").await;
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
async fn a_node_that_is_killed_again_and_again_while_it_delivers_sends_each_message_again_under_the_same_id() {
    let plant = Plant::new(MailServer::start(), "none").await;
    // Given a mail and a message to the webhook that arrive, while the node never hears that they did,
    plant.receiver.silence(true);
    plant.way_to_mail.silence(true);
    let mut node = plant.start(None);
    let key = node.client().key().map(str::to_owned);
    trouble(node.client(), "press-1").await;
    // when the node is killed then, and each time it tries again,
    for n in 1..=N_KILLS {
        let began = Instant::now();
        while plant.receiver.requests().len() < n || plant.mail.mails().len() < n {
            assert!(began.elapsed() < PATIENCE, "nothing is posted or mailed in life {n}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.kill().unwrap();
        node = plant.start(key.as_deref());
    }
    let unheard =
        [header(&plant.receiver.requests()[0], "webhook-id"), header(&plant.mail.mails()[0], "X-Notification-Id")];
    let [posted_first, mailed_first] = unheard.map(Option::unwrap);
    node.kill().unwrap();
    plant.receiver.silence(false);
    plant.way_to_mail.silence(false);

    // and runs at last, then each message has arrived, none under another id, and none was given up;
    let node = plant.start(key.as_deref());
    let (by_mail, by_webhook) = (delivered(node.client(), "email").await, delivered(node.client(), "webhook").await);
    let (mailed, posted) = (plant.mailed(), plant.posted());
    assert_eq!(mailed.keys().collect::<Vec<_>>(), once_each(&by_mail).keys().collect::<Vec<_>>());
    assert_eq!(posted.keys().collect::<Vec<_>>(), once_each(&by_webhook).keys().collect::<Vec<_>>());
    assert_eq!(node.client().get("/api/v1/dead-letters").await.ok(), json!([]));
    // those that nobody had acknowledged came in each life.
    assert!(N_KILLS < posted[&posted_first] && N_KILLS < mailed[&mailed_first], "{posted:?} {mailed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_receiver_took_it_and_erred_closed_or_hung_comes_again_under_its_id() {
    let plant = Plant::new(MailServer::start(), "none").await;
    // Given a receiver that takes three messages and does not say so,
    let troubles = [Trouble::Errs, Trouble::Closes, Trouble::Hangs];
    plant.receiver.plan(&troubles);
    let node = plant.start(None);
    trouble(node.client(), "press-1").await;
    trouble(node.client(), "press-2").await;
    // when it is well again, then each message has been delivered, none under another id,
    let (by_webhook, posted) = (delivered(node.client(), "webhook").await, plant.posted());
    assert_eq!(posted.keys().collect::<Vec<_>>(), once_each(&by_webhook).keys().collect::<Vec<_>>());
    // and came once more for each time that nobody had said that it came.
    assert_eq!(posted.values().sum::<usize>(), posted.len() + troubles.len(), "{posted:?}");
    assert_eq!(node.client().get("/api/v1/dead-letters").await.ok(), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_that_must_be_encrypted_goes_to_a_server_that_is_trusted_and_to_no_other() {
    let plant = Plant::new(MailServer::start_encrypted(), "starttls").await;
    // Given a server with a certificate that nobody vouches for,
    let node = plant.start(None);
    let key = node.client().key().map(str::to_owned);
    trouble(node.client(), "press-1").await;
    // then nothing is sent, and the list says why.
    let path = "/api/v1/notifications?limit=1000&channel=email&state=failed";
    let refused = node.client().until(path, |list| list[0]["error"].as_str().map(str::to_owned)).await.unwrap();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(plant.mailed(), BTreeMap::new());
    node.kill().unwrap();
    // When the machine trusts it, mail goes out.
    let certificate = plant.mail.certificate();
    let node = plant.start_trusting(key.as_deref(), &[certificate.to_str().unwrap()]);
    trouble(node.client(), "press-2").await;
    let path = "/api/v1/notifications?limit=1000&channel=email&state=sent";
    let sent = node.client().until(path, |list| list[0]["notification"].as_str().map(str::to_owned)).await.unwrap();
    assert_eq!(plant.mailed().get(&sent), Some(&1));
}
