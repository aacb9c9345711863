//! Trains a version: parts the rows by machine, fits on one part, sets thresholds on another, measures on the third.

use super::artefact::{Artefact, Bin, Estimator, FORMAT};
use super::catalogue::{Derived, Method, Recipe, SEED, Task};
use super::table::{Table, TableError};
use analytics::conformal::{Bands, coverage};
use analytics::forecast::{self, Method as Forecasting};
use analytics::forest::Forest;
use analytics::remaining_life::{self, Fusion, Windows};
use analytics::scores::{self, Confusion};
use analytics::support_vectors::{self, Machine};
use analytics::trees::{boosting, forest};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Looks back over which the columns of the remaining life are made: two hundred steps are most machines' whole run.
///
/// Chosen by five folds over the engines that C-MAPSS gives to train on, each foretold by models of the others: the error
/// of a life capped at [`LIFE_MAX`] is 12.1 on FD001 and 10.6 on FD003 for (5, 30, 10), 9.7 and 8.9 for these; with the
/// channels weighed together 9.6 and 9.6 for (10, 120, 20), 9.4 and 9.1 for (20, 200, 20), 9.2 and 9.0 for these.
pub const WINDOWS: Windows = Windows { short: 10, long: 200, start: 20 };
/// A life beyond this is not told apart: early on nothing shows yet.
pub const LIFE_MAX: f64 = 125.0;
/// Level of all intervals.
pub const LEVEL: f64 = 0.9;
/// Intervals of the remaining life are told apart by so many sizes of the prediction.
pub const BANDS: usize = 12;

const ROWS_MIN: usize = 100;
const BACKGROUND_ROWS: usize = 8;
const DRAWS: usize = 200;
/// Share of healthy rows that an anomaly detector calls anomalous.
const FALSE_ALARMS: f64 = 0.01;
/// Rows of one machine that stay together when there is but one machine.
const BLOCK: usize = 20;
/// Upper ends of the bins in which probabilities are held against what came.
const BINS: [f64; 8] = [0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0];

/// One figure of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured on the rows of the test part.
    pub value: f64,
    /// 90 % interval by the bootstrap, machines drawn as a whole where there are several.
    pub interval: Option<(f64, f64)>,
}

/// What a version learnt from, how well it does, and what it is not for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What it is, in words.
    pub description: String,
    /// What it says.
    pub task: Task,
    /// The kind of sensor it is recommended for.
    pub sensor_type: String,
    /// Where the rows come from.
    pub data: String,
    /// Until when the rows reach; for simulated ones the moment of training.
    pub data_until: String,
    /// How the rows were parted.
    pub split: String,
    /// Rows fitted on, rows that thresholds were set on, rows measured on.
    pub n_rows: [usize; 3],
    /// Columns that a request must name.
    pub inputs: Vec<String>,
    /// Columns that the model sees.
    pub columns: Vec<String>,
    /// Measured on rows that neither the fit nor the thresholds had seen.
    pub figures: BTreeMap<String, Figure>,
    /// What is compared with: the figure named in `compared`, for an answer that is always the same.
    pub baseline: f64,
    /// The figure that counts.
    pub compared: String,
    /// Whether the version beats the baseline, its interval included.
    pub beats_baseline: bool,
    /// What it is not for.
    pub limits: String,
    /// Seed of what the fit leaves to chance.
    pub seed: u64,
}

