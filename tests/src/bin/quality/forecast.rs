//! Forecasting: transformer temperatures 96 hours ahead, and the hourly series of the M4 competition.

use crate::report::{Must, Report, say};
use analytics::forecast::ridge::{Ridge, Scale};
use analytics::forecast::{self, Method};
use anyhow::{Context as _, ensure};
use std::path::Path;
use std::time::Instant;

const DAY: usize = 24;
const WEEK: usize = 168;
/// Hours looked at and hours foretold of the transformer.
const LOOK_BACK: usize = 336;
const AHEAD: usize = 96;
/// Rows of the usual split: twelve months to train on, four to validate, four to test.
const TRAIN: usize = 12 * 30 * DAY;
const PART: usize = 4 * 30 * DAY;
/// Hours foretold of a series of the M4 competition.
const M4_AHEAD: usize = 48;

/// Measures both.
///
/// # Errors
///
/// A file is missing or does not hold what it should.
pub(crate) fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    transformer(data, report)?;
    m4(data, report)
}

fn transformer(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let file = data.join("ett/ETTh1.csv");
    let mut rows = csv::Reader::from_path(&file).with_context(|| file.display().to_string())?;
    let n_channels = rows.headers()?.len() - 1;
    let mut channels = vec![Vec::new(); n_channels];
    for row in rows.records() {
        let row = row?;
        for (channel, text) in channels.iter_mut().zip(row.iter().skip(1)) {
            channel.push(text.parse::<f64>()?);
        }
    }
    ensure!(TRAIN + 2 * PART <= channels[0].len(), "{}: too few rows", file.display());
    for channel in &mut channels {
        let mean = channel[..TRAIN].iter().sum::<f64>() / TRAIN as f64;
        let sd = (channel[..TRAIN].iter().map(|value| (value - mean).powi(2)).sum::<f64>() / TRAIN as f64).sqrt();
        channel.iter_mut().for_each(|value| *value = (*value - mean) / sd);
    }
    let began = Instant::now();
    let train: Vec<&[f64]> = channels.iter().map(|channel| &channel[..TRAIN]).collect();
    // The penalty is the one that does best on the months for validation.
    let validation = TRAIN - LOOK_BACK..TRAIN + PART;
    let mut best: Option<(f64, f64, Ridge)> = None;
    for penalty in [0.001, 0.01, 0.1, 1.0] {
        let ridge = Ridge::fit(&train, LOOK_BACK, AHEAD, penalty, Scale::One).context("a regression")?;
        let (error, _) = errors(&channels, validation.clone(), |past| ridge.forecast(past))?;
        if best.as_ref().is_none_or(|best| error < best.0) {
            best = Some((error, penalty, ridge));
        }
    }
    let (_, penalty, ridge) = best.context("a regression")?;
    let test = TRAIN + PART - LOOK_BACK..TRAIN + 2 * PART;
    let (square, absolute) = errors(&channels, test.clone(), |past| ridge.forecast(past))?;
    let (naive, naive_absolute) = errors(&channels, test, |past| Method::SeasonalNaive.forecast(past, &[DAY], AHEAD))?;
    report.table("ETTh1, 336 hours to 96, all channels, standardised")?;
    report.figure("ridge, mean squared error", square, Must::AtMost(0.40), "<= 0.370", "ridge 0.373")?;
    report.figure("ridge, mean absolute error", absolute, Must::Shown, "", "0.394")?;
    report.figure("as a day before, mean squared error", naive, Must::Shown, "", "0.512")?;
    report.figure("as a day before, mean absolute error", naive_absolute, Must::Shown, "", "0.433")?;
    say(&format!("  penalty {penalty} by the months for validation; {:.1} s", began.elapsed().as_secs_f64()))
}

