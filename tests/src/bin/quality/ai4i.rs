//! Failures of the AI4I milling machine, by the product's own recipes and without the columns that define the label.

use crate::report::{Must, Report, say};
use agents::models::catalogue::{self, Method};
use agents::models::{Recipe, Table};
use analytics::scores::{self, Confusion};
use analytics::trees::{boosting, forest, sigmoid};
use anyhow::Context as _;
use ndarray::Array2;
use std::fs::File;
use std::path::Path;

const FOLDS: usize = 5;
/// Failure modes that can be told from the columns.
const MODES: [&str; 3] = ["HDF", "PWF", "OSF"];

/// Five folds, every row foretold by models that had not seen it.
///
/// # Errors
///
/// The file is missing or does not hold what it should.
pub(crate) fn run(data: &Path, report: &mut Report) -> anyhow::Result<()> {
    let file = data.join("ai4i2020/ai4i2020.csv");
    let open = || File::open(&file).with_context(|| file.display().to_string());
    let inputs = [
        "Type",
        "Air temperature [K]",
        "Process temperature [K]",
        "Rotational speed [rpm]",
        "Torque [Nm]",
        "Tool wear [min]",
    ];
    let table = Table::read(open()?, &inputs, "Machine failure", None, "AI4I 2020")?;
    let modes = MODES.map(|mode| Table::read(open()?, &inputs, mode, None, "AI4I 2020").map_err(anyhow::Error::from));
    let truths: Vec<bool> = table.labels.iter().map(|label| *label == 1.0).collect();
    report.table(&format!("AI4I 2020, {} rows, {FOLDS} folds", truths.len()))?;
    let mut all = Vec::new();
    for (name, held, published) in [
        ("ai4i_classifier_randomforest_engineered", true, "random forest + physics F1 0.889, three rules 0.917"),
        ("ai4i_classifier_lightgbm_engineered", false, "LightGBM + physics F1 0.869"),
        ("ai4i_classifier_randomforest_baseline", false, "random forest raw F1 0.718"),
    ] {
        let recipe = catalogue::find(name).context(name)?;
        let said = foretold(recipe, &table)?;
        let counts = Confusion::at(0.5, &said, &truths);
        let (f1, mcc) = if held { (Must::AtLeast(0.88), Must::AtLeast(0.88)) } else { (Must::Shown, Must::Shown) };
        say(&format!("  {name}"))?;
        report.figure("F1", counts.f1(), f1, ">= 0.92", published)?;
        report.figure("MCC", counts.mcc(), mcc, ">= 0.92", "")?;
        report.figure("ROC-AUC", scores::roc_auc(&said, &truths).context("both kinds")?, Must::Shown, "", "0.967")?;
        report.figure("PR-AUC", scores::pr_auc(&said, &truths).context("both kinds")?, Must::Shown, "", "0.897")?;
        if held {
            all = said;
        }
    }
    for (mode, rows) in MODES.into_iter().zip(modes) {
        let rows = rows?;
        let (found, n) = all
            .iter()
            .zip(&rows.labels)
            .filter(|(_, label)| **label == 1.0)
            .fold((0.0, 0.0), |(found, n), (said, _)| (found + f64::from(u8::from(0.5 <= *said)), n + 1.0));
        report.figure(&format!("recall of {mode}, random forest"), found / n, Must::AtLeast(0.95), "1.00", "")?;
    }
    let leaky = Table::read(open()?, &["Torque [Nm]", "TWF"], "Machine failure", None, "")?;
    match leaky.check_leaks() {
        Err(refusal) => say(&format!("  a table with a failure mode among its columns is refused: {refusal}")),
        Ok(()) => {
            report.shortfall("a table with a failure mode among its columns is not refused".to_owned());
            Ok(())
        }
    }
}

/// The probability of each row by a model fitted on the other folds; failures are spread over the folds evenly.
fn foretold(recipe: &Recipe, table: &Table) -> anyhow::Result<Vec<f64>> {
    let at = |row: &Vec<f64>| recipe.derived.of(if recipe.inputs.len() == row.len() { row } else { &row[1..] });
    let rows: Vec<Vec<f64>> = table.rows.iter().map(at).collect();
    let mut counts = [0; 2];
    let folds: Vec<usize> = table
        .labels
        .iter()
        .map(|label| {
            let count = &mut counts[usize::from(*label == 1.0)];
            *count += 1;
            *count % FOLDS
        })
        .collect();
    let mut said = vec![0.0; rows.len()];
    for fold in 0..FOLDS {
        let train: Vec<usize> = (0..rows.len()).filter(|row| folds[*row] != fold).collect();
        let inputs = Array2::from_shape_fn((train.len(), rows[0].len()), |(row, column)| rows[train[row]][column]);
        let targets: Vec<f64> = train.iter().map(|row| table.labels[*row]).collect();
        let weights = vec![1.0; train.len()];
        let (model, is_logistic) = match recipe.method {
            Method::Forest(settings) => {
                (forest::fit(&inputs.view(), &targets, &weights, &settings).map(|fitted| fitted.forest), false)
            }
            Method::Boosting(settings) => (boosting::fit(&inputs.view(), &targets, &weights, &settings), true),
            _ => anyhow::bail!("{} is not made of trees", recipe.name),
        };
        let model = model.context("both kinds of rows")?;
        for row in (0..rows.len()).filter(|row| folds[*row] == fold) {
            let margin = model.margin(&rows[row]);
            said[row] = if is_logistic { sigmoid(margin) } else { margin };
        }
    }
    Ok(said)
}
