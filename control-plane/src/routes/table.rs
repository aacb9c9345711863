//! The table of routes. It says of each who may use it and how often, what it takes and answers, and nothing of how.

use super::route::{Answer, Body, Class, Kind, Param, Route, Scope, get, json, list, listed, media, post};
use super::{
    agents, audit, cases, dead_letters, decisions, demo, docs, events, health, ingest, keys, lists, maintenance, ml,
    plant, reports, root, sensors, sessions, simulate, stream, work_orders,
};
use crate::plant::Report as PlantReport;
use domain::Envelope;
use domain::asset::{Site, Technician};
use persistence::knowledge::SimilarCase;
use persistence::maintenance_log::Line;
use persistence::reports::Report;
use persistence::work_orders::WorkOrder;
use persistence::{cases::Case, dead_letters::DeadLetter, notifications::Notification};
use runtime::Outlook;
use runtime::metrics::Form;

const DATA_READ: Scope = Scope::Needs("data:read");
const AGENTS_READ: Scope = Scope::Needs("agents:read");
const MAINTENANCE_READ: Scope = Scope::Needs("maintenance:read");

const ML: Scope = Scope::Needs("ml:predict");
const MODELS_LIMIT: Param = Param::or("limit", Kind::Int(Some(1), Some(1000)), "1000", "Most models");

const LIMIT: Param = Param::or("limit", Kind::Int(Some(1), Some(1000)), "100", "Most rows of the page");
const OFFSET: Param = Param::or("offset", Kind::Int(Some(0), None), "0", "Rows to leave out; `after` is cheaper");
const AFTER: Param = Param::optional("after", Kind::Text, "The cursor of the `Link` of the page before");

