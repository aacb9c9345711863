//! The table of routes. It says of each who may use it and what it takes, and nothing of how it is answered.

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Public,
    /// Everybody with a valid key.
    AnyKey,
    /// Whoever has a key with this scope.
    Needs(&'static str),
    /// Whoever has a key with this scope, and those whom `[metrics]` lets in without one.
    Metrics(&'static str),
}

/// The body that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None; one that is sent is not read.
    None,
    /// One item, up to `limits.body_bytes_max`.
    Item,
    /// Many items, up to `limits.batch_body_bytes_max`.
    Batch,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; a segment in braces stands for any one segment.
    pub pattern: &'static str,
    /// Who may use it.
    pub scope: Scope,
    /// The body it takes.
    pub body: Body,
    /// What it does, in a line.
    pub summary: &'static str,
}

const fn get(pattern: &'static str, scope: Scope, summary: &'static str) -> Route {
    Route { method: "GET", pattern, scope, body: Body::None, summary }
}

const fn post(pattern: &'static str, scope: &'static str, body: Body, summary: &'static str) -> Route {
    Route { method: "POST", pattern, scope: Scope::Needs(scope), body, summary }
}

const DATA_READ: Scope = Scope::Needs("data:read");

/// Every route there is.
pub const ROUTES: &[Route] = &[
    get("/", Scope::Public, "Say hello"),
    get("/health", Scope::Public, "Tell whether database and Redis answer"),
    get("/health/db", Scope::AnyKey, "Tell whether the database answers"),
    get("/health/redis", Scope::AnyKey, "Tell how Redis is"),
    get("/health/detailed", Scope::AnyKey, "Tell how database, Redis and each agent are"),
    get("/livez", Scope::Public, "Tell that the process lives"),
    get("/readyz", Scope::Public, "Tell whether requests can be served"),
    get("/metrics", Scope::Metrics("metrics:read"), "Metrics as Prometheus reads them"),
    post("/api/v1/data/ingest", "data:ingest", Body::Item, "Store one reading"),
    post("/api/v1/data/ingest/batch", "data:ingest", Body::Batch, "Store many readings"),
    get("/api/v1/sensors/readings", DATA_READ, "List readings, newest first"),
    get("/api/v1/sensors/sensors", DATA_READ, "List sensors"),
    post("/api/v1/decisions/submit", "tasks:update", Body::Item, "Answer a question to a person"),
    get("/api/v1/decisions", DATA_READ, "List decisions, newest first"),
    get("/api/v1/decisions/pending", DATA_READ, "List questions that wait for a person"),
    post("/api/v1/maintenance/schedule", "maintenance:schedule", Body::Item, "Approve maintenance and have it booked"),
    get("/api/v1/maintenance/scheduled", Scope::Needs("maintenance:read"), "List booked maintenance, newest first"),
    get("/api/v1/maintenance/log", Scope::Needs("maintenance:read"), "List the maintenance log, newest first"),
    post("/api/v1/simulate/drift-event", "simulate:run", Body::Item, "Send readings that drift"),
    post("/api/v1/simulate/anomaly-event", "simulate:run", Body::Item, "Send readings with spikes"),
    post("/api/v1/simulate/normal-data", "simulate:run", Body::Item, "Send readings of a normal day"),
    post("/api/v1/demo/golden-path", "simulate:run", Body::Item, "Have a machine fail and be repaired"),
    get("/api/v1/demo/golden-path/status/{correlation_id}", DATA_READ, "Tell how far a golden path is"),
    get("/api/v1/cases", DATA_READ, "List cases, newest first"),
    get("/api/v1/cases/{id}", DATA_READ, "One case with all that led to it and came of it"),
    post("/api/v1/reports/generate", "reports:generate", Body::Item, "Make a report"),
    get("/api/v1/agents", Scope::Needs("agents:read"), "The supervision tree"),
    post("/api/v1/agents/{name}/pause", "agents:control", Body::None, "Hold an agent"),
    post("/api/v1/agents/{name}/resume", "agents:control", Body::None, "Let an agent go on"),
    post("/api/v1/agents/{name}/restart", "agents:control", Body::None, "Start an agent anew"),
    get("/api/v1/events", DATA_READ, "List events, in order"),
    get("/api/v1/notifications", DATA_READ, "List notifications, newest first"),
    get("/api/v1/dead-letters", Scope::Needs("agents:read"), "List events that an agent gave up, newest first"),
];

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
