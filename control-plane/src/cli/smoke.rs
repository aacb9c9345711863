//! `smoke`: asks a running node for everything once, and tells as JSON what works.

use super::{Exit, output};
use anyhow::{Context as _, ensure};
use reqwest::{Method, StatusCode};
use runtime::Clock;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longest wait for an answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Tries to see a reading again, a second apart.
const VERIFY_TRIES: u32 = 10;
/// Longest wait for the golden path, which may take its decision in between.
const GOLDEN_PATH_WAIT: Duration = Duration::from_secs(120);
/// Pause between two questions how far it is.
const GOLDEN_PATH_PAUSE: Duration = Duration::from_millis(500);
/// Lines of the metrics that are shown.
const METRIC_LINES: usize = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the node is.
    #[arg(long, default_value = "http://localhost:8000", value_name = "URL")]
    base_url: String,
    /// A key with every scope.
    #[arg(long, env = "API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// The sensor that is made up.
    #[arg(long, default_value = "smoke_sensor_v1", value_name = "NAME")]
    sensor_id: String,
    /// The model that predicts.
    #[arg(long, default_value = "ai4i_classifier_randomforest_baseline", value_name = "NAME")]
    model_name: String,
}

/// Asks everything, prints the summary, and fails if anything did not work.
pub(crate) async fn run(args: Args) -> anyhow::Result<Exit> {
    let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).build()?;
    let smoke = Smoke { args, http };
    let mut summary = Map::new();
    let mut note = |name: &str, outcome: anyhow::Result<Value>| {
        let told = match outcome {
            Ok(told) => json!({ "status": "ok", "detail": told }),
            Err(error) => json!({ "status": "fail", "error": format!("{error:#}") }),
        };
        summary.insert(name.to_owned(), told);
    };
    note("health", smoke.health().await);
    note("ingest", smoke.ingest().await);
    note("prediction", smoke.prediction().await);
    note("decision", smoke.decision().await);
    note("simulate", smoke.simulate().await);
    note("golden_path", smoke.golden_path().await);
    note("metrics", smoke.metrics().await);
    note("docs", smoke.docs().await);
    let failed = summary.values().any(|told| told["status"] == "fail");
    summary.insert("overall".to_owned(), json!(if failed { "fail" } else { "pass" }));
    output::line(format!("{:#}", Value::Object(summary)))?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

struct Smoke {
    args: Args,
    http: reqwest::Client,
}

/// What came back.
struct Answer {
    status: StatusCode,
    text: String,
    milliseconds: f64,
}

impl Answer {
    fn ok(self) -> anyhow::Result<Self> {
        let start: String = self.text.chars().take(300).collect();
        ensure!(self.status.is_success(), "answered {}: {start}", self.status);
        Ok(self)
    }

    fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.text).context("the answer is no JSON")
    }
}

