//! The gateway's metrics. Label sets are bounded: datasets of the catalogue, routes of the router, kinds of problem.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, histogram_opts};

#[derive(Debug, Clone)]
pub struct Metrics {
    /// `dataset`, `outcome`: accepted, refused, failed.
    pub events: IntCounterVec,
    /// `route`, `status`.
    pub requests: IntCounterVec,
    /// `route`.
    pub request_seconds: HistogramVec,
    pub in_flight: IntGauge,
    /// `kind`.
    pub errors: IntCounterVec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged by the broker.
    Accepted,
    /// Written to the department's reject topic.
    Refused,
    /// Not known to be written; the department was told to send it again.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let seconds: HistogramOpts =
            histogram_opts!("freshet_gateway_request_seconds", "Time until a request's answer began", buckets);
        let metrics = Self {
            events: IntCounterVec::new(
                Opts::new("freshet_gateway_events_total", "Events that departments sent, by outcome"),
                &["dataset", "outcome"],
            )?,
            requests: IntCounterVec::new(
                Opts::new("freshet_gateway_requests_total", "Requests, by route and status"),
                &["route", "status"],
            )?,
            request_seconds: HistogramVec::new(seconds, &["route"])?,
            in_flight: IntGauge::new("freshet_gateway_in_flight", "Requests in work, uploads included")?,
            errors: IntCounterVec::new(
                Opts::new("freshet_gateway_errors_total", "Requests answered with a problem, by kind"),
                &["kind"],
            )?,
        };
        registry.register(Box::new(metrics.events.clone()))?;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        // Present from the start, so that a rate over them is 0 and not absent.
        for kind in crate::problem::Kind::ALL {
            metrics.errors.with_label_values(&[kind.as_str()]);
        }
        Ok(metrics)
    }

    pub fn event(&self, dataset: &str, outcome: Outcome) {
        self.events_ended(dataset, outcome, 1);
    }

    /// So many of them; none leaves no sample.
    pub fn events_ended(&self, dataset: &str, outcome: Outcome, count: usize) {
        if count > 0 {
            self.events.with_label_values(&[dataset, outcome.as_str()]).inc_by(count as u64);
        }
    }
}
