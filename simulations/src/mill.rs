//! A milling machine: spindle load, spindle vibration, hydraulic pressure, coolant temperature.
//!
//! It cuts the same part over and over. Single cuts are not seen; each reading is a mean over a few parts.

use crate::fault::Growth;
use crate::instrument::{Instrument, Sheet};
use crate::signal::Lag;
use crate::{Duty, Sample};
use domain::reading::SensorType;
use domain::{AssetId, Timestamp};

/// Width of the flank wear land at which a cutter is worn out, in mm.
///
/// # Source
///
/// ISO 8688-1:1989, uniform wear.
pub const FLANK_WEAR_MAX: f64 = 0.3;

/// What a millimetre of flank wear adds to the cutting force of a sharp tool, as a part of it.
const FORCE_PER_MILLIMETRE: f64 = 2.0;
/// Spindle load of a sharp tool at full feed, in percent.
const SHARP_LOAD: f64 = 50.0;
const HYDRAULIC_PRESSURE: f64 = 70.0;
const COOLANT_TEMPERATURE: f64 = 22.0;

const SPINDLE_LOAD: Sheet = Sheet {
    name: "spindle-load",
    sensor_type: SensorType::Manufacturing,
    unit: "percent",
    sigma: 0.8,
    correlation_seconds: 60.0,
    steps_per_unit: 10.0,
};
const VIBRATION: Sheet = Sheet {
    name: "spindle-vibration",
    sensor_type: SensorType::Vibration,
    unit: "mm/s",
    sigma: 0.08,
    correlation_seconds: 30.0,
    steps_per_unit: 1000.0,
};
const PRESSURE: Sheet = Sheet {
    name: "hydraulic-pressure",
    sensor_type: SensorType::Pressure,
    unit: "bar",
    sigma: 0.5,
    correlation_seconds: 120.0,
    steps_per_unit: 10.0,
};
const COOLANT: Sheet = Sheet {
    name: "coolant-temperature",
    sensor_type: SensorType::Temperature,
    unit: "celsius",
    sigma: 0.15,
    correlation_seconds: 600.0,
    steps_per_unit: 100.0,
};

/// What ails the mill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The cutter blunts until its flank wear is [`FLANK_WEAR_MAX`]: the spindle works harder and shakes.
    ToolWear(Growth),
    /// The clamping circuit leaks: its pressure falls to four fifths.
    HydraulicLeak(Growth),
    /// Coolant is lost: what remains gets hotter, and the cut a little heavier.
    CoolantLoss(Growth),
}

/// A milling machine.
#[derive(Clone, Debug)]
pub struct Mill {
    duty: Duty,
    fault: Option<Fault>,
    tank: Lag,
    spindle_load: Instrument,
    vibration: Instrument,
    pressure: Instrument,
    coolant: Instrument,
}

impl Mill {
    /// A healthy mill. Its sensors are `<asset>-spindle-load` and so on.
    pub fn new(asset: AssetId, duty: Duty, seed: u64) -> Self {
        Self {
            duty,
            fault: None,
            tank: Lag::new(2400.0),
            spindle_load: Instrument::new(&SPINDLE_LOAD, &asset, seed),
            vibration: Instrument::new(&VIBRATION, &asset, seed),
            pressure: Instrument::new(&PRESSURE, &asset, seed),
            coolant: Instrument::new(&COOLANT, &asset, seed),
        }
    }

    /// The same mill with a fault to come.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// Spindle load, spindle vibration, hydraulic pressure and coolant temperature at `at`, which is not before
    /// the last call's.
    pub fn sample(&mut self, at: Timestamp) -> [Sample; 4] {
        let (wear, leak, loss) = match self.fault {
            None => (0.0, 0.0, 0.0),
            Some(Fault::ToolWear(growth)) => (growth.severity(at), 0.0, 0.0),
            Some(Fault::HydraulicLeak(growth)) => (0.0, growth.severity(at), 0.0),
            Some(Fault::CoolantLoss(growth)) => (0.0, 0.0, growth.severity(at)),
        };
        let feed = self.duty.load(at);

        let force = feed * (1.0 + FORCE_PER_MILLIMETRE * FLANK_WEAR_MAX * wear + 0.05 * loss);
        let vibration = 0.6 + 1.2 * force + 2.0 * wear;
        let pressure = HYDRAULIC_PRESSURE * (1.0 - 0.2 * leak);
        let coolant = self.tank.follow(COOLANT_TEMPERATURE + 6.0 * force + 15.0 * loss, at);

        [
            self.spindle_load.read(SHARP_LOAD * force, 1.0 + wear, at),
            self.vibration.read(vibration, 1.0 + 2.0 * wear, at),
            self.pressure.read(pressure, 1.0 + 2.0 * leak, at),
            self.coolant.read(coolant, 1.0, at),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{check_fault, check_health, check_seed, growth};

    fn mill(duty: Duty, seed: u64) -> Mill {
        Mill::new(AssetId::from("mill-1"), duty, seed)
    }

    #[test]
    fn a_healthy_mill_stays_as_it_is() {
        let mut mill = mill(Duty::Steady, 11);
        check_health(|at| mill.sample(at), [45.0, 1.68, 70.0, 27.4]);
    }

    #[test]
    fn each_fault_grows_in_its_own_sensors() {
        let cases = [
            (Fault::ToolWear(growth()), [25.0, 2.4, 0.0, 3.0]),
            (Fault::HydraulicLeak(growth()), [0.0, 0.0, -13.0, 0.0]),
            (Fault::CoolantLoss(growth()), [1.5, 0.0, 0.0, 14.0]),
        ];
        for (fault, expected) in cases {
            let mut mill = mill(Duty::Steady, 11).with_fault(fault);
            check_fault(|at| mill.sample(at), expected, 0.6);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        check_seed(|seed| {
            let mut mill = mill(Duty::Daily, seed);
            move |at| mill.sample(at)
        });
    }
}
