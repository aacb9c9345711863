//! Nobody holds a connection by being slow.

use std::time::Duration;
use tests::node::TestNode;
use tests::slow::{Kind, behaved, hold};

const N_CONNECTIONS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_slow_connection_is_closed_within_its_limit() {
    // Given a node that waits for a second at most, whatever for,
    let node = TestNode::start_with(|config| {
        ["header_read_timeout_seconds", "body_grace_seconds", "write_stall_seconds"]
            .into_iter()
            .fold(config, |config, name| config.with(&format!("server.{name}"), 1).unwrap())
    })
    .await;
    let (client, address) = (node.client(), node.node().address());
    let key = client.key().unwrap().to_owned();
    for kind in Kind::ALL {
        // when many clients are slow at once, then each of them is hung up on soon after,
        let holding = hold(kind, address, &key, N_CONNECTIONS, Duration::from_secs(10));
        // and one that behaves is answered all the while.
        let (answered, held) = behaved(client, "/livez", holding).await.unwrap();
        let held = held.unwrap();
        assert!(held.iter().all(Option::is_some), "{kind:?}: a connection was still open after 10 s: {held:?}");
        assert!(held.iter().flatten().all(|held| Duration::from_millis(900) < *held), "{kind:?}: {held:?}");
        assert!(!answered.is_empty());
    }
    // And it is counted why.
    let metrics = client.get("/metrics").await.body.as_str().unwrap().to_owned();
    for limit in ["header_read_timeout_seconds", "body_bytes_per_second_min", "write_stall_seconds"] {
        let start = format!("smart_maintenance_limits_reached_total{{limit=\"{limit}\"}} ");
        let count: usize = metrics.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap();
        assert!(N_CONNECTIONS <= count, "{limit}: {count}");
    }
    node.stop().await;
}
