//! A centrifugal pump: bearing temperature, vibration, discharge pressure, flow.
//!
//! Load sets flow; the pump curve sets pressure; friction heats the bearing, which follows with a lag of
//! twenty minutes. Water hammer, start-up and valves are left out.

use crate::fault::Growth;
use crate::instrument::{Instrument, Sheet};
use crate::signal::Lag;
use crate::{Duty, Sample};
use domain::reading::SensorType;
use domain::{AssetId, Timestamp};

/// Bearing temperature at which a worn bearing has failed, in °C: a common trip setting.
pub const BEARING_TEMPERATURE_MAX: f64 = 95.0;
/// Vibration velocity at which a worn bearing has failed, in mm/s RMS.
///
/// # Source
///
/// ISO 10816-3:2009, zone boundary C/D for medium machines on flexible supports.
pub const VIBRATION_MAX: f64 = 7.1;

/// Bearing temperature of the idle pump, in °C.
const IDLE_TEMPERATURE: f64 = 24.0;
/// What friction adds at full load, in K.
const FRICTION_RISE: f64 = 40.0;
const RATED_PRESSURE: f64 = 6.0;
const RATED_FLOW: f64 = 120.0;

const TEMPERATURE: Sheet = Sheet {
    name: "bearing-temperature",
    sensor_type: SensorType::Temperature,
    unit: "celsius",
    sigma: 0.04,
    correlation_seconds: 600.0,
    steps_per_unit: 100.0,
};
const VIBRATION: Sheet = Sheet {
    name: "vibration",
    sensor_type: SensorType::Vibration,
    unit: "mm/s",
    sigma: 0.06,
    correlation_seconds: 60.0,
    steps_per_unit: 1000.0,
};
const PRESSURE: Sheet = Sheet {
    name: "discharge-pressure",
    sensor_type: SensorType::Pressure,
    unit: "bar",
    sigma: 0.03,
    correlation_seconds: 120.0,
    steps_per_unit: 1000.0,
};
const FLOW: Sheet = Sheet {
    name: "flow",
    sensor_type: SensorType::Pump,
    unit: "m3/h",
    sigma: 0.8,
    correlation_seconds: 120.0,
    steps_per_unit: 10.0,
};

/// What ails the pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A worn bearing: it runs hot and shakes. At the failure of a pump on [`Duty::Steady`] both reach their limits.
    BearingWear(Growth),
    /// Vapour bubbles at the inlet: it shakes, and pressure and flow fall and flutter.
    Cavitation(Growth),
    /// A worn impeller leaks inside: pressure and flow fall.
    ImpellerWear(Growth),
}

/// A centrifugal pump.
#[derive(Clone, Debug)]
pub struct Pump {
    duty: Duty,
    fault: Option<Fault>,
    bearing: Lag,
    temperature: Instrument,
    vibration: Instrument,
    pressure: Instrument,
    flow: Instrument,
}

impl Pump {
    /// A healthy pump. Its sensors are `<asset>-bearing-temperature` and so on.
    pub fn new(asset: AssetId, duty: Duty, seed: u64) -> Self {
        Self {
            duty,
            fault: None,
            bearing: Lag::new(1200.0),
            temperature: Instrument::new(&TEMPERATURE, &asset, seed),
            vibration: Instrument::new(&VIBRATION, &asset, seed),
            pressure: Instrument::new(&PRESSURE, &asset, seed),
            flow: Instrument::new(&FLOW, &asset, seed),
        }
    }

    /// The same pump with a fault to come.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// Bearing temperature, vibration, discharge pressure and flow at `at`, which is not before the last call's.
    ///
    /// # Source
    ///
    /// The pump curve falls with the square of the flow from a shut-off pressure of 125 % of the rated one
    /// (Karassik et al., *Pump Handbook*, ch. 2).
    pub fn sample(&mut self, at: Timestamp) -> [Sample; 4] {
        let (wear, cavitation, impeller) = match self.fault {
            None => (0.0, 0.0, 0.0),
            Some(Fault::BearingWear(growth)) => (growth.severity(at), 0.0, 0.0),
            Some(Fault::Cavitation(growth)) => (0.0, growth.severity(at), 0.0),
            Some(Fault::ImpellerWear(growth)) => (0.0, 0.0, growth.severity(at)),
        };
        let load = self.duty.load(at);
        let steady_load = Duty::Steady.load(at);

        let healthy_temperature = |load: f64| IDLE_TEMPERATURE + FRICTION_RISE * load;
        let wear_rise = BEARING_TEMPERATURE_MAX - healthy_temperature(steady_load);
        let temperature = self.bearing.follow(healthy_temperature(load) + wear * wear_rise, at);

        let healthy_vibration = |load: f64| 1.4 + 0.4 * load;
        let wear_vibration = VIBRATION_MAX - healthy_vibration(steady_load);
        let vibration = healthy_vibration(load) + wear * wear_vibration + cavitation * 3.0;

        let pressure = RATED_PRESSURE * (1.25 - 0.25 * load * load) * (1.0 - 0.20 * impeller - 0.15 * cavitation);
        let flow = RATED_FLOW * load * (1.0 - 0.25 * impeller - 0.10 * cavitation);
        let flutter = 1.0 + 6.0 * cavitation;

        [
            self.temperature.read(temperature, 1.0, at),
            self.vibration.read(vibration, 1.0 + 3.0 * wear + 6.0 * cavitation, at),
            self.pressure.read(pressure, flutter, at),
            self.flow.read(flow, flutter, at),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{check_fault, check_health, check_seed, growth, hour};

    fn pump(duty: Duty, seed: u64) -> Pump {
        Pump::new(AssetId::from("pump-1"), duty, seed)
    }

    #[test]
    fn a_healthy_pump_stays_as_it_is() {
        let mut pump = pump(Duty::Steady, 11);
        check_health(|at| pump.sample(at), [60.0, 1.76, 6.285, 108.0]);
    }

    #[test]
    fn the_bearing_follows_the_daily_load() {
        let mut pump = pump(Duty::Daily, 11);
        let temperatures: Vec<f64> = (0..48).map(|at| pump.sample(hour(at))[0].value).collect();
        let (low, high) = temperatures.iter().fold((f64::MAX, f64::MIN), |(low, high), t| (low.min(*t), high.max(*t)));
        assert!((51.0..54.0).contains(&low) && (62.0..65.0).contains(&high), "{low} to {high}");
    }

    #[test]
    fn each_fault_grows_in_its_own_sensors() {
        let cases = [
            (Fault::BearingWear(growth()), [30.0, 4.5, 0.0, 0.0]),
            (Fault::Cavitation(growth()), [0.0, 2.5, -0.7, -8.0]),
            (Fault::ImpellerWear(growth()), [0.0, 0.0, -1.0, -20.0]),
        ];
        for (fault, expected) in cases {
            let mut pump = pump(Duty::Steady, 11).with_fault(fault);
            check_fault(|at| pump.sample(at), expected, 0.6);
        }
    }

    #[test]
    fn a_worn_bearing_reaches_its_limits_when_it_fails() {
        let mut pump = pump(Duty::Steady, 11).with_fault(Fault::BearingWear(growth()));
        let [temperature, vibration, ..] = pump.sample(growth().failure_at);
        assert!((temperature.value - BEARING_TEMPERATURE_MAX).abs() < 0.3, "{temperature:?}");
        assert!((vibration.value - VIBRATION_MAX).abs() < 1.0, "{vibration:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        check_seed(|seed| {
            let mut pump = pump(Duty::Daily, seed);
            move |at| pump.sample(at)
        });
    }
}