/// Mean squared and mean absolute error over all channels and all windows within `span`.
fn errors(
    channels: &[Vec<f64>],
    span: std::ops::Range<usize>,
    forecast: impl Fn(&[f64]) -> Option<Vec<f64>>,
) -> anyhow::Result<(f64, f64)> {
    let (mut squares, mut absolutes, mut n) = (0.0, 0.0, 0.0);
    for channel in channels {
        let own = &channel[span.clone()];
        for from in 0..=own.len() - LOOK_BACK - AHEAD {
            let said = forecast(&own[from..from + LOOK_BACK]).context("a forecast")?;
            for (said, came) in said.iter().zip(&own[from + LOOK_BACK..]) {
                squares += (said - came).powi(2);
                absolutes += (said - came).abs();
                n += 1.0;
            }
        }
    }
    Ok((squares / n, absolutes / n))
}

fn m4(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let folder = data.join("m4_hourly");
    let (past, future) = (series(&folder.join("Hourly-train.csv"))?, series(&folder.join("Hourly-test.csv"))?);
    ensure!(past.len() == future.len(), "Hourly-train.csv and Hourly-test.csv differ in length");
    let began = Instant::now();
    let all: Vec<&[f64]> = past.iter().map(Vec::as_slice).collect();
    // Two weeks look back; the penalty is the one that does best on the last two days of the past.
    let short: Vec<&[f64]> = past.iter().map(|values| &values[..values.len() - M4_AHEAD]).collect();
    let held: Vec<Vec<f64>> = past.iter().map(|values| values[values.len() - M4_AHEAD..].to_vec()).collect();
    let mut best: Option<(f64, f64)> = None;
    for penalty in [1e-6, 1e-5, 1e-4, 1e-3, 1e-2] {
        let ridge = Ridge::fit(&short, 2 * WEEK, M4_AHEAD, penalty, Scale::Spread).context("a regression")?;
        let owa = owa(&short, &held, |values| ridge.forecast(values))?;
        if best.is_none_or(|best| owa < best.0) {
            best = Some((owa, penalty));
        }
    }
    let (_, penalty) = best.context("a regression")?;
    let ridge = Ridge::fit(&all, 2 * WEEK, M4_AHEAD, penalty, Scale::Spread).context("a regression")?;
    let pooled = owa(&all, &future, |values| ridge.forecast(values))?;
    let together = owa(&all, &future, |values| {
        let alone = [Method::DampedTrend, Method::Theta, Method::Ridge];
        let mut said: Vec<Vec<f64>> =
            alone.iter().filter_map(|method| method.forecast(values, &[DAY, WEEK], M4_AHEAD)).collect();
        said.extend([ridge.forecast(values)?, Method::SeasonalNaive.forecast(values, &[DAY], M4_AHEAD)?]);
        Some(forecast::median(&said))
    })?;
    let naive = owa(&all, &future, |values| Method::SeasonalNaive.forecast(values, &[DAY], M4_AHEAD))?;
    let took = began.elapsed().as_secs_f64();
    report.table(&format!("M4 hourly, {} series, 48 hours ahead", all.len()))?;
    report.figure(
        "median of five methods, OWA",
        together,
        Must::AtMost(0.6279),
        "<= 0.50",
        "all 414 series: MSTL 0.604, seasonal naive 0.628",
    )?;
    report.figure("ridge over all series alone, OWA", pooled, Must::Shown, "", "")?;
    report.figure("as a day before, OWA", naive, Must::Shown, "", "0.628")?;
    let began = Instant::now();
    let (mut inside, mut n_steps) = (0.0, 0.0);
    let mut said = Vec::new();
    for (values, came) in all.iter().zip(&future) {
        let found = forecast::forecast(values, &forecast::periods(values, &[DAY, WEEK]), M4_AHEAD, 0.9)
            .context("long enough")?;
        for ((low, high), came) in found.intervals.context("long enough")?.iter().zip(came) {
            inside += f64::from(u8::from(low <= came && came <= high));
            n_steps += 1.0;
        }
        said.push(found.points);
    }
    let mut said = said.into_iter();
    let chosen = owa(&all, &future, |_| said.next())?;
    let own = "each series for itself, as the node does, OWA";
    report.figure(own, chosen, Must::AtMost(0.6279), "<= 0.50", "")?;
    report.figure("share of values in their 90 % interval", inside / n_steps, Must::Shown, "0.9", "")?;
    let chosen_took = began.elapsed().as_secs_f64() / all.len() as f64;
    say(&format!("  pooled {took:.1} s with penalty {penalty}; {chosen_took:.2} s per series for itself"))
}

