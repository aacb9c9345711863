//! Secrets stay where they belong: none shows in logs, errors, metrics, other answers or the database.

use reqwest::Method;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::client::Answer;
use tests::process::{Process, program};

/// Passwords and keys that are found again wherever they go.
const STATIC_KEY: &str = "canary-static-key-5d1f6c";
const REDIS_PASSWORD: &str = "canary-redis-password-91ab";
const WEBHOOK_SECRET: &str = "canary-webhook-secret-77c2";
const WEBHOOK_TOKEN: &str = "canary-webhook-token-4be8";
const WRONG_KEY: &str = "canary-wrong-key-a2d9";
const DATABASE_PASSWORD: &str = "canary-database-password-c61e";

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

fn text_of(answer: &Answer) -> String {
    format!("{} {:?} {}", answer.status, answer.headers, answer.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_shows_where_it_does_not_belong() {
    // Given a node that logs everything, with secrets of every kind and two servers that are not there,
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (redis, webhook, database) = (
        format!("redis://me:{REDIS_PASSWORD}@127.0.0.1:1/"),
        format!("http://127.0.0.1:1/{WEBHOOK_TOKEN}"),
        format!("postgresql://me:{DATABASE_PASSWORD}@localhost/db"),
    );
    let env = [
        ("API_KEY", STATIC_KEY),
        ("REDIS_URL", redis.as_str()),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("DATABASE_URL", database.as_str()),
        ("SMART_MAINTENANCE__WEBHOOK__URL", webhook.as_str()),
        ("SMART_MAINTENANCE__WEBHOOK__TIMEOUT_SECONDS", "1"),
        ("SMART_MAINTENANCE__WEBHOOK__INTERNAL_HOSTS", "[\"127.0.0.1\"]"),
        ("SMART_MAINTENANCE__LOGGING__LEVEL", "trace"),
    ];
    let node = Process::start_with(&data, Some(STATIC_KEY), &[], &env).unwrap();
    let client = node.client();
    let mut seen = Vec::new();
    // when keys are made, used, mistaken, replaced and taken back,
    let made =
        client.post("/api/v1/keys", &json!({ "name": "canary", "scopes": ["data:read", "keys:admin"] })).await.ok();
    let key = made["key"].as_str().unwrap().to_owned();
    let id = made["id"].as_str().unwrap().to_owned();
    let rotated = client.post(&format!("/api/v1/keys/{id}/rotate"), &json!({})).await.ok();
    let successor = rotated["key"].as_str().unwrap().to_owned();
    for used in [&key, &successor] {
        let holder = client.with_key(Some(used));
        seen.push(text_of(&holder.get("/api/v1/cases").await));
        seen.push(text_of(&holder.get("/api/v1/keys").await));
        seen.push(text_of(&holder.post("/api/v1/data/ingest", &json!({})).await));
    }
    let mistyped = format!("{}x", &key[..key.len() - 1]);
    for wrong in [WRONG_KEY, mistyped.as_str()] {
        seen.push(text_of(&client.with_key(Some(wrong)).get("/api/v1/cases").await));
    }
    // sessions opened by key and by link,
    let opened = client.post("/api/v1/sessions", &json!({})).await;
    let cookie = opened.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let csrf = opened.body["csrf_token"].as_str().unwrap().to_owned();
    let link = client.post("/api/v1/sessions/links", &json!({})).await.ok();
    let token = link["path"].as_str().unwrap().split_once("token=").unwrap().1.to_owned();
    let stranger = client.with_key(None);
    for request in [
        stranger.request(Method::GET, "/api/v1/cases").header("cookie", &cookie),
        stranger.request(Method::POST, "/api/v1/data/ingest").header("cookie", &cookie).json(&json!({})),
        stranger
            .request(Method::POST, "/api/v1/data/ingest")
            .header("cookie", &cookie)
            .header("x-csrf-token", &csrf)
            .header("sec-fetch-site", "same-origin")
            .json(&json!({})),
        stranger.request(Method::GET, "/api/v1/sessions/open?token=wrong"),
    ] {
        seen.push(text_of(&stranger.send(request).await));
    }
    // readings, bad bodies, a demo that tells people, and both servers fail,
    seen.push(text_of(&client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s", "value": 1 })).await));
    seen.push(text_of(&client.post("/api/v1/data/ingest/batch", &json!([{ "sensor_id": 1 }])).await));
    client.post("/api/v1/demo/golden-path?include_decision=false", &json!({})).await.ok();
    client
        .until("/api/v1/notifications", |page| {
            let text = page.to_string();
            (text.contains("webhook") && text.contains("failed")).then_some(())
        })
        .await
        .unwrap();
    seen.push(text_of(&client.post(&format!("/api/v1/keys/{id}/revoke"), &json!({})).await));
    for path in [
        "/",
        "/health",
        "/health/redis",
        "/health/detailed",
        "/metrics",
        "/api/v1/agents",
        "/api/v1/events?limit=1000",
        "/api/v1/keys",
        "/api/v1/notifications",
        "/api/v1/dead-letters",
        "/api/v1/nothing",
        "/openapi.json",
    ] {
        seen.push(text_of(&client.get(path).await));
    }
    let command_line = std::fs::read_to_string(format!("/proc/{}/cmdline", node.id())).unwrap();
    seen.push(command_line);
    let check = Command::new(program().unwrap()).args(["config", "check"]).envs(env).output().unwrap();
    assert!(check.status.success());
    seen.push(String::from_utf8(check.stdout).unwrap() + &String::from_utf8(check.stderr).unwrap());
    seen.push(serde_json::to_string(&node.log()).unwrap());
    node.kill().unwrap();
    assert!(seen.last().unwrap().contains("DEBUG"), "the log is at its most talkative");
    // then none of it is found in any answer, log, metric or file.
    let secrets = [
        STATIC_KEY,
        REDIS_PASSWORD,
        WEBHOOK_SECRET,
        WEBHOOK_TOKEN,
        WRONG_KEY,
        DATABASE_PASSWORD,
        &key,
        &successor,
        &mistyped,
        &csrf,
        &token,
        cookie.split_once('=').unwrap().1,
    ];
    let stored: Vec<(PathBuf, Vec<u8>)> =
        files(&data).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(stored.iter().any(|(path, bytes)| path.ends_with("store.sqlite-wal") && !bytes.is_empty()));
    for secret in secrets {
        // The last characters are what makes a key of ours secret; its prefix is shown on purpose.
        let core = if secret.starts_with("smk_") { &secret[17..] } else { secret };
        for text in &seen {
            assert!(!text.contains(core), "a secret shows: {}", text.replace(core, "<SECRET>"));
        }
        for (path, bytes) in &stored {
            let found = bytes.windows(core.len()).any(|window| window == core.as_bytes());
            assert!(!found, "a secret is in {}", path.display());
        }
    }
}
