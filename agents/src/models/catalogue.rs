//! What there is to train: names, inputs, methods. The names are those that clients of the old system use.

use analytics::trees::boosting::{self, Loss};
use analytics::trees::{Rule, forest};
use serde::{Deserialize, Serialize};

/// What a model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Whether a machine has failed or has a fault, with a probability.
    Classification,
    /// Whether a row is unlike those of healthy machines.
    AnomalyDetection,
    /// How long a machine has left.
    RemainingLife,
    /// What a sensor will read next.
    Forecasting,
    /// A value, of whatever the model was trained to say.
    Regression,
}

/// The simulated process that a model learns from when nobody brings data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The milling machine of AI4I.
    Milling,
    /// Windows of vibration of bearings.
    Vibration,
    /// Centrifugal pumps.
    Pump,
    /// Sounds of fans.
    Audio,
    /// Single values of sensors.
    SingleValues,
    /// Engines run to failure.
    Turbofan,
    /// Sensors with a daily course.
    Sensors,
}

/// What is made of the inputs before a model sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    /// Nothing.
    AsGiven,
    /// Of the milling machine: heat that leaves, power, strain of the tool.
    Milling,
}

/// How it learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// A random forest.
    Forest(forest::Settings),
    /// Boosted trees.
    Boosting(boosting::Settings),
    /// Boosted trees on the columns of a remaining life, and on those of its channels weighed together.
    Fused(boosting::Settings),
    /// Support vectors with a Gaussian kernel, a tenth of whose width the columns' number sets.
    SupportVectors,
    /// An isolation forest on healthy rows.
    Isolation,
    /// A border around healthy rows.
    OneClass,
    /// The choice among forecasting methods; nothing is fitted beforehand.
    Forecaster,
}

/// One model that can be trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The name that clients ask for.
    pub name: &'static str,
    /// What it says.
    pub task: Task,
    /// The kind of sensor that it is recommended for.
    pub sensor_type: &'static str,
    /// Where its rows come from unless somebody brings others.
    pub source: Source,
    /// Columns that a request must name; none means all that the source has.
    pub inputs: &'static [&'static str],
    /// What is made of them.
    pub derived: Derived,
    /// How it learns.
    pub method: Method,
    /// What it is, in words.
    pub description: &'static str,
}

/// Seed of what is left to chance.
pub const SEED: u64 = 42;

const RAW: [&str; 5] =
    ["air_temperature_k", "process_temperature_k", "rotational_speed_rpm", "torque_nm", "tool_wear_min"];
const WITH_TYPE: [&str; 6] =
    ["type", "air_temperature_k", "process_temperature_k", "rotational_speed_rpm", "torque_nm", "tool_wear_min"];

const FULL: Rule = Rule { depth_max: 48, leaf_rows_min: 1, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 3 };

/// The forest of a classifier.
pub const FOREST: Method = Method::Forest(forest::Settings { n_trees: 100, rule: FULL, seed: SEED });

/// The boosted trees of a classifier.
pub const BOOSTING: Method = Method::Boosting(boosting::Settings {
    loss: Loss::Logistic,
    n_trees: 400,
    rate: 0.05,
    rule: Rule { depth_max: 3, leaf_rows_min: 10, leaf_weight_min: 1e-3, ridge: 1.0, columns_per_cut: usize::MAX },
    row_share: 0.8,
    column_share: 0.6,
    bins_max: 4_096,
    seed: SEED,
});

/// The boosted trees of the remaining life.
///
/// Chosen like [`WINDOWS`](super::fit::WINDOWS), by folds over engines to train on: depth 4 beats 3, 5 and 6, half of the
/// columns a fifth and a tenth of them and all; 300 steps of 0.05 do as well as 1,000 of 0.02 in a third of the time.
pub const LIFE: Method = Method::Fused(boosting::Settings {
    loss: Loss::Squared,
    n_trees: 300,
    rate: 0.05,
    rule: Rule { depth_max: 4, leaf_rows_min: 20, leaf_weight_min: 0.0, ridge: 1.0, columns_per_cut: usize::MAX },
    row_share: 0.3,
    column_share: 0.5,
    bins_max: 255,
    seed: SEED,
});

