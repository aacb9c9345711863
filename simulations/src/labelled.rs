//! Tables with known labels, to learn from: published processes, drawn row by row.
//!
//! Each row names the machine it is of, so that no machine stands on both sides of a split.

use crate::Duty;
use crate::bearing::{Bearing, Fault, SAMPLE_RATE};
use crate::chance::{normal, stream};
use crate::fault::{Growth, Shape};
use domain::{AssetId, Timestamp};
use rand::RngExt;
use rand_pcg::Pcg64;
use std::f64::consts::TAU;

/// Rows with what is true of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// One value per column.
    pub rows: Vec<Vec<f64>>,
    /// 1 for a failure or a fault, 0 for none; of the turbofan the cycles that remain.
    pub labels: Vec<f64>,
    /// The machine of each row.
    pub machines: Vec<u32>,
    /// What was simulated, in words.
    pub source: &'static str,
}

impl Labelled {
    fn empty(columns: &[&'static str], source: &'static str) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), labels: Vec::new(), machines: Vec::new(), source }
    }

    fn push(&mut self, machine: u32, row: Vec<f64>, label: f64) {
        self.rows.push(row);
        self.labels.push(label);
        self.machines.push(machine);
    }
}

/// A milling machine that fails by heat, by power, by strain, by a worn tool, or for no reason that is measured.
///
/// `type` is 0, 1 or 2 for a part of low, medium or high quality. The label says that it failed, not how.
///
/// # Source
///
/// Matzka, *Explainable Artificial Intelligence for Predictive Maintenance Applications*, AI4I 2020: the five rules and
/// the walks of both temperatures. Speed falls as torque rises, in the shape of a drive at nearly constant power.
pub fn milling(n_rows: usize, seed: u64) -> Labelled {
    const COLUMNS: [&str; 6] =
        ["type", "air_temperature_k", "process_temperature_k", "rotational_speed_rpm", "torque_nm", "tool_wear_min"];
    let mut rng = stream(seed, "milling");
    let mut table = Labelled::empty(&COLUMNS, "milling machine by the rules of AI4I 2020");
    let (mut air_walk, mut process_walk, mut wear) = (0.0, 0.0, 0.0);
    for _ in 0..n_rows {
        let draw: f64 = rng.random();
        let (quality, limit, step) = if draw < 0.6 {
            (0.0, 11_000.0, 2.0)
        } else if draw < 0.9 {
            (1.0, 12_000.0, 3.0)
        } else {
            (2.0, 13_000.0, 5.0)
        };
        air_walk = 0.999 * air_walk + 0.09 * normal(&mut rng);
        process_walk = 0.995 * process_walk + 0.1 * normal(&mut rng);
        let air = 300.0 + air_walk;
        let process = air + 10.0 + process_walk;
        let torque = (40.0 + 10.0 * normal(&mut rng)).max(3.8);
        let speed = (1450.0 * (40.0 / torque).powf(0.42) * (0.035 * normal(&mut rng)).exp()).max(1168.0);
        let power = torque * speed * TAU / 60.0;
        let worn_out = 200.0 <= wear && rng.random::<f64>() < 0.05;
        let overheated = process - air < 8.6 && speed < 1380.0;
        let out_of_power = !(3500.0..=9000.0).contains(&power);
        let overstrained = limit < wear * torque;
        let unlucky = rng.random::<f64>() < 0.001;
        let failed = worn_out || overheated || out_of_power || overstrained || unlucky;
        table.push(0, vec![quality, air, process, speed, torque, wear], f64::from(u8::from(failed)));
        wear = if worn_out || 240.0 < wear { 0.0 } else { wear + step };
    }
    table
}

/// Figures of a window of vibration.
const VIBRATION: [&str; 8] =
    ["rms", "peak", "crest", "kurtosis", "skewness", "envelope_outer_race", "envelope_inner_race", "envelope_element"];