/// Every route there is.
pub const ROUTES: &[Route] = &[
    get("/", Scope::Public, Class::Probe, "Say hello", json::<root::Hello>()),
    get("/health", Scope::Public, Class::Probe, "Tell whether database and Redis answer", json::<health::Health>())
        .others(&[json::<health::Unhealthy>().status(503)]),
    get("/health/db", Scope::AnyKey, Class::Probe, "Tell whether the database answers", json::<health::Database>()),
    get("/health/redis", Scope::AnyKey, Class::Probe, "Tell how Redis is", json::<health::Redis>()),
    get(
        "/health/detailed",
        Scope::AnyKey,
        Class::Probe,
        "Tell how database, Redis and each agent are",
        json::<health::Detailed>(),
    ),
    get("/livez", Scope::Public, Class::Probe, "Tell that the process lives", json::<health::Live>()),
    get("/readyz", Scope::Public, Class::Probe, "Tell whether requests can be served", json::<health::Readiness>())
        .others(&[json::<health::Readiness>().status(503)]),
    get(
        "/metrics",
        Scope::Metrics("metrics:read"),
        Class::Probe,
        "Metrics as Prometheus reads them",
        media(Form::Text.content_type()),
    )
    .others(&[media(Form::OpenMetrics.content_type())]),
    get("/openapi.json", Scope::Public, Class::Docs, "This document", media("application/json")).errors(&[404]),
    get("/docs", Scope::Public, Class::Docs, "The routes, to read and to try out", media(docs::HTML)).errors(&[404]),
    get("/redoc", Scope::Public, Class::Docs, "The routes, to read", media(docs::HTML)).errors(&[404]),
    get("/docs/{file}", Scope::Public, Class::Docs, "What these pages are made of", media("*/*")).errors(&[404]),
    post(
        "/api/v1/data/ingest",
        "data:ingest",
        Class::Ingest,
        Body::Item,
        "Store one reading",
        json::<ingest::Ingest>(),
    )
    .members(ingest::MEMBERS)
    .keeps_key(),
    post(
        "/api/v1/data/ingest/batch",
        "data:ingest",
        Class::Ingest,
        Body::Batch,
        "Store many readings",
        json::<ingest::Batch>(),
    )
    .query(&[Param::optional("correlation_id", Kind::Uuid, "Names the request; one is made up when there is none")])
    .forms(ingest::FORMS)
    .keeps_key(),
    get("/api/v1/sensors/readings", DATA_READ, Class::Read, "List readings, newest first", list::<sensors::Reading>())
        .query(&[
            LIMIT,
            OFFSET,
            AFTER,
            Param::optional("sensor_id", Kind::Text, "Those of one sensor"),
            Param::optional("start_ts", Kind::Time, "Those measured then or later"),
            Param::optional("end_ts", Kind::Time, "Those measured then or earlier"),
        ]),
    get("/api/v1/sensors/sensors", DATA_READ, Class::Read, "List sensors by name", list::<sensors::Sensor>()).query(&[
        Param::or("limit", Kind::Int(Some(1), Some(10_000)), "10000", "Most rows of the page"),
        OFFSET,
        AFTER,
    ]),
    post(
        "/api/v1/decisions/submit",
        "tasks:update",
        Class::Write,
        Body::Item,
        "Answer a question to a person",
        json::<decisions::Submitted>().status(201),
    )
    .members(decisions::MEMBERS)
    .keeps_key(),
    get("/api/v1/decisions", DATA_READ, Class::Read, "List decisions, newest first", list::<decisions::Told>()).query(
        &[
            Param::or("limit", Kind::Int(Some(1), Some(500)), "50", "Most rows of the page"),
            OFFSET,
            AFTER,
            Param::optional("operator_id", Kind::Text, "Those of one person"),
            Param::optional("request_id", Kind::Text, "Those to one question"),
            Param::optional("correlation_id", Kind::Text, "Those that came of one request"),
            Param::optional("start_date", Kind::Day, "Those of this day, in UTC, or later"),
            Param::optional("end_date", Kind::Day, "Those of this day, in UTC, or earlier"),
        ],
    ),
    get(
        "/api/v1/decisions/pending",
        DATA_READ,
        Class::Read,
        "List questions that wait for a person",
        list::<decisions::Question>(),
    )
    .query(&[Param::or("limit", Kind::Int(Some(1), Some(500)), "100", "Most rows of the page"), OFFSET, AFTER]),
    post(
        "/api/v1/maintenance/schedule",
        "maintenance:schedule",
        Class::Write,
        Body::Item,
        "Approve maintenance and have it booked",
        json::<maintenance::Told>(),
    )
    .members(maintenance::MEMBERS)
    .errors(&[504])
    .keeps_key(),
    get(
        "/api/v1/maintenance/scheduled",
        MAINTENANCE_READ,
        Class::Read,
        "List booked maintenance, newest first",
        list::<maintenance::Item>(),
    )
    .query(&[
        Param::or("limit", Kind::Int(Some(1), Some(100)), "25", "Most rows of the page"),
        OFFSET,
        AFTER,
        Param::optional("correlation_id", Kind::Text, "That of one request"),
    ]),
    get(
        "/api/v1/maintenance/log",
        MAINTENANCE_READ,
        Class::Read,
        "The maintenance log, newest first, and its figures: MTBF, MTTR and others",
        listed::<lists::MaintenanceLog, Line>(),
    )
    .query(&[
        LIMIT,
        OFFSET,
        AFTER,
        Param::optional("asset", Kind::Text, "Lines and figures of one asset"),
        Param::optional("from", Kind::Time, "What was then or later; figures begin 90 days before `to` if absent"),
        Param::optional("to", Kind::Time, "What was before then; figures end now if absent"),
    ]),
    post(
        "/api/v1/simulate/drift-event",
        "simulate:run",
        Class::Simulate,
        Body::Item,
        "Send readings that drift",
        json::<simulate::Simulated>(),
    )
    .query(simulate::DRIFT_PARAMS)
    .members(simulate::DRIFT_PARAMS)
    .keeps_key(),
    post(
        "/api/v1/simulate/anomaly-event",
        "simulate:run",
        Class::Simulate,
        Body::Item,
        "Send readings with spikes",
        json::<simulate::Simulated>(),
    )
    .query(simulate::ANOMALY_PARAMS)
    .members(simulate::ANOMALY_PARAMS)
    .keeps_key(),
    post(
        "/api/v1/simulate/normal-data",
        "simulate:run",
        Class::Simulate,
        Body::Item,
        "Send readings of a normal day",
        json::<simulate::Simulated>(),
    )
    .query(simulate::NORMAL_PARAMS)
    .members(simulate::NORMAL_PARAMS)
    .keeps_key(),
    post(
        "/api/v1/demo/golden-path",
        "simulate:run",
        Class::Simulate,
        Body::Item,
        "Have a machine fail and be repaired",
        json::<demo::Started>(),
    )
    .query(&[
        Param::or("sensor_events", Kind::Int(Some(5), Some(200)), "15", "Readings of the fault"),
        Param::or("include_decision", Kind::Flag, "false", "Whether a person is asked"),
    ])
    .keeps_key(),
    get(
        "/api/v1/demo/golden-path/status/{correlation_id}",
        DATA_READ,
        Class::Read,
        "Tell how far a golden path is",
        json::<demo::status::Status>(),
    )
    .errors(&[404]),
    get("/api/v1/cases", DATA_READ, Class::Read, "List cases, newest first", list::<Case>()).query(&[
        LIMIT,
        OFFSET,
        AFTER,
        Param::optional("state", Kind::OneOf(&cases::STATES), "Those in one state"),
        Param::optional("asset", Kind::Text, "Those of one asset"),
        Param::optional("open", Kind::Flag, "Those that have not ended, or those that have"),
        Param::optional("acknowledged", Kind::Flag, "Those that somebody has seen, or those that nobody has"),
        Param::optional("shelved", Kind::Flag, "Those that are put aside, or those that are not"),
    ]),
    get(
        "/api/v1/cases/{id}/similar",
        DATA_READ,
        Class::Read,
        "Past cases that resemble one, and what came of them",
        json::<Vec<SimilarCase>>(),
    )
    .query(&[Param::or("limit", Kind::Int(Some(1), Some(1000)), "10", "Most rows")])
    .errors(&[404]),
    act("/api/v1/cases/{id}/acknowledge", "Say that a case was seen", json::<Case>()).members(cases::ACKNOWLEDGE),
    act("/api/v1/cases/{id}/shelve", "Put a case aside for a while", json::<Case>()).members(cases::SHELVE),
    act("/api/v1/cases/{id}/unshelve", "Take a case back from the shelf", json::<Case>()).members(cases::UNSHELVE),
    act("/api/v1/cases/{id}/feedback", "Say whether a case was real", json::<Case>()).members(cases::FEEDBACK),
    get("/api/v1/assets", DATA_READ, Class::Read, "List assets with their sensors, by name", list::<plant::Document>())
        .query(&[LIMIT, OFFSET, AFTER]),
    get("/api/v1/assets/{id}", DATA_READ, Class::Read, "One asset with its sensors", json::<plant::Document>())
        .errors(&[404]),
    act("/api/v1/assets/{id}/maintenance", "Take an asset out of service", json::<plant::Document>())
        .members(plant::MAINTENANCE),
    act("/api/v1/assets/{id}/maintenance/end", "Put an asset back in service", json::<plant::Document>())
        .members(plant::MAINTENANCE_END),
    get("/api/v1/technicians", MAINTENANCE_READ, Class::Read, "List technicians by name", list::<Technician>())
        .query(&[LIMIT, OFFSET, AFTER]),
    declaration("/api/v1/site", "Say where the plant is", json::<Site>()).members(plant::SITE),
    declaration("/api/v1/assets", "Declare an asset, or describe it anew", json::<plant::Document>())
        .members(plant::ASSET),
    declaration("/api/v1/sensors", "Declare a sensor, or describe it anew", json::<plant::Sensor>())
        .members(plant::SENSOR),
    declaration("/api/v1/technicians", "Declare a technician, or describe them anew", json::<Technician>())
        .members(plant::TECHNICIAN),
    post(
        "/api/v1/technicians/{id}/remove",
        "plant:write",
        Class::Write,
        Body::None,
        "Send a technician no more",
        json::<Technician>(),
    )
    .errors(&[404]),
    post(
        "/api/v1/plant/import",
        "plant:write",
        Class::Write,
        Body::Batch,
        "Take over a plant file (TOML): site, assets, sensors with units and limits, technicians with shifts",
        json::<PlantReport>(),
    )
    .query(&[Param::or("dry_run", Kind::Flag, "false", "Only say what would be done")])
    .forms(&[("application/toml", Kind::Text)]),
    get("/api/v1/work-orders", MAINTENANCE_READ, Class::Read, "List work orders, newest first", list::<WorkOrder>())
        .query(&[
            LIMIT,
            OFFSET,
            AFTER,
            Param::optional("state", Kind::OneOf(&work_orders::STATES), "Those in one state"),
            Param::optional("asset", Kind::Text, "Those of one asset"),
            Param::optional("technician", Kind::Text, "Those of one technician"),
            Param::optional("case", Kind::Uuid, "Those of one case"),
            Param::or("open", Kind::Flag, "false", "Only those that are not over"),
        ]),
    get(
        "/api/v1/work-orders/{id}",
        MAINTENANCE_READ,
        Class::Read,
        "One work order, its next steps and how it can be closed out",
        json::<work_orders::Document>(),
    )
    .errors(&[404]),
    step("/api/v1/work-orders/{id}/start", "Begin the work, or go on with it").members(work_orders::START),
    step("/api/v1/work-orders/{id}/hold", "Let the work rest").members(work_orders::HOLD),
    step("/api/v1/work-orders/{id}/complete", "Say what was found and done").members(work_orders::COMPLETE),
    step("/api/v1/work-orders/{id}/verify", "Say that the repair helped").members(work_orders::VERIFY),
    step("/api/v1/work-orders/{id}/cancel", "Call the work off").members(work_orders::CANCEL),
    get(
        "/api/v1/cases/{id}",
        DATA_READ,
        Class::Read,
        "One case with all that led to it and came of it",
        json::<cases::Document>(),
    )
    .errors(&[404]),
    post(
        "/api/v1/reports/generate",
        "reports:generate",
        Class::Report,
        Body::Item,
        "Make a report",
        json::<reports::Told>(),
    )
    .members(reports::MEMBERS)
    .errors(&[504])
    .keeps_key(),
    get("/api/v1/reports", DATA_READ, Class::Read, "List reports, newest first", list::<Report>())
        .query(&[LIMIT, OFFSET, AFTER]),
    get("/api/v1/reports/{id}", DATA_READ, Class::Read, "One report", json::<Report>()).errors(&[404]),
    get("/api/v1/agents", AGENTS_READ, Class::Read, "The supervision tree", json::<agents::Tree>()),
    post(
        "/api/v1/agents/{name}/pause",
        "agents:control",
        Class::Control,
        Body::None,
        "Hold an agent",
        json::<agents::Controlled>(),
    )
    .query(agents::DRY_RUN)
    .errors(&[404]),
    post(
        "/api/v1/agents/{name}/resume",
        "agents:control",
        Class::Control,
        Body::None,
        "Let an agent go on",
        json::<agents::Controlled>(),
    )
    .query(agents::DRY_RUN)
    .errors(&[404]),
    post(
        "/api/v1/agents/{name}/drain",
        "agents:control",
        Class::Control,
        Body::None,
        "Let an agent finish what waits, then hold it",
        json::<agents::Controlled>(),
    )
    .query(agents::DRY_RUN)
    .errors(&[404]),
    post(
        "/api/v1/agents/{name}/restart",
        "agents:control",
        Class::Control,
        Body::None,
        "Start an agent anew",
        json::<agents::Controlled>(),
    )
    .query(agents::DRY_RUN)
    .errors(&[404]),
    get(
        "/api/v1/agents/{name}",
        AGENTS_READ,
        Class::Read,
        "What waits for an agent, and what would if it were held",
        json::<Outlook>(),
    )
    .errors(&[404]),
    get("/api/v1/events", DATA_READ, Class::Read, "List events, in order", listed::<events::Page, Envelope>()).query(
        &[
            LIMIT,
            Param::or("after", Kind::Int(Some(0), None), "0", "Those after this place in the log"),
            Param::optional("type", Kind::Text, "Those of one type"),
            Param::optional("correlation_id", Kind::Text, "Those that came of one request"),
        ],
    ),
    get(
        "/api/v1/stream",
        DATA_READ,
        Class::Stream,
        "Events as they happen, as server-sent events",
        media(stream::EVENT_STREAM),
    )
    .query(&[
        Param::optional("topics", Kind::Text, "Types of events, separated by commas; all if absent"),
        Param::optional("correlation_id", Kind::Text, "Those that came of one request"),
        Param::optional("after", Kind::Int(Some(0), None), "Those after this place in the log; from now on if absent"),
    ]),
    get("/api/v1/notifications", DATA_READ, Class::Read, "List notifications, newest first", list::<Notification>())
        .query(&[
            LIMIT,
            OFFSET,
            AFTER,
            Param::optional("channel", Kind::Text, "Those of one channel"),
            Param::optional("state", Kind::OneOf(&["requested", "sent", "failed"]), "Those in one state"),
            Param::optional("case", Kind::Uuid, "Those about one case"),
        ]),
    get(
        "/api/v1/dead-letters",
        AGENTS_READ,
        Class::Read,
        "List events that an agent gave up, newest first",
        list::<DeadLetter>(),
    )
    .query(&[
        LIMIT,
        OFFSET,
        AFTER,
        Param::optional("agent", Kind::Text, "Those of one agent"),
        Param::optional("state", Kind::OneOf(&["open", "replayed", "discarded"]), "Those in one state"),
    ]),
    get(
        "/api/v1/dead-letters/{id}",
        AGENTS_READ,
        Class::Read,
        "One dead letter with its event and its causes",
        json::<dead_letters::Inspected>(),
    )
    .errors(&[404]),
    post(
        "/api/v1/dead-letters/{id}/replay",
        "agents:control",
        Class::Control,
        Body::None,
        "Give the event to its agent once more",
        json::<DeadLetter>(),
    )
    .errors(&[404, 412]),
    post(
        "/api/v1/dead-letters/{id}/discard",
        "agents:control",
        Class::Control,
        Body::None,
        "Decide that the event need not be handled",
        json::<DeadLetter>(),
    )
    .errors(&[404, 412]),
    post(
        "/api/v1/dead-letters/replay",
        "agents:control",
        Class::Control,
        Body::Item,
        "Replay many dead letters",
        json::<dead_letters::Settled>(),
    )
    .members(dead_letters::MEMBERS),
    post(
        "/api/v1/dead-letters/discard",
        "agents:control",
        Class::Control,
        Body::Item,
        "Discard many dead letters",
        json::<dead_letters::Settled>(),
    )
    .members(dead_letters::MEMBERS),
    get("/api/v1/ml/models", ML, Class::Read, "List models by name", json::<ml::Models>()).query(&[MODELS_LIMIT]),
    get("/api/v1/ml/models/list", ML, Class::Read, "List models by name", json::<ml::Models>()).query(&[MODELS_LIMIT]),
    get(
        "/api/v1/ml/models/recommendations",
        ML,
        Class::Read,
        "List models that suit a kind of sensor",
        json::<ml::Recommended>(),
    )
    .query(&[
        Param::required("sensor_type", Kind::Text, "The kind of sensor"),
        Param::or("include_general", Kind::Flag, "false", "Whether general models are listed too"),
    ]),
    get(
        "/api/v1/ml/models/{name}/versions",
        ML,
        Class::Read,
        "List versions of a model, newest first",
        json::<ml::Versions>(),
    )
    .errors(&[404]),
    get("/api/v1/ml/models/{name}/latest", ML, Class::Read, "Tell which version answers now", json::<ml::Latest>())
        .errors(&[404]),
    get(
        "/api/v1/ml/models/{name}/live",
        ML,
        Class::Read,
        "Tell which version answered at a moment",
        json::<ml::Live>(),
    )
    .query(&[Param::optional("at", Kind::Time, "The moment; now when absent")])
    .errors(&[404]),
    post(
        "/api/v1/ml/models/{name}/promote",
        "agents:control",
        Class::Control,
        Body::Item,
        "Have a version answer from now on",
        json::<ml::Enthroned>(),
    )
    .members(ml::PROMOTE_MEMBERS)
    .errors(&[404]),
    post(
        "/api/v1/ml/models/{name}/rollback",
        "agents:control",
        Class::Control,
        Body::Item,
        "Have the version before answer again",
        json::<ml::Enthroned>(),
    )
    .members(ml::ROLLBACK_MEMBERS)
    .errors(&[404]),
    post(
        "/api/v1/ml/models/{name}/train",
        "agents:control",
        Class::Control,
        Body::Item,
        "Train a version from simulated rows",
        json::<ml::Trained>(),
    )
    .members(ml::TRAIN_MEMBERS)
    .errors(&[404]),
    get("/api/v1/ml/health", ML, Class::Read, "Tell whether a model can be loaded", json::<ml::Health>()),
    post(
        "/api/v1/ml/predict",
        "ml:predict",
        Class::Predict,
        Body::Item,
        "Ask a model about one row",
        json::<ml::Prediction>(),
    )
    .members(ml::PREDICT_MEMBERS)
    .errors(&[404]),
    post(
        "/api/v1/ml/predict/batch",
        "ml:predict",
        Class::Predict,
        Body::Batch,
        "Ask a model about a row of features per line",
        media("application/x-ndjson"),
    )
    .query(&[
        Param::required("model_name", Kind::Text, "The model"),
        Param::or("model_version", Kind::Text, "\"auto\"", "Its version"),
        Param::or("explain", Kind::Flag, "false", "Whether to tell what each feature added"),
    ])
    .forms(&[("application/x-ndjson", Kind::Text)])
    .errors(&[404]),
    get(
        "/api/v1/ml/predictions/{id}",
        ML,
        Class::Read,
        "Tell what was said in answer to a request",
        json::<ml::Kept>(),
    )
    .errors(&[404]),
    post(
        "/api/v1/ml/explanations",
        "ml:predict",
        Class::Predict,
        Body::Batch,
        "Have many rows explained in the background",
        json::<ml::Begun>().status(202),
    )
    .members(ml::EXPLAIN_MEMBERS)
    .errors(&[404]),
    get("/api/v1/ml/explanations/{id}", ML, Class::Read, "Tell how far an explanation is", json::<ml::Progress>())
        .errors(&[404]),
    post(
        "/api/v1/ml/forecast",
        "ml:predict",
        Class::Predict,
        Body::Item,
        "Foretell a sensor's values",
        json::<ml::Forecast>(),
    )
    .members(ml::FORECAST_MEMBERS)
    .errors(&[400, 404]),
    post(
        "/api/v1/ml/detect_anomaly",
        "ml:anomaly",
        Class::Anomaly,
        Body::Batch,
        "Judge readings by a model",
        json::<ml::Anomalies>(),
    )
    .members(ml::DETECT_MEMBERS)
    .errors(&[404]),
    post(
        "/api/v1/ml/check_drift",
        "ml:drift",
        Class::Drift,
        Body::Item,
        "Compare a sensor's newest readings with those before",
        json::<ml::Drift>(),
    )
    .members(ml::CHECK_MEMBERS),
    get("/api/v1/keys", Scope::Needs("keys:admin"), Class::Read, "List API keys, newest first", list::<keys::Shown>())
        .query(&[LIMIT, OFFSET, AFTER]),
    post(
        "/api/v1/keys",
        "keys:admin",
        Class::Control,
        Body::Item,
        "Make an API key, which is shown this once",
        json::<keys::Made>(),
    )
    .members(keys::MEMBERS),
    post(
        "/api/v1/keys/{id}/rotate",
        "keys:admin",
        Class::Control,
        Body::Item,
        "Make a key that takes the place of another, which goes on working for a while",
        json::<keys::Made>(),
    )
    .members(keys::ROTATION)
    .errors(&[404]),
    post(
        "/api/v1/keys/{id}/revoke",
        "keys:admin",
        Class::Control,
        Body::None,
        "Take a key back, at once",
        json::<keys::Shown>(),
    )
    .errors(&[404]),
    Route {
        scope: Scope::AnyKey,
        ..post(
            "/api/v1/sessions",
            "",
            Class::Control,
            Body::None,
            "Open a browser session with the key of the request",
            json::<sessions::Session>(),
        )
    },
    get(
        "/api/v1/sessions/current",
        Scope::AnyKey,
        Class::Read,
        "The session of the request, with a fresh token against forged requests",
        json::<sessions::Session>(),
    )
    .errors(&[404]),
    Route {
        scope: Scope::AnyKey,
        ..post(
            "/api/v1/sessions/close",
            "",
            Class::Control,
            Body::None,
            "End the session of the request",
            json::<sessions::Closed>(),
        )
    },
    Route {
        scope: Scope::AnyKey,
        ..post(
            "/api/v1/sessions/links",
            "",
            Class::Control,
            Body::None,
            "Make a link that opens one session with the key of the request",
            json::<sessions::Link>(),
        )
    },
    get(
        "/api/v1/sessions/open",
        Scope::Public,
        Class::Control,
        "Open the session that a link stands for, and go to the first page",
        json::<sessions::Opened>().status(303),
    )
    .query(sessions::TOKEN)
    .errors(&[403]),
    get(
        "/api/v1/audit/verify",
        Scope::Needs("audit:read"),
        Class::Report,
        "Tell whether what was recorded of keys and decisions is still as it was",
        json::<audit::Verified>(),
    ),
];

