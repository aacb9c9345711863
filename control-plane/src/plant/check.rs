//! What is wrong with a plant file, by line, and what is new in it.

use super::Counts;
use super::file::{Asset, File, Level, Modes, Sensor, Shift, Site, Technician};
use domain::asset;
use domain::case::FailureMode;
use domain::close_out::Mode;
use domain::mode::{self, Condition};
use domain::reading::{self, SensorType};
use domain::{AssetId, SensorId, TechnicianId, unit};
use jiff::tz::TimeZone;
use persistence::{assets, sensors};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use toml::Spanned;

/// Longest name, in bytes: the default of `limits.string_bytes_max`.
const NAME_BYTES_MAX: usize = 256;
/// The failure modes that a sensor can stand for.
const NO_MODES: [Mode; 2] = [Mode::Other, Mode::NoFaultFound];

/// What is declared so far.
#[derive(Debug, Default)]
pub struct Known {
    /// Assets that were declared.
    pub assets: HashMap<AssetId, assets::Asset>,
    /// Sensors that were declared or sent something.
    pub sensors: HashMap<SensorId, sensors::Summary>,
    /// Technicians, examples included.
    pub technicians: HashMap<TechnicianId, asset::Technician>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.detail)
    }
}

/// What a file declares that is not declared so yet, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Plan {
    /// The site, if the file names it.
    pub site: Option<asset::Site>,
    /// New and changed assets.
    pub assets: Vec<asset::Asset>,
    /// New and changed sensors.
    pub sensors: Vec<asset::Declared>,
    /// New and changed technicians.
    pub technicians: Vec<asset::Technician>,
    pub(super) n_assets: Counts,
    pub(super) n_sensors: Counts,
    pub(super) n_technicians: Counts,
    /// In the order of their lines.
    pub problems: Vec<Problem>,
}

/// Reads `text` and compares it with `known`.
pub fn checked(text: &str, known: &Known) -> Plan {
    let mut check = Check { text, plan: Plan::default() };
    match toml::from_str::<File>(text) {
        Ok(file) => check.file(file, known),
        Err(error) => check.wrong(error.span().unwrap_or(0..0), error.message().to_owned()),
    }
    check.plan.problems.sort_by_key(|problem| problem.line);
    check.plan
}

struct Check<'a> {
    text: &'a str,
    plan: Plan,
}