/// Fits `recipe` on `table`; `data_until` says until when the rows reach.
///
/// # Errors
///
/// A column leaks the label or is missing, or there is too little to learn from.
pub fn fit(recipe: &Recipe, table: &Table, data_until: &str) -> Result<(Artefact, Card), TableError> {
    if recipe.task == Task::Forecasting {
        return forecaster(recipe, table, data_until);
    }
    let table = chosen(recipe, table)?;
    table.check_leaks()?;
    let table = if recipe.task == Task::RemainingLife { windows(&table) } else { table };
    if table.rows.len() < ROWS_MIN {
        return Err(TableError::TooLittle(format!("{} rows, at least {ROWS_MIN} are needed", table.rows.len())));
    }
    let [train, tune, test] = parts(&table);
    let seen: Vec<Vec<f64>> = table.rows.iter().map(|row| recipe.derived.of(row)).collect();
    let scaling = if scaled(recipe.method) { scaling(&seen, &train) } else { Vec::new() };
    let mut artefact = Artefact {
        format: FORMAT,
        name: recipe.name.to_owned(),
        task: recipe.task,
        inputs: table.columns.clone(),
        derived: recipe.derived,
        scaling,
        estimator: Estimator::Forecaster,
        threshold: 0.5,
        calibration: None,
        reliability: Vec::new(),
        bands: None,
        background: Vec::new(),
    };
    let seen: Vec<Vec<f64>> = table.rows.iter().map(|row| artefact.seen(row)).collect();
    artefact.estimator = estimator(recipe, &seen, &table.labels, &train)
        .ok_or_else(|| TableError::TooLittle("the training part does not hold rows of both kinds".to_owned()))?;
    // As the estimator that there is now sees them.
    let seen: Vec<Vec<f64>> = table.rows.iter().map(|row| artefact.seen(row)).collect();
    let step = (train.len() / BACKGROUND_ROWS).max(1);
    artefact.background = train.iter().step_by(step).take(BACKGROUND_ROWS).map(|row| seen[*row].clone()).collect();
    tune_to(&mut artefact, &seen, &table.labels, &tune)?;
    let card = card(recipe, &artefact, &table, &seen, [&train, &tune, &test], data_until);
    Ok((artefact, card))
}

/// The columns that the recipe names, or all.
fn chosen(recipe: &Recipe, table: &Table) -> Result<Table, TableError> {
    if recipe.inputs.is_empty() {
        return Ok(table.clone());
    }
    let at = |name: &&str| {
        let found = table.columns.iter().position(|column| column == name);
        found.ok_or_else(|| TableError::Missing((*name).to_owned()))
    };
    let places = recipe.inputs.iter().map(at).collect::<Result<Vec<_>, _>>()?;
    Ok(Table {
        columns: recipe.inputs.iter().map(|name| (*name).to_owned()).collect(),
        rows: table.rows.iter().map(|row| places.iter().map(|at| row[*at]).collect()).collect(),
        ..table.clone()
    })
}

/// Each run as the columns of its remaining life, the life capped.
fn windows(table: &Table) -> Table {
    let mut runs: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    table.machines.iter().enumerate().for_each(|(row, machine)| runs.entry(*machine).or_default().push(row));
    let made = table.columns.iter().flat_map(|name| remaining_life::names(name, WINDOWS));
    let columns = made.chain([remaining_life::AGE.to_owned()]).collect();
    let mut made = Table { columns, rows: Vec::new(), labels: Vec::new(), machines: Vec::new(), ..table.clone() };
    for (machine, rows) in runs {
        let run =
            Array2::from_shape_fn((rows.len(), table.columns.len()), |(step, column)| table.rows[rows[step]][column]);
        for (step, row) in remaining_life::columns(&run.view(), WINDOWS).rows().into_iter().zip(rows) {
            made.rows.push(step.to_vec());
            made.labels.push(table.labels[row].min(LIFE_MAX));
            made.machines.push(machine);
        }
    }
    made
}

/// Rows to fit on, to tune on and to measure on: 60, 20 and 20 of 100 machines, or of blocks of rows of the only one.
fn parts(table: &Table) -> [Vec<usize>; 3] {
    let single = table.machines.iter().all(|machine| *machine == table.machines[0]);
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for row in 0..table.rows.len() {
        let unit = if single { row / BLOCK } else { table.machines[row] as usize };
        // A multiplier without a common divisor with 5 takes neighbours to different parts; machines that alternate
        // between healthy and faulty do not fall to one side.
        let part = match (unit / 2 * 7 + unit / 10) % 5 {
            0 => 2,
            1 => 1,
            _ => 0,
        };
        parts[part].push(row);
    }
    parts
}

fn scaled(method: Method) -> bool {
    matches!(method, Method::SupportVectors | Method::OneClass)
}

fn scaling(rows: &[Vec<f64>], train: &[usize]) -> Vec<(f64, f64)> {
    let n = train.len().max(1) as f64;
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns)
        .map(|column| {
            let mean = train.iter().map(|row| rows[*row][column]).sum::<f64>() / n;
            let square = train.iter().map(|row| (rows[*row][column] - mean).powi(2)).sum::<f64>() / n;
            (mean, if 0.0 < square { square.sqrt() } else { 1.0 })
        })
        .collect()
}