const LIFE_FOREST: Method = Method::Forest(forest::Settings {
    n_trees: 50,
    rule: Rule { depth_max: 12, leaf_rows_min: 10, leaf_weight_min: 0.0, ridge: 0.0, columns_per_cut: 12 },
    seed: SEED,
});

const fn milling(name: &'static str, engineered: bool, method: Method, description: &'static str) -> Recipe {
    Recipe {
        name,
        task: Task::Classification,
        sensor_type: "manufacturing",
        source: Source::Milling,
        inputs: if engineered { &WITH_TYPE } else { &RAW },
        derived: if engineered { Derived::Milling } else { Derived::AsGiven },
        method,
        description,
    }
}

const fn recipe(
    name: &'static str,
    task: Task,
    sensor_type: &'static str,
    source: Source,
    method: Method,
    description: &'static str,
) -> Recipe {
    Recipe { name, task, sensor_type, source, inputs: &[], derived: Derived::AsGiven, method, description }
}

/// Every model that the product trains by itself.
pub const CATALOGUE: &[Recipe] = &[
    milling(
        "ai4i_classifier_randomforest_baseline",
        false,
        FOREST,
        "Milling machine failure by a random forest on raw readings",
    ),
    milling(
        "ai4i_classifier_randomforest_engineered",
        true,
        FOREST,
        "Milling machine failure by a random forest on heat, power and strain",
    ),
    milling(
        "ai4i_classifier_lightgbm_baseline",
        false,
        BOOSTING,
        "Milling machine failure by boosted trees on raw readings",
    ),
    milling(
        "ai4i_classifier_lightgbm_engineered",
        true,
        BOOSTING,
        "Milling machine failure by boosted trees on heat, power and strain",
    ),
    milling(
        "ai4i_classifier_svc_baseline",
        false,
        Method::SupportVectors,
        "Milling machine failure by support vectors on raw readings",
    ),
    milling(
        "ai4i_classifier_svc_engineered",
        true,
        Method::SupportVectors,
        "Milling machine failure by support vectors on heat, power and strain",
    ),
    recipe(
        "anomaly_detector_refined_v2",
        Task::AnomalyDetection,
        "general",
        Source::SingleValues,
        Method::Isolation,
        "Single values beside the five before them",
    ),
    recipe(
        "synthetic_validation_isolation_forest",
        Task::AnomalyDetection,
        "general",
        Source::SingleValues,
        Method::Isolation,
        "Single values, for trying out a set-up",
    ),
    recipe(
        "realistic_sensor_validation_isolation_forest",
        Task::AnomalyDetection,
        "general",
        Source::SingleValues,
        Method::Isolation,
        "Single values of sensors with a daily course",
    ),
    recipe(
        "vibration_anomaly_isolationforest",
        Task::AnomalyDetection,
        "vibration",
        Source::Vibration,
        Method::Isolation,
        "Windows of vibration by an isolation forest",
    ),
    recipe(
        "vibration_anomaly_oneclasssvm",
        Task::AnomalyDetection,
        "vibration",
        Source::Vibration,
        Method::OneClass,
        "Windows of vibration by a border around healthy ones",
    ),
    recipe(
        "xjtu_anomaly_isolation_forest",
        Task::AnomalyDetection,
        "bearing",
        Source::Vibration,
        Method::Isolation,
        "Bearings by an isolation forest",
    ),
    recipe(
        "bearing_fault_classifier_randomforest",
        Task::Classification,
        "bearing",
        Source::Vibration,
        FOREST,
        "Spalls of bearings by a random forest",
    ),
    recipe(
        "pump_classifier_randomforest",
        Task::Classification,
        "pump",
        Source::Pump,
        FOREST,
        "Faults of pumps by a random forest",
    ),
    recipe(
        "pump_classifier_lightgbm",
        Task::Classification,
        "pump",
        Source::Pump,
        BOOSTING,
        "Faults of pumps by boosted trees",
    ),
    recipe(
        "RandomForest_MIMII_Audio_Benchmark",
        Task::Classification,
        "audio",
        Source::Audio,
        FOREST,
        "Faults of fans by their sound",
    ),
    recipe(
        "prophet_forecaster_enhanced_sensor-001",
        Task::Forecasting,
        "forecasting",
        Source::Sensors,
        Method::Forecaster,
        "The next values of any sensor from its own history",
    ),
    recipe(
        "remaining_life_lightgbm",
        Task::RemainingLife,
        "general",
        Source::Turbofan,
        LIFE,
        "Cycles that an engine has left, by boosted trees",
    ),
    recipe(
        "remaining_life_randomforest",
        Task::RemainingLife,
        "general",
        Source::Turbofan,
        LIFE_FOREST,
        "Cycles that an engine has left, by a random forest",
    ),
];