impl Check<'_> {
    fn wrong(&mut self, at: Range<usize>, detail: String) {
        let before = self.text.get(..at.start).unwrap_or(self.text);
        self.plan.problems.push(Problem { line: before.matches('\n').count() + 1, detail });
    }

    fn file(&mut self, file: File, known: &Known) {
        if let Some(site) = file.site {
            self.site(site.into_inner());
        }
        let declared: BTreeMap<String, ()> =
            file.assets.iter().map(|asset| (asset.get_ref().id.get_ref().clone(), ())).collect();
        let is_asset = |id: &str| declared.contains_key(id) || known.assets.contains_key(&AssetId::from(id));
        self.twice("asset", file.assets.iter().map(|asset| &asset.get_ref().id));
        self.twice("sensor", file.sensors.iter().map(|sensor| &sensor.get_ref().id));
        self.twice("technician", file.technicians.iter().map(|technician| &technician.get_ref().id));
        // What the file says of an asset takes the place of what is declared.
        let stored = known.assets.values().filter(|asset| !declared.contains_key(asset.id.as_str()));
        let stored = stored.filter_map(|asset| Some((asset.id.to_string(), asset.parent.as_ref()?.to_string())));
        let of_file = file.assets.iter().filter_map(|asset| {
            let asset = asset.get_ref();
            Some((asset.id.get_ref().clone(), asset.parent.as_ref()?.get_ref().clone()))
        });
        let parents: HashMap<String, String> = stored.chain(of_file).collect();
        for one in file.assets {
            self.asset(one.into_inner(), &is_asset, &parents, known);
        }
        for one in file.sensors {
            self.sensor(one.into_inner(), &is_asset, known);
        }
        for one in file.technicians {
            self.technician(one.into_inner(), known);
        }
    }

    fn twice<'f>(&mut self, what: &str, ids: impl Iterator<Item = &'f Spanned<String>>) {
        let mut seen: HashMap<&str, ()> = HashMap::new();
        for id in ids {
            let name = id.get_ref();
            if name.trim().is_empty() || name.trim() != name || NAME_BYTES_MAX < name.len() {
                self.wrong(
                    id.span(),
                    format!("{what} id {name:?} must have 1 to {NAME_BYTES_MAX} bytes and no blanks around it"),
                );
            }
            if seen.insert(name, ()).is_some() {
                self.wrong(id.span(), format!("{what} {name:?} stands there twice"));
            }
        }
    }

    fn site(&mut self, Site { name, time_zone }: Site) {
        match TimeZone::get(time_zone.get_ref()) {
            Ok(_) => self.plan.site = Some(asset::Site { name, time_zone: time_zone.into_inner() }),
            Err(_) => {
                let detail = format!("{:?} is no IANA time zone, like \"Europe/Berlin\"", time_zone.get_ref());
                self.wrong(time_zone.span(), detail);
            }
        }
    }

    fn asset(
        &mut self,
        Asset { id, name, class, parent, modes }: Asset,
        is_asset: &impl Fn(&str) -> bool,
        parents: &HashMap<String, String>,
        known: &Known,
    ) {
        if let Some(parent) = &parent {
            let mut above = parent.get_ref();
            if !is_asset(above) {
                self.wrong(
                    parent.span(),
                    format!("asset {:?} is part of {above:?}, which is not declared", id.get_ref()),
                );
            }
            for _ in 0..=parents.len() {
                if above == id.get_ref() {
                    self.wrong(parent.span(), format!("asset {:?} is a part of itself", id.get_ref()));
                    break;
                }
                let Some(next) = parents.get(above) else { break };
                above = next;
            }
        }
        let modes = modes.map(|modes| self.modes(id.get_ref(), modes));
        let id = id.into_inner();
        let asset = asset::Asset {
            name: name.unwrap_or_else(|| id.clone()),
            id: AssetId::from(id),
            class,
            parent: parent.map(|parent| AssetId::from(parent.into_inner())),
            modes,
        };
        let before = known.assets.get(&asset.id).map(|before| asset::Asset {
            id: before.id.clone(),
            name: before.name.clone(),
            class: before.class.clone(),
            parent: before.parent.clone(),
            modes: before.modes.clone(),
        });
        compare(&mut self.plan.n_assets, &mut self.plan.assets, before, asset);
    }

    fn modes(&mut self, asset: &str, Modes { off, starting_seconds, levels }: Modes) -> mode::Modes {
        let mut condition = |text: Spanned<String>| match Condition::parse(text.get_ref()) {
            Ok(condition) => Some(condition),
            Err(error) => {
                self.wrong(text.span(), format!("asset {asset:?}: condition {:?}, {error}", text.get_ref()));
                None
            }
        };
        let off = off.and_then(&mut condition);
        let (names, conditions): (Vec<_>, Vec<_>) =
            levels.into_iter().map(|Level { name, when }| (name, condition(when))).unzip();
        let mut seen = vec!["off", "starting", "on"];
        for name in &names {
            if name.get_ref().trim().is_empty() || NAME_BYTES_MAX < name.get_ref().len() {
                self.wrong(name.span(), format!("asset {asset:?}: a level has a name of 1 to {NAME_BYTES_MAX} bytes"));
            }
            if seen.contains(&name.get_ref().as_str()) {
                self.wrong(name.span(), format!("asset {asset:?}: there is a mode {:?} already", name.get_ref()));
            }
            seen.push(name.get_ref());
        }
        if let Some(name) = names.get(mode::LEVELS_MAX) {
            self.wrong(name.span(), format!("asset {asset:?} has more than {} levels", mode::LEVELS_MAX));
        }
        if let Some(seconds) =
            starting_seconds.as_ref().filter(|seconds| mode::STARTING_SECONDS_MAX < *seconds.get_ref())
        {
            let most = mode::STARTING_SECONDS_MAX;
            self.wrong(seconds.span(), format!("asset {asset:?}: starting_seconds must be at most {most}"));
        }
        let levels = names.into_iter().zip(conditions);
        let levels = levels.filter_map(|(name, when)| Some(mode::Level { name: name.into_inner(), when: when? }));
        let starting_seconds = starting_seconds.map_or(0, Spanned::into_inner);
        mode::Modes { off, starting_seconds, levels: levels.collect() }
    }

    fn sensor(&mut self, sensor: Sensor, is_asset: &impl Fn(&str) -> bool, known: &Known) {
        let Sensor { id, asset, sensor_type, unit, limit_low, limit_high, failure_mode } = sensor;
        let name = id.get_ref().clone();
        if !is_asset(asset.get_ref()) {
            self.wrong(
                asset.span(),
                format!("sensor {name:?} sits on asset {:?}, which is not declared", asset.get_ref()),
            );
        }
        let kind = SensorType::parse(sensor_type.get_ref());
        if kind.is_none() {
            let types = SensorType::ALL.map(SensorType::as_str).join(", ");
            let detail = format!("sensor {name:?}: unknown type {:?}; the types are {types}", sensor_type.get_ref());
            self.wrong(sensor_type.span(), detail);
        }
        let written = unit::known(unit.get_ref());
        match (written, kind) {
            (None, _) => {
                let units: Vec<&str> = unit::all().collect();
                let (given, units) = (unit.get_ref(), units.join(", "));
                self.wrong(unit.span(), format!("sensor {name:?}: unknown unit {given:?}; the units are {units}"));
            }
            (Some((written, quantity)), Some(kind)) if !unit::fits(kind, quantity) => {
                let detail = format!("sensor {name:?}: a {} sensor does not measure in {written}", kind.as_str());
                self.wrong(unit.span(), detail);
            }
            (Some(_), _) => {}
        }
        for limit in [&limit_low, &limit_high].into_iter().flatten() {
            if !limit.get_ref().is_finite() {
                self.wrong(limit.span(), format!("sensor {name:?}: a limit must be a finite number"));
            }
        }
        if let (Some(low), Some(high)) = (&limit_low, &limit_high)
            && high.get_ref() <= low.get_ref()
        {
            let (low, high_value) = (low.get_ref(), high.get_ref());
            self.wrong(
                high.span(),
                format!("sensor {name:?}: limit_high {high_value} does not lie above limit_low {low}"),
            );
        }
        if let Some(mode) = &failure_mode
            && Mode::parse(mode.get_ref()).is_none_or(|mode| NO_MODES.contains(&mode))
        {
            let modes: Vec<&str> =
                Mode::ALL.into_iter().filter(|mode| !NO_MODES.contains(mode)).map(Mode::as_str).collect();
            let (given, modes) = (mode.get_ref(), modes.join(", "));
            self.wrong(mode.span(), format!("sensor {name:?}: unknown failure mode {given:?}; the modes are {modes}"));
        }
        let declared = asset::Declared {
            sensor: reading::Sensor {
                id: SensorId::from(id.into_inner()),
                asset: AssetId::from(asset.into_inner()),
                sensor_type: kind.unwrap_or_default(),
                unit: written.map(|(written, _)| written.to_owned()),
                limit_high: limit_high.map(Spanned::into_inner),
                limit_low: limit_low.map(Spanned::into_inner),
            },
            failure_mode: failure_mode.map(|mode| FailureMode(mode.into_inner())),
        };
        let before = known.sensors.get(&declared.sensor.id).filter(|before| before.declared_at.is_some());
        let before = before
            .map(|before| asset::Declared { sensor: before.sensor.clone(), failure_mode: before.failure_mode.clone() });
        compare(&mut self.plan.n_sensors, &mut self.plan.sensors, before, declared);
    }

    fn technician(&mut self, technician: Technician, known: &Known) {
        let Technician { id, name, skills, experience_years, shifts } = technician;
        let who = id.get_ref().clone();
        if skills.get_ref().iter().all(|skill| skill.trim().is_empty()) {
            self.wrong(skills.span(), format!("technician {who:?} has no skills"));
        }
        if !(0.0..=100.0).contains(&experience_years) {
            self.wrong(id.span(), format!("technician {who:?} has {experience_years} years of experience"));
        }
        if shifts.is_empty() {
            self.wrong(id.span(), format!("technician {who:?} has no shifts"));
        }
        let mut worked: Vec<asset::Shift> = Vec::new();
        for shift in shifts {
            let at = shift.span();
            let Shift { weekdays, from, to } = shift.into_inner();
            if weekdays.is_empty() || !weekdays.iter().all(|day| (1..=7).contains(day)) {
                let detail =
                    format!("technician {who:?}: weekdays {weekdays:?}, but they go from 1 = Monday to 7 = Sunday");
                self.wrong(at, detail);
                continue;
            }
            let shift = asset::Shift { weekdays, from, to };
            if let Some(other) = worked.iter().find(|other| other.overlaps(&shift)) {
                let (from, to) = (other.from.strftime("%H:%M"), other.to.strftime("%H:%M"));
                let other = format!("from {from} to {to} on weekdays {:?}", other.weekdays);
                self.wrong(at, format!("technician {who:?}: this shift overlaps the one {other}"));
            }
            worked.push(shift);
        }
        let technician = asset::Technician {
            name: name.unwrap_or_else(|| who.clone()),
            id: TechnicianId::from(id.into_inner()),
            skills: skills.into_inner().iter().map(|skill| skill.trim().to_lowercase()).collect(),
            experience_years,
            shifts: worked,
            example: false,
        };
        let before = known.technicians.get(&technician.id).filter(|before| !before.example).cloned();
        compare(&mut self.plan.n_technicians, &mut self.plan.technicians, before, technician);
    }
}

