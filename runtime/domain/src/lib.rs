//! The vocabulary of Smart Maintenance: what a reading, an anomaly, a case, a work order and an
//! event are. It keeps no state, does no I/O, reads no clock and knows nothing asynchronous.
//!
//! The chain follows ISO 13374 (data acquisition, state detection, health assessment, prognostics,
//! advisory generation); alarms follow ISA-18.2.
#![warn(missing_docs)]

pub mod access;
pub mod anomaly;
pub mod asset;
pub mod case;
pub mod close_out;
pub mod decision;
pub mod drift;
pub mod event;
pub mod ids;
pub mod mode;
pub mod model;
pub mod notification;
pub mod prediction;
pub mod reading;
pub mod report;
pub mod unit;
pub mod work_order;

pub use event::{Envelope, Event};
pub use ids::{
    AssetId, CaseId, CorrelationId, DecisionRequestId, EventId, ModelId, NotificationId, ReadingNo, ReportId, SensorId,
    Seq, TechnicianId, TraceParent, WorkOrderId,
};
pub use jiff::Timestamp;