/// The recipe of `name`.
pub fn find(name: &str) -> Option<&'static Recipe> {
    CATALOGUE.iter().find(|recipe| recipe.name == name)
}

impl Derived {
    /// Names of the columns that the model sees.
    pub fn columns(self, inputs: &[String]) -> Vec<String> {
        match self {
            Self::AsGiven => inputs.to_vec(),
            Self::Milling => {
                let made = [
                    "type",
                    "heat_difference_k",
                    "rotational_speed_rpm",
                    "torque_nm",
                    "tool_wear_min",
                    "power_w",
                    "strain_min_nm",
                ];
                made.map(str::to_owned).to_vec()
            }
        }
    }

    /// What the model sees of `row`, whose columns are the inputs in order.
    ///
    /// # Panics
    ///
    /// When `row` has fewer columns than the inputs that this is made of.
    pub fn of(self, row: &[f64]) -> Vec<f64> {
        match self {
            Self::AsGiven => row.to_vec(),
            Self::Milling => {
                let [kind, air, process, speed, torque, wear] = row.first_chunk().expect("six inputs");
                let power = torque * speed * std::f64::consts::TAU / 60.0;
                vec![*kind, process - air, *speed, *torque, *wear, power, wear * torque]
            }
        }
    }
}

/// The models that are recommended for a kind of sensor, best fit first.
///
/// `models` are names with the kind of sensor that each is tagged with, if any; a name without a tag is sorted by its
/// words. Kinds are compared in lowercase and without a leading `sensortype.`.
pub fn recommended(sensor_type: &str, models: &[(String, Option<String>)], include_general: bool) -> Vec<String> {
    let wanted = normalised(sensor_type);
    let compatible: &[&str] = match wanted.as_str() {
        "temperature" | "pressure" | "humidity" | "voltage" | "pump" => &["general"],
        "vibration" => &["bearing"],
        "bearing" => &["vibration"],
        _ => &[],
    };
    let mut groups = vec![wanted.as_str()];
    groups.extend(compatible);
    if include_general && !groups.contains(&"general") {
        groups.push("general");
    }
    let mut found: Vec<String> = Vec::new();
    for group in groups {
        for (name, tag) in models {
            let own = tag.as_deref().map(normalised).or_else(|| group_of(name).map(str::to_owned));
            if own.as_deref() == Some(group) && !found.contains(name) {
                found.push(name.clone());
            }
        }
    }
    found
}

/// A kind of sensor as people write it, in one form.
pub fn normalised(sensor_type: &str) -> String {
    let lower = sensor_type.trim().to_lowercase();
    lower.strip_prefix("sensortype.").unwrap_or(&lower).to_owned()
}

/// The kind of sensor that a model's name speaks of.
fn group_of(name: &str) -> Option<&'static str> {
    const WORDS: [(&str, &[&str]); 7] = [
        ("vibration", &["bearing", "vibration", "nasa", "xjtu"]),
        ("audio", &["audio", "mimii", "sound"]),
        ("manufacturing", &["ai4i", "manufacturing", "industrial"]),
        ("pump", &["pump"]),
        ("forecasting", &["prophet", "forecast", "time_series", "sensor-001"]),
        ("temperature", &["temp"]),
        ("pressure", &["press"]),
    ];
    const GENERAL: [&str; 3] = ["anomaly_detector_refined", "synthetic_validation", "realistic_sensor_validation"];
    let lower = name.to_lowercase();
    let spoken = WORDS.iter().find(|(_, words)| words.iter().any(|word| lower.contains(word)));
    spoken
        .map(|(group, _)| *group)
        .or_else(|| GENERAL.iter().any(|start| lower.starts_with(start)).then_some("general"))
}

