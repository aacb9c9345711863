//! The writer's commits as a histogram: the classes are counted in the store, and only written out here.

use persistence::{COMMIT_SECONDS_BOUNDS, WriterStats};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Time that commits took.
#[derive(Clone, Debug, Default)]
// A leaf lock: held while figures are copied, never across an await.
pub(super) struct Commits(Arc<Mutex<Figures>>);

#[derive(Debug, Default)]
struct Figures {
    seconds_sum: f64,
    counts: [u64; COMMIT_SECONDS_BOUNDS.len() + 1],
}

impl Commits {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, stats: &WriterStats) {
        *self.figures() = Figures { seconds_sum: stats.commit_seconds_sum, counts: stats.commit_counts };
    }
}

impl TypedMetric for Commits {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Commits {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Figures { seconds_sum, counts } = &*self.figures();
        // The encoder knows the class without a bound by this one.
        let bounds = COMMIT_SECONDS_BOUNDS.into_iter().chain([f64::MAX]);
        let classes: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(*seconds_sum, counts.iter().sum(), &classes, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
