//! What was acknowledged is there after `kill -9`, and is analysed once.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tests::client::Client;
use tests::process::Process;
use tokio::task::JoinSet;

const KILLS: u64 = 20;

/// What a client has sent and what was acknowledged: key of a batch, numbers of its readings.
#[derive(Default)]
struct Ledger {
    sent: BTreeMap<u64, Vec<u64>>,
    acknowledged: BTreeMap<u64, Vec<u64>>,
}

/// Sends batches of numbered readings until told to stop, and repeats what was not acknowledged.
async fn send(client: Client, ledger: Arc<Mutex<Ledger>>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let batch = next.fetch_add(1, Ordering::SeqCst);
        let numbers: Vec<u64> = (batch * 10..batch * 10 + 10).collect();
        ledger.lock().unwrap().sent.insert(batch, numbers.clone());
        if post(&client, batch, &numbers).await {
            ledger.lock().unwrap().acknowledged.insert(batch, numbers);
        }
    }
}

async fn post(client: &Client, batch: u64, numbers: &[u64]) -> bool {
    let readings: Vec<Value> = numbers.iter().map(|number| json!({ "sensor_id": "ledger", "value": number })).collect();
    let request = client
        .request(reqwest::Method::POST, "/api/v1/data/ingest/batch")
        .header("Idempotency-Key", format!("batch-{batch}"))
        .json(&readings);
    client.try_send(request).await.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_readings_survive_twenty_kills_and_are_analysed_once() {
    let folder = TempDir::new().unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let next = Arc::new(AtomicU64::new(0));
    let mut key: Option<String> = None;
    // The moments of the kills come from a small generator: a seed to repeat, no timing to trust.
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..KILLS {
        let node = Process::start(folder.path(), key.as_deref(), &[]).unwrap();
        key = node.client().key().map(str::to_owned);
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..4 {
            senders.spawn(send(node.client().clone(), Arc::clone(&ledger), Arc::clone(&next), Arc::clone(&stop)));
        }
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let acknowledged = ledger.lock().unwrap().acknowledged.len() as u64;
        // Killed after a few more batches were acknowledged, at a moment nobody chose.
        let wanted = acknowledged + 1 + (chance >> 60);
        while (ledger.lock().unwrap().acknowledged.len() as u64) < wanted {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        node.kill().unwrap();
        stop.store(true, Ordering::SeqCst);
        senders.join_all().await;
    }

    // What was sent but not acknowledged is repeated under its key: it must not be there twice.
    let node = Process::start(folder.path(), key.as_deref(), &[]).unwrap();
    let client = node.client();
    let sent = ledger.lock().unwrap().sent.clone();
    for (batch, numbers) in &sent {
        assert!(post(client, *batch, numbers).await, "batch {batch} is taken, or known");
    }
    client.until_idle().await.unwrap();

    let mut stored: BTreeMap<u64, u32> = BTreeMap::new();
    let mut offset = 0;
    loop {
        let page =
            client.get(&format!("/api/v1/sensors/readings?sensor_id=ledger&limit=1000&offset={offset}")).await.ok();
        let page = page.as_array().unwrap();
        for reading in page {
            *stored.entry(reading["value"].as_f64().unwrap() as u64).or_default() += 1;
        }
        offset += page.len();
        if page.len() < 1000 {
            break;
        }
    }
    let acknowledged = ledger.lock().unwrap().acknowledged.clone();
    let lost: Vec<u64> =
        acknowledged.values().flatten().copied().filter(|number| !stored.contains_key(number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let doubled: Vec<&u64> = stored.iter().filter(|(_, times)| **times != 1).map(|(number, _)| number).collect();
    assert!(doubled.is_empty(), "stored more than once: {doubled:?}");
    assert_eq!(
        stored.len(),
        sent.values().map(Vec::len).sum::<usize>(),
        "everything that was sent is there in the end"
    );

    let agents = client.get("/api/v1/agents").await.ok();
    for agent in agents["agents"].as_array().unwrap() {
        assert_eq!(agent["lag"], 0, "{agent}");
    }
    assert_eq!(client.get("/api/v1/dead-letters").await.ok().as_array().unwrap().len(), 0);

    // Analysed once: no anomaly was reported twice for one reading.
    let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = client.get(&format!("/api/v1/events?limit=1000&after={after}")).await.ok();
        let events = page["events"].as_array().unwrap();
        let Some(last) = events.last() else { break };
        after = last["seq"].as_i64().unwrap();
        for event in events.iter().filter(|event| event["type"] == "anomaly_detected") {
            *seen.entry(event["data"]["reading"].as_i64().unwrap()).or_default() += 1;
        }
    }
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
}