/// What is recommended when the registry has nothing that fits.
pub fn fallback(sensor_type: &str) -> &'static [&'static str] {
    match normalised(sensor_type).as_str() {
        "vibration" | "bearing" => {
            &["vibration_anomaly_isolationforest", "xjtu_anomaly_isolation_forest", "anomaly_detector_refined_v2"]
        }
        "temperature" | "pressure" | "humidity" | "voltage" | "general" => &[
            "anomaly_detector_refined_v2",
            "synthetic_validation_isolation_forest",
            "realistic_sensor_validation_isolation_forest",
        ],
        _ => &["anomaly_detector_refined_v2", "synthetic_validation_isolation_forest"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_least_seventeen_models_of_different_names() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|recipe| recipe.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        assert!(17 <= names.len(), "{}", names.len());
    }

    #[test]
    fn kinds_of_sensor_are_written_in_many_ways() {
        for (written, expected) in [
            ("temperature", "temperature"),
            (" Temperature ", "temperature"),
            ("SensorType.VIBRATION", "vibration"),
            ("sensortype.audio", "audio"),
            ("AUDIO", "audio"),
            ("", ""),
        ] {
            assert_eq!(normalised(written), expected, "{written:?}");
        }
    }

    #[test]
    fn recommendations_follow_the_old_table() {
        let models = [
            ("ai4i_classifier_svc_baseline", None),
            ("anomaly_detector_refined_v2", None),
            ("vibration_anomaly_isolationforest", None),
            ("xjtu_anomaly_isolation_forest", Some("bearing")),
            ("RandomForest_MIMII_Audio_Benchmark", None),
            ("pump_x", None),
            ("prophet_forecaster_enhanced_sensor-001", None),
            ("room_temp_model", None),
            ("nameless", None),
        ];
        let models: Vec<(String, Option<String>)> =
            models.iter().map(|(name, tag)| ((*name).to_owned(), tag.map(str::to_owned))).collect();
        let check = |sensor_type: &str, general: bool, expected: &[&str]| {
            assert_eq!(recommended(sensor_type, &models, general), expected, "{sensor_type} {general}");
        };
        check("temperature", false, &["room_temp_model", "anomaly_detector_refined_v2"]);
        check("SensorType.PUMP", false, &["pump_x", "anomaly_detector_refined_v2"]);
        check("vibration", false, &["vibration_anomaly_isolationforest", "xjtu_anomaly_isolation_forest"]);
        check(
            "bearing",
            true,
            &["xjtu_anomaly_isolation_forest", "vibration_anomaly_isolationforest", "anomaly_detector_refined_v2"],
        );
        check("audio", false, &["RandomForest_MIMII_Audio_Benchmark"]);
        check("manufacturing", true, &["ai4i_classifier_svc_baseline", "anomaly_detector_refined_v2"]);
        check("forecasting", false, &["prophet_forecaster_enhanced_sensor-001"]);
        check("voltage", false, &["anomaly_detector_refined_v2"]);
        check("nothing", false, &[]);
        assert_eq!(fallback("SensorType.BEARING")[1], "xjtu_anomaly_isolation_forest");
        assert_eq!(fallback("humidity").len(), 3);
        assert_eq!(fallback("audio").len(), 2);
    }

    #[test]
    fn heat_power_and_strain_are_made_of_the_raw_readings() {
        let made = Derived::Milling.of(&[1.0, 300.0, 310.0, 1500.0, 40.0, 100.0]);
        let power = 40.0 * 1500.0 * std::f64::consts::TAU / 60.0;
        assert_eq!(made, [1.0, 10.0, 1500.0, 40.0, 100.0, power, 4_000.0]);
    }
}
