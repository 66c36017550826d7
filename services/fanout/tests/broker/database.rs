use freshet_catalog_model::{Delivery, GrantStatus};
use freshet_testkit::postgres::Server;
use tokio_postgres::NoTls;

use crate::world::{World, blocking, eventually, ids};

const KEYS: &[&str] = &["a", "b", "c", "d"];

async fn ask(url: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_gets_each_event_once_though_it_is_killed_in_the_middle() {
    let mut server = blocking(|| Server::start_private().expect("PostgreSQL: apt-get install postgresql")).await;
    let url = server.url();
    let mut world = World::new("stored").await;
    world.secret("db", &url);
    world.grant("store", Delivery::Postgres { connection: "db".to_owned(), table: "own.permits".to_owned() }).await;
    let fanout = world.start(|config| config.postgres.batch_records = 10).await;
    eventually("the table is there", || async { ask(&url, "SELECT count(*)::text FROM own.permits").await.is_ok() })
        .await;
    // The subscriber's own trigger counts, not the bus.
    for sql in [
        "CREATE TABLE own.seen (id text)",
        "CREATE FUNCTION own.see() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO own.seen VALUES (NEW.freshet_event_id); RETURN NEW; END $$",
        "CREATE TRIGGER see AFTER INSERT OR UPDATE ON own.permits FOR EACH ROW EXECUTE FUNCTION own.see()",
    ] {
        ask(&url, sql).await.expect(sql);
    }
    world.publish(KEYS, 0..50).await;
    let seen = || async { ask(&url, "SELECT id FROM own.seen ORDER BY id").await.unwrap_or_default() };
    eventually("the first are there", || async { seen().await.len() > 20 }).await;
    let server = blocking(move || {
        server.kill();
        server
    })
    .await;
    world.publish(KEYS, 50..100).await;
    eventually("it is retrying", || async { fanout.subscription("store").await["state"] == "retrying" }).await;
    let _server = blocking(move || {
        let mut server = server;
        server.restart().expect("restarted");
        server
    })
    .await;
    eventually("all are there", || async { seen().await.len() >= 400 }).await;
    assert_eq!(seen().await, ids(KEYS, 0..100));
    let rows = ask(&url, "SELECT number || '-' || step FROM own.permits ORDER BY 1").await.expect("rows");
    assert_eq!(rows, ids(KEYS, 99..100));
    fanout.stop().await;

    // The offsets are in the database: another start applies nothing again.
    let fanout = world.start(|_| {}).await;
    world.publish(&["a"], 100..101).await;
    eventually("the next is there", || async { seen().await.len() >= 401 }).await;
    fanout.stop().await;
    assert_eq!(seen().await.len(), 401);
    let disclosed: std::collections::BTreeSet<String> =
        world.receipts("store").await.into_iter().flat_map(|receipt| receipt.events).collect();
    assert!(seen().await.iter().all(|id| disclosed.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_delays_nobody_else_ends_with_its_grant_and_gets_everything_afterwards() {
    let server = blocking(|| Server::start_private().expect("PostgreSQL: apt-get install postgresql")).await;
    let url = server.url();
    let mut world = World::new("locked").await;
    world.secret("db", &url);
    for (grant, table) in [("held", "held.permits"), ("free", "free.permits")] {
        world.grant(grant, Delivery::Postgres { connection: "db".to_owned(), table: table.to_owned() }).await;
    }
    let fanout = world.start(|config| config.postgres.statement_timeout_ms = 500).await;
    let rows = |table: &'static str| {
        let url = url.clone();
        async move {
            let sql = format!("SELECT number || '-' || step FROM {table} ORDER BY 1");
            ask(&url, &sql).await.unwrap_or_default()
        }
    };
    world.publish(KEYS, 0..1).await;
    for table in ["held.permits", "free.permits"] {
        eventually(table, || async { rows(table).await == ids(KEYS, 0..1) }).await;
    }

    let (locker, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    locker.batch_execute("BEGIN; LOCK TABLE held.permits IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    world.publish(KEYS, 1..5).await;
    eventually("the other has all", || async { rows("free.permits").await == ids(KEYS, 4..5) }).await;
    eventually("it is retrying", || async { fanout.subscription("held").await["state"] == "retrying" }).await;

    // P9 for a database: nothing of it may wait for the lock.
    let began = std::time::Instant::now();
    world.set_status("held", GrantStatus::Suspended).await;
    eventually("it has ended", || async { fanout.metric("freshet_fanout_revocation_seconds", &[]) >= 1.0 }).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    locker.batch_execute("COMMIT").await.expect("unlocked");
    world.publish(KEYS, 5..6).await;
    eventually("the other has that too", || async { rows("free.permits").await == ids(KEYS, 5..6) }).await;
    assert_eq!(rows("held.permits").await, ids(KEYS, 0..1), "written after the grant was suspended");

    world.set_status("held", GrantStatus::Active).await;
    eventually("nothing is lost", || async { rows("held.permits").await == ids(KEYS, 5..6) }).await;
    fanout.stop().await;
}
