//! What a client sent and what was acknowledged, compared with what is stored.

use crate::client::Client;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Readings in a batch.
const BATCH: u64 = 10;
/// The sensor that the ledger is kept of.
pub(super) const SENSOR: &str = "ledger";

#[derive(Debug, Default)]
struct Books {
    sent: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// The acknowledged ones, in that order.
    in_order: Vec<u64>,
}

/// The books of all senders. Clones are the same books.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    // A leaf: nothing is awaited while it is held.
    books: Arc<Mutex<Books>>,
    next: Arc<AtomicU64>,
}

/// What came of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Batches that were sent.
    pub sent: usize,
    /// Batches that were acknowledged before the last repetition.
    pub acknowledged: usize,
    /// Readings that were acknowledged and are not there.
    pub lost: usize,
    /// Readings that are there more than once.
    pub doubled: usize,
    /// Anomalies that were reported more than once for one reading.
    pub effects_doubled: usize,
    /// Events that agents gave up.
    pub dead_letters: usize,
}

impl Verdict {
    /// Nothing lost, nothing doubled.
    pub fn holds(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.effects_doubled == 0
    }
}

impl Ledger {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.books().acknowledged.len()
    }

    /// The batches that were acknowledged after the first `skipped`.
    pub(super) fn acknowledged_since(&self, skipped: usize) -> Vec<u64> {
        self.books().in_order.get(skipped..).unwrap_or_default().to_vec()
    }

    /// The numbers of a batch's readings. They swing, so that some of them are anomalies.
    pub(super) fn readings(batch: u64) -> impl Iterator<Item = u64> {
        batch * BATCH..(batch + 1) * BATCH
    }

    /// Sends batches until told to stop.
    pub async fn send(self, client: Client, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::SeqCst) {
            let batch = self.next.fetch_add(1, Ordering::SeqCst);
            self.books().sent.insert(batch);
            while !stop.load(Ordering::SeqCst) {
                if post(&client, batch).await {
                    let mut books = self.books();
                    books.acknowledged.insert(batch);
                    books.in_order.push(batch);
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }

    /// Repeats what was not acknowledged, waits for the agents and compares.
    ///
    /// # Errors
    ///
    /// The node does not answer, or its agents do not come to rest.
    pub async fn compare(&self, client: &Client) -> anyhow::Result<Verdict> {
        let (sent, acknowledged) = {
            let books = self.books();
            (books.sent.clone(), books.acknowledged.clone())
        };
        // What is not acknowledged may be there or not; repeated under its key, it must not be there twice.
        for batch in sent.difference(&acknowledged) {
            let mut tries = 0;
            while !post(client, *batch).await {
                tries += 1;
                ensure!(tries < 100, "batch {batch} is never taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
        client.until_idle().await?;
        let mut stored: BTreeMap<u64, usize> = BTreeMap::new();
        let mut anomalies: BTreeMap<i64, usize> = BTreeMap::new();
        let mut path = Some(format!("/api/v1/sensors/readings?sensor_id={SENSOR}&limit=1000"));
        while let Some(asked) = path {
            let answer = client.get(&asked).await;
            path = answer.next_page();
            for reading in answer.ok().as_array().context("a list of readings")? {
                *stored.entry(reading["value"].as_f64().context("a value")? as u64).or_default() += 1;
            }
        }
        let mut after = 0;
        loop {
            let page = client.get(&format!("/api/v1/events?limit=1000&after={after}")).await.ok();
            let events = page["events"].as_array().context("a list of events")?;
            let Some(last) = events.last() else { break };
            after = last["seq"].as_i64().context("a place")?;
            for event in events.iter().filter(|event| event["type"] == "anomaly_detected") {
                *anomalies.entry(event["data"]["reading"].as_i64().context("a reading")?).or_default() += 1;
            }
        }
        let letters = client.get("/api/v1/dead-letters?limit=1000").await.ok();
        let numbers =
            |batches: &BTreeSet<u64>| -> Vec<u64> { batches.iter().flat_map(|batch| Self::readings(*batch)).collect() };
        Ok(Verdict {
            sent: sent.len(),
            acknowledged: acknowledged.len(),
            lost: numbers(&sent).iter().filter(|number| !stored.contains_key(number)).count(),
            doubled: stored.values().filter(|times| 1 < **times).count(),
            effects_doubled: anomalies.values().filter(|times| 1 < **times).count(),
            dead_letters: letters.as_array().context("a list of dead letters")?.len(),
        })
    }
}

async fn post(client: &Client, batch: u64) -> bool {
    let readings: Vec<Value> =
        Ledger::readings(batch).map(|number| json!({ "sensor_id": SENSOR, "value": number })).collect();
    let request = client
        .request(reqwest::Method::POST, "/api/v1/data/ingest/batch")
        .header("Idempotency-Key", format!("batch-{batch}"))
        .json(&readings);
    client.try_send(request).await.is_ok_and(|answer| answer.status == 200)
}
