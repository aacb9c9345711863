//! Requests that are carried out once however often they are sent: by their `Idempotency-Key`.
//!
//! What a handler commits together with its key is safe against a crash at any moment. For the others the answer is
//! kept right after they were carried out.

use super::Call;
use crate::api_error::ApiError;
use crate::app::App;
use crate::reply::{Kept, Reply};
use dashmap::DashSet;
use persistence::admin::Change;
use persistence::unit::Idempotency;
use persistence::unit::Refused;
use runtime::intake::Key;
use sha2::{Digest as _, Sha256};
use std::future::Future;
use std::sync::Arc;

/// The keys of requests under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<DashSet<(String, String)>>);

/// A request under way. Over when dropped.
struct Turn {
    under_way: UnderWay,
    key: (String, String),
}

impl UnderWay {
    fn begin(&self, key: &Key) -> Option<Turn> {
        let key = (key.scope.clone(), key.key.clone());
        self.0.insert(key.clone()).then(|| Turn { under_way: self.clone(), key })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.under_way.0.remove(&self.key);
    }
}

/// Has `call` handled, or answered as the first time.
pub(crate) async fn once<F>(app: &App, call: Call, handle: impl FnOnce(App, Call) -> F) -> Result<Reply, ApiError>
where
    F: Future<Output = Result<Reply, ApiError>>,
{
    let key = if call.route.method == "GET" { None } else { call.promise()? };
    let Some(key) = key else { return handle(app.clone(), call).await };
    let _turn = app.under_way.begin(&key).ok_or(ApiError::UnderWay)?;
    if call.route.keeps_key {
        return handle(app.clone(), call).await;
    }
    if let Some((body_sha256, answer)) = app.store.earlier_answer(&key.scope, &key.key, app.now()).await? {
        if body_sha256 != key.body_sha256 {
            return Err(Refused::KeyReused.into());
        }
        return serde_json::from_str::<Kept>(&answer).map_err(ApiError::internal)?.try_into();
    }
    let reply = handle(app.clone(), call).await?;
    if let Some(kept) = reply.kept() {
        let Key { scope, key, body_sha256 } = key;
        let response = serde_json::to_string(&kept).map_err(ApiError::internal)?;
        let answer = Idempotency { scope, key, body_sha256, response, at: app.now() };
        // It was carried out; an error now would only make its sender send it again.
        if let Err(error) = app.store.admin(Change::KeepAnswer(answer)).await {
            tracing::warn!(%error, "an answer could not be kept for a repeat");
        }
    }
    Ok(reply)
}

/// The digest of what is asked: where, and with which query and body.
pub(super) fn digest(call: &Call) -> [u8; 32] {
    let mut digest = Sha256::new();
    for param in &call.params {
        digest.update(param.as_bytes());
        digest.update([0]);
    }
    for (name, value) in &call.query {
        digest.update(name.as_bytes());
        digest.update([0]);
        digest.update(value.as_bytes());
        digest.update([0]);
    }
    digest.update(&call.body);
    digest.finalize().into()
}
