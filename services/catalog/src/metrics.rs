use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::Error;

#[derive(Debug, Clone)]
pub struct Metrics {
    /// By route template and status.
    pub requests: IntCounterVec,
    /// By kind.
    pub entries: IntGaugeVec,
    pub revision: IntGauge,
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
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(entries.clone()))?;
        registry.register(Box::new(revision.clone()))?;
        Ok(Self { requests, entries, revision })
    }
}
