//! A rolling bearing: its vibration as a waveform, and what a monitor reports of it.
//!
//! A spall is struck at a rate that geometry and speed set; each impact rings the housing. The monitor takes a
//! snapshot at each reading and reports RMS acceleration and kurtosis, beside the temperature.

use crate::chance::{normal, stream};
use crate::fault::Growth;
use crate::instrument::{Instrument, Sheet};
use crate::signal::Lag;
use crate::{Duty, Sample};
use domain::reading::SensorType;
use domain::{AssetId, Timestamp};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::f64::consts::TAU;

/// Values in a snapshot.
pub const SNAPSHOT: usize = 2048;
/// Values of a snapshot per second.
pub const SAMPLE_RATE: f64 = 12_000.0;

/// First resonance of the housing, in Hz, and the time in which its ringing decays, in seconds.
const RESONANCE: f64 = 3000.0;
const DECAY: f64 = 0.001;
/// Acceleration of an impact at the failure, in g.
const IMPACT_MAX: f64 = 12.0;
/// Rolling elements slip: the time between two impacts scatters by this part.
const SLIP: f64 = 0.01;

const ACCELERATION: Sheet = Sheet {
    name: "acceleration",
    sensor_type: SensorType::Bearing,
    unit: "g",
    sigma: 0.001,
    correlation_seconds: 60.0,
    steps_per_unit: 10_000.0,
};
const KURTOSIS: Sheet = Sheet {
    name: "kurtosis",
    sensor_type: SensorType::Bearing,
    unit: "1",
    sigma: 0.01,
    correlation_seconds: 60.0,
    steps_per_unit: 1000.0,
};
const TEMPERATURE: Sheet = Sheet {
    name: "temperature",
    sensor_type: SensorType::Temperature,
    unit: "celsius",
    sigma: 0.1,
    correlation_seconds: 600.0,
    steps_per_unit: 100.0,
};

/// What sets the frequencies of a bearing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Rolling elements.
    pub n_elements: u32,
    /// Diameter of one, in mm.
    pub element_diameter: f64,
    /// Diameter of the circle of their centres, in mm.
    pub pitch_diameter: f64,
    /// Angle of contact, in degrees.
    pub contact_degrees: f64,
}

impl Geometry {
    /// A deep-groove ball bearing 6205, as in the Case Western Reserve tests.
    pub const BALL_6205: Self =
        Self { n_elements: 9, element_diameter: 7.94, pitch_diameter: 39.04, contact_degrees: 0.0 };

    /// The frequencies at which a spall is struck, as multiples of the speed of the shaft.
    ///
    /// # Source
    ///
    /// Harris & Kotzalas, *Rolling Bearing Analysis*, 5th ed., for a fixed outer ring and no slip.
    pub fn orders(&self) -> Orders {
        let ratio = self.element_diameter / self.pitch_diameter * self.contact_degrees.to_radians().cos();
        let n_elements = f64::from(self.n_elements);
        Orders {
            outer_race: n_elements / 2.0 * (1.0 - ratio),
            inner_race: n_elements / 2.0 * (1.0 + ratio),
            element_spin: self.pitch_diameter / (2.0 * self.element_diameter) * (1.0 - ratio * ratio),
            cage: 0.5 * (1.0 - ratio),
        }
    }
}

/// Defect frequencies as multiples of the speed of the shaft.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orders {
    /// Elements passing a point of the outer race (BPFO).
    pub outer_race: f64,
    /// Elements passing a point of the inner race (BPFI).
    pub inner_race: f64,
    /// An element turning once around itself (BSF); its spall strikes twice a turn.
    pub element_spin: f64,
    /// The cage turning once (FTF).
    pub cage: f64,
}

/// Where the spall is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// On the outer race, which stands still: all impacts are alike.
    OuterRace(Growth),
    /// On the inner race: it turns in and out of the loaded zone with the shaft.
    InnerRace(Growth),
    /// On a rolling element: in and out of the loaded zone with the cage.
    Element(Growth),
}

