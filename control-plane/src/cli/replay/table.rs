//! A CSV file as readings: which column tells the time, which ones are sensors, what each cell says.
//!
//! It reads and decides; it sends nothing.

use anyhow::{Context as _, ensure};
use csv::StringRecord;
use domain::Timestamp;
use domain::reading::SensorType;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::io::Read;

/// Rows that are looked at before it is decided which columns hold numbers.
const SAMPLE_ROWS: usize = 200;
/// Names of a column that tells the time, the likeliest first; any case.
const TIME_NAMES: [&str; 4] = ["timestamp", "datetime", "time", "date"];
/// Name of a column that is the file's only sensor.
const VALUE_NAME: &str = "value";
/// Numbers above this are milliseconds since the epoch, others are seconds: the rule of the HTTP API.
const SECONDS_MAX: f64 = 2e10;
/// Separators that are told apart by themselves.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// What the user said about a file; everything else is found out.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// Name for the one sensor, or for the asset if there are several: mostly the file's stem.
    pub(super) stem: String,
    /// Name of the sensor, when there is one.
    pub(super) sensor: Option<String>,
    /// Name of the asset.
    pub(super) asset: Option<String>,
    /// The column that tells the time.
    pub(super) time_column: Option<String>,
    /// The only columns to take.
    pub(super) columns: Vec<String>,
    /// Columns to leave out.
    pub(super) exclude: Vec<String>,
}

/// A column that is a sensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    idx: usize,
    /// The sensor's name.
    pub(super) sensor: String,
    /// What it measures, if its name tells.
    pub(super) sensor_type: Option<SensorType>,
}

/// How a file is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    time: usize,
    /// The sensors, in the file's order.
    pub(super) columns: Vec<Column>,
    /// The asset that they sit on, if it is not the sensor itself.
    pub(super) asset: Option<String>,
    /// The columns that are neither the time nor a sensor, each with why, in the file's order.
    pub(super) unused: Vec<String>,
}

impl Layout {
    /// The layout of a file with this header, whose first rows are `sample`.
    fn new(header: &StringRecord, sample: &[StringRecord], wishes: &Wishes) -> anyhow::Result<Self> {
        let names: Vec<&str> = header.iter().map(str::trim).collect();
        ensure!(
            names.iter().all(|name| number(name).is_none() && (name.is_empty() || instant(name).is_none())),
            "the first line must name the columns, it is: {}",
            names.join(", ")
        );
        let named = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted.trim()));
        let must_be = |wanted: &String| {
            named(wanted).with_context(|| format!("there is no column {wanted:?}, there are: {}", names.join(", ")))
        };
        let time = match &wishes.time_column {
            Some(wanted) => must_be(wanted)?,
            None => TIME_NAMES
                .into_iter()
                .find_map(named)
                .or_else(|| (0..names.len()).find(|idx| is_time(sample, *idx)))
                .context("no column tells the time: name it with --time-column")?,
        };
        let chosen: Vec<usize> = wishes.columns.iter().map(must_be).collect::<anyhow::Result<_>>()?;
        let excluded: Vec<usize> = wishes.exclude.iter().map(must_be).collect::<anyhow::Result<_>>()?;
        let (mut taken, mut unused) = (Vec::new(), Vec::new());
        for (idx, name) in names.iter().enumerate().filter(|(idx, _)| *idx != time) {
            let why_not = if excluded.contains(&idx) {
                Some("--exclude".to_owned())
            } else if chosen.is_empty() {
                Numbers::of(sample, idx).too_few()
            } else {
                (!chosen.contains(&idx)).then(|| "not among --columns".to_owned())
            };
            match why_not {
                None => taken.push(idx),
                Some(why) => unused.push(format!("{name:?} ({why})")),
            }
        }
        ensure!(!taken.is_empty(), "no column holds numbers, there are: {}", names.join(", "));

        if let [idx] = taken[..]
            && (names[idx].eq_ignore_ascii_case(VALUE_NAME) || wishes.sensor.is_some())
        {
            let sensor = wishes.sensor.clone().unwrap_or_else(|| wishes.stem.clone());
            let sensor_type = type_in(&sensor);
            return Ok(Self {
                time,
                columns: vec![Column { idx, sensor, sensor_type }],
                asset: wishes.asset.clone(),
                unused,
            });
        }
        ensure!(
            wishes.sensor.is_none(),
            "--sensor names one sensor, and {} columns hold numbers: choose one with --columns, or name them all with --asset",
            taken.len()
        );
        let asset = wishes.asset.clone().unwrap_or_else(|| wishes.stem.clone());
        let columns = taken
            .into_iter()
            .map(|idx| Column { idx, sensor: format!("{asset}.{}", names[idx]), sensor_type: type_in(names[idx]) })
            .collect();
        Ok(Self { time, columns, asset: Some(asset), unused })
    }
}