/// Counts `now`, and keeps it if it is not just what there was.
fn compare<T: PartialEq>(counts: &mut Counts, kept: &mut Vec<T>, before: Option<T>, now: T) {
    match before {
        None => counts.new += 1,
        Some(before) if before == now => {
            counts.unchanged += 1;
            return;
        }
        Some(_) => counts.changed += 1,
    }
    kept.push(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[site]
name = "Works"
time_zone = "Europe/Berlin"

[[asset]]
id = "line-1"

[[asset]]
id = "pump-1"
name = "Feed pump"
class = "pump"
parent = "line-1"
[asset.modes]
off = "pump-1/speed < 50"
starting_seconds = 120
levels = [{ name = "full", when = "pump-1/speed >= 1400" }]

[[sensor]]
id = "pump-1/t"
asset = "pump-1"
type = "temperature"
unit = "°C"
limit_high = 90
failure_mode = "overheating"

[[technician]]
id = "ana"
skills = ["Mechanical"]
experience_years = 4
shifts = [
  { weekdays = [1, 2, 3], from = "06:00", to = "14:00" },
  { weekdays = [4], from = "22:00", to = "06:00" },
]
"#;

    #[test]
    fn a_good_file_is_taken_as_it_is_written() {
        let plan = checked(GOOD, &Known::default());
        assert_eq!(plan.problems, []);
        assert_eq!((plan.n_assets.new, plan.n_sensors.new, plan.n_technicians.new), (2, 1, 1));
        assert_eq!(plan.sensors[0].sensor.unit.as_deref(), Some("celsius"));
        assert_eq!(plan.sensors[0].sensor.limit_high, Some(90.0));
        assert_eq!(plan.technicians[0].skills, ["mechanical"]);
        assert!(plan.technicians[0].shifts[1].is_overnight());
        let modes = plan.assets[1].modes.as_ref().expect("they are declared");
        assert_eq!((modes.starting_seconds, modes.levels[0].name.as_str()), (120, "full"));
        assert_eq!(modes.off.as_ref().map(Condition::as_str), Some("pump-1/speed < 50"));
        // What is declared just so is not declared again.
        let technicians = plan.technicians.iter().map(|one| (one.id.clone(), one.clone())).collect();
        let again = checked(GOOD, &Known { technicians, ..Known::default() });
        assert_eq!(again.n_technicians, Counts { new: 0, changed: 0, unchanged: 1 });
    }

    #[test]
    fn an_asset_does_not_become_a_part_of_itself_by_what_was_declared_before() {
        // Given a pump that is a part of a line,
        let before = |id: &str, parent: Option<&str>| assets::Asset {
            id: id.into(),
            name: id.to_owned(),
            class: None,
            parent: parent.map(AssetId::from),
            declared_at: Some(domain::Timestamp::UNIX_EPOCH),
            maintenance: None,
            modes: None,
        };
        let declared = [before("line", None), before("pump", Some("line"))];
        let known =
            Known { assets: declared.into_iter().map(|one| (one.id.clone(), one)).collect(), ..Known::default() };
        // when another file makes the line a part of the pump, it is refused;
        let line = "[[asset]]\nid = \"line\"\nparent = \"pump\"\n";
        let problems = checked(line, &known).problems;
        assert!(
            matches!(&problems[..], [one] if one.line == 3 && one.detail.contains("part of itself")),
            "{problems:?}"
        );
        // but not when it takes the pump out of the line as well.
        assert_eq!(checked(&format!("{line}[[asset]]\nid = \"pump\"\n"), &known).problems, []);
    }

    #[test]
    fn the_example_of_the_manual_is_a_good_file() {
        let manual = include_str!("../../manual/plant.md");
        let (example, _) =
            manual.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).expect("there is one");
        assert_eq!(checked(example, &Known::default()).problems, []);
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_by_its_line() {
        let check = |from: &str, to: &str, line: usize, detail: &str| {
            assert!(GOOD.contains(from), "{from}");
            let problems = checked(&GOOD.replacen(from, to, 1), &Known::default()).problems;
            let found = problems.iter().any(|problem| problem.line == line && problem.detail.contains(detail));
            assert!(found, "{to}: {problems:?}");
        };
        check("Europe/Berlin", "Mars/Olympus", 4, "no IANA time zone");
        check("\"°C\"", "\"furlong\"", 23, "unknown unit \"furlong\"");
        check("\"°C\"", "\"bar\"", 23, "a temperature sensor does not measure in bar");
        check("asset = \"pump-1\"", "asset = \"pump-9\"", 21, "asset \"pump-9\", which is not declared");
        check("type = \"temperature\"", "type = \"taste\"", 22, "unknown type \"taste\"");
        check("overheating", "boredom", 25, "unknown failure mode \"boredom\"");
        check("limit_high = 90", "limit_high = 90\nlimit_low = 95", 24, "does not lie above limit_low");
        check("parent = \"line-1\"", "parent = \"pump-1\"", 13, "is a part of itself");
        check(
            "weekdays = [4], from = \"22:00\"",
            "weekdays = [3], from = \"13:00\"",
            33,
            "overlaps the one from 06:00 to 14:00 on weekdays [1, 2, 3]",
        );
        check("weekdays = [4]", "weekdays = [8]", 33, "weekdays [8]");
        check("[\"Mechanical\"]", "[]", 29, "has no skills");
        check("id = \"line-1\"", "id = \"pump-1\"", 10, "stands there twice");
        check("name = \"Feed pump\"", "nmae = \"Feed pump\"", 11, "unknown field");
        check("speed < 50", "speed < fast", 15, "asset \"pump-1\": condition \"pump-1/speed < fast\", character 16");
        check("speed >= 1400", "speed", 17, "character 13: the end where one of");
        check("\"full\"", "\"off\"", 17, "there is a mode \"off\" already");
        check("= 120", "= 86401", 16, "at most 86400");
        check("[site]", "[site", 2, "");
    }
}