/// A rolling bearing on a shaft of constant speed.
#[derive(Clone, Debug)]
pub struct Bearing {
    duty: Duty,
    shaft_hertz: f64,
    orders: Orders,
    fault: Option<Fault>,
    chance: Pcg64,
    housing: Lag,
    acceleration: Instrument,
    kurtosis: Instrument,
    temperature: Instrument,
}

impl Bearing {
    /// A healthy [`Geometry::BALL_6205`] at 1797 revolutions per minute. Its sensors are `<asset>-acceleration`
    /// and so on.
    pub fn new(asset: AssetId, duty: Duty, seed: u64) -> Self {
        Self {
            duty,
            shaft_hertz: 1797.0 / 60.0,
            orders: Geometry::BALL_6205.orders(),
            fault: None,
            chance: stream(seed, &format!("{asset}-waveform")),
            housing: Lag::new(1200.0),
            acceleration: Instrument::new(&ACCELERATION, &asset, seed),
            kurtosis: Instrument::new(&KURTOSIS, &asset, seed),
            temperature: Instrument::new(&TEMPERATURE, &asset, seed),
        }
    }

    /// The same bearing with a fault to come.
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// RMS acceleration, kurtosis and temperature at `at`, which is not before the last call's.
    pub fn sample(&mut self, at: Timestamp) -> [Sample; 3] {
        let snapshot = self.snapshot(at);
        let moment = |power: i32| snapshot.iter().map(|x| x.powi(power)).sum::<f64>() / SNAPSHOT as f64;
        let (square, fourth) = (moment(2), moment(4));
        let load = self.duty.load(at);
        let temperature = self.housing.follow(28.0 + 20.0 * load + 25.0 * self.spall(at).severity, at);
        [
            self.acceleration.read(square.sqrt(), 1.0, at),
            self.kurtosis.read(fourth / (square * square), 1.0, at),
            self.temperature.read(temperature, 1.0, at),
        ]
    }

    /// The acceleration of the housing at `at`, in g: [`SNAPSHOT`] values at [`SAMPLE_RATE`].
    ///
    /// # Source
    ///
    /// McFadden & Smith, *Model for the vibration produced by a single point defect in a rolling element
    /// bearing*, 1984: a train of impacts, weighted by the load where they fall, that rings a resonance.
    pub fn snapshot(&mut self, at: Timestamp) -> Vec<f64> {
        let spall = self.spall(at);
        let load = self.duty.load(at);
        let (shaft_phase, zone_phase) = (TAU * self.chance.random::<f64>(), TAU * self.chance.random::<f64>());
        let mut impact_at = -self.chance.random::<f64>() / spall.hertz;
        let mut next_at = impact_at + 1.0 / spall.hertz;
        (0..SNAPSHOT)
            .map(|idx| {
                let time = idx as f64 / SAMPLE_RATE;
                if next_at <= time {
                    impact_at = next_at;
                    next_at += (1.0 + SLIP * normal(&mut self.chance)) / spall.hertz;
                }
                // The ringing of earlier impacts has long died: they are many decay times apart.
                let since = time - impact_at;
                let zone =
                    1.0 + spall.modulation * ((TAU * spall.zone_hertz * impact_at + zone_phase).cos() - 1.0) / 2.0;
                let ringing = zone * (-since / DECAY).exp() * (TAU * RESONANCE * since).sin();
                let rotation = 0.03 * (TAU * self.shaft_hertz * time + shaft_phase).sin();
                IMPACT_MAX * spall.severity * load * ringing + rotation + 0.05 * normal(&mut self.chance)
            })
            .collect()
    }