fn estimator(recipe: &Recipe, seen: &[Vec<f64>], labels: &[f64], train: &[usize]) -> Option<Estimator> {
    let n_columns = seen.first()?.len();
    let of = |rows: &[usize]| Array2::from_shape_fn((rows.len(), n_columns), |(row, column)| seen[rows[row]][column]);
    let targets: Vec<f64> = train.iter().map(|row| labels[*row]).collect();
    let healthy: Vec<usize> = train.iter().copied().filter(|row| labels[*row] == 0.0).collect();
    let thinned = |rows: &[usize], most: usize| -> Vec<usize> {
        rows.iter().copied().step_by(rows.len().div_ceil(most).max(1)).collect()
    };
    let gamma = 1.0 / n_columns as f64;
    let weights = vec![1.0; train.len()];
    match recipe.method {
        Method::Forest(settings) => {
            let fitted = forest::fit(&of(train).view(), &targets, &weights, &settings)?;
            Some(Estimator::Forest(fitted.forest))
        }
        Method::Boosting(settings) => {
            boosting::fit(&of(train).view(), &targets, &weights, &settings).map(Estimator::Boosted)
        }
        Method::Fused(settings) => {
            let fusion = Fusion::fit(&of(train).view(), &targets)?;
            let extended: Vec<Vec<f64>> = train.iter().map(|row| fusion.extended(&seen[*row])).collect();
            let n_extended = extended.first()?.len();
            let rows = Array2::from_shape_fn((train.len(), n_extended), |(row, column)| extended[row][column]);
            boosting::fit(&rows.view(), &targets, &weights, &settings).map(|trees| Estimator::Fused(fusion, trees))
        }
        Method::SupportVectors => {
            // Every failure, and as many healthy rows as the machine takes.
            let failed: Vec<usize> = train.iter().copied().filter(|row| labels[*row] == 1.0).collect();
            let room = (support_vectors::ROWS_MAX / 2).saturating_sub(failed.len()).max(1);
            let rows: Vec<usize> = failed.iter().copied().chain(thinned(&healthy, room)).collect();
            let targets: Vec<f64> = rows.iter().map(|row| labels[*row]).collect();
            Machine::classifier(&of(&rows).view(), &targets, [10.0, 30.0], 2.0 * gamma).map(Estimator::Border)
        }
        Method::OneClass => {
            let rows = thinned(&healthy, support_vectors::ROWS_MAX / 4);
            Machine::one_class(&of(&rows).view(), 0.02, 0.5 * gamma).map(Estimator::Around)
        }
        Method::Isolation => Forest::fit(&of(&healthy).view(), 100, 256, 42).map(Estimator::Isolation),
        Method::Forecaster => None,
    }
}

/// Sets what is set on rows that were not fitted on.
fn tune_to(artefact: &mut Artefact, seen: &[Vec<f64>], labels: &[f64], tune: &[usize]) -> Result<(), TableError> {
    let truths: Vec<bool> = tune.iter().map(|row| labels[*row] == 1.0).collect();
    match artefact.task {
        Task::Classification => {
            if let Estimator::Border(machine) = &artefact.estimator {
                let decisions: Vec<f64> = tune.iter().map(|row| machine.decision(&seen[*row])).collect();
                artefact.calibration = Some(platt(&decisions, &truths));
            }
            let outputs: Vec<f64> = tune.iter().map(|row| artefact.output(&seen[*row])).collect();
            artefact.reliability = reliability(&outputs, &truths);
            // Too few failures to choose a threshold by would choose it by chance.
            if 50 <= truths.iter().filter(|truth| **truth).count() {
                artefact.threshold = scores::best_threshold(&outputs, &truths).unwrap_or(0.5);
            }
        }
        Task::AnomalyDetection => {
            let healthy = tune.iter().filter(|row| labels[**row] == 0.0);
            let outputs: Vec<f64> = healthy.map(|row| artefact.output(&seen[*row])).collect();
            artefact.threshold = analytics::conformal::quantile(&outputs, 1.0 - FALSE_ALARMS).ok_or_else(|| {
                TableError::TooLittle(format!("{} healthy rows to set the threshold on", outputs.len()))
            })?;
        }
        Task::RemainingLife | Task::Forecasting | Task::Regression => {
            let outputs: Vec<f64> = tune.iter().map(|row| artefact.output(&seen[*row]).clamp(0.0, LIFE_MAX)).collect();
            let truths: Vec<f64> = tune.iter().map(|row| labels[*row]).collect();
            artefact.bands = Bands::fit(&outputs, &truths, LEVEL, BANDS);
        }
    }
    Ok(())
}

