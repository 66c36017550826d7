//! What all routes share.

use std::sync::Arc;

use freshet_catalog_model::compiled::PseudonymKey;
use freshet_kafka::catalog::CatalogHandle;
use freshet_runtime::{CancellationToken, Credentials};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::datasets::{Compiled, Dataset, Datasets};
use crate::limits::{Held, Rate, Shares, Taken};
use crate::metrics::Metrics;
use crate::problem::{Kind, Problem};
use crate::sink::EventSink;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

pub struct Inner {
    pub config: Config,
    pub credentials: Option<Credentials>,
    pub pseudonym: Option<PseudonymKey>,
    pub datasets: Datasets,
    pub sink: Arc<dyn EventSink>,
    pub metrics: Metrics,
    pub rate: Rate,
    /// All requests, before it is known whose they are.
    pub requests: Semaphore,
    pub shares: DepartmentShares,
    pub stop: CancellationToken,
}

/// What departments have a part of.
#[derive(Debug)]
pub struct DepartmentShares {
    pub requests: Shares,
    pub uploads: Shares,
    pub events: Shares,
    pub work_bytes: Shares,
}

/// What a gateway is made of beside its settings.
pub struct Parts {
    pub credentials: Option<Credentials>,
    pub pseudonym: Option<PseudonymKey>,
    pub catalogue: CatalogHandle,
    pub sink: Arc<dyn EventSink>,
    pub metrics: Metrics,
    pub stop: CancellationToken,
}

impl std::ops::Deref for Gateway {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("config", &self.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Gateway {
    pub fn new(config: Config, parts: Parts) -> Self {
        let Parts { credentials, pseudonym, catalogue, sink, metrics, stop } = parts;
        let datasets = Datasets::new(catalogue, config.max_line_bytes);
        let rate = Rate::new(config.rate_per_second, config.burst);
        let requests = Semaphore::new(config.max_requests);
        let shares = DepartmentShares {
            requests: Shares::new(config.max_requests, config.max_department_requests),
            uploads: Shares::new(config.max_uploads, config.max_department_uploads),
            events: Shares::new(config.max_in_flight_events, config.max_department_in_flight_events),
            work_bytes: Shares::new(config.max_work_bytes, config.max_department_work_bytes),
        };
        let inner = Inner { config, credentials, pseudonym, datasets, sink, metrics, rate, requests, shares, stop };
        Self(Arc::new(inner))
    }

    pub fn catalogue(&self) -> Result<Arc<Compiled>, Problem> {
        self.datasets
            .current()
            .ok_or_else(|| Problem::unavailable("the catalogue has not been read yet; try again").retry_after(2))
    }

    /// The dataset, where this department may publish it.
    pub fn dataset(&self, compiled: &Compiled, id: &str, department: &str) -> Result<Arc<Dataset>, Problem> {
        let dataset = match compiled.get(id) {
            None => {
                let detail = "no such dataset in the catalogue; GET /v1/datasets lists what this department publishes";
                return Err(Problem::new(Kind::NotFound, detail));
            }
            Some(Err(_)) => {
                let detail = format!("dataset {id} cannot be served, the operator's log says why");
                return Err(Problem::unavailable(detail).retry_after(60));
            }
            Some(Ok(dataset)) => dataset,
        };
        if !dataset.is_of(department) {
            let detail =
                format!("{department} is not an authority of dataset {id}; the catalogue names one per division");
            return Err(Problem::new(Kind::Forbidden, detail));
        }
        let is_pseudonym = dataset.compiled.dataset.key.form == freshet_catalog_model::KeyForm::Pseudonym;
        if is_pseudonym && self.pseudonym.is_none() {
            let detail = format!("dataset {id} needs the pseudonym key, which this gateway was not given");
            return Err(Problem::unavailable(detail).retry_after(60));
        }
        Ok(Arc::clone(dataset))
    }

    /// A place for one more of the department's requests, files or events. `what` is them, in the plural.
    pub fn place(shares: &Shares, department: &str, count: usize, what: &str) -> Result<Held, Problem> {
        shares.take(department, count).map_err(|taken| match taken {
            Taken::ByItself => {
                let detail = format!("too many {what} of {department} are in work; wait for their answers");
                Problem::new(Kind::TooManyRequests, detail).retry_after(1)
            }
            Taken::ByAll => Problem::unavailable(format!("too many {what} are in work; try again")),
        })
    }
}

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
