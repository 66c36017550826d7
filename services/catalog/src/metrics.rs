use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::Error;

#[derive(Debug, Clone)]
pub struct Metrics {
    /// By route template and status.
    pub requests: IntCounterVec,
    /// By kind.
    pub entries: IntGaugeVec,
    pub revision: IntGauge,
    /// By change: added, removed.
    pub access_changes: IntCounterVec,
    pub access_failures: IntCounter,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let requests = IntCounterVec::new(
            Opts::new("freshet_catalog_requests_total", "HTTP requests, by route and status."),
            &["route", "status"],
        )?;
        let entries =
            IntGaugeVec::new(Opts::new("freshet_catalog_entries", "Entries of the catalogue, by kind."), &["kind"])?;
        let revision = IntGauge::new("freshet_catalog_revision", "Snapshots of the catalogue read since the start.")?;
        let access_changes = IntCounterVec::new(
            Opts::new("freshet_catalog_access_changes_total", "ACLs set by the service itself, by change."),
            &["change"],
        )?;
        let access_failures = IntCounter::new(
            "freshet_catalog_access_failures_total",
            "Attempts to set ACLs that failed and are made again.",
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(entries.clone()))?;
        registry.register(Box::new(revision.clone()))?;
        registry.register(Box::new(access_changes.clone()))?;
        registry.register(Box::new(access_failures.clone()))?;
        Ok(Self { requests, entries, revision, access_changes, access_failures })
    }
}
