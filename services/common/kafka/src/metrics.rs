//! The loops' metrics, registered once a service.

use std::time::{SystemTime, UNIX_EPOCH};

use freshet_core::Outcome;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, exponential_buckets,
};

use crate::transactional::Status;

/// Metrics of the transactional loop, `freshet_<service>_…`.
#[derive(Debug, Clone)]
pub struct LoopMetrics {
    /// By outcome: `emitted`, `rejected`, `dropped_<reason>`, `unwritable`.
    pub records: IntCounterVec,
    /// Records a transaction.
    pub batch_records: Histogram,
    /// From begin to committed.
    pub transaction_seconds: Histogram,
    /// By reason: `stage`, `output`, `unwritable`, `expired`, `kafka`.
    pub aborts: IntCounterVec,
    pub rebalances: IntCounter,
    /// Records between the position and the end of the input, over all partitions held.
    pub lag_records: IntGauge,
    /// By kind: `poll`, `retry`, `stalled`, `unassigned`, `expired`, `made_anew`, `unwritable`.
    pub errors: IntCounterVec,
    /// When a batch was last committed, a piece of the state read back, or the input found to be empty, seconds since the
    /// epoch. Stands still in a loop that hangs.
    pub last_progress: Gauge,
    /// 1 while the instance has what the group gave it and the state of these partitions.
    pub assigned: IntGauge,
    /// The same for whoever watches the loop.
    pub status: Status,
}

const OUTCOMES: &[&str] = &["emitted", "rejected", "dropped_duplicate", "dropped_no_view", "unwritable"];

impl LoopMetrics {
    pub fn new(registry: &Registry, service: &str) -> Result<Self, prometheus::Error> {
        let name = |suffix: &str| format!("freshet_{service}_{suffix}");
        let metrics = Self {
            records: counters(registry, name("records_total"), "Records read, by outcome.", "outcome", OUTCOMES)?,
            batch_records: histogram(
                registry,
                HistogramOpts::new(name("batch_records"), "Records a transaction.")
                    .buckets(exponential_buckets(1.0, 4.0, 8)?),
            )?,
            transaction_seconds: histogram(
                registry,
                HistogramOpts::new(name("transaction_seconds"), "Time from the begin of a transaction to its commit.")
                    .buckets(exponential_buckets(0.001, 2.0, 14)?),
            )?,
            aborts: counters(
                registry,
                name("aborts_total"),
                "Transactions that were aborted, by reason.",
                "reason",
                &["stage", "output", "unwritable", "expired", "kafka"],
            )?,
            rebalances: register(
                registry,
                IntCounter::new(name("rebalances_total"), "Assignments of partitions by the group.")?,
            )?,
            lag_records: register(
                registry,
                IntGauge::new(name("lag_records"), "Records between the position and the end of the input.")?,
            )?,
            errors: counters(
                registry,
                name("errors_total"),
                "Errors that the loop met and outlived, by kind.",
                "kind",
                &["poll", "retry", "stalled", "unassigned", "expired", "made_anew", "unwritable"],
            )?,
            last_progress: register(
                registry,
                Gauge::new(
                    name("last_progress_timestamp_seconds"),
                    "When a batch was last committed or found to be empty, seconds since the epoch.",
                )?,
            )?,
            assigned: register(
                registry,
                IntGauge::new(name("assigned"), "1 while the group's assignment is held and its state is rebuilt.")?,
            )?,
            status: Status::default(),
        };
        metrics.progress();
        Ok(metrics)
    }

    /// For tests and tools without a registry of their own.
    pub fn unregistered() -> Self {
        match Self::new(&Registry::new(), "unregistered") {
            Ok(metrics) => metrics,
            Err(error) => unreachable!("an empty registry takes every name: {error}"),
        }
    }

    pub(crate) fn progress(&self) {
        self.status.progressed();
        self.mark_progress();
    }

    /// A piece of the state was read back.
    pub(crate) fn read_back(&self) {
        if self.status.read_back() {
            self.mark_progress();
        }
    }

    fn mark_progress(&self) {
        self.last_progress.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64()));
    }

    pub(crate) fn holds(&self, holds: bool) {
        self.assigned.set(holds.into());
        self.status.set_holds(holds);
    }
}

/// Counts the outcomes of one batch; added to the metrics only when the batch is committed.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcomes {
    emitted: u64,
    rejected: u64,
    duplicate: u64,
    no_view: u64,
    pub(crate) unwritable: u64,
}

impl Outcomes {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Emitted { .. } => self.emitted += 1,
            Outcome::Rejected => self.rejected += 1,
            Outcome::Dropped(freshet_core::DropReason::Duplicate) => self.duplicate += 1,
            Outcome::Dropped(freshet_core::DropReason::NoView) => self.no_view += 1,
        }
    }

    pub(crate) fn add_to(self, records: &IntCounterVec) {
        for (label, count) in [
            ("emitted", self.emitted),
            ("rejected", self.rejected),
            ("dropped_duplicate", self.duplicate),
            ("dropped_no_view", self.no_view),
            ("unwritable", self.unwritable),
        ] {
            if count > 0 {
                records.with_label_values(&[label]).inc_by(count);
            }
        }
    }
}

/// Metrics of the ordered in-flight window. One set serves all subscribers of a service.
#[derive(Debug, Clone)]
pub struct WindowMetrics {
    /// By outcome: `delivered`, `parked`.
    pub records: IntCounterVec,
    pub in_flight: IntGauge,
    pub rebalances: IntCounter,
    /// By kind: `poll`, `commit`, `stalled`, `unassigned`, `expired`, `made_anew`.
    pub errors: IntCounterVec,
}

impl WindowMetrics {
    pub fn new(registry: &Registry, service: &str) -> Result<Self, prometheus::Error> {
        let name = |suffix: &str| format!("freshet_{service}_window_{suffix}");
        Ok(Self {
            records: counters(
                registry,
                name("records_total"),
                "Records of the window, by outcome.",
                "outcome",
                &["delivered", "parked"],
            )?,
            in_flight: register(
                registry,
                IntGauge::new(name("in_flight_records"), "Records that are being delivered or wait for their turn.")?,
            )?,
            rebalances: register(
                registry,
                IntCounter::new(name("rebalances_total"), "Assignments of partitions by the group.")?,
            )?,
            errors: counters(
                registry,
                name("errors_total"),
                "Errors that the window met and outlived.",
                "kind",
                &["poll", "commit", "stalled", "unassigned", "expired", "made_anew"],
            )?,
        })
    }

    /// For tests and tools without a registry of their own.
    pub fn unregistered() -> Self {
        match Self::new(&Registry::new(), "unregistered") {
            Ok(metrics) => metrics,
            Err(error) => unreachable!("an empty registry takes every name: {error}"),
        }
    }
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// `known` are the values that the label can have: present from the start, so that a rate over them is 0 and not absent.
fn counters(
    registry: &Registry,
    name: String,
    help: &str,
    label: &str,
    known: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)?;
    for value in known {
        counters.with_label_values(&[*value]);
    }
    Ok(counters)
}

fn histogram(registry: &Registry, options: HistogramOpts) -> Result<Histogram, prometheus::Error> {
    register(registry, Histogram::with_opts(options)?)
}
