//! A three-phase induction motor: winding temperature, supply voltage, current, vibration.
//!
//! Losses heat the winding, which follows with a lag of half an hour. Starting and the inverter are left out.

use crate::fault::Growth;
use crate::instrument::{Instrument, Sheet};
use crate::signal::Lag;
use crate::{Duty, Sample};
use domain::reading::SensorType;
use domain::{AssetId, Timestamp};

/// Winding temperature at which the insulation has failed, in °C.
///
/// # Source
///
/// IEC 60085, thermal class F.
pub const WINDING_TEMPERATURE_MAX: f64 = 155.0;

const AMBIENT: f64 = 25.0;
/// What the losses at the rated current add, in K: the rise that IEC 60034-1 allows for class B.
const RATED_RISE: f64 = 80.0;
const RATED_VOLTAGE: f64 = 400.0;
const RATED_CURRENT: f64 = 30.0;
/// The part of the rated current that magnetises and does no work.
const MAGNETISING: f64 = 0.3;
/// Voltage unbalance at the failure, in percent.
const UNBALANCE_PERCENT_MAX: f64 = 5.0;

const TEMPERATURE: Sheet = Sheet {
    name: "winding-temperature",
    sensor_type: SensorType::Temperature,
    unit: "celsius",
    sigma: 0.25,
    correlation_seconds: 300.0,
    steps_per_unit: 10.0,
};
const VOLTAGE: Sheet = Sheet {
    name: "voltage",
    sensor_type: SensorType::Voltage,
    unit: "V",
    sigma: 1.5,
    correlation_seconds: 30.0,
    steps_per_unit: 10.0,
};
const CURRENT: Sheet = Sheet {
    name: "current",
    sensor_type: SensorType::General,
    unit: "A",
    sigma: 0.15,
    correlation_seconds: 30.0,
    steps_per_unit: 100.0,
};
const VIBRATION: Sheet = Sheet {
    name: "vibration",
    sensor_type: SensorType::Vibration,
    unit: "mm/s",
    sigma: 0.04,
    correlation_seconds: 60.0,
    steps_per_unit: 1000.0,
};

/// What ails the motor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Dust on the fins: the same losses heat it more, up to [`WINDING_TEMPERATURE_MAX`] on [`Duty::Steady`].
    BlockedCooling(Growth),
    /// The rotor loses its balance: it shakes.
    RotorUnbalance(Growth),
    /// One phase weakens: its voltage falls, and all windings run hotter.
    VoltageUnbalance(Growth),
}

/// An induction motor.
#[derive(Clone, Debug)]
pub struct Motor {
    duty: Duty,
    fault: Option<Fault>,
    winding: Lag,
    temperature: Instrument,
    voltage: Instrument,
    current: Instrument,
    vibration: Instrument,
}

impl Motor {
    /// A healthy motor. Its sensors are `<asset>-winding-temperature` and so on.
    pub fn new(asset: AssetId, duty: Duty, seed: u64) -> Self {
        Self {
            duty,
            fault: None,
            winding: Lag::new(1800.0),
            temperature: Instrument::new(&TEMPERATURE, &asset, seed),
            voltage: Instrument::new(&VOLTAGE, &asset, seed),
            current: Instrument::new(&CURRENT, &asset, seed),
            vibration: Instrument::new(&VIBRATION, &asset, seed),
        }
    }

    /// The same motor with a fault to come.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// Winding temperature, voltage of the weakest phase, current and vibration at `at`, which is not before the
    /// last call's.
    ///
    /// # Source
    ///
    /// Losses rise with the square of the current. NEMA MG 1: the temperature rise grows by about twice the
    /// square of the voltage unbalance, both in percent.
    pub fn sample(&mut self, at: Timestamp) -> [Sample; 4] {
        let (blocked, unbalanced_rotor, unbalanced_voltage) = match self.fault {
            None => (0.0, 0.0, 0.0),
            Some(Fault::BlockedCooling(growth)) => (growth.severity(at), 0.0, 0.0),
            Some(Fault::RotorUnbalance(growth)) => (0.0, growth.severity(at), 0.0),
            Some(Fault::VoltageUnbalance(growth)) => (0.0, 0.0, growth.severity(at)),
        };
        let load = self.duty.load(at);

        let resistance = 1.0 + blocked * ((WINDING_TEMPERATURE_MAX - AMBIENT) / rise(Duty::Steady.load(at)) - 1.0);
        let unbalance_percent = UNBALANCE_PERCENT_MAX * unbalanced_voltage;
        let unbalance_rise = 1.0 + 2.0 * unbalance_percent * unbalance_percent / 100.0;
        let temperature = self.winding.follow(AMBIENT + rise(load) * resistance * unbalance_rise, at);

        let voltage = RATED_VOLTAGE * (1.0 - unbalance_percent / 100.0);
        let current = RATED_CURRENT * current_ratio_squared(load).sqrt();
        let vibration = 0.9 + 0.2 * load + 5.0 * unbalanced_rotor + 0.5 * unbalanced_voltage;

        [
            self.temperature.read(temperature, 1.0, at),
            self.voltage.read(voltage, 1.0, at),
            self.current.read(current, 1.0, at),
            self.vibration.read(vibration, 1.0 + 3.0 * unbalanced_rotor, at),
        ]
    }
}

/// Square of the current, as a part of the rated one, at `load`.
fn current_ratio_squared(load: f64) -> f64 {
    MAGNETISING * MAGNETISING + (1.0 - MAGNETISING * MAGNETISING) * load * load
}

/// What the losses add to the temperature of a healthy motor, in K.
fn rise(load: f64) -> f64 {
    RATED_RISE * current_ratio_squared(load)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{check_fault, check_health, check_seed, growth};

    fn motor(duty: Duty, seed: u64) -> Motor {
        Motor::new(AssetId::from("motor-1"), duty, seed)
    }

    #[test]
    fn a_healthy_motor_stays_as_it_is() {
        let mut motor = motor(Duty::Steady, 11);
        check_health(|at| motor.sample(at), [91.2, 400.0, 27.29, 1.08]);
    }

    #[test]
    fn each_fault_grows_in_its_own_sensors() {
        let cases = [
            (Fault::BlockedCooling(growth()), [60.0, 0.0, 0.0, 0.0]),
            (Fault::RotorUnbalance(growth()), [0.0, 0.0, 0.0, 4.5]),
            (Fault::VoltageUnbalance(growth()), [30.0, -18.0, 0.0, 0.4]),
        ];
        for (fault, expected) in cases {
            let mut motor = motor(Duty::Steady, 11).with_fault(fault);
            check_fault(|at| motor.sample(at), expected, 1.5);
        }
    }

    #[test]
    fn a_blocked_motor_reaches_its_limit_when_it_fails() {
        let mut motor = motor(Duty::Steady, 11).with_fault(Fault::BlockedCooling(growth()));
        let [temperature, ..] = motor.sample(growth().failure_at);
        assert!((temperature.value - WINDING_TEMPERATURE_MAX).abs() < 1.5, "{temperature:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        check_seed(|seed| {
            let mut motor = motor(Duty::Daily, seed);
            move |at| motor.sample(at)
        });
    }
}
