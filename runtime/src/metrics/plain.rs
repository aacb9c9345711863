//! OpenMetrics text made into Prometheus' own text format.

use std::fmt::Write as _;

/// The same metrics in the older format: there a counter's name ends in `_total` in its description as well, and
/// units and the end are not marked.
pub(super) fn of_open_metrics(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                writeln!(plain, "# HELP {name}{suffix} {text}").expect("writing to a string does not fail");
            }
            writeln!(plain, "# TYPE {name}{suffix} {kind}").expect("writing to a string does not fail");
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_under_the_name_of_their_samples() {
        let open = "# HELP a Of a.\n# TYPE a counter\na_total{x=\"1\"} 2\n# HELP b_bytes Of b.\n# TYPE b_bytes gauge\n\
                    # UNIT b_bytes bytes\nb_bytes 3\n# EOF\n";
        assert_eq!(
            of_open_metrics(open),
            "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n# HELP b_bytes Of b.\n\
             # TYPE b_bytes gauge\nb_bytes 3\n"
        );
    }
}
