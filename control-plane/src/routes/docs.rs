//! `/openapi.json`, `/docs`, `/redoc`: what the API is, for programs and for people. Nothing comes from the internet.

use super::{Mounted, Route, entry, mount};
use crate::api_error::ApiError;
use crate::app::App;
use crate::openapi;
use crate::reply::Reply;
use crate::request::Call;
use bytes::Bytes;
use serde::Deserialize;
use std::sync::{Arc, LazyLock};

pub(crate) const HTML: &str = "text/html; charset=utf-8";

const DOCUMENT: &Route = entry("GET", "/openapi.json");
const TRY_OUT: &Route = entry("GET", "/docs");
const READ: &Route = entry("GET", "/redoc");
const FILE: &Route = entry("GET", "/docs/{file}");

/// Everything a page loads is our own; the interface sets styles on its elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// `[docs]`: what is told about the API.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Whether anything is.
    pub(crate) enabled: bool,
}

/// The document as it is sent. The table does not change while the program runs.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| openapi::document().to_string().into());

pub(crate) fn routes(app: &App) -> Mounted {
    let try_out = |app: App, _: Call| page(app, "try-out.js");
    let read = |app: App, _: Call| page(app, "read.js");
    Mounted::all([
        mount(app, DOCUMENT, document),
        mount(app, TRY_OUT, try_out),
        mount(app, READ, read),
        mount(app, FILE, file),
    ])
}

fn enabled(app: &App) -> Result<(), ApiError> {
    if app.docs.enabled { Ok(()) } else { Err(ApiError::NotFound("Not Found: docs.enabled is false".to_owned())) }
}

async fn document(app: App, _: Call) -> Result<Reply, ApiError> {
    enabled(&app)?;
    Ok(Reply::new("application/json", TEXT.clone()))
}

async fn page(app: App, script: &'static str) -> Result<Reply, ApiError> {
    enabled(&app)?;
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Smart Maintenance: the HTTP API</title>\n\
         <link rel=\"icon\" type=\"image/png\" href=\"/docs/favicon-32x32.png\">\n\
         <link rel=\"stylesheet\" href=\"/docs/swagger-ui.css\">\n</head>\n<body>\n<div id=\"routes\"></div>\n\
         <script src=\"/docs/swagger-ui-bundle.js\"></script>\n<script src=\"/docs/{script}\"></script>\n\
         </body>\n</html>\n"
    );
    Ok(Reply::new(HTML, page.into()).header("content-security-policy", POLICY))
}

async fn file(app: App, call: Call) -> Result<Reply, ApiError> {
    enabled(&app)?;
    let name = call.param(0);
    if let Some(script) = script(name) {
        return Ok(Reply::new("text/javascript; charset=utf-8", script.into()));
    }
    let unknown = || ApiError::NotFound(format!("There is no file {name}"));
    let interface = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    let file = utoipa_swagger_ui::serve(name, interface).map_err(ApiError::internal)?.ok_or_else(unknown)?;
    let body = Bytes::from(file.bytes.into_owned());
    Reply::new("application/octet-stream", body).content_type(&file.content_type)
}

/// Starts the interface: to try routes out, or only to read about them.
fn script(name: &str) -> Option<String> {
    let methods = match name {
        "try-out.js" => r#"["get", "post", "put", "patch", "delete"]"#,
        "read.js" => "[]",
        _ => return None,
    };
    Some(format!(
        "SwaggerUIBundle({{ url: \"/openapi.json\", dom_id: \"#routes\", deepLinking: true, filter: true, \
         supportedSubmitMethods: {methods}, presets: [SwaggerUIBundle.presets.apis] }});\n"
    ))
}