fn reliability(outputs: &[f64], truths: &[bool]) -> Vec<Bin> {
    let mut from = f64::NEG_INFINITY;
    BINS.iter()
        .map(|up_to| {
            let inside = outputs.iter().zip(truths).filter(|(output, _)| from < **output && **output <= *up_to);
            let (mut n_rows, mut n_failures) = (0, 0);
            inside.for_each(|(_, truth)| {
                n_rows += 1;
                n_failures += u32::from(*truth);
            });
            from = *up_to;
            Bin { up_to: *up_to, n_rows, n_failures }
        })
        .collect()
}

/// Slope and offset of the logistic curve through decisions and truths, by Newton's method.
///
/// # Source
///
/// Platt, *Probabilistic Outputs for Support Vector Machines*, 1999, with his targets that leave room at 0 and 1.
fn platt(decisions: &[f64], truths: &[bool]) -> (f64, f64) {
    let n_true = truths.iter().filter(|truth| **truth).count() as f64;
    let n_false = truths.len() as f64 - n_true;
    let target = |truth: bool| if truth { (n_true + 1.0) / (n_true + 2.0) } else { 1.0 / (n_false + 2.0) };
    let (mut slope, mut offset) = (1.0, ((n_true + 1.0) / (n_false + 1.0)).ln());
    for _ in 0..50 {
        let (mut g, mut h) = ([0.0; 2], [[1e-6, 0.0], [0.0, 1e-6]]);
        for (decision, truth) in decisions.iter().zip(truths) {
            let chance = analytics::trees::sigmoid(slope * decision + offset);
            let (error, weight) = (chance - target(*truth), chance * (1.0 - chance));
            g[0] += error * decision;
            g[1] += error;
            h[0][0] += weight * decision * decision;
            h[0][1] += weight * decision;
            h[1][1] += weight;
        }
        let determinant = h[0][0] * h[1][1] - h[0][1] * h[0][1];
        let by = [(h[1][1] * g[0] - h[0][1] * g[1]) / determinant, (h[0][0] * g[1] - h[0][1] * g[0]) / determinant];
        // A step that leaps is cut short: far out the curve is flat and says little.
        let size = by[0].abs().max(by[1].abs());
        let share = if 2.0 < size { 2.0 / size } else { 1.0 };
        slope -= share * by[0];
        offset -= share * by[1];
        if size < 1e-9 {
            break;
        }
    }
    (slope, offset)
}

fn card(
    recipe: &Recipe,
    artefact: &Artefact,
    table: &Table,
    seen: &[Vec<f64>],
    [train, tune, test]: [&[usize]; 3],
    data_until: &str,
) -> Card {
    let outputs: Vec<f64> = test.iter().map(|row| artefact.output(&seen[*row])).collect();
    let labels: Vec<f64> = test.iter().map(|row| table.labels[*row]).collect();
    let units: Vec<u32> = test.iter().map(|row| table.machines[*row]).collect();
    let (figures, compared, baseline, beats) = match recipe.task {
        Task::RemainingLife | Task::Forecasting | Task::Regression => {
            lives(artefact, table, train, &outputs, &labels, &units)
        }
        _ => classes(artefact, &outputs, &labels, &units),
    };
    let single = table.machines.iter().all(|machine| *machine == table.machines[0]);
    let unit = if single { "blocks of 20 rows" } else { "machines" };
    Card {
        description: recipe.description.to_owned(),
        task: recipe.task,
        sensor_type: recipe.sensor_type.to_owned(),
        data: table.source.clone(),
        data_until: data_until.to_owned(),
        split: format!("60 % of the {unit} to fit on, 20 % to set thresholds on, 20 % to measure on"),
        n_rows: [train.len(), tune.len(), test.len()],
        inputs: artefact.inputs.clone(),
        columns: artefact.columns(),
        figures,
        baseline,
        compared: compared.to_owned(),
        beats_baseline: beats,
        limits: format!(
            "{}Learnt from: {}. On other machines its figures need not hold; train it on your own rows before you rely on it.",
            verdict(beats),
            table.source
        ),
        seed: SEED,
    }
}

