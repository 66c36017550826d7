//! The subscribing departments, each by its way out. All note what arrives in the ledger, and nothing else.

mod audit;
mod kafka;
mod postgres;
mod pull;
mod webhook;

use std::sync::Arc;

use freshet_catalog_model::{Catalog, Delivery, Grant};
use freshet_runtime::CancellationToken;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::books::Arrival;
use crate::ledger::Ledger;
use crate::{Reach, World};

/// What a subscriber needs.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub reach: Arc<Reach>,
    pub ledger: Arc<Ledger>,
    pub stop: CancellationToken,
}

/// All receivers. They run until the desk is stopped.
#[derive(Debug)]
pub(crate) struct Subscribers {
    tasks: JoinSet<()>,
    _webhooks: freshet_testkit::departments::Receiver,
    databases: Vec<postgres::Table>,
}

impl Subscribers {
    pub async fn start(desk: &Desk, world: &World, catalog: &Catalog, grants: &[Grant]) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        audit::start(desk, catalog, &mut tasks);
        kafka::start(desk, grants, &mut tasks);
        let webhooks = webhook::start(desk, world, grants, &mut tasks).await?;
        let mut streamed = false;
        let mut databases = Vec::new();
        for grant in grants {
            match &grant.delivery {
                Delivery::Pull => {
                    // One of them listens to server-sent events, the others ask with a cursor.
                    let listens = !std::mem::replace(&mut streamed, true);
                    pull::start(desk, grant, listens, &mut tasks)?;
                }
                Delivery::Postgres { table, .. } => {
                    if let Some(server) = &world.postgres {
                        databases.push(postgres::Table::start(desk, grant, table, server.url(), &mut tasks));
                    }
                }
                Delivery::Kafka | Delivery::Webhook { .. } => {}
            }
        }
        Ok(Self { tasks, _webhooks: webhooks, databases })
    }

    /// Reads the tables as they are now.
    pub async fn read_tables(&self, desk: &Desk) {
        for table in &self.databases {
            table.read(desk).await;
        }
    }

    pub async fn finish(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A CloudEvent in JSON, as webhook and pull deliver it.
fn note_cloudevent(ledger: &Ledger, grant: &str, event: &Map<String, Value>) {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let arrival = Arrival {
        id: text("id").to_owned(),
        key: text("partitionkey").to_owned(),
        is_removal: text("operation") == "delete",
    };
    let latency_ms = text("publishedat")
        .parse::<jiff::Timestamp>()
        .ok()
        .map(|at| jiff::Timestamp::now().as_millisecond() - at.as_millisecond());
    let fields = event.get("data").and_then(Value::as_object).map(|data| data.keys().cloned().collect::<Vec<_>>());
    ledger.arrived(grant, arrival, fields.unwrap_or_default().into_iter(), latency_ms);
}
