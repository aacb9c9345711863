//! What was acknowledged is there after `kill -9`, and is analysed once.

use std::time::Duration;
use tests::promises::kills;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_readings_survive_a_hundred_kills_and_are_analysed_once() {
    let report = kills::run(100, Duration::from_millis(20), 1).await.unwrap();
    assert!(report.verdict.holds() && report.verdict.dead_letters == 0, "{report:?}");
    assert!(100 <= report.verdict.acknowledged, "{report:?}");
}
