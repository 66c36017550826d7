//! What this service measures beside what its loop does (`freshet_kafka::LoopMetrics`).

use std::collections::BTreeMap;

use freshet_core::{Code, Violation};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

#[derive(Debug, Clone)]
pub struct Metrics {
    /// By dataset and code. One event may count under several codes.
    violations: IntCounterVec,
    /// By kind: `entities`, `ids`. What the instance remembers.
    state: IntGaugeVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let violations = IntCounterVec::new(
            Opts::new("freshet_validator_violations_total", "Reasons of refused events, by dataset and code."),
            &["dataset", "code"],
        )?;
        let state = IntGaugeVec::new(
            Opts::new(
                "freshet_validator_state_entries",
                "Entities with their versions, and ids of the duplicate window.",
            ),
            &["kind"],
        )?;
        registry.register(Box::new(violations.clone()))?;
        registry.register(Box::new(state.clone()))?;
        let metrics = Self { violations, state };
        metrics.set_state(0, 0);
        Ok(metrics)
    }

    pub(crate) fn set_state(&self, entities: usize, ids: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.state.with_label_values(&["entities"]).set(gauge(entities));
        self.state.with_label_values(&["ids"]).set(gauge(ids));
    }
}

/// Counts of the open transaction: added to the metrics once it is committed, forgotten if it is aborted.
#[derive(Debug, Default)]
pub(crate) struct Uncommitted {
    violations: BTreeMap<(String, Code), u64>,
}

impl Uncommitted {
    pub(crate) fn count(&mut self, dataset: &str, violations: &[Violation]) {
        for violation in violations {
            *self.violations.entry((dataset.to_owned(), violation.code)).or_default() += 1;
        }
    }

    pub(crate) fn forget(&mut self) {
        self.violations.clear();
    }

    pub(crate) fn add_to(&mut self, metrics: &Metrics) {
        for ((dataset, code), count) in std::mem::take(&mut self.violations) {
            metrics.violations.with_label_values(&[dataset.as_str(), code.as_str()]).inc_by(count);
        }
    }
}
