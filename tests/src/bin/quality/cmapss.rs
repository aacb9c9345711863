//! Remaining life of simulated turbofan engines, by the product's own columns and settings.

use crate::report::{Must, Report, say};
use agents::models::catalogue::{LIFE, Method};
use agents::models::fit::{BANDS, LEVEL, LIFE_MAX, WINDOWS};
use analytics::conformal::{Bands, coverage};
use analytics::remaining_life::{self, Fusion};
use analytics::scores;
use analytics::trees::{Ensemble, boosting};
use anyhow::{Context as _, bail};
use ndarray::{Array2, Axis, concatenate};
use std::path::Path;
use std::time::Instant;

const FOLDS: usize = 5;
/// Settings and sensors of a row; before them stand engine and cycle.
const CHANNELS: usize = 24;

/// Measures FD001 and FD003. Where the truths of the test engines are not in the folder, what the folds over engines to
/// train on say, by which settings were chosen, stands alone.
///
/// # Errors
///
/// A file is missing or does not hold what it should.
pub(crate) fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let folder = data.join("cmapss");
    for (set, must, aim, published) in [
        ("FD001", Must::AtMost(13.0), "<= 11.0", "11.40 capped; boosted trees 11.53 / 12.72, score 201"),
        ("FD003", Must::Shown, "<= 10.0", "11.35 capped; boosted trees 10.45 / 12.27, score 222"),
    ] {
        measure(&folder, set, report, must, aim, published)?;
    }
    Ok(())
}

fn measure(
    folder: &Path,
    set: &str,
    report: &mut Report,
    must: Must,
    aim: &str,
    published: &str,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let train = runs(&folder.join(format!("train_{set}.txt")))?;
    let lives: Vec<Vec<f64>> = train
        .iter()
        .map(|run| (0..run.nrows()).map(|cycle| ((run.nrows() - 1 - cycle) as f64).min(LIFE_MAX)).collect())
        .collect();
    // The interval follows from errors on engines that the model of their fold had not seen.
    let (mut said, mut came) = (Vec::new(), Vec::new());
    for fold in 0..FOLDS {
        let others: Vec<usize> = (0..train.len()).filter(|engine| engine % FOLDS != fold).collect();
        let model = fit(&train, &lives, &others)?;
        for engine in (0..train.len()).filter(|engine| engine % FOLDS == fold) {
            said.extend(train[engine].rows().into_iter().map(|row| model.life(&row.to_vec())));
            came.extend(&lives[engine]);
        }
    }
    report.table(&format!("C-MAPSS {set}, {} engines to train on, in cycles", train.len()))?;
    let folds = scores::rmse(&said, &came).context("a cycle")?;
    report.figure("RMSE over five folds, all cycles, truth capped at 125", folds, Must::Shown, "", "")?;
    let truths = folder.join(format!("RUL_{set}.txt"));
    if !truths.is_file() {
        return say(&format!("  no {}, so the test engines cannot be measured on", truths.display()));
    }
    let truths = std::fs::read_to_string(truths)?;
    let truths: Vec<f64> = truths.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let test = runs(&folder.join(format!("test_{set}.txt")))?;
    let bands = Bands::fit(&said, &came, LEVEL, BANDS).context("enough rows")?;
    let model = fit(&train, &lives, &(0..train.len()).collect::<Vec<_>>())?;
    let last: Vec<f64> = test.iter().map(|run| model.life(&run.row(run.nrows() - 1).to_vec())).collect();
    let capped: Vec<f64> = truths.iter().map(|truth| truth.min(LIFE_MAX)).collect();
    let around = |said: &[f64]| said.iter().map(|said| bands.around(*said)).collect::<Vec<_>>();
    let (mut all, mut all_came) = (Vec::new(), Vec::new());
    for (run, truth) in test.iter().zip(&truths) {
        all.extend(run.rows().into_iter().map(|row| model.life(&row.to_vec())));
        all_came.extend((0..run.nrows()).map(|cycle| (truth + (run.nrows() - 1 - cycle) as f64).min(LIFE_MAX)));
    }
    let error = |truths: &[f64]| scores::rmse(&last, truths).context("an engine");
    report.table(&format!("C-MAPSS {set}, {} engines, one prediction each, in cycles", test.len()))?;
    report.figure("RMSE, truth as it is", error(&truths)?, must, "", published)?;
    report.figure("RMSE, truth capped at 125", error(&capped)?, Must::Shown, aim, "")?;
    report.figure("NASA score, truth as it is", scores::nasa(&last, &truths), Must::Shown, "", "")?;
    report.figure("NASA score, truth capped at 125", scores::nasa(&last, &capped), Must::Shown, "", "")?;
    let last_covered = coverage(&around(&last), &capped).context("an engine")?;
    report.figure("90 % interval, share of engines inside", last_covered, Must::Shown, ".88 to .92", "")?;
    let all_covered = coverage(&around(&all), &all_came).context("a row")?;
    report.figure("90 % interval, share of all cycles inside", all_covered, Must::Shown, ".88 to .92", "")?;
    say(&format!("  {:.0} s", began.elapsed().as_secs_f64()))
}

/// The columns of each engine's run.
fn runs(file: &Path) -> anyhow::Result<Vec<Array2<f64>>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let rows: Vec<Vec<f64>> = text
        .lines()
        .map(|line| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>())
        .collect::<Result<_, _>>()?;
    if rows.iter().any(|row| row.len() != CHANNELS + 2) {
        bail!("{}: a row does not have {} values", file.display(), CHANNELS + 2);
    }
    let runs = rows.chunk_by(|one, other| one[0] == other[0]);
    let columns = |run: &[Vec<f64>]| {
        let channels = Array2::from_shape_fn((run.len(), CHANNELS), |(cycle, channel)| run[cycle][channel + 2]);
        remaining_life::columns(&channels.view(), WINDOWS)
    };
    Ok(runs.map(columns).collect())
}

/// The model as the product fits it.
struct Model {
    fusion: Fusion,
    trees: Ensemble,
}

impl Model {
    fn life(&self, row: &[f64]) -> f64 {
        self.trees.margin(&self.fusion.extended(row)).clamp(0.0, LIFE_MAX)
    }
}

fn fit(runs: &[Array2<f64>], lives: &[Vec<f64>], engines: &[usize]) -> anyhow::Result<Model> {
    let views: Vec<_> = engines.iter().map(|engine| runs[*engine].view()).collect();
    let rows = concatenate(Axis(0), &views)?;
    let targets: Vec<f64> = engines.iter().flat_map(|engine| lives[*engine].iter().copied()).collect();
    let Method::Fused(settings) = LIFE else { bail!("the remaining life is learnt from channels weighed together") };
    let fusion = Fusion::fit(&rows.view(), &targets).context("rows to learn from")?;
    let extended: Vec<Vec<f64>> = rows.rows().into_iter().map(|row| fusion.extended(&row.to_vec())).collect();
    let rows = Array2::from_shape_fn((extended.len(), extended[0].len()), |(row, column)| extended[row][column]);
    let trees = boosting::fit(&rows.view(), &targets, &vec![1.0; targets.len()], &settings);
    Ok(Model { fusion, trees: trees.context("rows to learn from")? })
}
