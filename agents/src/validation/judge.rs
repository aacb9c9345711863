//! What an anomaly is worth: the verdict on it, and the case that it belongs to.

use super::episode::{Episode, Suspicion};
use super::life::raise;
use super::rules::{self, Reasons};
use super::{Settings, State, Validation, aside, days};
use crate::anomaly_detection::LIMIT;
use domain::anomaly::{Anomaly, Validated, Verdict};
use domain::case::{Priority, Resolution};
use domain::decision::By;
use domain::{Event, ReadingNo, SensorId, Timestamp};
use jiff::SignedDuration;
use persistence::readings;
use runtime::{Ctx, Failure};

impl Validation {
    pub(super) async fn judge(&self, state: &mut State, anomaly: Anomaly, ctx: &mut Ctx) -> Result<(), Failure> {
        let weights = &self.settings.weights;
        let mode = rules::failure_mode(&anomaly, state.modes.get(&anomaly.sensor));
        let place = (anomaly.asset.clone(), mode.clone());
        let had_case = state.episodes.get(&place).is_some_and(|episode| episode.case.is_some());
        self.end_if_paused(state, &place, anomaly.taken_at, ctx);

        let mut reasons = Reasons::default();
        let disturbed = self.disturbed(state, &anomaly, &mut reasons);
        let corroborated = self.corroborated(state, &anomaly);
        let episode = state.episodes.entry(place.clone()).or_default();
        let disturbed = disturbed || self.foreign(episode, &anomaly, &mut reasons);
        let past = state.pasts.entry(anomaly.sensor.clone()).or_default();
        past.pass(&anomaly, had_case);
        let mut held = None;
        let sustained = !disturbed && {
            let settings = &self.settings.evidence;
            let suspicion = episode.suspicions.entry(anomaly.sensor.clone());
            let suspicion = suspicion.or_insert_with(|| Suspicion::new(anomaly.taken_at));
            if let Some(peak) = suspicion.fall(settings, &anomaly, episode.case.is_some()) {
                past.learn(peak);
            }
            // Beyond a declared limit there is no false alarm to be wary of.
            let limit = if anomaly.detector == LIMIT { settings.weight_min } else { past.limit(settings) };
            let sustained = suspicion.rise(settings, limit, &anomaly);
            held = Some(rules::Held { weight: suspicion.weight(), limit, is_known: past.is_known() });
            sustained
        };
        reasons.strength(weights, &anomaly, sustained, held);
        if let Some(last) = episode.last.as_ref().filter(|last| self.recurs(last, anomaly.taken_at))
            && !matches!(last.resolution, Resolution::Declined | Resolution::NoFaultFound)
        {
            reasons.recurrence(weights, last);
        }
        let feedback = state.feedback.get(&(mode.clone(), anomaly.sensor.clone()));
        match (feedback, state.ratings.get(&(anomaly.detector.clone(), anomaly.sensor_type))) {
            (Some(feedback), _) => reasons.feedback(weights, feedback),
            (None, Some(rating)) => reasons.prior(weights, &anomaly, rating),
            (None, None) => {}
        }
        if let Some((sensor, at)) = corroborated {
            let text = format!("sensor {sensor} of the same asset was abnormal at {at}");
            reasons.add("corroboration", weights.corroboration, text);
        }
        let Settings { high_score_min, critical_score_min, .. } = self.settings;
        let confidence = reasons.confidence();
        let priority = rules::priority(&mode, anomaly.score, confidence, high_score_min, critical_score_min);
        let declined = self.declined(episode, &anomaly, priority, ctx.now());
        if declined && let Some(last) = &episode.last {
            reasons.declined(weights, last);
        }
        if !sustained {
            reasons.history(weights, &anomaly, &self.values_before(&anomaly).await?);
        }

        let confidence = reasons.confidence();
        let verdict = match confidence {
            low if low < self.settings.false_positive_max => Verdict::FalsePositiveSuspected,
            high if self.settings.credible_min <= high && sustained && !declined => Verdict::CredibleAnomaly,
            _ => Verdict::FurtherInvestigationNeeded,
        };
        let mut update = None;
        let case = if verdict == Verdict::CredibleAnomaly {
            update = raise(episode, priority, &anomaly, confidence);
            let record = feedback.map(|feedback| feedback.record);
            let case = self.attach(episode, &anomaly, (mode, priority, record), ctx);
            if state.open.insert(case, place).is_none() {
                state.unheard.push_back(case);
            }
            Some(case)
        } else {
            if episode.case.is_none()
                && !disturbed
                && let Some(suspicion) = episode.suspicions.get_mut(&anomaly.sensor)
            {
                suspicion.keep(ctx.event(), anomaly.taken_at, self.settings.pending_max);
            }
            None
        };
        let reasons = reasons.into_list();
        let anomaly_event = ctx.event();
        ctx.emit(Event::AnomalyValidated(Validated { anomaly_event, anomaly, verdict, confidence, reasons, case }));
        if let Some(update) = update {
            let (case, reason) = (update.case, format!("it became more urgent: {}", update.reason));
            ctx.emit(Event::CaseUpdated(update));
            aside::take_back(state, case, By::Policy, reason, ctx);
        }
        Ok(())
    }

