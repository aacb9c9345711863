//! What was put aside and is back is told with what came meanwhile, so that no alarm is lost by it.

use super::routing::Notice;
use super::{Notification, Open, State};
use domain::asset::MaintenanceEnded;
use domain::case::{Priority, Unshelved};
use domain::decision::By;
use persistence::anomalies::{self, Filter};
use runtime::{Ctx, Failure};

impl Notification {
    pub(super) async fn unshelved(&self, state: &mut State, back: Unshelved, ctx: &mut Ctx) -> Result<(), Failure> {
        let Unshelved { case, reason, .. } = back;
        let Some(open) = state.cases.get_mut(&case) else { return Ok(()) };
        let Some(since) = open.shelved_at.take() else { return Ok(()) };
        open.is_taken_up = false;
        let Open { name, priority, .. } = open.clone();
        let meanwhile = Filter { case: Some(case), received_from: Some(since), ..Filter::default() };
        let n_anomalies = anomalies::count(&self.history, &meanwhile).await?;
        let notice = Notice {
            about: case.to_string(),
            priority,
            subject: format!("Back from the shelf, still open: {name}"),
            body: format!("{}{} came meanwhile.", sentence(&reason), counted(n_anomalies)),
        };
        self.tell(state, self.by_priority(priority), &notice, ctx);
        self.watch(case, priority, ctx);
        Ok(())
    }

    pub(super) async fn in_service(
        &self,
        state: &mut State,
        back: MaintenanceEnded,
        ctx: &mut Ctx,
    ) -> Result<(), Failure> {
        let MaintenanceEnded { asset, by, reason } = back;
        let Some(since) = state.out_of_service.remove(&asset) else { return Ok(()) };
        let held = Filter { asset: Some(asset.clone()), from: Some(since), to: Some(ctx.now()), ..Filter::default() };
        let n_held = anomalies::count(&self.history, &held).await?;
        // Whoever ended it knows that it is over.
        if n_held == 0 && matches!(by, By::Person(_)) {
            return Ok(());
        }
        let newest = anomalies::list(&self.history, &held, 1, 0).await?.pop();
        let newest = newest.map_or_else(String::new, |newest| {
            let anomalies::Record { anomaly, .. } = newest;
            let at = self.wall(state, anomaly.taken_at);
            format!(", the newest of sensor {} at {at}. What lasts becomes a case", anomaly.sensor)
        });
        let priority = if n_held == 0 { Priority::Low } else { Priority::Medium };
        let notice = Notice {
            about: asset.to_string(),
            priority,
            subject: format!("Back in service: {asset}"),
            body: format!("{}{} of that time raised no alarm{newest}.", sentence(&reason), counted(n_held)),
        };
        self.tell(state, self.by_priority(priority), &notice, ctx);
        Ok(())
    }
}

/// Somebody's words as a sentence before another one.
pub(super) fn sentence(reason: &str) -> String {
    let words = reason.trim().trim_end_matches('.');
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}. ", first.to_uppercase(), letters.as_str()))
}

/// Each of `texts` as a sentence before another one.
pub(super) fn sentences(texts: &[String]) -> String {
    texts.iter().map(|text| sentence(text)).collect()
}

fn counted(n_anomalies: u64) -> String {
    match n_anomalies {
        0 => "No anomaly".to_owned(),
        1 => "1 anomaly".to_owned(),
        n => format!("{n} anomalies"),
    }
}
