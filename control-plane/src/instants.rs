//! The three forms in which the old contract writes an instant. Fractions are six digits, or left out at zero.

use domain::Timestamp;

/// `2025-10-02T12:00:00.123000Z`.
pub(crate) fn zulu(at: Timestamp) -> String {
    format!("{}Z", naive(at))
}

/// `2025-10-02T12:00:00.123000+00:00`.
pub(crate) fn offset(at: Timestamp) -> String {
    format!("{}+00:00", naive(at))
}

/// `2025-10-02T12:00:00.123000`, which means UTC.
pub(crate) fn naive(at: Timestamp) -> String {
    let form = if at.as_microsecond() % 1_000_000 == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
    at.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_six_digits_or_nothing() {
        let at: Timestamp = "2025-10-02T12:00:00.123Z".parse().expect("an instant");
        assert_eq!(zulu(at), "2025-10-02T12:00:00.123000Z");
        assert_eq!(offset(at), "2025-10-02T12:00:00.123000+00:00");
        let whole: Timestamp = "2025-10-02T12:00:00Z".parse().expect("an instant");
        assert_eq!(naive(whole), "2025-10-02T12:00:00");
    }
}