/// Windows of the vibration of bearings, half of which have a spall that grows.
///
/// The envelope's strength is taken at the frequencies at which a spall on each part is struck. The label says that
/// the bearing has a spall of a tenth of its final size at least; windows with a smaller one are left out.
pub fn vibration(n_machines: u32, windows_per_machine: u32, seed: u64) -> Labelled {
    let mut table =
        Labelled::empty(&VIBRATION, "rolling bearings with spalls that ring the housing (McFadden & Smith 1984)");
    let mut rng = stream(seed, "vibration");
    for machine in 0..n_machines {
        let hour = |hours: f64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs((hours * 3_600.0) as i64);
        let growth = Growth { onset: hour(100.0), failure_at: hour(200.0), shape: Shape::Linear };
        let fault = match machine % 6 {
            1 => Some(Fault::OuterRace(growth)),
            3 => Some(Fault::InnerRace(growth)),
            5 => Some(Fault::Element(growth)),
            _ => None,
        };
        let bearing = Bearing::new(AssetId::from(format!("b-{machine}")), Duty::Daily, rng.random());
        let mut bearing = fault.map_or(bearing.clone(), |fault| bearing.with_fault(fault));
        // Not every sensor is mounted alike.
        let gain = (0.15 * normal(&mut rng)).exp();
        for window in 0..windows_per_machine {
            let at = hour(200.0 * f64::from(window) / f64::from(windows_per_machine));
            let severity = fault.map_or(0.0, |_| growth.severity(at));
            let snapshot: Vec<f64> = bearing.snapshot(at).iter().map(|value| gain * value).collect();
            if severity == 0.0 || 0.1 <= severity {
                table.push(machine, figures(&snapshot), f64::from(u8::from(0.0 < severity)));
            }
        }
    }
    table
}

/// The columns of [`VIBRATION`].
fn figures(window: &[f64]) -> Vec<f64> {
    let n = window.len() as f64;
    let mean = window.iter().sum::<f64>() / n;
    let moment = |power: i32| window.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / n;
    let rms = moment(2).sqrt();
    let peak = window.iter().fold(0.0_f64, |peak, value| peak.max((value - mean).abs()));
    let envelope: Vec<f64> = window.iter().map(|value| (value - mean).abs()).collect();
    let level = envelope.iter().sum::<f64>() / n;
    let orders = crate::bearing::Geometry::BALL_6205.orders();
    let strength = |order: f64| {
        let step = TAU * order * (1797.0 / 60.0) / SAMPLE_RATE;
        let (re, im) = envelope.iter().enumerate().fold((0.0, 0.0), |(re, im), (idx, value)| {
            let angle = step * idx as f64;
            (re + (value - level) * angle.cos(), im + (value - level) * angle.sin())
        });
        2.0 * f64::hypot(re, im) / n / level
    };
    vec![
        rms,
        peak,
        peak / rms,
        moment(4) / rms.powi(4),
        moment(3) / rms.powi(3),
        strength(orders.outer_race),
        strength(orders.inner_race),
        strength(2.0 * orders.element_spin),
    ]
}

/// Pumps, half of which wear, cavitate or lose their impeller: flow, head, power, vibration, temperature, and the
/// share of the vibration at the vane-pass frequency.
///
/// # Source
///
/// The affinity laws and the shape of the pump curve as in [`crate::pump`]; cavitation takes head and adds noise.
pub fn pump(n_machines: u32, rows_per_machine: u32, seed: u64) -> Labelled {
    const COLUMNS: [&str; 6] = [
        "flow_m3h",
        "discharge_pressure_bar",
        "power_kw",
        "vibration_mm_s",
        "bearing_temperature_c",
        "vane_pass_share",
    ];
    let mut rng = stream(seed, "pump");
    let mut table = Labelled::empty(&COLUMNS, "centrifugal pumps with bearing wear, cavitation and impeller wear");
    for machine in 0..n_machines {
        let kind = if machine % 2 == 0 { 0 } else { 1 + machine / 2 % 3 };
        let (size, ambient) = ((0.1 * normal(&mut rng)).exp(), 20.0 + 4.0 * normal(&mut rng));
        for _ in 0..rows_per_machine {
            let load: f64 = rng.random_range(0.5..1.1);
            let severity = if kind == 0 { 0.0 } else { rng.random_range(0.2..1.0) };
            let [wear, cavitation, impeller] = [1, 2, 3].map(|own| if own == kind { severity } else { 0.0 });
            let noise = |rng: &mut Pcg64, sigma: f64| 1.0 + sigma * normal(rng);
            let flow = 120.0 * size * load * (1.0 - 0.25 * impeller - 0.1 * cavitation) * noise(&mut rng, 0.02);
            let head = 6.0 * (1.25 - 0.25 * load * load) * (1.0 - 0.2 * impeller - 0.15 * cavitation);
            let pressure = head * noise(&mut rng, 0.015 + 0.04 * cavitation);
            let power = size * (8.0 + 14.0 * load) * (1.0 + 0.06 * wear - 0.08 * impeller) * noise(&mut rng, 0.02);
            let vibration = (1.4 + 0.4 * load + 3.5 * wear + 2.0 * cavitation) * noise(&mut rng, 0.12);
            let temperature = ambient + 4.0 + 40.0 * load + 20.0 * wear + 1.5 * normal(&mut rng);
            let vane_pass = (0.3 - 0.15 * cavitation + 0.12 * impeller) * noise(&mut rng, 0.15);
            let row = vec![flow, pressure, power, vibration, temperature, vane_pass];
            table.push(machine, row, f64::from(u8::from(0 < kind)));
        }
    }
    table
}

