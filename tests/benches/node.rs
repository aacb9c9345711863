//! A whole node over HTTP: readings acknowledged after fsync, events through three agents, the golden path.
//!
//! `cargo bench -p tests`. Each figure of ingestion is taken until every reading is also scored.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use config::Config;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use simulations::load::{Load, Settings};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::client::Client;
use tests::node::TestNode;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const SENSORS: usize = 1_000;

/// Limits that would refuse a bench what it does on purpose.
fn unhindered(config: Config) -> Config {
    let lag = config.with("limits.lag_events_max", 10_000_000).unwrap();
    lag.with("server.connections_per_address_max", 4_096).unwrap()
}

/// Bodies of `n` batches of `size` readings each, one round over all sensors after the other.
fn bodies(n: usize, size: usize) -> Vec<String> {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let settings = Settings { n_sensors: SENSORS, readings_per_second: 1_000, batch: size };
    let load = Load::new(7, settings, start).unwrap();
    load.take(n)
        .map(|batch| {
            let items: Vec<String> = batch
                .iter()
                .map(|sample| {
                    format!(
                        r#"{{"sensor_id":"{}","value":{},"timestamp":"{}","sensor_type":"{}"}}"#,
                        sample.sensor,
                        sample.value,
                        sample.taken_at,
                        sample.sensor_type.as_str()
                    )
                })
                .collect();
            if size == 1 { items.into_iter().next().unwrap() } else { format!("[{}]", items.join(",")) }
        })
        .collect()
}

/// Posts all `bodies` over `connections` connections; gives the time until the last was acknowledged.
async fn post_all(client: &Client, path: &'static str, bodies: Arc<Vec<String>>, connections: usize) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut posters = JoinSet::new();
    for _ in 0..connections {
        let (client, bodies, next) = (client.clone(), Arc::clone(&bodies), Arc::clone(&next));
        posters.spawn(async move {
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let request = client
                    .request(reqwest::Method::POST, path)
                    .header("Content-Type", "application/json")
                    .body(body.clone());
                let answer = client.send(request).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
            }
        });
    }
    posters.join_all().await;
    began.elapsed()
}

fn ingest(criterion: &mut Criterion) {
    let rt = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("ingest");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (size, connections, n) in [(1, 64, 2_000), (50, 16, 200), (1_000, 8, 100)] {
        let path = if size == 1 { "/api/v1/data/ingest" } else { "/api/v1/data/ingest/batch" };
        group.throughput(Throughput::Elements(size as u64));
        for scored in [false, true] {
            let node = rt.block_on(TestNode::start_with(unhindered));
            let name = format!("batch_{size}/{}", if scored { "until_scored" } else { "until_acknowledged" });
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let n = (iterations as usize).clamp(n, n * 4);
                    let bodies = Arc::new(bodies(n, size));
                    rt.block_on(async {
                        let began = Instant::now();
                        let mut took = post_all(node.client(), path, bodies, connections).await;
                        node.client().until_idle().await.unwrap();
                        if scored {
                            took = began.elapsed();
                        }
                        took.mul_f64(iterations as f64 / n as f64)
                    })
                });
            });
            rt.block_on(node.stop());
        }
    }
    group.finish();
}

/// On a fresh node each time: a crew that is booked out has no slot for one more failing pump.
fn golden_path(criterion: &mut Criterion) {
    let rt = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("golden_path");
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.bench_function("all_stages", |bencher| {
        bencher.iter_custom(|iterations| {
            rt.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let node = TestNode::start().await;
                    let began = Instant::now();
                    let started = node.client().post("/api/v1/demo/golden-path", &serde_json::json!({})).await.ok();
                    let url = started["status_url"].as_str().unwrap().to_owned();
                    let complete = |status: &serde_json::Value| (status["status"] == "complete").then_some(());
                    node.client().until(&url, complete).await.unwrap();
                    took += began.elapsed();
                    node.stop().await;
                }
                took
            })
        });
    });
    group.finish();
}

/// Decisions that come in by HTTP are heard by human_decision, learning and notification.
fn events_through_three_agents(criterion: &mut Criterion) {
    let rt = Runtime::new().unwrap();
    let node = rt.block_on(TestNode::start_with(unhindered));
    let mut group = criterion.benchmark_group("events");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function("through_three_agents", |bencher| {
        bencher.iter_custom(|iterations| {
            let n = (iterations as usize).clamp(2_000, 10_000);
            rt.block_on(async {
                let runtime = node.node().runtime();
                let events = (0..n).map(|number| decision(number, runtime.clock().now())).collect::<Vec<_>>();
                let began = Instant::now();
                for chunk in events.chunks(250) {
                    runtime.store().append(chunk.to_vec(), None).await.unwrap();
                }
                node.client().until_idle().await.unwrap();
                began.elapsed().mul_f64(iterations as f64 / n as f64)
            })
        });
    });
    group.finish();
    rt.block_on(node.stop());
}

fn decision(number: usize, at: domain::Timestamp) -> persistence::unit::NewEvent {
    persistence::unit::NewEvent {
        id: domain::EventId(uuid::Uuid::now_v7()),
        cause: None,
        correlation: "bench".into(),
        traceparent: None,
        source: "bench".into(),
        at,
        event: domain::Event::DecisionReceived(domain::decision::Received {
            request: format!("question-{number}").into(),
            decision: "approve".to_owned(),
            meaning: domain::decision::Meaning::Approve,
            operator: "bench".to_owned(),
            key: None,
            justification: None,
            confidence: 1.0,
            notes: None,
            decided_at: at,
        }),
    }
}

/// What one fsync costs here: no acknowledgement can be faster.
fn fsync(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(folder.path().join("fsync")).unwrap();
    criterion.bench_function("disk/fsync_of_4_kib", |bencher| {
        bencher.iter(|| {
            file.write_all(&[0; 4_096]).unwrap();
            file.sync_data().unwrap();
        });
    });
}

criterion_group!(benches, fsync, ingest, events_through_three_agents, golden_path);
criterion_main!(benches);
