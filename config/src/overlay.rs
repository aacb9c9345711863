//! What may be laid over the defaults, and how. The defaults say which settings there are and of which type.

use crate::ConfigError;
use toml::{Table, Value};

/// Lays `over` over `base`: tables key by key, anything else as a whole.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Table(base), Value::Table(over)) => {
            for (name, value) in over {
                match base.get_mut(&name) {
                    Some(below) => merge(below, value),
                    None => {
                        base.insert(name, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// The tree that holds `value` at the dotted `path` and nothing else.
pub(crate) fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, name| Value::Table(Table::from_iter([(name.to_owned(), inner)])))
}

/// The value at the dotted `path` of `tree`.
pub(crate) fn at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, name| node.get(name))
}

/// `text` as a value for a setting whose default is `default`.
pub(crate) fn parsed(text: &str, default: Option<&Value>) -> Value {
    match (text.trim().parse::<Value>(), default) {
        (Ok(value @ Value::String(_)), Some(Value::String(_))) => value,
        // A path like 2024 or a URL needs no quotes to remain what it is.
        (_, Some(Value::String(_))) | (Err(_), _) => Value::String(text.to_owned()),
        (Ok(value), _) => value,
    }
}

/// `value` if it can stand where `default` stands, with integers made floats where floats stand.
///
/// Each item of an array has to fit the default's first. `key` is the full name of `default`, empty at the
/// root, and `origin` says where `value` was set.
///
/// # Errors
///
/// A name that `default` lacks, or a value of another type than the one there.
pub(crate) fn fitted(default: &Value, value: Value, key: &str, origin: &str) -> Result<Value, ConfigError> {
    match (default, value) {
        (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
        (Value::Array(defaults), Value::Array(items)) => {
            let Some(default) = defaults.first() else { return Ok(Value::Array(items)) };
            let fit = |(item_idx, item)| fitted(default, item, &format!("{key}[{item_idx}]"), origin);
            Ok(Value::Array(items.into_iter().enumerate().map(fit).collect::<Result<_, _>>()?))
        }
        (Value::Table(defaults), Value::Table(values)) => {
            let fit = |(name, value): (String, Value)| {
                let child = joined(key, &name);
                let default = defaults.get(&name).ok_or_else(|| unknown(child.clone(), defaults, origin))?;
                Ok((name, fitted(default, value, &child, origin)?))
            };
            Ok(Value::Table(values.into_iter().map(fit).collect::<Result<_, _>>()?))
        }
        (default, value) if default.same_type(&value) => Ok(value),
        (default, value) => {
            let found = if value.is_table() { String::new() } else { format!(" {value}") };
            Err(ConfigError::Refused {
                key: key.to_owned(),
                reason: format!("expected {}, found {}{found}", default.type_str(), value.type_str()),
                origin: origin.to_owned(),
            })
        }
    }
}

fn unknown(key: String, siblings: &Table, origin: &str) -> ConfigError {
    let known: Vec<&str> = siblings.keys().map(String::as_str).collect();
    let reason = match &known[..] {
        [] => "unknown setting".to_owned(),
        known => format!("unknown setting, known there: {}", known.join(", ")),
    };
    ConfigError::Refused { key, reason, origin: origin.to_owned() }
}

fn joined(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}
