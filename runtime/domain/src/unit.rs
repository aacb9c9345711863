//! Units that are known, so that a reading in another one is refused instead of believed.

use crate::reading::SensorType;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Quantity {
    Temperature,
    Velocity,
    Acceleration,
    Displacement,
    Pressure,
    Humidity,
    Voltage,
    Current,
    Power,
    Speed,
    Frequency,
    SoundLevel,
    Flow,
    Torque,
    Share,
    Count,
}

/// The spellings of one unit; the first one is how it is written.
struct Unit {
    spellings: &'static [&'static str],
    quantity: Quantity,
}

const fn unit(quantity: Quantity, spellings: &'static [&'static str]) -> Unit {
    Unit { spellings, quantity }
}

const UNITS: &[Unit] = &[
    unit(Quantity::Temperature, &["celsius", "°C", "C", "Cel", "degC"]),
    unit(Quantity::Temperature, &["fahrenheit", "°F", "F", "degF"]),
    unit(Quantity::Temperature, &["kelvin", "K"]),
    unit(Quantity::Velocity, &["mm/s"]),
    unit(Quantity::Velocity, &["in/s"]),
    unit(Quantity::Acceleration, &["m/s2", "m/s²"]),
    unit(Quantity::Acceleration, &["g"]),
    unit(Quantity::Displacement, &["um", "µm"]),
    unit(Quantity::Pressure, &["bar"]),
    unit(Quantity::Pressure, &["kPa"]),
    unit(Quantity::Pressure, &["MPa"]),
    unit(Quantity::Pressure, &["Pa"]),
    unit(Quantity::Pressure, &["psi"]),
    unit(Quantity::Humidity, &["%RH", "percent_rh"]),
    unit(Quantity::Voltage, &["V", "volt"]),
    unit(Quantity::Voltage, &["mV"]),
    unit(Quantity::Current, &["A", "ampere"]),
    unit(Quantity::Current, &["mA"]),
    unit(Quantity::Power, &["W"]),
    unit(Quantity::Power, &["kW"]),
    unit(Quantity::Speed, &["rpm", "1/min"]),
    unit(Quantity::Frequency, &["Hz"]),
    unit(Quantity::Frequency, &["kHz"]),
    unit(Quantity::SoundLevel, &["dB", "dBA"]),
    unit(Quantity::Flow, &["m3/h", "m³/h"]),
    unit(Quantity::Flow, &["l/min", "L/min"]),
    unit(Quantity::Torque, &["Nm", "N·m"]),
    unit(Quantity::Share, &["%", "percent"]),
    unit(Quantity::Count, &["1", "count"]),
];

/// How the unit called `spelling` is written, and what it measures. `None` if nobody knows it.
pub fn known(spelling: &str) -> Option<(&'static str, Quantity)> {
    let found = UNITS.iter().find(|unit| unit.spellings.contains(&spelling))?;
    Some((found.spellings[0], found.quantity))
}

/// Whether both spellings stand for one unit. One that nobody knows is only itself.
pub fn is_same(one: &str, other: &str) -> bool {
    let written = |spelling| known(spelling).map(|(written, _)| written);
    one == other || (written(one).is_some() && written(one) == written(other))
}

/// Every unit, as it is written.
pub fn all() -> impl Iterator<Item = &'static str> {
    UNITS.iter().map(|unit| unit.spellings[0])
}

/// Whether a sensor of that type can measure `quantity`.
pub fn fits(sensor_type: SensorType, quantity: Quantity) -> bool {
    use Quantity::{
        Acceleration, Current, Displacement, Flow, Frequency, Humidity, Power, Pressure, Share, SoundLevel, Speed,
        Temperature, Torque, Velocity, Voltage,
    };
    match sensor_type {
        SensorType::Temperature => quantity == Temperature,
        SensorType::Vibration | SensorType::Bearing => {
            matches!(quantity, Velocity | Acceleration | Displacement | Frequency)
                || (sensor_type == SensorType::Bearing && matches!(quantity, Temperature | SoundLevel))
        }
        SensorType::Pressure => quantity == Pressure,
        SensorType::Humidity => matches!(quantity, Humidity | Share),
        SensorType::Audio => matches!(quantity, SoundLevel | Frequency),
        SensorType::Voltage => quantity == Voltage,
        SensorType::Pump => {
            matches!(quantity, Pressure | Flow | Speed | Power | Current | Torque | Velocity | Temperature)
        }
        SensorType::Manufacturing | SensorType::Forecasting | SensorType::General => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_one_way_to_be_written_and_measures_one_thing() {
        assert_eq!(known("°C"), Some(("celsius", Quantity::Temperature)));
        assert_eq!(known("celsius"), known("Cel"));
        assert_eq!(known("furlong"), None);
        assert!(is_same("°C", "celsius") && is_same("furlong", "furlong"));
        assert!(!is_same("°C", "K") && !is_same("furlong", "fathom"));
        let spellings: Vec<&str> = UNITS.iter().flat_map(|unit| unit.spellings.iter().copied()).collect();
        for spelling in &spellings {
            assert_eq!(spellings.iter().filter(|other| *other == spelling).count(), 1, "{spelling}");
        }
    }

    #[test]
    fn a_temperature_is_not_measured_in_bar() {
        let quantity = |spelling: &str| known(spelling).expect("a known unit").1;
        assert!(fits(SensorType::Temperature, quantity("K")) && !fits(SensorType::Temperature, quantity("bar")));
        assert!(fits(SensorType::Vibration, quantity("mm/s")) && !fits(SensorType::Vibration, quantity("V")));
    }
}
