//! The crew with which a new plant begins.

use crate::api_error::ApiError;
use crate::app::App;
use domain::Event;
use domain::asset::Technician;

/// Who declares what nobody has declared yet.
const DEFAULTS: &str = "defaults";

/// Declares `examples` on a plant on which nobody was ever declared, so that the log tells who could be sent.
///
/// # Errors
///
/// The store cannot be used now.
pub(crate) async fn declare(app: &App, examples: Vec<Technician>) -> Result<(), ApiError> {
    if examples.is_empty() || !app.store.log().last_of("technician_declared", 1).await?.is_empty() {
        return Ok(());
    }
    let correlation = crate::request::fresh_correlation();
    let declared = |technician| Event::TechnicianDeclared { technician, by: DEFAULTS.to_owned() };
    let events = examples.into_iter().map(|technician| app.event(&correlation, declared(technician))).collect();
    app.append(events, None).await?;
    tracing::info!("the example crew was declared; name your own technicians before you act on a work order");
    Ok(())
}
