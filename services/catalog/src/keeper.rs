//! Keeps access on Kafka as the catalogue says where no apply comes: a grant begins and ends by its dates, which nobody
//! announces. An apply sets the same; whoever comes second finds nothing to do.

use std::sync::Arc;
use std::time::Duration;

use freshet_catalog_model::access::{self, AccessChange, Roles};
use freshet_kafka::catalog::{CatalogHandle, Snapshot};
use freshet_kafka::{Connection, Error, acl};
use freshet_runtime::CancellationToken;
use jiff::civil::Date;

use crate::metrics::Metrics;

/// The day, as grants count it.
pub type Clock = Arc<dyn Fn() -> Date + Send + Sync>;

/// How long a grant that has ended may go on being read over Kafka, beside the calls to the cluster.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    pub connection: Connection,
    pub roles: Roles,
    pub catalogue: CatalogHandle,
    pub today: Clock,
    pub metrics: Metrics,
    pub stop: CancellationToken,
}

impl Keeper {
    /// Until `stop`. Looks at the cluster only when the catalogue or the day is another than before.
    pub async fn run(self) {
        let mut before = Arc::new(Snapshot::default());
        let mut kept: Option<(u64, Date)> = None;
        let mut is_failing = false;
        loop {
            let (now, today) = (self.catalogue.current(), (self.today)());
            let mut wait = LOOK_EVERY;
            // By a snapshot that may have been overtaken nothing is given.
            let is_known = self.catalogue.is_ready() && self.catalogue.in_force().is_ok();
            if is_known && kept != Some((now.revision, today)) {
                match self.keep(Arc::clone(&before), Arc::clone(&now), today).await {
                    Ok(()) => {
                        kept = Some((now.revision, today));
                        before = now;
                        is_failing = false;
                    }
                    Err(error) => {
                        self.metrics.access_failures.inc();
                        if !is_failing {
                            tracing::error!(%error, "access on Kafka may be more than the catalogue grants; trying again");
                        }
                        is_failing = true;
                        wait = RETRY_EVERY;
                    }
                }
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    async fn keep(&self, before: Arc<Snapshot>, now: Arc<Snapshot>, today: Date) -> Result<(), Error> {
        let (connection, roles) = (self.connection.clone(), self.roles.clone());
        let work = tokio::task::spawn_blocking(move || -> Result<AccessChange, Error> {
            let Some(has) = acl::describe(&connection)? else { return Ok(AccessChange::default()) };
            let change = access::change(&before.catalog, &now.catalog, &roles, today, &has);
            acl::delete(&connection, &change.remove)?;
            acl::create(&connection, &change.add)?;
            Ok(change)
        });
        let panicked = |error: tokio::task::JoinError| Error::Thread { doing: "set access", reason: error.to_string() };
        let change = work.await.map_err(panicked)??;
        for (name, acls) in [("added", &change.add), ("removed", &change.remove)] {
            self.metrics.access_changes.with_label_values(&[name]).inc_by(acls.len() as u64);
        }
        if !change.is_empty() {
            tracing::info!(added = change.add.len(), removed = change.remove.len(), %today, "access on Kafka set");
        }
        Ok(())
    }
}
