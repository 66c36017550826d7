//! Parts of the service without a broker, to be called in a test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use freshet_catalog_model::Grant;
use freshet_core::Receipt;
use freshet_kafka::catalog::CatalogHandle;
use freshet_kafka::{Connection, WindowMetrics};
use freshet_runtime::{CancellationToken, Credentials, Readiness};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderValue;

use crate::receipts::{AuditLog, Receipts};
use crate::secrets::SecretFile;
use crate::subscription::{Subscription, Subscriptions};
use crate::trust::Trust;
use crate::webhook::address::AddressPolicy;
use crate::webhook::{Tried, Webhook, WebhookParts};
use crate::{Config, Shared, event, metrics, postgres, pull};

/// Nothing is disclosed without a broker, so nothing is receipted.
struct NoAudit;

impl AuditLog for NoAudit {
    fn append(&self, _: &Receipt) -> BoxFuture<'_, Result<(), String>> {
        async { Err("there is no audit topic".to_owned()) }.boxed()
    }
}

/// The pull API. A request that gets as far as the view waits for a reader, of which there are none.
pub fn pull_router(
    catalog: CatalogHandle,
    credentials: Option<Credentials>,
) -> Result<axum::Router, prometheus::Error> {
    let mut config = Config::default();
    config.pull.max_readers = 0;
    let registry = prometheus::Registry::new();
    let metrics = metrics::Metrics::register(&registry)?;
    let shared = Shared {
        receipts: Receipts::new(Arc::new(NoAudit), Readiness::default(), metrics.clone(), config.receipts.max_events),
        window_metrics: WindowMetrics::new(&registry, "fanout")?,
        subscriptions: Subscriptions::default(),
        policy: Arc::new(AddressPolicy::default()),
        trust: Trust::default(),
        room: postgres::Room::default(),
        schemas: Arc::new(event::Schemas::new(|_| None)),
        connection: Connection::to("127.0.0.1:1"),
        stop: CancellationToken::new(),
        catalog,
        metrics,
        config,
    };
    Ok(pull::router(Arc::new(shared), credentials))
}

/// A webhook's client, which makes one attempt at a time.
#[derive(Debug)]
pub struct Attempts(Webhook);

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    Delivered,
    Retry { reason: String, not_before: Option<Duration> },
    Park { reason: String },
}

impl Attempts {
    /// To this address of the own machine, with the secret of that name in the folder. Needs a runtime.
    pub fn to(grant: Grant, url: &str, (folder, secret): (&Path, &str)) -> Result<Self, String> {
        let config = Config::default();
        let metrics = metrics::Metrics::register(&prometheus::Registry::new()).map_err(|error| error.to_string())?;
        let policy = AddressPolicy::new(&["127.0.0.0/8".to_owned()]).map_err(|error| error.to_string())?;
        let receipts =
            Receipts::new(Arc::new(NoAudit), Readiness::default(), metrics.clone(), config.receipts.max_events);
        let parts = WebhookParts {
            policy: Arc::new(policy),
            schemas: Arc::new(event::Schemas::new(|_| None)),
            receipts,
            metrics,
            secret: SecretFile::named(folder, secret).map_err(|error| error.to_string())?,
            trust: Trust::default(),
            config: config.webhook,
        };
        Webhook::new(parts, Subscription::new(grant, &CancellationToken::new()), url).map(Self)
    }

    pub async fn attempt(&self, id: &'static str, body: &[u8]) -> Attempted {
        match self.0.attempt(&HeaderValue::from_static(id), Bytes::copy_from_slice(body)).await {
            Tried::Delivered => Attempted::Delivered,
            Tried::Retry { reason, not_before, .. } => Attempted::Retry { reason, not_before },
            Tried::Park { reason, .. } => Attempted::Park { reason },
        }
    }
}