/// What a card says first of a version that should not be relied on.
fn verdict(beats_baseline: bool) -> &'static str {
    if beats_baseline { "" } else { "No better than an answer that is always the same. " }
}

/// A figure of probabilities and what came.
type OfClasses<'a> = dyn Fn(&[f64], &[bool]) -> Option<f64> + 'a;
/// A figure of values and what came.
type OfValues<'a> = dyn Fn(&[f64], &[f64]) -> Option<f64> + 'a;
type Measured = (BTreeMap<String, Figure>, &'static str, f64, bool);

fn classes(artefact: &Artefact, outputs: &[f64], labels: &[f64], units: &[u32]) -> Measured {
    let truths: Vec<bool> = labels.iter().map(|label| *label == 1.0).collect();
    let threshold = artefact.threshold;
    let all = |of: fn(&Confusion) -> f64| {
        move |outputs: &[f64], truths: &[bool]| Some(of(&Confusion::at(threshold, outputs, truths)))
    };
    let mut figures = BTreeMap::new();
    let mut measure = |name: &str, statistic: &OfClasses<'_>| {
        let value = statistic(outputs, &truths)?;
        let interval = drawn(units, |rows| {
            let own: (Vec<f64>, Vec<bool>) = rows.iter().map(|row| (outputs[*row], truths[*row])).unzip();
            statistic(&own.0, &own.1)
        });
        figures.insert(name.to_owned(), Figure { value, interval });
        Some(interval)
    };
    measure("f1", &all(Confusion::f1));
    measure("mcc", &all(Confusion::mcc));
    measure("precision", &all(Confusion::precision));
    measure("recall", &all(Confusion::recall));
    measure("roc_auc", &scores::roc_auc);
    let area = measure("pr_auc", &scores::pr_auc).flatten();
    let share = truths.iter().filter(|truth| **truth).count() as f64 / truths.len().max(1) as f64;
    // An answer that is always the same has a precision equal to the share of failures at any recall.
    (figures, "pr_auc", share, area.is_some_and(|(low, _)| share < low))
}

fn lives(
    artefact: &Artefact,
    table: &Table,
    train: &[usize],
    outputs: &[f64],
    labels: &[f64],
    units: &[u32],
) -> Measured {
    let outputs: Vec<f64> = outputs.iter().map(|output| output.clamp(0.0, LIFE_MAX)).collect();
    let mean = train.iter().map(|row| table.labels[*row]).sum::<f64>() / train.len().max(1) as f64;
    let picked = |rows: &[usize], values: &[f64]| rows.iter().map(|row| values[*row]).collect::<Vec<f64>>();
    let mut figures = BTreeMap::new();
    let mut measure = |name: &str, statistic: &OfValues<'_>| {
        let value = statistic(&outputs, labels)?;
        let interval = drawn(units, |rows| statistic(&picked(rows, &outputs), &picked(rows, labels)));
        figures.insert(name.to_owned(), Figure { value, interval });
        Some(interval)
    };
    let error = measure("rmse", &scores::rmse).flatten();
    measure("mae", &scores::mae);
    measure("interval_coverage", &|outputs, labels| {
        let bands = artefact.bands.as_ref()?;
        coverage(&outputs.iter().map(|output| bands.around(*output)).collect::<Vec<_>>(), labels)
    });
    let baseline = scores::rmse(&vec![mean; labels.len()], labels).unwrap_or(f64::NAN);
    (figures, "rmse", baseline, error.is_some_and(|(_, high)| high < baseline))
}

/// Interval of 90 % of a statistic over rows, whole machines drawn with replacement where there are several.
fn drawn(units: &[u32], statistic: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
    let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    units.iter().enumerate().for_each(|(row, unit)| groups.entry(*unit).or_default().push(row));
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    if groups.len() < 2 {
        return scores::bootstrap(units.len(), DRAWS, LEVEL, 42, statistic);
    }
    scores::bootstrap(groups.len(), DRAWS, LEVEL, 42, |drawn| {
        let rows: Vec<usize> = drawn.iter().flat_map(|group| groups[*group].iter().copied()).collect();
        statistic(&rows)
    })
}

