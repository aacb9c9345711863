//! Rows as CSV, safe to open in a spreadsheet.

use super::super::Route;
use crate::api_error::ApiError;
use crate::openapi;
use bytes::Bytes;
use csv::{Terminator, WriterBuilder};
use serde::Serialize;
use serde_json::{Map, Value};

/// Characters with which a spreadsheet takes a cell for a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The columns of the list that `route` answers with: the members of its rows, by name.
pub(super) fn columns(route: &Route) -> Vec<String> {
    let mut columns = openapi::row_members(route);
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// `rows` as lines, after a line of `columns` if they are the first.
pub(super) fn text<T: Serialize>(columns: &[String], rows: &[T], first: bool) -> Result<Bytes, ApiError> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    if first {
        writer.write_record(columns).map_err(ApiError::internal)?;
    }
    for row in rows {
        let members = match serde_json::to_value(row).map_err(ApiError::internal)? {
            Value::Object(members) => members,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        let cells = columns.iter().map(|column| members.get(column).map_or_else(String::new, cell));
        writer.write_record(cells).map_err(ApiError::internal)?;
    }
    Ok(writer.into_inner().map_err(ApiError::internal)?.into())
}

/// A value as it stands in a cell: lists and objects as JSON, and text that looks like a formula behind a quote.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(FORMULA_STARTS) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_never_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(cell(&json!(text)), format!("'{text}"));
        }
        assert_eq!(cell(&json!(-1.5)), "-1.5");
        assert_eq!(cell(&json!("pump-1")), "pump-1");
        assert_eq!(cell(&json!(["=1"])), r#"["=1"]"#);
    }

    #[test]
    fn rows_stand_under_their_columns_and_are_quoted() {
        let columns = ["a", "b", "c"].map(str::to_owned);
        let rows = [json!({ "b": "x,\"y\"\n", "a": 1 }), json!({ "c": null, "a": true })];
        let text = text(&columns, &rows, true).unwrap();
        assert_eq!(text, "a,b,c\r\n1,\"x,\"\"y\"\"\n\",\r\ntrue,,\r\n");
    }
}
