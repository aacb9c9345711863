//! One declaration that comes as JSON, written as a plant file has it: one check serves both.

use serde_json::{Map, Value};

/// A plant file of one entry of that `kind`, a member a line. `kind` is `asset`, `sensor`, `technician` or `site`.
pub fn entry(kind: &str, members: &Map<String, Value>) -> String {
    let head = if kind == "site" { "[site]".to_owned() } else { format!("[[{kind}]]") };
    let lines = members.iter().filter_map(|(name, value)| Some(format!("{name} = {}", literal(value)?)));
    std::iter::once(head).chain(lines).collect::<Vec<String>>().join("\n")
}

/// The member that stands in that line, from 1, of an [`entry`]; `id` for its head.
pub fn member(entry: &str, line: usize) -> &str {
    let line = entry.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line.split_once(" = ").map_or("id", |(name, _)| name)
}

/// `value` in TOML, which has no null.
fn literal(value: &Value) -> Option<String> {
    let joined = |parts: Vec<String>| parts.join(", ");
    Some(match value {
        Value::Null => return None,
        Value::Array(items) => format!("[{}]", joined(items.iter().filter_map(literal).collect())),
        Value::Object(members) => {
            let pair = |(name, value): (&String, &Value)| Some(format!("{name} = {}", literal(value)?));
            format!("{{ {} }}", joined(members.iter().filter_map(pair).collect()))
        }
        // TOML forbids one character unescaped that JSON allows.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::{Known, checked};
    use serde_json::json;

    #[test]
    fn an_entry_is_checked_like_a_file_and_a_problem_leads_to_its_member() {
        let technician = json!({
            "id": "ana \"the\u{7f} [crew]\"\n", "skills": ["mechanical"], "name": null, "experience_years": 4.5,
            "shifts": [
                { "weekdays": [1, 2], "from": "06:00", "to": "14:00" },
                { "weekdays": [2], "from": "13:00", "to": "21:00" },
            ],
        });
        let text = entry("technician", technician.as_object().expect("an object"));
        let plan = checked(&text, &Known::default());
        let found: Vec<(&str, &str)> =
            plan.problems.iter().map(|problem| (member(&text, problem.line), problem.detail.as_str())).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|(name, detail)| *name == "shifts" && detail.contains("overlaps")), "{found:?}");
        assert!(
            found.iter().any(|(name, detail)| *name == "id" && detail.contains("no blanks around it")),
            "{found:?}"
        );
    }
}
