//! How long a machine has left by a model that learnt from machines that ran to failure.
//!
//! Applies to an asset that the settings assign such a model, once a version of it is in use that does better than the
//! naive baseline, and if each channel that it learnt from is a sensor of the asset: one called `core_speed`, or whose
//! name ends in it. The machine's run is looked at from its first reading, or from its last verified repair; where
//! that lies further back than what is read, nothing is said, since the model goes by age and by how far a channel moved.

use crate::models::Artefact;
use crate::models::catalogue::Task;
use crate::models::fit::{LIFE_MAX, WINDOWS};
use crate::models::table::plain;
use analytics::remaining_life;
use domain::prediction::{Outlook, RemainingHours};
use domain::{AssetId, ReadingNo, SensorId, Timestamp};
use ndarray::Array2;
use persistence::models::{self, Model};
use persistence::{History, readings, sensors};
use runtime::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sensors of an asset among which channels are looked for.
const SENSORS_MAX: usize = 256;

/// A model for some assets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assigned {
    /// Assets that it is for: a name, or the beginning of names and a `*`.
    pub assets: String,
    /// The model, of the task `remaining_life`.
    pub model: String,
    /// Length of a step (a cycle, a shift) as the model learnt it, in minutes; readings within one are averaged. At
    /// least 1.
    pub step_minutes: u32,
}

/// What the model says.
pub(super) struct Said {
    pub(super) outlook: Outlook,
    pub(super) confidence: f64,
    /// The model and its version.
    pub(super) method: String,
    /// What stands in the place of a limit, in words.
    pub(super) instead_of_limit: String,
    pub(super) n_readings: usize,
}

/// What is asked.
pub(super) struct Asked<'a> {
    pub(super) asset: &'a AssetId,
    /// The last reading there is.
    pub(super) up_to: ReadingNo,
    pub(super) as_of: Timestamp,
    /// When the machine was last as good as new, if it ever was repaired.
    pub(super) renewed_at: Option<Timestamp>,
    /// When it is asked: the version in use then answers, also in a replay.
    pub(super) now: Timestamp,
    /// Newest readings of each sensor that are read, and the least quality that counts.
    pub(super) readings_max: usize,
    pub(super) quality_min: f64,
}

