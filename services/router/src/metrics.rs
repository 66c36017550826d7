//! What this service measures beside what its loop does (`freshet_kafka::LoopMetrics`).

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Debug, Clone)]
pub struct Metrics {
    /// By dataset and kind: `upsert`, `deleted`, `left_filter`.
    view_records: IntCounterVec,
    /// By state: `live`, `filling`, `stopped`. Counts partitions of views.
    view_partitions: IntGaugeVec,
    keys: IntGauge,
}

/// What becomes of a view's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Written {
    Upsert,
    Deleted,
    LeftFilter,
}

impl Written {
    /// Of a removal, also the value of the header `freshet_removal`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Deleted => "deleted",
            Self::LeftFilter => "left_filter",
        }
    }
}

/// Partitions of views by state, and the keys that their filters keep.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Census {
    pub(crate) live: i64,
    pub(crate) filling: i64,
    pub(crate) stopped: i64,
    pub(crate) keys: i64,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let view_records = IntCounterVec::new(
            Opts::new("freshet_router_view_records_total", "Records written to views, by dataset and kind."),
            &["dataset", "kind"],
        )?;
        let view_partitions = IntGaugeVec::new(
            Opts::new("freshet_router_view_partitions", "Partitions of views that this instance has, by state."),
            &["state"],
        )?;
        let keys = IntGauge::new("freshet_router_view_keys", "Keys that are in the filtered views of this instance.")?;
        registry.register(Box::new(view_records.clone()))?;
        registry.register(Box::new(view_partitions.clone()))?;
        registry.register(Box::new(keys.clone()))?;
        let metrics = Self { view_records, view_partitions, keys };
        metrics.set(Census::default());
        Ok(metrics)
    }

    pub(crate) fn set(&self, census: Census) {
        for (state, count) in [("live", census.live), ("filling", census.filling), ("stopped", census.stopped)] {
            self.view_partitions.with_label_values(&[state]).set(count);
        }
        self.keys.set(census.keys);
    }
}

/// Counts of the open transaction: added to the metrics once it is committed, forgotten if it is aborted.
#[derive(Debug, Default)]
pub(crate) struct Uncommitted {
    written: BTreeMap<String, [u64; 3]>,
}

impl Uncommitted {
    pub(crate) fn count(&mut self, dataset: &str, written: Written) {
        match self.written.get_mut(dataset) {
            Some(counts) => counts[written as usize] += 1,
            None => {
                let mut counts = [0; 3];
                counts[written as usize] = 1;
                self.written.insert(dataset.to_owned(), counts);
            }
        }
    }

    pub(crate) fn forget(&mut self) {
        self.written.clear();
    }

    pub(crate) fn add_to(&mut self, metrics: &Metrics) {
        for (dataset, counts) in std::mem::take(&mut self.written) {
            for written in [Written::Upsert, Written::Deleted, Written::LeftFilter] {
                let counter = metrics.view_records.with_label_values(&[dataset.as_str(), written.as_str()]);
                counter.inc_by(counts[written as usize]);
            }
        }
    }
}
