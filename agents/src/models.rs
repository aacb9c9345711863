//! Models that clients ask by name: what there is to train, how it is trained, and how a stored version answers.
//!
//! A version is an [`Artefact`], numbers and names only, kept under the digest of its bytes, with a [`Card`] that tells
//! what it learnt from and how well it does on machines it had never seen. The version that answers is the one that
//! was measured: it is not fitted again on everything.

pub mod artefact;
pub mod catalogue;
pub mod fit;
pub mod mlflow;
pub mod outlook;
pub mod serving;
pub mod table;

pub use artefact::{Answer, Artefact, FeatureError};
pub use catalogue::{CATALOGUE, Recipe, Source};
pub use fit::{Card, fit};
pub use mlflow::{Mlflow, Remote};
pub use serving::{Origin, Resolved, Serving, Trained, Version};
pub use table::Table;
