//! What the routes answer when all is well, on a node on which a machine failed and was repaired.

use super::{Document, like};
use control_plane::routes::ROUTES;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::node::TestNode;
use tokio::task::JoinSet;

/// Routes with stories of their own for their replies.
const ELSEWHERE: [&str; 3] = ["/api/v1/stream", "/docs/{file}", "/metrics"];

fn reading() -> Value {
    json!({
        "sensor_id": "<text>", "sensor_type": "<text>", "value": "<number>", "unit": "<text?>", "timestamp": "<time>",
        "quality": "<number>", "sensor_metadata": "<any>", "ingestion_timestamp": "<time>",
    })
}

fn decision() -> Value {
    json!({
        "request_id": "<text>", "decision": "<text>", "operator_id": "<text>", "justification": "<text?>",
        "timestamp": "<time>", "confidence": "<number>", "additional_notes": "<text?>", "correlation_id": "<text>",
        "meaning": "<any>", "key": "<text?>", "event_id": "<uuid>", "received_at": "<time>",
    })
}

fn schedule() -> Value {
    json!({
        "request_id": "<text>", "status": "<text>", "assigned_technician_id": "<text?>",
        "scheduled_start_time": "<time?>", "scheduled_end_time": "<time?>", "optimization_score": "<number?>",
        "constraints_satisfied": ["<text>"], "constraints_violated": ["<text>"], "alternative_slots": "<list>",
        "scheduling_notes": "<text>", "created_at": "<time>", "…": null,
    })
}

fn simulated(n: usize) -> Value {
    json!({
        "status": "success", "message": "<text>", "simulation_id": "<uuid>", "events_generated": n,
        "correlation_id": "<uuid>",
    })
}

/// Method, pattern, path, body, status, and what comes back.
type Case = (&'static str, &'static str, String, Option<Value>, u16, Value);