/// What a person does with a thing that there is.
const fn act(pattern: &'static str, summary: &'static str, answer: Answer) -> Route {
    post(pattern, "tasks:update", Class::Write, Body::Item, summary, answer).errors(&[404, 412])
}

const fn declaration(pattern: &'static str, summary: &'static str, answer: Answer) -> Route {
    post(pattern, "plant:write", Class::Write, Body::Item, summary, answer)
}

const fn step(pattern: &'static str, summary: &'static str) -> Route {
    act(pattern, summary, json::<work_orders::Document>())
}

/// The entry of that method and pattern.
///
/// # Panics
///
/// There is none. Handlers look theirs up in a constant, so that the program does not compile then.
pub(super) const fn entry(method: &str, pattern: &str) -> &'static Route {
    let mut idx = 0;
    while idx < ROUTES.len() {
        if equal(ROUTES[idx].method, method) && equal(ROUTES[idx].pattern, pattern) {
            return &ROUTES[idx];
        }
        idx += 1;
    }
    panic!("a handler without an entry in ROUTES")
}

const fn equal(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut idx = 0;
    while idx < left.len() {
        if left[idx] != right[idx] {
            return false;
        }
        idx += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::generate::SchemaSettings;

    /// What resembles one thing most, and not a list of all there is.
    const NEAREST: &str = "/api/v1/cases/{id}/similar";

    #[test]
    fn every_list_goes_on_by_cursor_and_comes_as_csv() {
        let mut schemas = SchemaSettings::draft2020_12().for_serialize().into_generator();
        for route in ROUTES.iter().filter(|route| route.method == "GET" && route.pattern != NEAREST) {
            let is_array = route.answer.schema.is_some_and(|schema| schema(&mut schemas).to_value()["type"] == "array");
            let goes_on = route.query.iter().any(|param| param.name == "after");
            assert_eq!(
                route.answer.rows.is_some(),
                is_array || goes_on && route.answer.schema.is_some(),
                "{}",
                route.pattern
            );
            assert!(!is_array || goes_on, "{}", route.pattern);
        }
    }
}
