//! Everybody who receives, each by his way out, from the start or from when his grant is added.

use std::sync::Arc;

use freshet_catalog_model::{Delivery, Grant};
use tokio::runtime::Handle;

use crate::history::Millis;
use crate::workload::{Desk, authority, database, kafka_out, pull};

#[derive(Debug)]
pub struct Subscribers {
    desk: Desk,
    handle: Handle,
    /// Of the database itself, around the proxy.
    database: String,
}

impl Subscribers {
    /// The authority, and everybody whose grant is there from the start.
    pub fn start_all(
        desk: Desk,
        database: String,
        grants: &[Grant],
        authority: Vec<String>,
    ) -> anyhow::Result<Arc<Self>> {
        let own = Self { desk, handle: Handle::current(), database };
        let (desk, handle) = (own.desk.clone(), own.handle.clone());
        own.thread("authority".to_owned(), move || authority::read(&desk, &authority, &handle));
        for (number, share) in kafka_out::shares(grants).into_iter().enumerate() {
            let (desk, handle) = (own.desk.clone(), own.handle.clone());
            let group = format!("faults.views-{number}");
            own.thread(group.clone(), move || kafka_out::read(&desk, &group, &share, &handle));
        }
        let mut listens = true;
        for grant in grants {
            match &grant.delivery {
                Delivery::Pull if std::mem::take(&mut listens) => {
                    own.handle.spawn(pull::listen(own.desk.clone(), grant.clone()));
                }
                Delivery::Pull | Delivery::Postgres { .. } => own.start(grant),
                Delivery::Kafka | Delivery::Webhook { .. } => {}
            }
        }
        Ok(Arc::new(own))
    }

    /// What must be there before anything can arrive; may be repeated until it succeeds. Blocking, outside of the runtime.
    pub fn prepare(&self, grant: &Grant) -> anyhow::Result<()> {
        if let Delivery::Postgres { table, .. } = &grant.delivery {
            self.handle.block_on(database::prepare(&self.database, table))?;
        }
        self.desk.ledger.add_grant(grant)
    }

    pub fn start(&self, grant: &Grant) {
        match &grant.delivery {
            Delivery::Kafka => {
                let topic = freshet_core::topics::view(&grant.view);
                let share = std::collections::BTreeMap::from([(topic, grant.id.clone())]);
                let (desk, handle) = (self.desk.clone(), self.handle.clone());
                let group = format!("faults.{}", grant.id);
                self.thread(group.clone(), move || kafka_out::read(&desk, &group, &share, &handle));
            }
            Delivery::Pull => drop(self.handle.spawn(pull::ask(self.desk.clone(), grant.clone()))),
            Delivery::Postgres { table, .. } => {
                let (desk, url) = (self.desk.clone(), self.database.clone());
                self.handle.spawn(database::watch(desk, url, grant.id.clone(), table.clone()));
            }
            // The receiver takes what comes.
            Delivery::Webhook { .. } => {}
        }
    }

    pub fn ended(&self, grant: &str, at: Millis) {
        self.desk.ledger.end_grant(grant, at);
    }

    fn thread(&self, name: String, read: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        let ledger = self.desk.ledger.clone();
        self.handle.spawn_blocking(move || {
            if let Err(error) = read() {
                ledger.trouble(format!("{name} ended: {error:#}"));
            }
        });
    }
}