    /// Whether the reading is no evidence, whatever its score.
    fn disturbed(&self, state: &State, anomaly: &Anomaly, reasons: &mut Reasons) -> bool {
        let poor = anomaly.quality < self.settings.quality_min;
        if poor {
            reasons.poor_quality(&self.settings.weights, anomaly);
        }
        let work = state.work.iter().find(|(_, work)| {
            work.asset == anomaly.asset && work.start_at <= anomaly.taken_at && anomaly.taken_at <= work.end_at
        });
        if let Some((order, work)) = work {
            reasons.maintenance(&self.settings.weights, *order, work);
        }
        let window = state.out_of_service.get(&anomaly.asset).filter(|window| window.holds(anomaly.taken_at));
        if let Some(window) = window {
            reasons.out_of_service(&self.settings.weights, window);
        }
        poor || work.is_some() || window.is_some()
    }

    /// Whether a late reading is of another time than the evidence that there is.
    fn foreign(&self, episode: &Episode, anomaly: &Anomaly, reasons: &mut Reasons) -> bool {
        let Some(begun_at) = episode.begun_at(&anomaly.sensor) else { return false };
        let foreign = self.gap() < begun_at.duration_since(anomaly.taken_at);
        if foreign {
            reasons.add(
                "late",
                0.0,
                format!("it is from long before the evidence under way, which begins at {begun_at}"),
            );
        }
        foreign
    }

    /// Notes when the sensor was abnormal. Gives another sensor of the asset that was at about the same time.
    fn corroborated(&self, state: &mut State, anomaly: &Anomaly) -> Option<(SensorId, Timestamp)> {
        let sensors = state.abnormal_at.entry(anomaly.asset.clone()).or_default();
        let newest = sensors.entry(anomaly.sensor.clone()).or_insert(anomaly.taken_at);
        *newest = anomaly.taken_at.max(*newest);
        let near = SignedDuration::from_mins(self.settings.corroboration_minutes.into());
        let mut others = sensors.iter().filter(|(sensor, _)| **sensor != anomaly.sensor);
        let other = others.find(|(_, at)| anomaly.taken_at.duration_since(**at).abs() <= near);
        other.map(|(sensor, at)| (sensor.clone(), *at))
    }

    /// Whether a person said that this is nothing. It holds for as long as the episode goes on, but not for ever, and
    /// not when it becomes more urgent than what they saw.
    fn declined(&self, episode: &mut Episode, anomaly: &Anomaly, priority: Priority, now: Timestamp) -> bool {
        let Some(last) = episode.last.as_mut().filter(|last| last.resolution == Resolution::Declined) else {
            return false;
        };
        let same_episode = anomaly.taken_at.duration_since(last.evidence_at) <= self.gap();
        if episode.case.is_some()
            || !same_episode
            || days(self.settings.declined_days) < now.duration_since(last.closed_at)
        {
            return false;
        }
        last.evidence_at = last.evidence_at.max(anomaly.taken_at);
        priority <= last.priority
    }

    /// Stored values of the sensor from before the reading, newest first.
    async fn values_before(&self, anomaly: &Anomaly) -> Result<Vec<f64>, Failure> {
        let before = ReadingNo(anomaly.reading.0 - 1);
        let limit = self.settings.history_readings;
        let newest = readings::recent_as_of(&self.history, &anomaly.sensor, before, anomaly.taken_at, limit).await?;
        Ok(newest.iter().map(|reading| reading.value).collect())
    }
}