/// One value of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// The column, by its place in [`Layout::columns`].
    pub(super) column: usize,
    /// The value, finite.
    pub(super) value: f64,
    /// When it was measured.
    pub(super) taken_at: Timestamp,
}

/// What was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Skipped {
    /// Cells without a number, of each column of [`Layout::columns`].
    pub(super) cells: Vec<u64>,
    /// Rows without a time.
    pub(super) rows: u64,
    /// The first of these rows, in words.
    pub(super) example: Option<String>,
}

/// A CSV file that is being read.
pub(super) struct Table<R: Read> {
    /// How it is read.
    pub(super) layout: Layout,
    /// What was left out so far.
    pub(super) skipped: Skipped,
    sample: std::vec::IntoIter<StringRecord>,
    rows: csv::Reader<R>,
}

impl<R: Read> Table<R> {
    /// Begins to read `source`, whose columns are separated by `separator`.
    pub(super) fn open(source: R, separator: u8, wishes: &Wishes) -> anyhow::Result<Self> {
        let mut rows = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(source);
        let header = rows.headers().context("the header cannot be read")?.clone();
        let sample: Vec<StringRecord> = rows.records().take(SAMPLE_ROWS).collect::<Result<_, _>>()?;
        let layout = Layout::new(&header, &sample, wishes)?;
        let skipped = Skipped { cells: vec![0; layout.columns.len()], ..Skipped::default() };
        Ok(Self { layout, skipped, sample: sample.into_iter(), rows })
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.rows.position().byte()
    }

    /// Appends the values of the next row that has a time. False at the end of the file.
    pub(super) fn next_row(&mut self, cells: &mut Vec<Cell>) -> anyhow::Result<bool> {
        let mut row = StringRecord::new();
        loop {
            match self.sample.next() {
                Some(sampled) => row = sampled,
                None if !self.rows.read_record(&mut row)? => return Ok(false),
                None => {}
            }
            let text = row.get(self.layout.time).unwrap_or("");
            let Some(taken_at) = instant(text.trim()) else {
                self.skipped.rows += 1;
                let line = row.position().map_or(0, csv::Position::line);
                self.skipped.example.get_or_insert_with(|| format!("line {line} has no time: {text:?}"));
                continue;
            };
            for (column, Column { idx, .. }) in self.layout.columns.iter().enumerate() {
                match row.get(*idx).and_then(|text| number(text.trim())) {
                    Some(value) => cells.push(Cell { column, value, taken_at }),
                    None => self.skipped.cells[column] += 1,
                }
            }
            return Ok(true);
        }
    }
}

/// The separator of a file whose header is `line`: the one that stands there most often.
pub(super) fn separator(line: &str) -> u8 {
    let count = |separator: &u8| line.bytes().filter(|byte| byte == separator).count();
    // Of equally frequent ones `max_by_key` takes the last.
    SEPARATORS.into_iter().rev().max_by_key(count).unwrap_or(b',')
}

#[derive(Serialize)]
struct Reading<'a> {
    sensor_id: &'a str,
    value: f64,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensor_type: Option<SensorType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    asset_id: &'a str,
}