fn series(file: &Path) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut rows =
        csv::ReaderBuilder::new().flexible(true).from_path(file).with_context(|| file.display().to_string())?;
    let numbers = |row: csv::StringRecord| -> anyhow::Result<Vec<f64>> {
        row.iter().skip(1).filter(|text| !text.is_empty()).map(|text| Ok(text.parse()?)).collect()
    };
    rows.records().map(|row| numbers(row?)).collect()
}

/// Overall weighted average of the competition: sMAPE and MASE, each as a share of the second naive method's.
///
/// # Source
///
/// Makridakis, Spiliotis & Assimakopoulos, *The M4 Competition*, IJF 36, 2020, section 2.
fn owa(
    past: &[&[f64]],
    future: &[Vec<f64>],
    mut forecast: impl FnMut(&[f64]) -> Option<Vec<f64>>,
) -> anyhow::Result<f64> {
    let mut sums = [[0.0; 2]; 2];
    for (values, came) in past.iter().zip(future) {
        let scale = values.iter().zip(&values[DAY..]).map(|(one, other)| (one - other).abs()).sum::<f64>()
            / (values.len() - DAY) as f64;
        for (sums, said) in sums.iter_mut().zip([forecast(values).context("a forecast")?, naive2(values)]) {
            let n = came.len() as f64;
            let pairs = || said.iter().zip(came);
            sums[0] +=
                pairs().map(|(said, came)| 200.0 * (said - came).abs() / (said.abs() + came.abs())).sum::<f64>() / n;
            sums[1] += pairs().map(|(said, came)| (said - came).abs()).sum::<f64>() / n / scale;
        }
    }
    Ok(0.5 * (sums[0][0] / sums[1][0] + sums[0][1] / sums[1][1]))
}

/// The last value, with the factors of the day if the series shows any: the competition's second naive method.
fn naive2(values: &[f64]) -> Vec<f64> {
    let factors = if is_seasonal(values) { factors(values) } else { vec![1.0; DAY] };
    let n = values.len();
    let last = values[n - 1] / factors[(n - 1) % DAY];
    (n..n + M4_AHEAD).map(|at| last * factors[at % DAY]).collect()
}

/// The competition's test at 90 %.
fn is_seasonal(values: &[f64]) -> bool {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let apart: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let squares: f64 = apart.iter().map(|value| value * value).sum();
    let at = |lag: usize| apart.iter().zip(&apart[lag..]).map(|(one, other)| one * other).sum::<f64>() / squares;
    let before: f64 = (1..DAY).map(|lag| at(lag).powi(2)).sum();
    1.645 * ((1.0 + 2.0 * before) / n).sqrt() < at(DAY).abs()
}

/// Factors of the hours of a day by classical multiplicative decomposition, from the first hour of the series.
fn factors(values: &[f64]) -> Vec<f64> {
    let half = DAY / 2;
    let mut ratios = vec![Vec::new(); DAY];
    for at in half..values.len() - half {
        let around = &values[at - half..=at + half];
        let ends = 0.5 * (around[0] + around[DAY]);
        let level = (around[1..DAY].iter().sum::<f64>() + ends) / DAY as f64;
        ratios[at % DAY].push(values[at] / level);
    }
    let means: Vec<f64> = ratios.iter().map(|own| own.iter().sum::<f64>() / own.len() as f64).collect();
    let mean = means.iter().sum::<f64>() / DAY as f64;
    means.iter().map(|own| own / mean).collect()
}
