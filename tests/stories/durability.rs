//! What was acknowledged is there after `kill -9`, and is analysed once.

use tests::promises::kills;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_readings_survive_twenty_kills_and_are_analysed_once() {
    let report = kills::run(20, 1).await.unwrap();
    assert!(report.verdict.holds() && report.verdict.dead_letters == 0, "{report:?}");
    assert!(20 <= report.verdict.acknowledged, "{report:?}");
}