/// `cells` as the lines of a batch upload. Sensors that are not `known` yet name their asset.
pub(super) fn ndjson(layout: &Layout, cells: &[Cell], known: &[bool]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(cells.len() * 96);
    for cell in cells {
        let column = &layout.columns[cell.column];
        let asset = layout.asset.as_deref().filter(|_| !known[cell.column]);
        let reading = Reading {
            sensor_id: &column.sensor,
            value: cell.value,
            timestamp: cell.taken_at,
            sensor_type: column.sensor_type,
            metadata: asset.map(|asset_id| Metadata { asset_id }),
        };
        serde_json::to_writer(&mut body, &reading)?;
        body.push(b'\n');
    }
    Ok(body)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The instant in `text`. A time without a zone is UTC, a date is its midnight, a number is a Unix time.
fn instant(text: &str) -> Option<Timestamp> {
    if let Some(unix) = number(text) {
        let seconds = if SECONDS_MAX < unix.abs() { unix / 1e3 } else { unix };
        return Timestamp::from_microsecond((seconds * 1e6).round() as i64).ok();
    }
    let naive = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(naive)
}

fn is_time(sample: &[StringRecord], idx: usize) -> bool {
    let tells = |row: &StringRecord| {
        let text = row.get(idx).unwrap_or("").trim();
        number(text).is_none() && instant(text).is_some()
    };
    !sample.is_empty() && sample.iter().all(tells)
}

/// What stands in the cells of a column among the first rows.
struct Numbers {
    numbers: usize,
    /// Cells that are not empty, and do not stand for a missing value either.
    filled: usize,
}

impl Numbers {
    fn of(sample: &[StringRecord], idx: usize) -> Self {
        let gap = |text: &str| ["", "na", "nan", "null", "none", "-"].contains(&text.to_ascii_lowercase().as_str());
        let cells = sample.iter().map(|row| row.get(idx).unwrap_or("").trim()).filter(|text| !gap(text));
        cells.fold(Self { numbers: 0, filled: 0 }, |Self { numbers, filled }, text| Self {
            numbers: numbers + usize::from(number(text).is_some()),
            filled: filled + 1,
        })
    }

    /// Why the column is no sensor: one bad cell is no reason, but most of what stands there must be a number.
    fn too_few(&self) -> Option<String> {
        let Self { numbers, filled } = self;
        match (numbers, filled) {
            (_, 0) => Some(format!("empty in the first {SAMPLE_ROWS} rows")),
            _ if *filled < 2 * numbers => None,
            _ => Some(format!("{numbers} of its first {filled} values are numbers")),
        }
    }
}

/// What a column of that name measures, if the name says so.
fn type_in(name: &str) -> Option<SensorType> {
    let name = name.to_ascii_lowercase();
    let told = [
        SensorType::Temperature,
        SensorType::Vibration,
        SensorType::Pressure,
        SensorType::Humidity,
        SensorType::Voltage,
    ];
    told.into_iter().find(|kind| name.contains(kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes { stem: "room".to_owned(), ..Wishes::default() }
    }

    fn sensors(text: &str, wishes: &Wishes) -> Result<Vec<String>, String> {
        let separator = separator(text.lines().next().unwrap());
        let table = Table::open(text.as_bytes(), separator, wishes).map_err(|error| format!("{error:#}"))?;
        Ok(table.layout.columns.iter().map(|column| column.sensor.clone()).collect())
    }

    fn rows(text: &str) -> (Vec<Cell>, Skipped) {
        let mut table = Table::open(text.as_bytes(), separator(text.lines().next().unwrap()), &wishes()).unwrap();
        let mut cells = Vec::new();
        while table.next_row(&mut cells).unwrap() {}
        (cells, table.skipped)
    }

    #[test]
    fn one_column_named_value_is_a_sensor_named_after_the_file() {
        let text = "timestamp,value\n2013-07-04 00:00:00,69.88\n2013-07-04 01:00:00,71.2\n";
        assert_eq!(sensors(text, &wishes()).unwrap(), ["room"]);
        assert_eq!(sensors(text, &Wishes { sensor: Some("T1".to_owned()), ..wishes() }).unwrap(), ["T1"]);
        let (cells, skipped) = rows(text);
        assert_eq!(cells.len(), 2);
        assert_eq!(cells[1].taken_at, "2013-07-04T01:00:00Z".parse().unwrap());
        assert_eq!(skipped, Skipped { cells: vec![0], ..Skipped::default() });
    }

    #[test]
    fn every_numeric_column_is_a_sensor_of_the_asset() {
        let text = "datetime;Pressure;Mode;Volume Flow RateRMS;anomaly\n\
                    2020-03-09 10:14:33;0.054;run;32.0;0.0\n2020-03-09 10:14:34;;run;31.9;0.0\n";
        assert_eq!(sensors(text, &wishes()).unwrap(), ["room.Pressure", "room.Volume Flow RateRMS", "room.anomaly"]);
        let without = Wishes { exclude: vec!["Anomaly".to_owned()], asset: Some("valve".to_owned()), ..wishes() };
        assert_eq!(sensors(text, &without).unwrap(), ["valve.Pressure", "valve.Volume Flow RateRMS"]);
        let only = Wishes { columns: vec!["Pressure".to_owned()], ..wishes() };
        assert_eq!(sensors(text, &only).unwrap(), ["room.Pressure"]);
        let (cells, skipped) = rows(text);
        assert_eq!((cells.len(), skipped.cells), (5, vec![1, 0, 0]));
    }

    #[test]
    fn a_bad_cell_costs_itself_and_a_column_that_is_left_out_is_named() {
        // Given a file in which one sensor dropped out once, and columns that are no sensors,
        let text = "time,flow,mode,notes,label,mixed\n2026-01-01,1.5,run,,0,1\n2026-01-02,Bad Input,run,,0,x\n\
                    2026-01-03,1.7,2,,1,\n";
        let wishes = Wishes { exclude: vec!["label".to_owned()], ..wishes() };
        // when it is opened and read,
        let mut table = Table::open(text.as_bytes(), b',', &wishes).unwrap();
        let mut cells = Vec::new();
        while table.next_row(&mut cells).unwrap() {}
        // then the sensor is taken without that cell, and each other column is named with why not.
        assert_eq!(table.layout.columns.iter().map(|column| &*column.sensor).collect::<Vec<_>>(), ["room.flow"]);
        assert_eq!(cells.iter().map(|cell| cell.value).collect::<Vec<_>>(), [1.5, 1.7]);
        assert_eq!(table.skipped.cells, [1]);
        assert_eq!(
            table.layout.unused,
            [
                "\"mode\" (1 of its first 3 values are numbers)",
                "\"notes\" (empty in the first 200 rows)",
                "\"label\" (--exclude)",
                "\"mixed\" (1 of its first 2 values are numbers)",
            ]
        );
    }

    #[test]
    fn a_column_without_a_name_can_tell_the_time() {
        let text = ",Bearing 1\n2004-02-12 10:32:39,0.058\n2004-02-12 10:42:39,0.059\n";
        assert_eq!(sensors(text, &wishes()).unwrap(), ["room.Bearing 1"]);
        assert_eq!(rows(text).0[0].taken_at, "2004-02-12T10:32:39Z".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_a_history_is_refused_with_the_reason() {
        let check =
            |text: &str, wishes: &Wishes, message: &str| assert_eq!(sensors(text, wishes).unwrap_err(), message);
        check("a,b\n1,2\n", &wishes(), "no column tells the time: name it with --time-column");
        check("time,b\n1,x\n", &wishes(), "no column holds numbers, there are: time, b");
        check(
            "1700000000,2.5\n1700000060,2.6\n",
            &wishes(),
            "the first line must name the columns, it is: 1700000000, 2.5",
        );
        let misspelt = Wishes { columns: vec!["presure".to_owned()], ..wishes() };
        check("time,pressure\n1,2\n", &misspelt, "there is no column \"presure\", there are: time, pressure");
        let one_name = Wishes { sensor: Some("T1".to_owned()), ..wishes() };
        check(
            "time,a,b\n1,2,3\n",
            &one_name,
            "--sensor names one sensor, and 2 columns hold numbers: choose one with --columns, or name them all with --asset",
        );
    }

    #[test]
    fn rows_without_a_time_and_cells_without_a_number_are_counted() {
        let (cells, skipped) = rows("time,value\n2026-01-01,1\nsoon,2\n2026-01-02,NaN\n2026-01-03,3\n");
        assert_eq!(cells.iter().map(|cell| cell.value).collect::<Vec<_>>(), [1.0, 3.0]);
        assert_eq!((skipped.rows, skipped.cells), (1, vec![1]));
        assert_eq!(skipped.example.unwrap(), "line 3 has no time: \"soon\"");
    }

    #[test]
    fn times_are_read_as_the_api_reads_them() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(instant(text), expected.map(|text| text.parse().unwrap()), "{text}");
        };
        check("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z"));
        check("2026-01-02 03:04:05+02:00", Some("2026-01-02T01:04:05Z"));
        check("2026-01-02T03:04:05.25", Some("2026-01-02T03:04:05.25Z"));
        check("2026-01-02", Some("2026-01-02T00:00:00Z"));
        check("1767323045", Some("2026-01-02T03:04:05Z"));
        check("1767323045000", Some("2026-01-02T03:04:05Z"));
        check("noon", None);
        check("", None);
    }

    #[test]
    fn a_sensor_names_its_asset_until_it_is_known() {
        let text = "time,temperature\n2026-01-01,1.5\n";
        let mut table = Table::open(text.as_bytes(), b',', &wishes()).unwrap();
        let mut cells = Vec::new();
        table.next_row(&mut cells).unwrap();
        let lines = |known: &[bool]| String::from_utf8(ndjson(&table.layout, &cells, known).unwrap()).unwrap();
        let start = r#"{"sensor_id":"room.temperature","value":1.5,"timestamp":"2026-01-01T00:00:00Z","sensor_type":"temperature""#;
        assert_eq!(lines(&[true]), format!("{start}}}\n"));
        assert_eq!(lines(&[false]), format!("{start},\"metadata\":{{\"asset_id\":\"room\"}}}}\n"));
    }

    #[test]
    fn the_separator_is_the_one_that_stands_in_the_header() {
        assert_eq!(separator("a,b,c"), b',');
        assert_eq!(separator("a;b;c, d"), b';');
        assert_eq!(separator("a\tb"), b'\t');
        assert_eq!(separator("value"), b',');
    }
}
