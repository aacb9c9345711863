//! Who gets in.

use serde_json::json;
use tests::node::TestNode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_only_the_open_routes_answer() {
    let node = TestNode::start().await;
    let stranger = node.client().with_key(None);
    for open in ["/", "/health", "/livez", "/readyz", "/metrics"] {
        assert_eq!(stranger.get(open).await.status, 200, "{open}");
    }
    for closed in [
        "/health/db",
        "/health/redis",
        "/api/v1/agents",
        "/api/v1/cases",
        "/api/v1/sensors/readings",
        "/api/v1/decisions",
    ] {
        let answer = stranger.get(closed).await;
        assert_eq!(answer.status, 403, "{closed}");
        assert!(!answer.detail().is_empty(), "{closed} says why");
    }
    for closed in ["/api/v1/data/ingest", "/api/v1/demo/golden-path", "/api/v1/simulate/normal-data"] {
        assert_eq!(
            stranger.post(closed, &json!({})).await.status,
            403,
            "{closed}: a missing key comes before a bad body"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused_everywhere_but_on_the_open_routes() {
    let node = TestNode::start().await;
    for wrong in ["nonsense", "smk_000000000000_0000000000000000000000000000000000000000000000000"] {
        let answer = node.client().with_key(Some(wrong)).get("/api/v1/agents").await;
        assert_eq!(answer.status, 403);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_is_shown_once_and_goes_on_working() {
    let node = TestNode::start().await;
    let key = node.client().key().unwrap().to_owned();
    let folder = node.stop().await.unwrap();
    let node = TestNode::start_in(folder.path(), None, |config| config).await;
    assert!(node.client().key().is_none(), "the second start shows no key");
    assert_eq!(node.client().with_key(Some(&key)).get("/api/v1/agents").await.status, 200);
    node.stop().await;
}