/// The choice among forecasting methods, measured against the last value on the end of each sensor's series.
fn forecaster(recipe: &Recipe, table: &Table, data_until: &str) -> Result<(Artefact, Card), TableError> {
    const AHEAD: usize = 24;
    let mut sensors: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    table.machines.iter().zip(&table.labels).for_each(|(own, value)| sensors.entry(*own).or_default().push(*value));
    let (mut errors, mut naive, mut inside) = (Vec::new(), Vec::new(), Vec::new());
    let mut n_history = 0;
    for series in sensors.values().filter(|series| 4 * AHEAD <= series.len()) {
        let (past, came) = series.split_at(series.len() - AHEAD);
        n_history += past.len();
        let periods = forecast::periods(past, &[AHEAD, 288]);
        let Some(said) = forecast::forecast(past, &periods, AHEAD, LEVEL) else { continue };
        let last = Forecasting::Last.forecast(past, &[], AHEAD).unwrap_or_default();
        let error = |said: &[f64]| scores::mae(said, came).unwrap_or(f64::NAN);
        errors.push(error(&said.points));
        naive.push(error(&last));
        inside.extend(said.intervals.and_then(|intervals| coverage(&intervals, came)));
    }
    if errors.len() < 2 {
        return Err(TableError::TooLittle("at least two sensors with 96 values each are needed".to_owned()));
    }
    let mean = |values: &[f64], rows: &[usize]| {
        Some(rows.iter().map(|row| values[*row]).sum::<f64>() / rows.len().max(1) as f64)
            .filter(|mean| mean.is_finite())
    };
    let all: Vec<usize> = (0..errors.len()).collect();
    let figure = |values: &[f64]| Figure {
        value: mean(values, &all).unwrap_or(f64::NAN),
        interval: scores::bootstrap(values.len(), DRAWS, LEVEL, 42, |rows| mean(values, rows)),
    };
    let mut figures = BTreeMap::from([("mae".to_owned(), figure(&errors))]);
    if inside.len() == errors.len() {
        figures.insert("interval_coverage".to_owned(), figure(&inside));
    }
    let baseline = mean(&naive, &all).unwrap_or(f64::NAN);
    let beats = figures["mae"].interval.is_some_and(|(_, high)| high < baseline);
    let artefact = Artefact {
        format: FORMAT,
        name: recipe.name.to_owned(),
        task: recipe.task,
        inputs: Vec::new(),
        derived: Derived::AsGiven,
        scaling: Vec::new(),
        estimator: Estimator::Forecaster,
        threshold: 0.0,
        calibration: None,
        reliability: Vec::new(),
        bands: None,
        background: Vec::new(),
    };
    let card = Card {
        description: recipe.description.to_owned(),
        task: recipe.task,
        sensor_type: recipe.sensor_type.to_owned(),
        data: table.source.clone(),
        data_until: data_until.to_owned(),
        split: format!("the last {AHEAD} values of each sensor to measure on, those before to choose the method by"),
        n_rows: [n_history, 0, AHEAD * errors.len()],
        inputs: Vec::new(),
        columns: Vec::new(),
        figures,
        baseline,
        compared: "mae".to_owned(),
        beats_baseline: beats,
        limits: format!(
            "{}Nothing is carried from one sensor to another: each forecast rests on that sensor's own history.",
            verdict(beats)
        ),
        seed: SEED,
    };
    Ok((artefact, card))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{self, CATALOGUE, Source};
    use super::*;
    use serde_json::{Map, Value, json};
    use simulations::labelled::{self, Labelled};

    fn table(drawn: Labelled) -> Table {
        Table {
            columns: drawn.columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: drawn.rows,
            labels: drawn.labels,
            machines: drawn.machines,
            source: drawn.source.to_owned(),
        }
    }

    fn drawn(source: Source) -> Table {
        table(match source {
            Source::Milling => labelled::milling(4_000, 1),
            Source::Vibration => labelled::vibration(60, 12, 1),
            Source::Pump => labelled::pump(60, 20, 1),
            Source::Audio => labelled::audio(60, 20, 1),
            Source::SingleValues => labelled::single_values(30, 100, 1),
            Source::Turbofan => labelled::turbofan(30, 1),
            Source::Sensors => labelled::sensors(10, 400, 1),
        })
    }

    #[test]
    fn every_model_is_better_than_an_answer_that_is_always_the_same() {
        for recipe in CATALOGUE {
            let (artefact, card) = fit(recipe, &drawn(recipe.source), "2026-01-01").expect(recipe.name);
            let (bytes, sha256) = artefact.packed().expect("numbers and names");
            // By its bytes: a leaf may hold what equals nothing.
            let again = Artefact::unpacked(&bytes, &sha256).expect("whole").packed().expect("numbers and names");
            assert!(again == (bytes, sha256), "{}", recipe.name);
            assert!(card.beats_baseline, "{}: {card:?}", recipe.name);
            // Each figure has its interval, and the card says what was parted how, and what it is not for.
            assert!(card.figures.contains_key(&card.compared), "{}", recipe.name);
            assert!(card.figures.values().all(|figure| figure.interval.is_some()), "{}: {card:?}", recipe.name);
            let words = [&card.data, &card.data_until, &card.split, &card.limits];
            assert!(words.iter().all(|words| !words.is_empty()), "{}: {card:?}", recipe.name);
        }
    }

    #[test]
    fn a_model_that_learnt_nothing_says_so() {
        // Given pumps whose faults have nothing to do with what was measured,
        let mut table = drawn(Source::Pump);
        for (label, machine) in table.labels.iter_mut().zip(&table.machines) {
            *label = f64::from(machine.wrapping_mul(2_654_435_761) >> 31);
        }
        let recipe = catalogue::find("pump_classifier_randomforest").expect("in the catalogue");
        let (_, card) = fit(recipe, &table, "2026-01-01").expect("sound");
        // then the card says that the model is of no use, before it says anything else.
        assert!(!card.beats_baseline, "{card:?}");
        assert!(card.limits.starts_with("No better than an answer that is always the same. "), "{}", card.limits);
    }

    /// `table` with other labels in the part that is measured on.
    fn with_other_truths(recipe: &Recipe, mut table: Table) -> Table {
        let measured = if recipe.task == Task::Forecasting {
            // The end of each sensor's series.
            (0..table.rows.len()).filter(|row| 376 <= row % 400).collect()
        } else {
            let [_, _, test] = parts(&table);
            test
        };
        for row in measured {
            let label = &mut table.labels[row];
            *label = if recipe.task == Task::Classification || recipe.task == Task::AnomalyDetection {
                1.0 - *label
            } else {
                *label + 50.0
            };
        }
        table
    }

    #[test]
    fn no_figure_is_measured_on_what_was_learnt() {
        for recipe in CATALOGUE {
            let fitted = |table: &Table| {
                let (artefact, card) = fit(recipe, table, "2026-01-01").expect(recipe.name);
                (artefact.packed().expect("numbers and names").1, card)
            };
            let table = drawn(recipe.source);
            let ((one, card), (other, changed)) = (fitted(&table), fitted(&with_other_truths(recipe, table.clone())));
            // Other truths in the part that is measured on make other figures, each of them, and the same model.
            assert_eq!(one, other, "{}: the model has seen what it is measured on", recipe.name);
            assert!(0 < card.n_rows[2], "{}: {:?}", recipe.name, card.n_rows);
            for (name, figure) in &card.figures {
                assert_ne!(figure.value, changed.figures[name].value, "{} {name}", recipe.name);
            }
        }
    }

    #[test]
    fn no_machine_is_on_two_sides_of_the_split() {
        let table = drawn(Source::Pump);
        let parts = parts(&table);
        let machines = parts.clone().map(|rows| {
            let mut own: Vec<u32> = rows.iter().map(|row| table.machines[*row]).collect();
            own.dedup();
            own
        });
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), table.rows.len());
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            assert!(machines[one].iter().all(|machine| !machines[other].contains(machine)));
        }
        assert!(machines.iter().all(|own| own.iter().any(|one| one % 2 == 0) && own.iter().any(|one| one % 2 == 1)));
    }

    #[test]
    fn columns_that_leak_the_label_do_not_get_into_a_model() {
        let mut table = drawn(Source::Pump);
        let recipe = catalogue::find("pump_classifier_randomforest").expect("in the catalogue");
        table.columns.push("repaired_afterwards".to_owned());
        for (row, label) in table.rows.iter_mut().zip(&table.labels) {
            row.push(*label);
        }
        // Half of the pumps are ill, so that the label is not rare; make it so.
        let keep: Vec<usize> = (0..table.rows.len()).filter(|row| table.labels[*row] == 0.0 || row % 5 == 0).collect();
        table.rows = keep.iter().map(|row| table.rows[*row].clone()).collect();
        table.machines = keep.iter().map(|row| table.machines[*row]).collect();
        table.labels = keep.iter().map(|row| table.labels[*row]).collect();
        let error = fit(recipe, &table, "").expect_err("the last column is the label");
        assert!(error.to_string().starts_with("column \"repaired_afterwards\" leaks the label"), "{error}");
    }

    #[test]
    fn features_are_named_and_never_made_up() {
        let recipe = catalogue::find("ai4i_classifier_randomforest_baseline").expect("in the catalogue");
        let (artefact, _) = fit(recipe, &drawn(Source::Milling), "").expect("sound");
        let features = |change: &dyn Fn(&mut Map<String, Value>)| {
            let Value::Object(mut features) = json!({
                "Air_temperature_K": 300.0, "Process temperature [K]": "310", "rotational_speed_rpm": 1500,
                "Torque_Nm": 40.0, "Tool_wear_min": 100,
            }) else {
                panic!("an object")
            };
            change(&mut features);
            artefact.row(&features)
        };
        assert_eq!(features(&|_| {}), Ok(vec![300.0, 310.0, 1500.0, 40.0, 100.0]));
        let all = |change: &dyn Fn(&mut Map<String, Value>)| features(change).expect_err("not as it should be");
        let refused = |change: &dyn Fn(&mut Map<String, Value>)| {
            let [one] = &all(change)[..] else { panic!("one feature is not as it should be") };
            one.clone()
        };
        let missing = refused(&|features| drop(features.remove("Torque_Nm")));
        assert_eq!((missing.feature.as_str(), missing.message.as_str()), ("torque_nm", "Field required"));
        let unknown = refused(&|features| drop(features.insert("TWF".to_owned(), json!(1))));
        assert_eq!(unknown.feature, "TWF");
        let text = refused(&|features| drop(features.insert("Torque_Nm".to_owned(), json!("hot"))));
        assert_eq!(text.message, "Input should be a finite number");
        // Each is named, not the first alone.
        let wrong = all(&|features| {
            features.clear();
            features.insert("TWF".to_owned(), json!(1));
            features.insert("Torque_Nm".to_owned(), json!("hot"));
        });
        let named: Vec<&str> = wrong.iter().map(|one| one.feature.as_str()).collect();
        assert_eq!(named[2..], ["air_temperature_k", "process_temperature_k", "rotational_speed_rpm", "tool_wear_min"]);
        assert!(named[..2].contains(&"TWF") && named[..2].contains(&"Torque_Nm"), "{named:?}");
        // Heat that cannot leave, at low speed: a failure by the rules.
        let seen = artefact.seen(&[302.0, 309.5, 1300.0, 55.0, 50.0]);
        let answer = artefact.answer(&seen).expect("its own trees");
        let explainer = artefact.explainer().expect("trees");
        let explained = artefact.explain(Some(&explainer), &seen).expect("trees");
        let sum = explained.base + explained.values.iter().sum::<f64>();
        assert!((sum - answer.probability.expect("a class")).abs() < 1e-9);
    }

    #[test]
    fn a_platt_curve_passes_through_the_shares() {
        // Three in four of the high, one in four of the low.
        let decisions: Vec<f64> = (0..400).map(|row| if row % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let truths: Vec<bool> = (0..400).map(|row| if row % 2 == 0 { row % 8 != 0 } else { row % 8 == 1 }).collect();
        let (slope, offset) = platt(&decisions, &truths);
        assert!((analytics::trees::sigmoid(slope + offset) - 0.75).abs() < 0.01);
        assert!((analytics::trees::sigmoid(offset - slope) - 0.25).abs() < 0.01);
    }
}