    fn spall(&self, at: Timestamp) -> Spall {
        let (orders, shaft) = (self.orders, self.shaft_hertz);
        match self.fault {
            None => Spall { severity: 0.0, hertz: shaft, zone_hertz: 0.0, modulation: 0.0 },
            Some(Fault::OuterRace(growth)) => Spall {
                severity: growth.severity(at),
                hertz: orders.outer_race * shaft,
                zone_hertz: 0.0,
                modulation: 0.0,
            },
            Some(Fault::InnerRace(growth)) => Spall {
                severity: growth.severity(at),
                hertz: orders.inner_race * shaft,
                zone_hertz: shaft,
                modulation: 1.0,
            },
            Some(Fault::Element(growth)) => Spall {
                severity: growth.severity(at),
                hertz: 2.0 * orders.element_spin * shaft,
                zone_hertz: orders.cage * shaft,
                modulation: 1.0,
            },
        }
    }
}

/// How a spall is struck.
struct Spall {
    severity: f64,
    /// Impacts per second.
    hertz: f64,
    /// How often a second it passes through the loaded zone, and how much of its strength that costs, 0 to 1.
    zone_hertz: f64,
    modulation: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{check_fault, check_health, check_seed, growth, hour, means};

    fn bearing(duty: Duty, seed: u64) -> Bearing {
        Bearing::new(AssetId::from("bearing-1"), duty, seed)
    }

    #[test]
    fn the_defect_frequencies_of_a_6205_are_the_published_ones() {
        // Case Western Reserve University bearing data center: multiples of the speed in Hz.
        let orders = Geometry::BALL_6205.orders();
        let published = [
            (orders.outer_race, 3.5848),
            (orders.inner_race, 5.4152),
            (orders.cage, 0.39828),
            (2.0 * orders.element_spin, 4.7135),
        ];
        for (found, published) in published {
            assert!((found - published).abs() < 0.001, "{found} instead of {published}");
        }
    }

    #[test]
    fn a_healthy_bearing_stays_as_it_is() {
        let mut bearing = bearing(Duty::Steady, 11);
        // Noise of 0.05 g and a sine of 0.03 g, whose sum is slightly flatter than a normal distribution.
        check_health(|at| bearing.sample(at), [0.0543, 2.96, 46.0]);
    }

    #[test]
    fn each_fault_grows_in_acceleration_and_temperature() {
        for fault in [Fault::OuterRace(growth()), Fault::InnerRace(growth()), Fault::Element(growth())] {
            let mut bearing = bearing(Duty::Steady, 11).with_fault(fault);
            // Kurtosis rises and falls again as a spall spreads, so that only the others have to grow.
            check_fault(|at| bearing.sample(at), [0.7, 0.0, 20.0], f64::MAX);
        }
    }

    #[test]
    fn kurtosis_tells_of_a_spall_early() {
        let mut bearing = bearing(Duty::Steady, 11).with_fault(Fault::OuterRace(growth()));
        let [_, kurtosis, _] = means(&mut |at| bearing.sample(at), 110..120);
        assert!(5.0 < kurtosis, "{kurtosis}");
    }

    #[test]
    fn the_impacts_of_an_outer_race_repeat_at_its_frequency() {
        let mut bearing = bearing(Duty::Steady, 11).with_fault(Fault::OuterRace(growth()));
        let envelope: Vec<f64> = bearing.snapshot(hour(300)).iter().map(|x| x.abs()).collect();
        let strength = |hertz: f64| {
            let turn = |(idx, x): (usize, &f64)| {
                let angle = TAU * hertz * idx as f64 / SAMPLE_RATE;
                (x * angle.cos(), x * angle.sin())
            };
            let (re, im) = envelope.iter().enumerate().map(turn).fold((0.0, 0.0), |sum, x| (sum.0 + x.0, sum.1 + x.1));
            re.hypot(im)
        };
        let outer_race = strength(3.5848 * 1797.0 / 60.0);
        for other in [2.5, 3.0, 4.2, 5.4152] {
            assert!(3.0 * strength(other * 1797.0 / 60.0) < outer_race, "at {other} times the speed");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_samples() {
        check_seed(|seed| {
            let mut bearing = bearing(Duty::Daily, seed);
            move |at| bearing.sample(at)
        });
    }
}
