//! What the observer counts. Labels are grants, so their number is bounded by the catalogue.

use prometheus::{Error, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Debug, Clone)]
pub struct Metrics {
    /// `grant`: view records that the subscriber does not have.
    pub lag_records: IntGaugeVec,
    /// `grant`: how long the oldest of them has been waiting.
    pub lag_seconds: GaugeVec,
    /// `grant`: receipts read.
    pub receipts: IntCounterVec,
    /// `grant`: events that these receipts cover.
    pub disclosed: IntCounterVec,
    /// Receipts in memory.
    pub trail: IntGauge,
    /// What they take.
    pub trail_bytes: IntGauge,
    /// `kind`: `audit` (a receipt that cannot be read), `lag` (a lag that cannot be read).
    pub errors: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let name = |name: &str| format!("freshet_observer_{name}");
        let counter = |suffix: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name(suffix), help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, Error>(counter)
        };
        let lag_records = IntGaugeVec::new(
            Opts::new(name("subscriber_lag_records"), "View records that the subscriber does not have"),
            &["grant"],
        )?;
        registry.register(Box::new(lag_records.clone()))?;
        let lag_seconds = GaugeVec::new(
            Opts::new(name("subscriber_lag_seconds"), "Age of the oldest record that the subscriber does not have"),
            &["grant"],
        )?;
        registry.register(Box::new(lag_seconds.clone()))?;
        let trail = IntGauge::new(name("trail_receipts"), "Receipts in memory")?;
        registry.register(Box::new(trail.clone()))?;
        let trail_bytes = IntGauge::new(name("trail_bytes"), "What the receipts in memory take")?;
        registry.register(Box::new(trail_bytes.clone()))?;
        let errors = counter("errors_total", "What could not be read, by kind", "kind")?;
        // Present from the start, so that a rate over them is 0 and not absent.
        for kind in ["audit", "lag"] {
            errors.with_label_values(&[kind]);
        }
        Ok(Self {
            lag_records,
            lag_seconds,
            receipts: counter("receipts_total", "Receipts read from the audit topic", "grant")?,
            disclosed: counter("disclosed_events_total", "Events that receipts cover", "grant")?,
            trail,
            trail_bytes,
            errors,
        })
    }
}