/// What `assigned` says of a machine; `None` where it does not apply.
pub(super) async fn life(history: &History, assigned: &Assigned, asked: &Asked<'_>) -> Result<Option<Said>, Failure> {
    let Some((model, artefact)) = in_use(history, &assigned.model, asked.now).await? else { return Ok(None) };
    let Some(coverage) = measured_coverage(&model) else { return Ok(None) };
    let Some(channels) = channels(history, &artefact, asked.asset).await? else { return Ok(None) };
    let Some((run, n_readings)) = run(history, assigned, asked, &channels).await? else { return Ok(None) };
    let said = |outlook, confidence| {
        let (name, version) = (&model.name, model.version);
        let learnt_from = model.card.as_ref().and_then(|card| card["data"].as_str()).unwrap_or("machines");
        Ok(Some(Said {
            outlook,
            confidence,
            method: format!("{name}/{version}"),
            instead_of_limit: format!("none: the life is foretold by a model that learnt from {learnt_from}"),
            n_readings,
        }))
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    // Before that the machine has no beginning to compare with.
    if run.nrows() < WINDOWS.start {
        return said(Outlook::NotEnoughData { have: count(run.nrows()), need: count(WINDOWS.start) }, 0.0);
    }
    let columns = remaining_life::columns(&run.view(), WINDOWS);
    let newest = columns.row(columns.nrows() - 1).to_vec();
    let answer = artefact.answer(&artefact.seen(&newest)).map_err(anyhow::Error::new)?;
    let Some((low, high)) = answer.interval else { return Ok(None) };
    let hours = |steps: f64| steps * f64::from(assigned.step_minutes) / 60.0;
    // Longer lives are not told apart, so the far end of this one is not known: it lasts for the near end at least.
    if LIFE_MAX <= high {
        return said(Outlook::NoTrend { horizon_hours: hours(low) }, coverage);
    }
    // The interval misses one in ten altogether, so at most one in ten on either side.
    let remaining_hours =
        RemainingHours { p10: hours(low), p50: hours(answer.prediction.clamp(low, high)), p90: hours(high) };
    let width = (high - low) / answer.prediction.max(1.0);
    said(Outlook::Remaining { remaining_hours }, coverage / (1.0 + 0.5 * width))
}

/// The version of `name` that was in use at `now`, if it foretells a life and was trained here.
async fn in_use(history: &History, name: &str, now: Timestamp) -> Result<Option<(Model, Artefact)>, Failure> {
    let Some(tenure) = models::tenures(history, name, now, 1).await?.into_iter().next() else { return Ok(None) };
    let Some(model) = models::get(history, tenure.model).await? else { return Ok(None) };
    let Some(sha256) = model.sha256.clone() else { return Ok(None) };
    let bytes = models::artefact(history, &sha256).await?;
    let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the artefact {sha256} is not kept"))?;
    let artefact = Artefact::unpacked(&bytes, &sha256)?;
    Ok((artefact.task == Task::RemainingLife).then_some((model, artefact)))
}

/// Share of lives on machines it had not seen that lay in the model's interval; `None` for a model that is no better
/// than the naive baseline.
fn measured_coverage(model: &Model) -> Option<f64> {
    let card = model.card.as_ref()?;
    card["beats_baseline"].as_bool().filter(|beats| *beats)?;
    card["figures"]["interval_coverage"]["value"].as_f64()
}

/// The sensors of `asset` for each channel that the model learnt from, in its order; `None` when one is missing, or the
/// model looks back otherwise than is done here.
async fn channels(history: &History, artefact: &Artefact, asset: &AssetId) -> Result<Option<Vec<SensorId>>, Failure> {
    let own = sensors::of_asset(history, asset, SENSORS_MAX).await?;
    let suffix = remaining_life::names("", WINDOWS)[0].clone();
    let channels: Vec<&str> = artefact.inputs.iter().filter_map(|input| input.strip_suffix(&suffix)).collect();
    let made = channels.iter().flat_map(|channel| remaining_life::names(channel, WINDOWS));
    if !made.chain([remaining_life::AGE.to_owned()]).eq(artefact.inputs.iter().cloned()) {
        return Ok(None);
    }
    let of = |channel: &&str| {
        let called = |name: &str| name == *channel || name.ends_with(&format!("_{channel}"));
        own.iter().find(|summary| called(&plain(summary.sensor.id.as_str()))).map(|summary| summary.sensor.id.clone())
    };
    Ok(channels.iter().map(of).collect())
}

/// A step per row, a channel per column, from the beginning of the machine's run, and the readings that went into it.
/// A step in which a channel is silent is none: the machine stood still. `None` when the beginning is too far back.
async fn run(
    history: &History,
    assigned: &Assigned,
    asked: &Asked<'_>,
    channels: &[SensorId],
) -> Result<Option<(Array2<f64>, usize)>, Failure> {
    let since = asked.renewed_at.unwrap_or(Timestamp::MIN);
    let step_micros = i64::from(assigned.step_minutes.max(1)) * 60_000_000;
    let mut steps: BTreeMap<i64, Vec<(f64, u32)>> = BTreeMap::new();
    let mut n_readings = 0;
    for (idx, sensor) in channels.iter().enumerate() {
        let newest = readings::recent_as_of(history, sensor, asked.up_to, asked.as_of, asked.readings_max).await?;
        if newest.len() == asked.readings_max && newest.last().is_some_and(|oldest| since < oldest.taken_at) {
            return Ok(None);
        }
        let of_the_run =
            newest.iter().filter(|reading| since <= reading.taken_at && asked.quality_min <= reading.quality);
        for reading in of_the_run {
            let step = reading.taken_at.as_microsecond().div_euclid(step_micros);
            let (sum, n) = &mut steps.entry(step).or_insert_with(|| vec![(0.0, 0); channels.len()])[idx];
            *sum += reading.value;
            *n += 1;
            n_readings += 1;
        }
    }
    steps.retain(|_, step| step.iter().all(|(_, n)| 0 < *n));
    let means: Vec<f64> = steps.values().flatten().map(|(sum, n)| sum / f64::from(*n)).collect();
    let run = Array2::from_shape_vec((steps.len(), channels.len()), means).map_err(anyhow::Error::new)?;
    Ok(Some((run, n_readings)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Table, catalogue, fit};
    use crate::stored::Stored;
    use domain::model::{Chosen, Registered};
    use domain::reading::{Sensor, SensorType};
    use domain::{Event, ModelId};
    use simulations::labelled::{self, Labelled};
    use std::sync::Arc;
    use uuid::Uuid;

    const MODEL: &str = "remaining_life_lightgbm";

    fn hour(hour: usize) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + 3_600 * hour as i64).expect("an hour of this century")
    }

    /// The model as it is kept, and the events that put it in use.
    fn trained() -> (Vec<(String, Vec<u8>)>, Vec<Event>) {
        let Labelled { columns, rows, labels, machines, source } = labelled::turbofan(40, 1);
        let columns = columns.into_iter().map(str::to_owned).collect();
        let table = Table { columns, rows, labels, machines, source: source.to_owned() };
        let recipe = catalogue::find(MODEL).expect("in the catalogue");
        let (artefact, card) = fit(recipe, &table, "2026-01-01").expect("sound");
        let (bytes, sha256) = artefact.packed().expect("numbers and names");
        let (model, name) = (ModelId(Uuid::from_u128(1)), MODEL.to_owned());
        let card = serde_json::to_value(&card).expect("numbers and names");
        let registered = Registered { model, name: name.clone(), sha256: sha256.clone(), card };
        let chosen = Chosen { model, name, by: "ana".to_owned(), reason: "a test".to_owned() };
        (vec![(sha256, bytes)], vec![Event::ModelRegistered(registered), Event::ChampionChosen(chosen)])
    }

    /// Readings of engines that nothing was learnt from, a cycle an hour, without the last `left` cycles, and without
    /// the channel `silent`.
    fn readings(drawn: &Labelled, left: f64, silent: &str) -> Vec<(Arc<Sensor>, Timestamp, f64)> {
        let mut readings = Vec::new();
        let mut cycle = 0;
        for row in 0..drawn.rows.len() {
            cycle = if row == 0 || drawn.machines[row] != drawn.machines[row - 1] { 0 } else { cycle + 1 };
            for (channel, value) in drawn.columns.iter().zip(&drawn.rows[row]) {
                if drawn.labels[row] < left || *channel == silent {
                    continue;
                }
                let asset = format!("engine-{}", drawn.machines[row]);
                let sensor = Sensor {
                    id: format!("{asset}/{channel}").as_str().into(),
                    asset: asset.as_str().into(),
                    sensor_type: SensorType::General,
                    unit: None,
                    limit_high: None,
                    limit_low: None,
                };
                readings.push((Arc::new(sensor), hour(cycle), *value));
            }
        }
        readings
    }

    fn assigned() -> Assigned {
        Assigned { assets: "engine-*".to_owned(), model: MODEL.to_owned(), step_minutes: 60 }
    }

    async fn asked(history: &History, engine: u32, renewed_at: Option<Timestamp>) -> Option<Said> {
        let asset = AssetId::from(format!("engine-{engine}"));
        let asked = Asked {
            asset: &asset,
            up_to: ReadingNo(i64::MAX),
            as_of: hour(10_000),
            renewed_at,
            now: hour(10_000),
            readings_max: 5_000,
            quality_min: 0.5,
        };
        life(history, &assigned(), &asked).await.expect("the store can be read")
    }

    #[tokio::test]
    async fn engines_that_were_never_seen_fail_within_the_interval() {
        // Given forty engines, each forty hours from its failure,
        let drawn = labelled::turbofan(40, 99);
        let (artefacts, events) = trained();
        let stored = Stored::holding(&readings(&drawn, 40.0, ""), artefacts, events).await;
        let mut n_inside = 0;
        for engine in 0..40 {
            let said = asked(&stored.history(), engine, None).await.expect("the model applies");
            assert_eq!(said.method, "remaining_life_lightgbm/1");
            assert!(said.confidence < 1.0, "{}", said.confidence);
            if let Outlook::Remaining { remaining_hours: RemainingHours { p10, p50, p90 } } = said.outlook {
                assert!(p10 <= p50 && p50 <= p90);
                n_inside += u32::from((p10..=p90).contains(&40.0));
            }
        }
        // then about nine in ten fail when it was said: of forty, fewer than 31 come once in a thousand times.
        assert!(31 <= n_inside, "{n_inside} of 40");
    }

    #[tokio::test]
    async fn it_applies_where_it_is_trained_and_every_channel_is_there() {
        let drawn = labelled::turbofan(1, 99);
        let untrained = Stored::with(&readings(&drawn, 40.0, ""), Vec::new()).await;
        assert!(asked(&untrained.history(), 0, None).await.is_none());
        let (artefacts, events) = trained();
        let silent = Stored::holding(&readings(&drawn, 40.0, "core_speed"), artefacts.clone(), events.clone()).await;
        assert!(asked(&silent.history(), 0, None).await.is_none());
        // After a repair a machine has a new beginning, which is too near to say anything.
        let stored = Stored::holding(&readings(&drawn, 40.0, ""), artefacts, events).await;
        let life = drawn.rows.len() - 40;
        let said = asked(&stored.history(), 0, Some(hour(life - 9))).await.expect("the model applies");
        assert_eq!(said.outlook, Outlook::NotEnoughData { have: 9, need: 20 });
    }
}
