//! A department whose table the bus keeps: it only looks at its own database.

use std::collections::HashMap;
use std::time::Duration;

use freshet_catalog_model::Grant;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use super::Desk;

const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct Table {
    grant: String,
    /// `"schema"."table"`.
    name: String,
    url: String,
}

impl Table {
    pub fn start(desk: &Desk, grant: &Grant, table: &str, url: String, tasks: &mut JoinSet<()>) -> Self {
        let quoted: Vec<String> = table.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
        let own = Self { grant: grant.id.clone(), name: quoted.join("."), url };
        let (desk, table) = (desk.clone(), own.clone());
        tasks.spawn(async move {
            while desk.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                table.read(&desk).await;
            }
        });
        own
    }

    pub async fn read(&self, desk: &Desk) {
        if let Err(error) = self.try_read(desk).await {
            // Until the bus has made the table there is nothing to read.
            if error.code() != Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) {
                desk.ledger.trouble(format!("database of {}: {error}", self.grant));
            }
        }
    }

    async fn try_read(&self, desk: &Desk) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        let running = tokio::spawn(connection);
        let result = self.query(&client, desk).await;
        drop(client);
        let _ = running.await;
        result
    }

    async fn query(&self, client: &Client, desk: &Desk) -> Result<(), tokio_postgres::Error> {
        let text = format!(
            "SELECT freshet_key, freshet_event_id, \
             (extract(epoch FROM freshet_written_at - freshet_published_at) * 1000)::bigint FROM {}",
            self.name
        );
        let mut rows: HashMap<String, String> = HashMap::new();
        let mut latencies: Vec<i64> = Vec::new();
        for row in client.query(&text, &[]).await? {
            rows.insert(row.get(0), row.get::<_, Option<String>>(1).unwrap_or_default());
            latencies.extend(row.get::<_, Option<i64>>(2));
        }
        desk.ledger.table(&self.grant, rows, latencies.into_iter());
        let empty = client.prepare(&format!("SELECT * FROM {} LIMIT 0", self.name)).await?;
        let own = |name: &&str| !name.starts_with("freshet_");
        let fields: Vec<String> =
            empty.columns().iter().map(|column| column.name()).filter(own).map(str::to_owned).collect();
        desk.ledger.fields_of_table(&self.grant, fields.into_iter());
        Ok(())
    }
}
