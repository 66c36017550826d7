//! What all routes share.

use std::sync::Arc;
use std::time::Duration;

use freshet_catalog_model::compiled::PseudonymKey;
use freshet_kafka::catalog::CatalogHandle;
use freshet_runtime::{CancellationToken, Credentials};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::datasets::{Compiled, Dataset, Datasets};
use crate::limits::Rate;
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
    pub requests: Arc<Semaphore>,
    pub uploads: Arc<Semaphore>,
    pub stop: CancellationToken,
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
        let requests = Arc::new(Semaphore::new(config.max_requests));
        let uploads = Arc::new(Semaphore::new(config.max_uploads));
        let inner = Inner { config, credentials, pseudonym, datasets, sink, metrics, rate, requests, uploads, stop };
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

    pub fn body_idle_timeout(&self) -> Duration {
        Duration::from_secs(self.config.body_idle_timeout_seconds)
    }
}

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
