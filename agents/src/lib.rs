//! The twelve agents, a file each, and the tree in which they run.
//!
//! An agent is a function from its state, an event and a time to events: it hears the log and speaks to
//! it, and knows no other agent. One of them, [`data_acquisition`], is called by the edge instead. Three
//! workers carry out what has effects outside the database: [`webhook_delivery`], [`email_delivery`] and
//! [`trainer`].
//!
//! ```text
//! data_acquisition → anomaly_detection → validation → prediction → human_decision → scheduling → maintenance_log
//!                    drift → retraining → trainer      learning     reporting       notification → webhook_delivery,
//!                                                                                            email_delivery
//! ```
//!
//! **Invariant**: this crate holds decisions. Delivery, retries and restarts are `runtime`'s, tables and
//! transactions `persistence`'s, formulas `analytics`', and HTTP the control plane's.
#![warn(missing_docs)]

pub mod anomaly_detection;
pub mod data_acquisition;
mod delivery;
pub mod drift;
pub mod email_delivery;
pub mod human_decision;
pub mod learning;
pub mod maintenance_log;
pub mod models;
pub mod notification;
mod outbound;
pub mod prediction;
pub mod reporting;
pub mod retraining;
pub mod scheduling;
#[cfg(test)]
mod stored;
pub mod trainer;
pub mod validation;
pub mod webhook_delivery;

use anomaly_detection::AnomalyDetection;
use config::Config;
use data_acquisition::DataAcquisition;
use drift::Drift;
use email_delivery::{EmailDelivery, Mailer};
use human_decision::HumanDecision;
use learning::Learning;
use maintenance_log::MaintenanceLog;
use notification::{Notification, Outlets};
use persistence::Store;
use prediction::Prediction;
use reporting::Reporting;
use retraining::Retraining;
use runtime::intake::Intake;
use runtime::{Clock, Tree, called, child};
use scheduling::{Scheduling, site_time_zone};
use trainer::Trainer;
use validation::Validation;
use webhook_delivery::{Receiver, WebhookDelivery};

/// What the workers prove themselves with to systems outside.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Signs what is posted to `webhook.url`.
    pub webhook: Option<String>,
    /// The password of `smtp.username`.
    pub smtp: Option<String>,
}

/// The agents' part of the supervision tree, and the way in for readings. Those that come first start
/// first; all are `one_for_one`, and what each may touch is what it is given here.
///
/// # Errors
///
/// Settings that cannot be read or make no sense, by the section that they stand in.
pub fn tree(config: &Config, store: &Store, clock: &Clock, secrets: &Secrets) -> anyhow::Result<(Tree, Intake)> {
    let time_zone = site_time_zone(config)?;
    let receiver = Receiver::of(config, secrets.webhook.as_deref(), clock)?;
    let mailer = Mailer::of(config, secrets.smtp.as_deref(), clock)?;
    let outlets = Outlets { webhook: receiver.is_some(), email: mailer.is_some(), time_zone: time_zone.clone() };
    let (acquisition, intake) = called::<DataAcquisition>(config, (store.clone(), config.section("limits")?))?;
    let tree = Tree::new().agents([
        acquisition,
        child::<AnomalyDetection>(config, ())?,
        child::<Validation>(config, store.history())?,
        child::<Prediction>(config, store.history())?,
        child::<HumanDecision>(config, ())?,
        child::<Scheduling>(config, time_zone.clone())?,
        child::<Notification>(config, (outlets, store.history()))?,
        child::<MaintenanceLog>(config, ())?,
        child::<Learning>(config, ())?,
        child::<Drift>(config, ())?,
        child::<Retraining>(config, ())?,
        child::<Reporting>(config, (store.history(), time_zone))?,
        // Workers: they carry out what others intend.
        child::<WebhookDelivery>(config, receiver)?,
        child::<EmailDelivery>(config, mailer)?,
        child::<Trainer>(config, store.history())?,
    ]);
    Ok((tree, intake))
}