impl Smoke {
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let base = self.args.base_url.trim_end_matches('/');
        let mut request = self.http.request(method, format!("{base}{path}")).header("accept", "application/json");
        if let Some(key) = &self.args.api_key {
            request = request.header("x-api-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let began = Instant::now();
        let response = request.send().await.with_context(|| format!("{path} was not answered"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("the answer of {path} broke off"))?;
        Answer { status, text, milliseconds: began.elapsed().as_secs_f64() * 1e3 }.ok()
    }

    async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn health(&self) -> anyhow::Result<Value> {
        let health = self.get("/health").await?.json()?;
        for member in ["status", "database", "redis", "timestamp"] {
            ensure!(health[member].is_string(), "{member} is missing in {health}");
        }
        ensure!(health["database"] == "ok", "the database does not answer: {health}");
        for path in ["/health/db", "/health/redis", "/health/detailed"] {
            self.get(path).await.with_context(|| path.to_owned())?;
        }
        Ok(health)
    }

    /// A reading goes in, and comes out again.
    async fn ingest(&self) -> anyhow::Result<Value> {
        let sensor = &self.args.sensor_id;
        let body = json!({
            "sensor_id": sensor, "sensor_type": "temperature", "value": 27.5, "unit": "C",
            "timestamp": Clock::System.now(), "correlation_id": Uuid::new_v4(),
        });
        let answer = self.post("/api/v1/data/ingest", &body).await?;
        let told = answer.json()?;
        ensure!(told["event_id"].is_string(), "event_id is missing in {told}");
        for attempt in 1..=VERIFY_TRIES {
            let path = format!("/api/v1/sensors/readings?limit=1&sensor_id={sensor}");
            let readings = self.get(&path).await?.json()?;
            if readings[0]["sensor_id"] == json!(sensor) {
                return Ok(json!({
                    "event_id": told["event_id"], "latency_ms": answer.milliseconds, "verify_tries": attempt,
                }));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        anyhow::bail!("the reading of {sensor} was taken and cannot be seen")
    }

    /// A prediction by the newest version, which a blank one means.
    async fn prediction(&self) -> anyhow::Result<Value> {
        let body = json!({
            "model_name": self.args.model_name,
            "model_version": "",
            "features": {
                "Air_temperature_K": 298.1, "Process_temperature_K": 308.6, "Rotational_speed_rpm": 1551,
                "Torque_Nm": 42.8, "Tool_wear_min": 0,
            },
            "sensor_id": self.args.sensor_id,
            "include_explainability": false,
        });
        let answer = self.post("/api/v1/ml/predict", &body).await?;
        let told = answer.json()?;
        let version = &told["model_info"]["model_version"];
        ensure!(version.is_string(), "model_info.model_version is missing in {told}");
        ensure!(!told["prediction"].is_null(), "there is no prediction in {told}");
        Ok(json!({
            "model_version": version, "prediction": told["prediction"], "latency_ms": answer.milliseconds,
        }))
    }

    async fn decision(&self) -> anyhow::Result<Value> {
        let request = format!("smoke-{}", Uuid::new_v4());
        let body = json!({
            "request_id": request, "decision": "approved", "operator_id": "smoke_runner", "confidence": 0.9,
            "justification": "smoke", "correlation_id": Uuid::new_v4(),
        });
        let answer = self.post("/api/v1/decisions/submit", &body).await?;
        let told = answer.json()?;
        ensure!(told["request_id"] == json!(request), "another request_id came back: {told}");
        ensure!(told["operator_id"] == "smoke_runner", "another operator came back: {told}");
        let listed = self.get(&format!("/api/v1/decisions?request_id={request}")).await?.json()?;
        ensure!(listed[0]["decision"] == "approved", "the decision is not in the log: {listed}");
        Ok(json!({ "request_id": request, "latency_ms": answer.milliseconds }))
    }

    /// Each simulation, with its parameters in a body and in the query.
    async fn simulate(&self) -> anyhow::Result<Value> {
        let mut told = Map::new();
        for (route, parameters) in
            [("drift-event", "num_samples=5"), ("anomaly-event", "num_anomalies=1"), ("normal-data", "num_samples=5")]
        {
            let sensor = format!("{}-{route}", self.args.sensor_id);
            let in_body = json!({ "sensor_id": sensor });
            let path = format!("/api/v1/simulate/{route}?{parameters}");
            let answer = self.post(&path, &in_body).await.with_context(|| route.to_owned())?.json()?;
            ensure!(answer["status"] == "success", "{route} answered {answer}");
            ensure!(answer["events_generated"] == 5, "{route} did not heed {parameters}: {answer}");
            told.insert(route.to_owned(), answer["events_generated"].clone());
        }
        Ok(Value::Object(told))
    }

    /// A machine fails and gets repaired.
    async fn golden_path(&self) -> anyhow::Result<Value> {
        let began = Instant::now();
        let started = self.ask(Method::POST, "/api/v1/demo/golden-path?sensor_events=15", None).await?.json()?;
        let path = started["status_url"].as_str().context("status_url is missing")?.to_owned();
        loop {
            let status = self.get(&path).await?.json()?;
            match status["status"].as_str() {
                Some("complete") => {
                    return Ok(json!({
                        "correlation_id": started["correlation_id"],
                        "steps": status["steps"].as_array().map_or(0, Vec::len),
                        "seconds": began.elapsed().as_secs_f64(),
                    }));
                }
                Some("running") => {}
                _ => anyhow::bail!("it failed: {}", status["errors"]),
            }
            ensure!(began.elapsed() < GOLDEN_PATH_WAIT, "it is not complete after {GOLDEN_PATH_WAIT:?}");
            tokio::time::sleep(GOLDEN_PATH_PAUSE).await;
        }
    }

    async fn metrics(&self) -> anyhow::Result<Value> {
        let answer = self.get("/metrics").await?;
        ensure!(answer.text.contains("http_requests_total"), "http_requests_total is missing");
        Ok(json!({ "sample": answer.text.lines().take(METRIC_LINES).collect::<Vec<_>>() }))
    }

    async fn docs(&self) -> anyhow::Result<Value> {
        let document = self.get("/openapi.json").await?.json()?;
        let n_paths = document["paths"].as_object().map_or(0, Map::len);
        ensure!(0 < n_paths, "the document has no paths");
        for path in ["/docs", "/redoc"] {
            let page = self.get(path).await?;
            ensure!(page.text.contains("<!doctype html>"), "{path} is no page");
        }
        Ok(json!({ "openapi": document["openapi"], "paths": n_paths }))
    }
}
