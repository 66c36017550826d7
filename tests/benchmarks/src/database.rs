//! The sink into a subscriber's PostgreSQL, against the fastest upsert that one connection can do of the same rows from a
//! prepared file: COPY into a table without an index, then one INSERT … ON CONFLICT, all in one transaction.

use std::pin::pin;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use freshet_catalog_model::{Delivery, Entry};
use freshet_testkit::postgres::Server;
use futures::{SinkExt as _, StreamExt as _};
use tokio_postgres::{Client, NoTls};

use crate::Row;
use crate::cluster::Cluster;
use crate::delivery::private;
use crate::measure::{Stretch, watch};
use crate::turns::in_turns;

const GRANT: &str = "database";
const COUNTER: &str = "freshet_fanout_delivered_total";

/// The view must hold so many rows a round.
pub fn postgres(cluster: &Cluster, events: u64, rounds: u32) -> anyhow::Result<Vec<Row>> {
    let server = Server::start_private()?;
    let secrets = tempfile::tempdir()?;
    private(&secrets.path().join("database"), &server.url())?;
    let mut grant = cluster.catalog.grants.get("counter").context("no grant counter")?.clone();
    grant.id = GRANT.to_owned();
    grant.subscriber = "webhook-subscriber".to_owned();
    grant.delivery = Delivery::Postgres { connection: "database".to_owned(), table: "public.sunk".to_owned() };
    cluster.put(Entry::Grant(Box::new(grant)))?;
    let own = || {
        let config = freshet_fanout::Config {
            listen: crate::gateway::free_address()?,
            secrets_dir: secrets.path().to_owned(),
            ..freshet_fanout::Config::default()
        };
        let service = cluster.start_service(|connection, context| freshet_fanout::run(config, connection, context));
        let stretch = watch(&|| service.count(COUNTER), events / 4, events);
        service.stop(&cluster.runtime)?;
        stretch
    };
    let client = cluster.runtime.block_on(connect(&server.url()))?;
    // Ours first: its table is what the limit fills another one like.
    own()?;
    let file = cluster.runtime.block_on(prepare(&client, events))?;
    let limit = || Stretch::of(|| cluster.runtime.block_on(upsert(&client, &file)));
    let rows = in_turns(
        ("limit: the fastest upsert of one connection from a file", &limit),
        ("fanout, a table in PostgreSQL", &own),
        rounds,
    );
    freshet_kafka::catalog::write(&cluster.connection, &[], &[format!("grant/{GRANT}")])?;
    let mut rows = rows?;
    for row in &mut rows {
        // Most of the work is the server's, whose CPU is not counted, as the broker's is not.
        (row.cpu_ratio, row.first_second) = (None, None);
    }
    Ok(rows)
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its error reaches the client's calls too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Rows of the sink's table as a file of COPY, and an empty table of the same form.
async fn prepare(client: &Client, events: u64) -> anyhow::Result<Bytes> {
    client.batch_execute("CREATE TABLE filled (LIKE sunk INCLUDING ALL)").await?;
    let copy = format!("COPY (SELECT * FROM sunk LIMIT {events}) TO STDOUT (FORMAT binary)");
    let mut parts = pin!(client.copy_out(&copy).await?);
    let mut file = BytesMut::new();
    while let Some(part) = parts.next().await {
        file.extend_from_slice(&part?);
    }
    Ok(file.freeze())
}

/// Into the empty table, as the sink's rows are new ones.
async fn upsert(client: &Client, file: &Bytes) -> anyhow::Result<u64> {
    client.batch_execute("TRUNCATE filled").await?;
    client.batch_execute("BEGIN; CREATE TEMP TABLE stage (LIKE filled) ON COMMIT DROP").await?;
    let mut sink = pin!(client.copy_in("COPY stage FROM STDIN (FORMAT binary)").await?);
    let mut rest = file.clone();
    while !rest.is_empty() {
        sink.send(rest.split_to(rest.len().min(1 << 16))).await?;
    }
    sink.finish().await?;
    let columns: Vec<String> = client
        .query("SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = 'filled'::regclass AND attnum > 0", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let updates: Vec<String> = columns.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    let written = client
        .execute(
            &format!(
                "INSERT INTO filled SELECT * FROM stage ON CONFLICT (freshet_key) DO UPDATE SET {}",
                updates.join(", ")
            ),
            &[],
        )
        .await?;
    client.batch_execute("COMMIT").await?;
    Ok(written)
}