/// Sounds of fans in a noisy hall as levels in octave bands, with the centre and the flatness of the spectrum. Half of
/// the machines are out of balance, rub, or leak.
///
/// The bands are centred on 125 Hz to 8 kHz; the noise of the hall falls by 3 dB per octave and differs by machine.
pub fn audio(n_machines: u32, rows_per_machine: u32, seed: u64) -> Labelled {
    const COLUMNS: [&str; 9] = [
        "band_125_db",
        "band_250_db",
        "band_500_db",
        "band_1000_db",
        "band_2000_db",
        "band_4000_db",
        "band_8000_db",
        "centroid_hz",
        "flatness",
    ];
    let mut rng = stream(seed, "audio");
    let mut table = Labelled::empty(&COLUMNS, "fans in a noisy hall: imbalance, rubbing and leaks in octave bands");
    for machine in 0..n_machines {
        let kind = if machine % 2 == 0 { 0 } else { 1 + machine / 2 % 3 };
        let (hall, own) = (2.0 * normal(&mut rng), 1.5 * normal(&mut rng));
        for _ in 0..rows_per_machine {
            let severity: f64 = if kind == 0 { 0.0 } else { rng.random_range(0.3..1.0) };
            let power: Vec<f64> = (0..7)
                .map(|band| {
                    let noise = 62.0 + hall - 3.0 * f64::from(band) + 1.5 * normal(&mut rng);
                    let hum = 66.0 + own - 5.0 * f64::from(band) + 1.0 * normal(&mut rng);
                    let fault = match (kind, band) {
                        (1, 0) => 8.0,
                        (1, 1) => 4.0,
                        (2, 4 | 5) => 7.0,
                        (3, 5 | 6) => 9.0,
                        _ => 0.0,
                    };
                    let extra = 55.0 + 10.0 * severity + fault;
                    let sum = 10.0_f64.powf(noise / 10.0) + 10.0_f64.powf(hum / 10.0);
                    sum + if 0.0 < fault { 10.0_f64.powf(extra / 10.0) * severity } else { 0.0 }
                })
                .collect();
            let total: f64 = power.iter().sum();
            let centres = (0..7).map(|band| 125.0 * 2.0_f64.powi(band));
            let centroid = power.iter().zip(centres).map(|(power, centre)| power * centre).sum::<f64>() / total;
            let geometric = (power.iter().map(|power| power.ln()).sum::<f64>() / 7.0).exp();
            let mut row: Vec<f64> = power.iter().map(|power| 10.0 * power.log10()).collect();
            row.extend([centroid, geometric / (total / 7.0)]);
            table.push(machine, row, f64::from(u8::from(0 < kind)));
        }
    }
    table
}

/// Single values of sensors with a daily course, each with the five before it; one in twenty is a spike, a step or a
/// value that is stuck after a change. Values are in standard deviations of their sensor.
pub fn single_values(n_sensors: u32, rows_per_sensor: u32, seed: u64) -> Labelled {
    const COLUMNS: [&str; 7] =
        ["value", "value_lag_1", "value_lag_2", "value_lag_3", "value_lag_4", "value_lag_5", "quality"];
    let mut rng = stream(seed, "single values");
    let mut table = Labelled::empty(&COLUMNS, "sensors with a daily course, spikes and steps");
    for sensor in 0..n_sensors {
        let (mut noise, mut past) = (0.0, Vec::new());
        for at in 0..rows_per_sensor + 5 {
            noise = 0.7 * noise + 0.5 * normal(&mut rng);
            let calm = 0.6 * (TAU * f64::from(at) / 288.0).sin() + noise;
            let odd = rng.random::<f64>() < 0.05;
            let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
            let value = if odd { calm + sign * rng.random_range(4.0..9.0) } else { calm };
            let quality: f64 = if odd { rng.random_range(0.6..1.0) } else { rng.random_range(0.85..1.0) };
            if 5 <= past.len() {
                let lags = past[past.len() - 5..].iter().rev().copied();
                let row = std::iter::once(value).chain(lags).chain([quality]).collect();
                table.push(sensor, row, f64::from(u8::from(odd)));
            }
            past.push(calm);
        }
    }
    table
}

/// Sensors with a course that repeats every 24 rows, a slow walk and noise; the label is the value itself.
pub fn sensors(n_sensors: u32, rows_per_sensor: u32, seed: u64) -> Labelled {
    let mut rng = stream(seed, "sensors");
    let mut table = Labelled::empty(&["value"], "sensors with a daily course of 24 steps");
    for sensor in 0..n_sensors {
        let (phase, mut walk): (f64, f64) = (rng.random(), 20.0);
        for at in 0..rows_per_sensor {
            walk += 0.05 * normal(&mut rng);
            let value = walk + 3.0 * (TAU * (f64::from(at) / 24.0 + phase)).sin() + 0.5 * normal(&mut rng);
            table.push(sensor, vec![value], value);
        }
    }
    table
}

