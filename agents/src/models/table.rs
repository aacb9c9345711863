//! Rows to learn from, and columns that must not be learnt from.

use std::collections::BTreeMap;
use std::io::Read;

/// Columns that define the label of a well-known data set rather than foretell it.
const TELLTALES: [&str; 5] = ["twf", "hdf", "pwf", "osf", "rnf"];
/// Correlation with the label from which on a column is the label in other words. Published readings of the best single
/// kind stay below 0.9.
const SAME: f64 = 0.99;
/// Rows of one value of a column, from which on it is no chance that all of them have the same rare label.
const TELLING_ROWS_MIN: usize = 5;

/// Rows to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the columns, as [`plain`] makes them.
    pub columns: Vec<String>,
    /// One value per column.
    pub rows: Vec<Vec<f64>>,
    /// What is to be foretold.
    pub labels: Vec<f64>,
    /// Which machine a row is of; no machine is on both sides of a split.
    pub machines: Vec<u32>,
    /// Where the rows come from, in words.
    pub source: String,
}

/// Why a table cannot be learnt from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TableError {
    /// A column defines the label, or gives it away.
    #[error("column {column:?} leaks the label: {why}; leave it out")]
    Leaks {
        /// The column.
        column: String,
        /// How.
        why: String,
    },
    /// A column that is needed is not there.
    #[error("there is no column {0:?}")]
    Missing(String),
    /// A cell is no number.
    #[error("row {row}, column {column:?}: {text:?} is no number")]
    NoNumber {
        /// From 1, the heading not counted.
        row: usize,
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// Too few rows, or only one kind.
    #[error("{0}")]
    TooLittle(String),
    /// The file cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// A name in lowercase, with one underscore for whatever stands between its letters and digits: `Torque [Nm]` and
/// `Torque_Nm` are both `torque_nm`.
pub fn plain(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

/// The number that stands for a text: a part's quality L, M or H is 0, 1 or 2.
pub(crate) fn number(text: &str) -> Option<f64> {
    match text.trim() {
        "L" | "l" => Some(0.0),
        "M" | "m" => Some(1.0),
        "H" | "h" => Some(2.0),
        other => other.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

impl Table {
    /// Reads the columns `inputs` and `label` of a CSV file with a heading; others are ignored. `machine` names the
    /// column that tells machines apart, if there is one.
    ///
    /// # Errors
    ///
    /// A column is missing or a cell is no number.
    pub fn read(
        csv: impl Read,
        inputs: &[&str],
        label: &str,
        machine: Option<&str>,
        source: &str,
    ) -> Result<Self, TableError> {
        let mut reader = csv::Reader::from_reader(csv);
        let unreadable = |error: csv::Error| TableError::Unreadable(error.to_string());
        let headings: Vec<String> = reader.headers().map_err(unreadable)?.iter().map(plain).collect();
        let at = |name: &str| {
            let found = headings.iter().position(|heading| *heading == plain(name));
            found.ok_or_else(|| TableError::Missing(name.to_owned()))
        };
        let inputs_at = inputs.iter().map(|name| at(name)).collect::<Result<Vec<_>, _>>()?;
        let (label_at, machine_at) = (at(label)?, machine.map(at).transpose()?);
        let mut table = Self {
            columns: inputs.iter().map(|name| plain(name)).collect(),
            rows: Vec::new(),
            labels: Vec::new(),
            machines: Vec::new(),
            source: source.to_owned(),
        };
        let mut machines = BTreeMap::new();
        for (idx, record) in reader.records().enumerate() {
            let record = record.map_err(unreadable)?;
            let cell = |at: usize| {
                let text = record.get(at).unwrap_or_default();
                let refused =
                    || TableError::NoNumber { row: idx + 1, column: headings[at].clone(), text: text.to_owned() };
                number(text).ok_or_else(refused)
            };
            table.rows.push(inputs_at.iter().map(|at| cell(*at)).collect::<Result<_, _>>()?);
            table.labels.push(cell(label_at)?);
            let name = machine_at.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
            let next = u32::try_from(machines.len()).unwrap_or(u32::MAX);
            table.machines.push(*machines.entry(name).or_insert(next));
        }
        Ok(table)
    }

    /// Says whether a column defines the label or gives it away.
    ///
    /// A column is refused for its name when it is a failure mode of AI4I, and for its values when it follows the label
    /// on a straight line, or when it has but a few and one of them always comes with the rarer label.
    ///
    /// # Errors
    ///
    /// [`TableError::Leaks`] for the first such column.
    pub fn check_leaks(&self) -> Result<(), TableError> {
        for (idx, column) in self.columns.iter().enumerate() {
            if TELLTALES.contains(&column.as_str()) {
                let why = "it says how the machine failed".to_owned();
                return Err(TableError::Leaks { column: column.clone(), why });
            }
            if let Some(why) = self.follows(idx).or_else(|| self.gives_away(idx)) {
                return Err(TableError::Leaks { column: column.clone(), why });
            }
        }
        Ok(())
    }

    fn follows(&self, column: usize) -> Option<String> {
        let n = self.rows.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
        let value = |row: &Vec<f64>| row[column];
        let (middle, level) = (mean(&mut self.rows.iter().map(value)), mean(&mut self.labels.iter().copied()));
        let (mut both, mut own, mut theirs) = (0.0, 0.0, 0.0);
        for (row, label) in self.rows.iter().zip(&self.labels) {
            let (one, other) = (value(row) - middle, label - level);
            both += one * other;
            own += one * one;
            theirs += other * other;
        }
        // A column or a label without any spread says nothing.
        let correlation = both / (own * theirs).sqrt();
        (SAME <= correlation.abs()).then(|| format!("its correlation with the label is {correlation:.3}"))
    }

    fn gives_away(&self, column: usize) -> Option<String> {
        let n_true = self.labels.iter().filter(|label| **label == 1.0).count();
        if !self.labels.iter().all(|label| *label == 0.0 || *label == 1.0) || self.rows.len() < 2 * n_true {
            return None;
        }
        let mut seen: BTreeMap<u64, [usize; 2]> = BTreeMap::new();
        for (row, label) in self.rows.iter().zip(&self.labels) {
            seen.entry(row[column].to_bits()).or_default()[usize::from(*label == 1.0)] += 1;
            if 10 < seen.len() {
                return None;
            }
        }
        let telling = seen.iter().find(|(_, counts)| counts[0] == 0 && TELLING_ROWS_MIN <= counts[1])?;
        let value = f64::from_bits(*telling.0);
        Some(format!("each of the {} rows where it is {value} has failed", telling.1[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "UDI,Type,Air temperature [K],Torque [Nm],Machine failure,HDF\n\
                       1,M,298.1,42.8,0,0\n2,L,298.2,46.3,1,1\n3,H,298.3,46.3,0,0\n";

    #[test]
    fn columns_are_found_by_their_plain_names() {
        let table =
            Table::read(CSV.as_bytes(), &["Type", "torque_nm"], "Machine_failure", None, "a test").expect("sound");
        assert_eq!(table.columns, ["type", "torque_nm"]);
        assert_eq!(table.rows, [[1.0, 42.8], [0.0, 46.3], [2.0, 46.3]]);
        assert_eq!(table.labels, [0.0, 1.0, 0.0]);
        let missing = Table::read(CSV.as_bytes(), &["speed"], "Machine failure", None, "");
        assert_eq!(missing, Err(TableError::Missing("speed".to_owned())));
        let broken = Table::read("a,b\n1,x\n".as_bytes(), &["a"], "b", None, "").expect_err("no number");
        assert_eq!(broken.to_string(), "row 1, column \"b\": \"x\" is no number");
    }

    #[test]
    fn columns_that_leak_the_label_are_refused() {
        let named = Table::read(CSV.as_bytes(), &["Type", "HDF"], "Machine failure", None, "").expect("readable");
        assert!(matches!(named.check_leaks(), Err(TableError::Leaks { column, .. }) if column == "hdf"));
        // By its values, whatever it is called.
        let rows: Vec<Vec<f64>> =
            (0..100).map(|row| vec![f64::from(row), f64::from(u8::from(row % 10 == 0))]).collect();
        let labels = (0..100).map(|row| f64::from(u8::from(row % 10 == 0 || row == 33))).collect();
        let mut table = Table {
            columns: vec!["load".to_owned(), "flag".to_owned()],
            rows,
            labels,
            machines: vec![0; 100],
            source: String::new(),
        };
        let error = table.check_leaks().expect_err("the flag leaks");
        assert_eq!(
            error.to_string(),
            "column \"flag\" leaks the label: each of the 10 rows where it is 1 has failed; leave it out"
        );
        table.rows[20][1] = 0.0;
        table.rows[21][1] = 1.0;
        assert_eq!(table.check_leaks(), Ok(()));
        // A number that is nearly the label, the more of one kind or as many of both.
        for kind in [2, 10] {
            table.labels = (0..100).map(|row| f64::from(u8::from(row % kind == 0))).collect();
            for (idx, label) in table.labels.iter().enumerate() {
                table.rows[idx][1] = 3.0 - 7.0 * label + 0.01 * (idx % 13) as f64;
            }
            let error = table.check_leaks().expect_err("the label in other words").to_string();
            assert_eq!(
                error,
                "column \"flag\" leaks the label: its correlation with the label is -1.000; leave it out"
            );
        }
    }
}
