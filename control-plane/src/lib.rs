//! The control plane: the HTTP API of a node, who may use it, and the node itself.
//!
//! A route is an entry of [`routes::ROUTES`] and a handler that knows no warp. It keeps no state of its own
//! beyond what bounds requests (credits, a cache of keys); what it answers stands in the store.
#![warn(missing_docs)]

pub mod access;
mod api_error;
mod app;
mod connection;
mod crew;
mod follow;
pub mod fuzz;
mod instants;
pub mod node;
mod openapi;
pub mod plant;
mod rate;
mod reply;
mod request;
pub mod routes;
pub mod server;
mod tls;
mod trace_context;
pub mod training;

pub use node::Node;
