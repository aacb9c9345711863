//! Ids, names and structures as they stand in text columns.

use crate::StoreError;
use sea_orm::DbErr;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use std::fmt;
use std::str::FromStr;

/// An id of uuid kind, from its hyphenated text.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when `text` is no such id.
pub(crate) fn id<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("id {text:?}: {error}")))
}

/// Like [`id`], for a column that may be empty.
///
/// # Errors
///
/// As [`id`].
pub(crate) fn id_or_none<T: FromStr<Err: fmt::Display>>(text: Option<&str>) -> Result<Option<T>, StoreError> {
    text.map(id).transpose()
}

/// An enum from the name that it has in JSON.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when nothing is called so.
pub(crate) fn named<T: DeserializeOwned>(name: &str) -> Result<T, StoreError> {
    let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// A structure from its JSON.
///
/// # Errors
///
/// [`StoreError::Corrupt`] when `text` is something else.
pub(crate) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// The JSON of a structure.
///
/// # Errors
///
/// [`DbErr::Json`] when `value` has no JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, DbErr> {
    serde_json::to_string(value).map_err(|error| DbErr::Json(error.to_string()))
}
