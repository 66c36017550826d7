//! What the fanout counts. Labels are grants of the catalogue and words of this file, so their number is bounded.

use freshet_core::Way;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// The children of one grant, looked up once and not for each event.
#[derive(Debug, Clone)]
pub struct Counted {
    pub delivered: IntCounter,
    pub retries: IntCounter,
    latency: Histogram,
}

impl Counted {
    /// Counts one delivered event.
    pub fn delivered(&self, published_at: Option<jiff::Timestamp>) {
        self.delivered.inc();
        if let Some(at) = published_at {
            let seconds = jiff::Timestamp::now().duration_since(at).as_secs_f64();
            self.latency.observe(seconds.max(0.0));
        }
    }
}

#[derive(Debug, Clone)]
pub struct Metrics {
    /// `grant`, `way`: events that the subscriber has and whose receipt is durable.
    pub delivered: IntCounterVec,
    /// `grant`: attempts after the first.
    pub retries: IntCounterVec,
    /// `grant`: 1 while the subscriber is parked.
    pub parked: IntGaugeVec,
    /// `grant`: view records that are not delivered yet.
    pub lag: IntGaugeVec,
    /// `way`: from the way in to the subscriber.
    pub latency: HistogramVec,
    /// `grant`, `kind`.
    pub errors: IntCounterVec,
    /// `way`.
    pub receipts: IntCounterVec,
    /// `way`, `outcome` (`failed`): attempts to write a receipt that the audit topic did not take.
    pub receipt_failures: IntCounterVec,
    /// From the moment that a grant is seen to end until its delivery has stopped.
    pub revocation: Histogram,
    /// `way`: subscriptions that run or are parked.
    pub subscriptions: IntGaugeVec,
    /// `status`: pull requests by their HTTP status.
    pub pulls: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(format!("freshet_fanout_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, Error>(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(format!("freshet_fanout_{name}"), help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, Error>(gauge)
        };
        // 1 ms to about 9 min.
        let buckets = exponential_buckets(0.001, 2.0, 20)?;
        let latency = HistogramVec::new(
            HistogramOpts::new("freshet_fanout_latency_seconds", "From publication to the subscriber's confirmation")
                .buckets(buckets),
            &["way"],
        )?;
        registry.register(Box::new(latency.clone()))?;
        let revocation = Histogram::with_opts(
            HistogramOpts::new(
                "freshet_fanout_revocation_seconds",
                "From the moment that a grant is seen to end until its delivery has stopped (P9: at most 5 s)",
            )
            .buckets(vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0]),
        )?;
        registry.register(Box::new(revocation.clone()))?;
        let receipts = counter("receipts_total", "Receipts written to the audit topic", &["way"])?;
        let receipt_failures =
            counter("receipt_failures_total", "Receipts that the audit topic did not take", &["way"])?;
        let subscriptions = gauge("subscriptions", "Subscriptions that run or are parked", &["way"])?;
        // Present from the start, so that a rate over them is 0 and not absent.
        for way in [Way::Webhook, Way::Postgres, Way::Pull].map(Way::as_str) {
            latency.with_label_values(&[way]);
            receipts.with_label_values(&[way]);
            receipt_failures.with_label_values(&[way]);
            subscriptions.with_label_values(&[way]);
        }
        Ok(Self {
            delivered: counter("delivered_total", "Events delivered, receipt durable", &["grant", "way"])?,
            retries: counter("retries_total", "Delivery attempts after the first", &["grant"])?,
            parked: gauge("parked", "1 while the subscriber is parked", &["grant"])?,
            lag: gauge("lag_records", "View records not delivered yet", &["grant"])?,
            latency,
            errors: counter("errors_total", "Failed attempts by kind", &["grant", "kind"])?,
            receipts,
            receipt_failures,
            revocation,
            subscriptions,
            pulls: counter("pull_requests_total", "Pull requests by HTTP status", &["status"])?,
        })
    }

    /// What is counted for each event of one grant.
    pub fn of(&self, grant: &str, way: Way) -> Counted {
        Counted {
            delivered: self.delivered.with_label_values(&[grant, way.as_str()]),
            retries: self.retries.with_label_values(&[grant]),
            latency: self.latency.with_label_values(&[way.as_str()]),
        }
    }

    pub fn error(&self, grant: &str, kind: &str) {
        self.errors.with_label_values(&[grant, kind]).inc();
    }

    /// Takes a grant's gauges away when it ends, so that nothing alerts on a subscriber that is no more.
    pub fn forget(&self, grant: &str) {
        // An error says that there was none.
        let _ = self.parked.remove_label_values(&[grant]);
        let _ = self.lag.remove_label_values(&[grant]);
    }
}