/// Runs of engines to their failure, a step per cycle: six channels that drift as the engine wears.
///
/// The label is the number of cycles that remain.
///
/// # Source
///
/// Saxena et al., *Damage Propagation Modeling for Aircraft Engine Run-to-Failure Simulation*, PHM 2008: wear grows
/// exponentially from an unknown start at an unknown rate, and shows in noisy channels.
pub fn turbofan(n_engines: u32, seed: u64) -> Labelled {
    const COLUMNS: [&str; 6] = [
        "fan_outlet_temperature",
        "core_outlet_pressure",
        "core_speed",
        "bypass_ratio",
        "bleed_enthalpy",
        "fuel_flow_ratio",
    ];
    // How far each channel has moved at the failure, in standard deviations of its noise.
    const DRIFTS: [f64; 6] = [4.5, -5.0, 3.0, 4.0, 3.5, -4.8];
    let mut rng = stream(seed, "turbofan");
    let mut table = Labelled::empty(&COLUMNS, "turbofan engines whose wear grows exponentially (Saxena et al. 2008)");
    for engine in 0..n_engines {
        let life = rng.random_range(130..340_u32);
        let (start, rate) = (0.08 * normal(&mut rng).abs(), rng.random_range(2.5..4.5));
        let offsets: Vec<f64> = DRIFTS.iter().map(|_| 0.4 * normal(&mut rng)).collect();
        for cycle in 1..=life {
            let age = f64::from(cycle) / f64::from(life);
            let wear = start + (1.0 - start) * ((rate * age).exp_m1() / f64::exp_m1(rate));
            let row = DRIFTS.iter().zip(&offsets).map(|(drift, offset)| offset + drift * wear + normal(&mut rng));
            let row = row.collect();
            table.push(engine, row, f64::from(life - cycle));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(table: &Labelled) -> f64 {
        table.labels.iter().filter(|label| **label == 1.0).count() as f64 / table.labels.len() as f64
    }

    fn mean(table: &Labelled, column: usize, label: f64) -> f64 {
        let own: Vec<f64> = table
            .rows
            .iter()
            .zip(&table.labels)
            .filter(|(_, own)| **own == label)
            .map(|(row, _)| row[column])
            .collect();
        own.iter().sum::<f64>() / own.len() as f64
    }

    #[test]
    fn a_milling_machine_fails_seldom_and_by_its_rules() {
        let table = milling(20_000, 1);
        assert!((0.015..0.08).contains(&share(&table)), "{}", share(&table));
        let speed = table.rows.iter().map(|row| row[3]).sum::<f64>() / 20_000.0;
        assert!((1_400.0..1_650.0).contains(&speed), "{speed}");
        for (row, label) in table.rows.iter().zip(&table.labels) {
            let power = row[3] * row[4] * TAU / 60.0;
            let must = !(3_500.0..=9_000.0).contains(&power) || (row[2] - row[1] < 8.6 && row[3] < 1_380.0);
            assert!(!must || *label == 1.0, "{row:?}");
        }
    }

    #[test]
    fn faults_show_where_they_should() {
        let vibration = vibration(12, 20, 1);
        assert!((0.15..0.6).contains(&share(&vibration)), "{}", share(&vibration));
        assert!(1.5 * mean(&vibration, 3, 0.0) < mean(&vibration, 3, 1.0));
        let pump = pump(12, 50, 1);
        assert!(mean(&pump, 3, 0.0) + 0.5 < mean(&pump, 3, 1.0));
        let audio = audio(12, 50, 1);
        assert!(mean(&audio, 5, 0.0) + 1.0 < mean(&audio, 5, 1.0));
        let values = single_values(4, 500, 1);
        assert!((0.03..0.07).contains(&share(&values)), "{}", share(&values));
    }

    #[test]
    fn an_engine_runs_to_its_end() {
        let table = turbofan(5, 1);
        for engine in 0..5 {
            let own: Vec<f64> = (0..table.rows.len())
                .filter(|row| table.machines[*row] == engine)
                .map(|row| table.labels[row])
                .collect();
            assert_eq!((own[own.len() - 1], own[0]), (0.0, (own.len() - 1) as f64));
        }
        assert_eq!(turbofan(5, 1), turbofan(5, 1));
        assert_ne!(turbofan(5, 1), turbofan(5, 2));
    }
}