fn cases(correlation: &str, case: &str) -> Vec<Case> {
    let get = |pattern: &'static str, path: &str, reply: Value| ("GET", pattern, path.to_owned(), None, 200, reply);
    let list = |pattern: &'static str, row: Value| get(pattern, pattern, json!([row]));
    let post = |pattern: &'static str, body: Value, reply: Value| {
        ("POST", pattern, pattern.to_owned(), Some(body), 200, reply)
    };
    let control = |pattern: &'static str| {
        let reply = json!({ "name": "drift", "kind": "<text>", "state": "<text>", "…": null });
        ("POST", pattern, pattern.replace("{name}", "drift"), None, 200, reply)
    };
    let health = json!({ "status": "ok", "database": "ok", "redis": "not_configured", "timestamp": "<naive>" });
    vec![
        get("/", "/", json!({ "message": "<text>" })),
        get("/health", "/health", health),
        get("/health/db", "/health/db", json!({ "db_status": "connected" })),
        get("/health/redis", "/health/redis", json!({ "status": "not configured" })),
        get(
            "/health/detailed",
            "/health/detailed",
            json!({
                "status": "<text>", "database": "ok", "redis": "<text>", "timestamp": "<naive>", "agents": "<list>",
                "writer": "<object>",
            }),
        ),
        get("/livez", "/livez", json!({ "status": "alive" })),
        get("/api/v1/audit/verify", "/api/v1/audit/verify", json!({ "ok": true, "…": null })),
        get("/readyz", "/readyz", json!({ "status": "<text>", "impaired": "<list>" })),
        get("/openapi.json", "/openapi.json", json!({ "openapi": "3.1.0", "…": null })),
        get("/docs", "/docs", json!("<text>")),
        get("/redoc", "/redoc", json!("<text>")),
        post(
            "/api/v1/data/ingest",
            json!({ "sensor_id": "s", "value": 1, "location": "hall" }),
            json!({
                "status": "event_published", "event_id": "<uuid>", "correlation_id": "<uuid>", "sensor_id": "s",
            }),
        ),
        post(
            "/api/v1/data/ingest/batch",
            json!([{ "sensor_id": "s", "value": 1 }, { "sensor_id": "s" }]),
            json!({
                "accepted": 1, "rejected": 1, "duplicate": false, "event_id": "<uuid>", "correlation_id": "<uuid>",
                "items": [{ "index": 1, "status": "rejected", "field": "value", "detail": "<text>" }],
            }),
        ),
        list("/api/v1/sensors/readings", reading()),
        list(
            "/api/v1/sensors/sensors",
            json!({
                "sensor_id": "<text>", "reading_count": "<number>", "last_reading": "<time>", "first_reading": "<time>",
                "asset": "<text>", "sensor_type": "<text>", "unit": "<text?>",
            }),
        ),
        (
            "POST",
            "/api/v1/decisions/submit",
            "/api/v1/decisions/submit".to_owned(),
            Some(json!({ "request_id": "q", "decision": "approved", "operator_id": "ana" })),
            201,
            {
                let mut submitted = decision();
                submitted["request_state"] = Value::Null;
                submitted
            },
        ),
        list("/api/v1/decisions", decision()),
        list(
            "/api/v1/decisions/pending",
            json!({ "id": "<text>", "asset": "<text>", "deadline": "<time>", "options": "<list>", "…": null }),
        ),
        post(
            "/api/v1/maintenance/schedule",
            json!({
                "sensor_id": "s", "predicted_failure_date": "2099-01-01T00:00:00", "time_to_failure_days": "30",
                "correlation_id": "mine",
            }),
            json!({
                "correlation_id": "mine", "status": "Scheduled", "schedule": schedule(),
                "assigned_technician_id": "<text>", "scheduled_start_time": "<time>", "scheduled_end_time": "<time>",
                "generated_report_id": "<text?>", "report_summary": "<text?>",
                "metadata": {
                    "sensor_id": "s", "sensor_type": null, "model_name": null, "model_version": null,
                    "trigger_source": "ui",
                },
            }),
        ),
        list(
            "/api/v1/maintenance/scheduled",
            json!({
                "correlation_id": "<text>", "equipment_id": "<text>", "maintenance_type": "<text>",
                "scheduled_start_time": "<time>", "scheduled_end_time": "<time>", "assigned_technician_id": "<text>",
                "optimization_score": "<number>", "status": "<text>", "recorded_at": "<time>",
                "schedule_details": schedule(),
                "context": {
                    "sensor_id": "<text>", "sensor_type": "<any>", "model_name": "<any>", "model_version": "<any>",
                    "trigger_source": "<any>", "maintenance_type": "<text>", "prediction_confidence": "<number>",
                    "…": null,
                },
            }),
        ),
        post("/api/v1/simulate/drift-event", json!({ "num_samples": 5, "sensor_id": "d" }), simulated(5)),
        post("/api/v1/simulate/anomaly-event", json!({ "num_anomalies": "1", "sensor_id": "d" }), simulated(5)),
        post("/api/v1/simulate/normal-data", json!({ "num_samples": 5.0, "sensor_id": "d" }), simulated(5)),
        (
            "POST",
            "/api/v1/demo/golden-path",
            "/api/v1/demo/golden-path?sensor_events=5&include_decision=no".to_owned(),
            None,
            200,
            json!({ "correlation_id": "<uuid>", "status": "started", "status_url": "<text>" }),
        ),
        get(
            "/api/v1/demo/golden-path/status/{correlation_id}",
            &format!("/api/v1/demo/golden-path/status/{correlation}"),
            json!({
                "correlation_id": correlation, "status": "complete", "started_at": "<time>", "completed_at": "<time>",
                "steps": [{
                    "name": "<text>", "status": "complete", "events": "<number>", "started_at": "<time>",
                    "completed_at": "<time>", "message": "<text>", "agent": "<text>", "duration_ms": "<number>",
                }],
                "events": [{
                    "event_type": "<text>", "event_id": "<uuid>", "timestamp": "<time>", "correlation_id": correlation,
                    "source": "<text>", "payload": "<object>",
                }],
                "metrics": {
                    "total_events": "<number>", "last_event_at": "<time>", "latency_ms_ingest_to_prediction": "<number>",
                },
                "errors": [], "include_decision": false,
            }),
        ),
        list(
            "/api/v1/cases",
            json!({ "id": "<uuid>", "asset": "<text>", "state": "<text>", "evidence_count": "<number>", "…": null }),
        ),
        get(
            "/api/v1/cases/{id}",
            &format!("/api/v1/cases/{case}"),
            json!({
                "id": case, "anomalies": "<list>", "predictions": "<list>", "decisions": "<list>",
                "work_orders": "<list>", "log": "<list>", "history": "<list>", "…": null,
            }),
        ),
        post(
            "/api/v1/reports/generate",
            json!({ "report_type": "system_health", "parameters": { "a": 1 }, "equipment_id": "ignored" }),
            json!({
                "report_id": "<text>", "report_type": "system_health", "format": "json", "content": "<text>",
                "generated_at": "<time>", "charts_encoded": "<object>",
                "metadata": {
                    "parameters": { "a": 1 }, "time_range_start": "<time>", "time_range_end": "<time>",
                    "include_charts": true,
                    "analytics_summary": { "data_points": "<number>", "has_chart_data": "<flag>" },
                },
                "error_message": null,
            }),
        ),
        get("/api/v1/agents", "/api/v1/agents", json!({ "agents": "<list>", "count": "<number>" })),
        control("/api/v1/agents/{name}/pause"),
        control("/api/v1/agents/{name}/resume"),
        control("/api/v1/agents/{name}/restart"),
        control("/api/v1/agents/{name}/drain"),
        get("/api/v1/agents/{name}", "/api/v1/agents/drift", json!("<object>")),
        get("/api/v1/events", "/api/v1/events?limit=1000", json!({ "events": "<list>", "next": "<number?>" })),
        list("/api/v1/notifications", json!({ "channel": "<text>", "state": "<text>", "…": null })),
        get(
            "/api/v1/maintenance/log",
            "/api/v1/maintenance/log",
            json!({ "entries": "<list>", "from": "<time>", "to": "<time>", "kpis": "<list>" }),
        ),
        list("/api/v1/dead-letters", json!({ "agent": "<text>", "state": "<text>", "…": null })),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_route_answers_in_the_form_that_clients_know_and_the_document_tells() {
    // Given a node on which a machine failed and was repaired,
    let node = TestNode::start().await;
    let client = node.client();
    let started = client.post("/api/v1/demo/golden-path?sensor_events=15", &json!({})).await.ok();
    let complete = |status: &Value| (status["status"] != "running").then(|| status["status"].clone());
    let status = client.until(started["status_url"].as_str().unwrap(), complete).await.unwrap();
    assert_eq!(status, "complete");
    let case = client.get("/api/v1/cases").await.ok()[0]["id"].as_str().unwrap().to_owned();
    // when each route is asked,
    let mut document = Document::of(client).await;
    let mut asked = BTreeSet::new();
    for (method, pattern, path, body, status, expected) in cases(started["correlation_id"].as_str().unwrap(), &case) {
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let answer = client.send(request).await;
        // then it answers in its form.
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {}", answer.body);
        like(&expected, &answer.body, &format!("{method} {path}")).unwrap();
        document.hold(method, pattern, &answer);
        asked.insert((method, pattern));
    }
    let left_out: Vec<_> = ROUTES
        .iter()
        .filter(|route| !asked.contains(&(route.method, route.pattern)) && !ELSEWHERE.contains(&route.pattern))
        .filter(|route| !is_told_elsewhere(route.pattern))
        .map(|route| (route.method, route.pattern))
        .collect();
    assert_eq!(left_out, [], "routes without a contract test");
    node.stop().await;
}

/// Whether the route belongs to a group that is told elsewhere as a whole.
fn is_told_elsewhere(pattern: &str) -> bool {
    let groups = [
        "/api/v1/cases/{id}/",
        "/api/v1/dead-letters/",
        "/api/v1/work-orders",
        "/api/v1/technicians",
        "/api/v1/site",
        "/api/v1/sensors",
        "/api/v1/reports",
        "/api/v1/ml/",
        "/api/v1/keys",
        "/api/v1/session",
        "/api/v1/plant",
        "/api/v1/assets",
    ];
    groups.iter().any(|group| pattern.starts_with(group))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_one_another_until_the_list_ends() {
    let node = TestNode::start().await;
    let client = node.client();
    let items: Vec<Value> = (0..25)
        // Several of one instant, so that a page ends among them.
        .map(|idx| json!({ "sensor_id": format!("s{}", idx % 3), "value": idx, "timestamp": 1_759_406_400 + idx / 5 }))
        .collect();
    client.post("/api/v1/data/ingest/batch", &json!(items)).await.ok();
    let whole = client.get("/api/v1/sensors/readings?limit=100").await.ok();
    assert_eq!(whole.as_array().unwrap().len(), 25);
    for start in ["/api/v1/sensors/readings?limit=4", "/api/v1/sensors/sensors?limit=2", "/api/v1/events?limit=1"] {
        let whole = client.get(start.split('?').next().unwrap()).await.ok();
        let rows = |page: &Value| page.get("events").unwrap_or(page).as_array().unwrap().clone();
        let (mut path, mut seen) = (Some(start.to_owned()), Vec::new());
        while let Some(asked) = path {
            let page = client.get(&asked).await;
            path = page.next_page();
            seen.extend(rows(&page.ok()));
        }
        assert_eq!(seen, rows(&whole), "{start}");
    }
    let by_offset = client.get("/api/v1/sensors/readings?limit=4&offset=8").await.ok();
    assert_eq!(by_offset.as_array().unwrap()[..], whole.as_array().unwrap()[8..12]);
    assert_eq!(client.get("/api/v1/sensors/readings?after=nonsense").await.status, 422);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_comes_as_csv_whole_and_without_formulas() {
    let node = TestNode::start_with(|config| config.with("limits.page_size_max", 10).unwrap()).await;
    let client = node.client();
    let items: Vec<Value> =
        (0..35).map(|idx| json!({ "sensor_id": format!("=cmd|{idx}"), "value": -1.5, "timestamp": idx })).collect();
    client.post("/api/v1/data/ingest/batch", &json!(items)).await.ok();
    let csv = |path: &str| client.request(Method::GET, path).header("accept", "text/csv");
    let whole = client.send(csv("/api/v1/sensors/readings")).await;
    assert_eq!(whole.headers["content-type"], "text/csv; charset=utf-8");
    let text = whole.ok();
    let mut lines = csv::Reader::from_reader(text.as_str().unwrap().as_bytes());
    let columns = lines.headers().unwrap().clone();
    let sensor = columns.iter().position(|column| column == "sensor_id").unwrap();
    let value = columns.iter().position(|column| column == "value").unwrap();
    let rows: Vec<csv::StringRecord> = lines.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 35);
    assert!(rows.iter().all(|row| row[sensor].starts_with("'=cmd|") && &row[value] == "-1.5"), "{rows:?}");
    let page = client.send(csv("/api/v1/sensors/readings?limit=10")).await;
    assert!(page.headers.contains_key("link"));
    assert_eq!(page.ok().as_str().unwrap().lines().count(), 11);
    for route in ROUTES.iter().filter(|route| route.answer.rows.is_some() && !route.pattern.contains('{')) {
        let answer = client.send(csv(route.pattern)).await;
        assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8", "{}", route.pattern);
        assert!(answer.ok().as_str().unwrap().contains(','), "{}", route.pattern);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_what_happens_and_goes_on_where_it_was() {
    let node = TestNode::start().await;
    let client = node.client();
    let listen = async |after: &str, path: &str| {
        client.request(Method::GET, path).header("last-event-id", after).send().await.unwrap()
    };
    let read = async |response: &mut reqwest::Response, n_events: usize| {
        let mut text = String::new();
        while text.matches("\ndata: ").count() < n_events {
            let part = tokio::time::timeout(tests::client::PATIENCE, response.chunk()).await.unwrap();
            text.push_str(std::str::from_utf8(&part.unwrap().expect("it goes on")).unwrap());
        }
        text
    };
    let mut stream = listen("0", "/api/v1/stream?topics=readings_accepted").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let body = json!({ "sensor_id": "s", "value": 1.0 });
    for _ in 0..3 {
        client.post("/api/v1/data/ingest", &body).await.ok();
    }
    let told = read(&mut stream, 3).await;
    assert!(told.starts_with("retry: "), "{told}");
    assert_eq!(told.matches("event: readings_accepted\n").count(), 3, "{told}");
    let ids: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    drop(stream);
    // Whoever comes back gets what came after the last one that was seen.
    let mut again = listen(ids[0], "/api/v1/stream?topics=readings_accepted").await;
    let told = read(&mut again, 2).await;
    let known: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(known, ids[1..], "{told}");
    drop(again);
    assert_eq!(listen("soon", "/api/v1/stream").await.status(), 422);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_keeps_its_names_and_is_packed_on_demand() {
    let node = TestNode::start().await;
    let client = node.client();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = client
        .request(Method::GET, "/openapi.json")
        .header("x-request-id", "mine")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("accept-encoding", "gzip");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine");
    assert!(response.headers()["traceparent"].to_str().unwrap().starts_with(&format!("00-{trace}-")));
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_of_a_traced_request_names_the_step_that_its_answer_told() {
    // Given a caller that traces its requests,
    let node = TestNode::start().await;
    let client = node.client();
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let path = "/api/v1/demo/golden-path?sensor_events=15";
    let asked = client.send(client.request(Method::POST, path).header("traceparent", given)).await;
    let told = asked.headers["traceparent"].to_str().unwrap().to_owned();
    assert!(told.starts_with(&given[..36]) && told != given, "{told}");
    let started = asked.ok();
    let complete = |status: &Value| (status["status"] != "running").then_some(());
    client.until(started["status_url"].as_str().unwrap(), complete).await.unwrap();
    // when agents act on what came of it, then what they say belongs to the trace,
    let correlation = started["correlation_id"].as_str().unwrap();
    let events = client.get(&format!("/api/v1/events?limit=1000&correlation_id={correlation}")).await.ok();
    let named = |kind: &str| {
        let events = events["events"].as_array().unwrap();
        events.iter().find(|event| event["type"] == kind).unwrap_or_else(|| panic!("{kind}"))["traceparent"].clone()
    };
    for kind in ["readings_accepted", "anomaly_detected", "case_opened", "maintenance_predicted"] {
        assert_eq!(named(kind), json!(told), "{kind}");
    }
    // and what comes of a request that nobody traces belongs to none.
    client.post("/api/v1/data/ingest", &json!({ "sensor_id": "s", "value": 1.0, "correlation_id": uuid() })).await.ok();
    let events = client.get(&format!("/api/v1/events?correlation_id={}", uuid())).await.ok();
    assert_eq!(events["events"][0]["type"], "readings_accepted");
    assert_eq!(events["events"][0].get("traceparent"), None);
    node.stop().await;
}

/// A correlation of one request.
fn uuid() -> &'static str {
    "11111111-2222-4333-8444-555555555555"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_changed_is_not_sent_again() {
    let node = TestNode::start().await;
    let client = node.client();
    let started = client.post("/api/v1/demo/golden-path?sensor_events=15", &json!({})).await.ok();
    let complete = |status: &Value| (status["status"] != "running").then_some(());
    client.until(started["status_url"].as_str().unwrap(), complete).await.unwrap();
    client.until_idle().await.unwrap();
    let case = client.get("/api/v1/cases").await.ok()[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/cases/{case}");
    let first = client.get(&path).await;
    let again = client.send(client.request(Method::GET, &path).header("if-none-match", &first.headers["etag"])).await;
    assert_eq!(again.status, 304);
    assert_eq!(again.headers["etag"], first.headers["etag"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_rests_on_what_is_no_longer_so_is_not_made() {
    // Given a case as two people saw it,
    let node = TestNode::start().await;
    let client = node.client();
    let started = client.post("/api/v1/demo/golden-path?sensor_events=15", &json!({})).await.ok();
    let complete = |status: &Value| (status["status"] != "running").then_some(());
    client.until(started["status_url"].as_str().unwrap(), complete).await.unwrap();
    client.until_idle().await.unwrap();
    let case = client.get("/api/v1/cases").await.ok()[0]["id"].as_str().unwrap().to_owned();
    let order = client.get("/api/v1/work-orders").await.ok()[0]["work_order"].as_str().unwrap().to_owned();
    let asset = client.get(&format!("/api/v1/cases/{case}")).await.ok()["asset"].as_str().unwrap().to_owned();
    let changed = async |path: &str, tag: &str, body: &Value| {
        client.send(client.request(Method::POST, path).header("if-match", tag).json(body)).await
    };
    let mut document = Document::of(client).await;
    // Of many who all saw it so, one puts it out of service.
    let path = format!("/api/v1/assets/{asset}");
    let tag = client.get(&path).await.headers["etag"].clone();
    let mut all = JoinSet::new();
    for _ in 0..16 {
        let act = client.request(Method::POST, &format!("{path}/maintenance")).header("if-match", &tag);
        let (client, act) = (client.clone(), act.json(&json!({ "reason": "greasing" })));
        all.spawn(async move { client.send(act).await.status.as_u16() });
    }
    let statuses = all.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 15, "{statuses:?}");
    for (pattern, id, action, body) in [
        ("/api/v1/cases/{id}", &case, "feedback", json!({ "confirmed": true })),
        ("/api/v1/cases/{id}", &case, "acknowledge", json!({ "reason": "seen" })),
        ("/api/v1/work-orders/{id}", &order, "verify", json!({ "reason": "it hums" })),
        ("/api/v1/assets/{id}", &asset, "maintenance", json!({ "reason": "cleaning" })),
    ] {
        let path = pattern.replace("{id}", id);
        let seen = client.get(&path).await;
        let tag = seen.headers["etag"].to_str().unwrap();
        // when one of them changes it,
        let (act, route) = (format!("{path}/{action}"), format!("{pattern}/{action}"));
        let refused = changed(&act, "\"0123\"", &body).await;
        assert_eq!(refused.status, 412, "{act}: {}", refused.body);
        document.hold("POST", &route, &refused);
        let first = changed(&act, tag, &body).await;
        assert!(first.status.is_success() || first.status == 409, "{act}: {}", first.body);
        client.until_idle().await.unwrap();
        // then the other one, who saw it before, is refused if that changed what either goes by.
        let now = client.get(&path).await;
        let is_other = now.headers["etag"].to_str().unwrap().split('.').next() != tag.split('.').next();
        let second = changed(&act, tag, &body).await;
        assert_eq!(second.status == 412, is_other, "{act}: {} {}", second.status, second.body);
        assert_eq!(is_other, action != "feedback" && action != "verify", "{act}");
        // Whoever looks again, or does not care, is not.
        assert_ne!(changed(&act, "*", &body).await.status, 412, "{act}");
    }
    node.stop().await;
}
