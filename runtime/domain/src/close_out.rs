//! What a repair found, in codes that can be counted: how the asset failed, why, and what was done.
//!
//! Twelve choices at most for each, so that nobody takes "other" for want of patience; "no fault found" is an
//! answer like any other.
//!
//! # Source
//!
//! The three questions are those of ISO 14224:2016, annex B (failure mode, failure mechanism and cause, maintenance
//! activity); the choices are a short selection of our own.

use crate::case::FailureMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum $name {
            $($variant),+
        }

        impl $name {
            /// Every choice, in the order in which it is offered.
            pub const ALL: [Self; { [$($text),+].len() }] = [$(Self::$variant),+];

            /// The name as it stands in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }

            /// The choice of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|choice| choice.as_str() == name)
            }
        }
    };
}

codes! {
    /// How the asset failed.
    Mode {
        BearingDamage = "bearing_damage",
        Imbalance = "imbalance",
        Misalignment = "misalignment",
        Looseness = "looseness",
        Leakage = "leakage",
        Blockage = "blockage",
        Overheating = "overheating",
        ElectricalFault = "electrical_fault",
        Wear = "wear",
        SensorFault = "sensor_fault",
        Other = "other",
        NoFaultFound = "no_fault_found",
    }
}

codes! {
    /// Why it failed.
    Cause {
        Ageing = "ageing",
        Lubrication = "lubrication",
        Contamination = "contamination",
        Corrosion = "corrosion",
        Overload = "overload",
        Operation = "operation",
        Installation = "installation",
        Design = "design",
        PowerSupply = "power_supply",
        Environment = "environment",
        Unknown = "unknown",
        None = "none",
    }
}

codes! {
    /// What was done.
    Action {
        Replaced = "replaced",
        Repaired = "repaired",
        Adjusted = "adjusted",
        Aligned = "aligned",
        Balanced = "balanced",
        Tightened = "tightened",
        Lubricated = "lubricated",
        Cleaned = "cleaned",
        Calibrated = "calibrated",
        Reset = "reset",
        Inspected = "inspected",
        None = "none",
    }
}

impl Mode {
    /// The mode that a case suspects, as far as its name tells one.
    pub fn suspected(by: &FailureMode) -> Option<Self> {
        match by.0.as_str() {
            "abnormal_temperature" => Some(Self::Overheating),
            "abnormal_vibration" | "abnormal_bearing" | "abnormal_audio" => Some(Self::BearingDamage),
            "abnormal_voltage" => Some(Self::ElectricalFault),
            "abnormal_pressure" => Some(Self::Leakage),
            name => Self::parse(name),
        }
    }
}

/// What a repair found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseOut {
    /// How the asset failed.
    pub mode: Mode,
    /// Why.
    pub cause: Cause,
    /// What was done.
    pub action: Action,
}

impl CloseOut {
    /// Whether there was anything to find.
    pub fn fault_found(self) -> bool {
        self.mode != Mode::NoFaultFound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twelve_choices_at_most_and_each_has_one_name() {
        fn check<T: Serialize + Copy>(all: &[T], name: fn(T) -> &'static str, parse: fn(&str) -> Option<T>) {
            assert!(all.len() <= 12);
            for choice in all {
                let json = serde_json::to_value(choice).expect("a name is JSON");
                assert_eq!(json, name(*choice));
                assert!(parse(name(*choice)).is_some_and(|parsed| name(parsed) == name(*choice)));
            }
        }
        check(&Mode::ALL, Mode::as_str, Mode::parse);
        check(&Cause::ALL, Cause::as_str, Cause::parse);
        check(&Action::ALL, Action::as_str, Action::parse);
    }

    #[test]
    fn a_case_suggests_the_mode_that_it_suspects() {
        let suspected = |name: &str| Mode::suspected(&FailureMode(name.to_owned()));
        assert_eq!(suspected("abnormal_temperature"), Some(Mode::Overheating));
        assert_eq!(suspected("sensor_fault"), Some(Mode::SensorFault));
        assert_eq!(suspected("imbalance"), Some(Mode::Imbalance));
        assert_eq!(suspected("abnormal_general"), None);
    }
}
