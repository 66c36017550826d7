//! The sink against a real PostgreSQL.

use std::sync::OnceLock;

use freshet_catalog_model::{Delivery as Way, Grant, View};
use freshet_kafka::OwnedRecord;
use freshet_testkit::postgres::Server;
use tokio_postgres::{Client, NoTls};

use super::rows::Rounds;
use super::*;
use crate::event::tests::{AVSC, record, schemas};
use crate::receipts::tests::grant;
use crate::trust::Trust;

pub(super) const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(20), statement: Duration::from_secs(20) };

/// One server for the tests of this process, each test with a database of its own.
pub(super) async fn database(name: &str) -> (String, Client) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = tokio::task::spawn_blocking(|| {
        SERVER
            .get_or_init(|| Server::start_private().expect("these tests need a PostgreSQL: apt-get install postgresql"))
    })
    .await
    .expect("a server");
    let admin = client(&server.url()).await;
    admin.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.expect("a database");
    let url = server.url().replace("/postgres", &format!("/{name}"));
    let client = client(&url).await;
    (url, client)
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

pub(super) fn postgres_grant() -> Grant {
    grant(Way::Postgres { connection: "db".to_owned(), table: "own.permits".to_owned() })
}

fn layout_of(grant: &Grant, avsc: &str) -> Layout {
    layout_for(grant, "own.permits", avsc)
}

pub(super) fn layout_for(grant: &Grant, table: &str, avsc: &str) -> Layout {
    let view = View {
        id: grant.view.clone(),
        dataset: grant.dataset.clone(),
        fields: grant.fields.clone(),
        masks: Default::default(),
        rows: None,
        schema_id: 7,
        partitions: 2,
    };
    Layout::new(grant, table, &view, (avsc, 168)).expect("a layout")
}

const TOPIC: TopicId = TopicId(7);

pub(super) async fn open_as(url: &str, layout: Layout, timeouts: Timeouts) -> Result<Sink, SinkError> {
    Locked::take(url, &Trust::default(), layout, timeouts).await?.open(TOPIC).await
}

async fn open(url: &str) -> Sink {
    open_as(url, layout_of(&postgres_grant(), AVSC), TIMEOUTS).await.expect("a sink")
}

fn keyed(offset: i64, key: &str, deleted: bool) -> OwnedRecord {
    let mut one = record(offset, deleted);
    one.key = Some(key.as_bytes().to_vec());
    one
}

fn rounds_of(records: &[OwnedRecord]) -> Rounds {
    let columns = columns::columns(AVSC).expect("columns");
    RowMaker::new(columns, Arc::new(schemas())).rounds(records).expect("rows")
}

async fn apply(sink: &mut Sink, records: &[OwnedRecord]) -> Result<(), SinkError> {
    apply_rounds(sink, rounds_of(records)).await
}

pub(super) async fn apply_rounds(sink: &mut Sink, rounds: Rounds) -> Result<(), SinkError> {
    apply_when(sink, rounds, std::future::ready(Ok(()))).await
}

async fn apply_when(
    sink: &mut Sink,
    rounds: Rounds,
    released: impl Future<Output = Result<(), Unwritten>>,
) -> Result<(), SinkError> {
    sink.write(rounds, released, || {}).await?;
    sink.commit().await
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.expect(sql).iter().map(|row| row.get::<_, String>(0)).collect()
}

const ROWS: &str = "SELECT freshet_key || ' ' || freshet_event_id || ' ' || status FROM own.permits ORDER BY 1";
const OFFSETS: &str = "SELECT partition || ':' || next_offset FROM own.freshet_offsets ORDER BY partition";

#[tokio::test]
async fn rows_come_change_and_go_with_their_offset() {
    let (url, client) = database("rows").await;
    let mut sink = open(&url).await;
    apply(&mut sink, &[keyed(0, "a", false), keyed(1, "b", false), keyed(4, "a", false)]).await.expect("applied");
    assert_eq!(texts(&client, ROWS).await, ["a e-4 open", "b e-1 open"]);
    assert_eq!(texts(&client, OFFSETS).await, ["0:5", "1:0"]);
    apply(&mut sink, &[keyed(6, "a", true), keyed(7, "never", true)]).await.expect("applied");
    assert_eq!(texts(&client, ROWS).await, ["b e-1 open"]);
    assert_eq!(texts(&client, OFFSETS).await, ["0:8", "1:0"]);
    let types = "SELECT column_name || ' ' || data_type FROM information_schema.columns \
                 WHERE table_schema = 'own' AND table_name = 'permits' ORDER BY 1";
    assert_eq!(
        texts(&client, types).await,
        [
            "freshet_event_id text",
            "freshet_event_time timestamp with time zone",
            "freshet_key text",
            "freshet_published_at timestamp with time zone",
            "freshet_source text",
            "freshet_written_at timestamp with time zone",
            "number text",
            "status text",
        ]
    );
}

#[tokio::test]
async fn a_subscribers_trigger_sees_every_event_once_though_backends_are_killed() {
    let (url, client) = database("kills").await;
    drop(open(&url).await);
    client
        .batch_execute(
            "CREATE TABLE own.seen (id text); CREATE FUNCTION own.see() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO own.seen VALUES (NEW.freshet_event_id); RETURN NEW; END $$; \
             CREATE TRIGGER see AFTER INSERT OR UPDATE ON own.permits FOR EACH ROW EXECUTE FUNCTION own.see()",
        )
        .await
        .expect("a trigger");
    let all: Vec<OwnedRecord> =
        (0..600).map(|offset| keyed(offset, ["a", "b", "c"][offset as usize % 3], false)).collect();
    let mut kills = 0;
    let mut done = 0;
    while done < all.len() {
        let mut sink = match open_as(&url, layout_of(&postgres_grant(), AVSC), TIMEOUTS).await {
            Ok(sink) => sink,
            // The killed connection's lock is given back a moment after it.
            Err(SinkError::Standby) => continue,
            Err(error) => panic!("{error}"),
        };
        done = sink.positions[&0] as usize;
        while done < all.len() {
            let batch = &all[done..(done + 20).min(all.len())];
            let rounds = rounds_of(batch);
            // Every third batch loses its backend between the writes and the commit.
            let kill = kills < 10 && (done / 20) % 3 == 1 + kills % 2;
            let released = async {
                if kill {
                    kills += 1;
                    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                                     WHERE application_name = 'freshet' AND datname = current_database()";
                    client.query(terminate, &[]).await.expect("terminated");
                }
                Ok::<_, Unwritten>(())
            };
            match apply_when(&mut sink, rounds, released).await {
                Ok(()) => done += batch.len(),
                Err(SinkError::Connect(_) | SinkError::Sql(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(kills >= 3, "{kills}");
    let seen = texts(&client, "SELECT id FROM own.seen ORDER BY substr(id, 3)::int").await;
    let expected: Vec<String> = (0..600).map(|offset| format!("e-{offset}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn events_of_one_key_in_one_batch_are_applied_in_their_order() {
    let (url, client) = database("order").await;
    let mut sink = open(&url).await;
    client
        .batch_execute(
            "CREATE TABLE own.seen (number serial, what text); CREATE FUNCTION own.see() RETURNS trigger LANGUAGE plpgsql \
             AS $$ BEGIN INSERT INTO own.seen (what) VALUES (coalesce(NEW.freshet_event_id, 'gone')); RETURN NULL; END $$; \
             CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON own.permits FOR EACH ROW EXECUTE FUNCTION own.see()",
        )
        .await
        .expect("a trigger");
    let batch: Vec<OwnedRecord> = (0..300).map(|offset| keyed(offset, "a", offset % 3 == 2)).collect();
    apply(&mut sink, &batch).await.expect("applied");
    let expected: Vec<String> =
        (0..300).map(|offset| if offset % 3 == 2 { "gone".to_owned() } else { format!("e-{offset}") }).collect();
    assert_eq!(texts(&client, "SELECT what FROM own.seen ORDER BY number").await, expected);
}

#[tokio::test]
async fn a_record_of_an_earlier_schema_that_does_not_fit_is_read_from_its_text() {
    let (url, client) = database("earlier").await;
    let later = AVSC.replace(r#"["null","string"]"#, r#"["null","long"]"#);
    let layout = layout_of(&postgres_grant(), &later);
    let mut rows = RowMaker::new(layout.columns().to_vec(), Arc::new(schemas()));
    let mut sink = open_as(&url, layout, TIMEOUTS).await.expect("a sink");
    let mut number = keyed(0, "a", false);
    number.value = Some(vec![0, 0, 0, 0, 7, 6, b'p', b'-', b'1', 2, 4, b'4', b'2']);
    let rounds = rows.rounds(&[number]).expect("rows");
    apply_rounds(&mut sink, rounds).await.expect("applied");
    assert_eq!(texts(&client, "SELECT status::text FROM own.permits").await, ["42"]);
    let rounds = rows.rounds(&[keyed(1, "b", false)]).expect("rows");
    let refused = apply_rounds(&mut sink, rounds).await.expect_err("no number");
    assert!(refused.to_string().contains("wrong data (SQLSTATE 22P02)"), "{refused}");
}

#[tokio::test]
async fn a_view_may_have_many_fields() {
    let (url, client) = database("wide").await;
    let fields: Vec<String> =
        (0..400).map(|number| format!(r#"{{"name":"f{number}","type":["null","long"],"default":null}}"#)).collect();
    let fields = fields.join(",");
    let wide = format!(r#"{},{fields}]}}"#, AVSC.strip_suffix("]}").expect("a record"));
    let layout = layout_of(&postgres_grant(), &wide);
    let mut rows = RowMaker::new(layout.columns().to_vec(), Arc::new(schemas()));
    let mut sink = open_as(&url, layout, TIMEOUTS).await.expect("a sink");
    let rounds = rows.rounds(&[keyed(0, "a", false)]).expect("rows");
    apply_rounds(&mut sink, rounds).await.expect("applied");
    assert_eq!(texts(&client, "SELECT status FROM own.permits WHERE f399 IS NULL").await, ["open"]);
}

#[tokio::test]
async fn without_a_receipt_nothing_is_committed() {
    let (url, client) = database("receipt").await;
    let mut sink = open(&url).await;
    let rounds = rounds_of(&[keyed(0, "a", false)]);
    let ended = apply_when(&mut sink, rounds, std::future::ready(Err(Unwritten))).await;
    assert!(matches!(ended, Err(SinkError::Unwritten(_))), "{ended:?}");
    assert!(texts(&client, ROWS).await.is_empty());
    assert_eq!(texts(&client, OFFSETS).await, ["0:0", "1:0"]);
}

#[tokio::test]
async fn a_batch_is_written_behind_the_commit_of_the_one_before() {
    let (url, client) = database("behind").await;
    let mut sink = open(&url).await;
    let mut committed = 0;
    for offset in 0..3 {
        let rounds = rounds_of(&[keyed(offset, "a", false)]);
        sink.write(rounds, std::future::ready(Ok::<_, Unwritten>(())), || committed += 1).await.expect("written");
        let last = (offset > 0).then(|| format!("a e-{} open", offset - 1));
        assert_eq!(texts(&client, ROWS).await, Vec::from_iter(last), "the last of them is open");
    }
    assert_eq!((committed, texts(&client, OFFSETS).await), (2, vec!["0:2".to_owned(), "1:0".to_owned()]));
    drop(sink);
    assert_eq!(reopen(&url, layout_of(&postgres_grant(), AVSC)).await.expect("a sink").positions[&0], 2);
}

/// Of a commit that is refused nothing is left, and nothing of what was sent behind it.
#[tokio::test]
async fn a_refused_commit_takes_the_batch_behind_it_along() {
    let (url, client) = database("refused").await;
    let mut sink = open(&url).await;
    client
        .batch_execute(
            "CREATE FUNCTION own.refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN IF NEW.freshet_event_id = 'e-0' THEN RAISE 'not this one'; END IF; RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON own.permits DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION own.refuse()",
        )
        .await
        .expect("a trigger");
    let ready = || std::future::ready(Ok::<_, Unwritten>(()));
    sink.write(rounds_of(&[keyed(0, "a", false)]), ready(), || {}).await.expect("written");
    let behind = sink.write(rounds_of(&[keyed(1, "b", false)]), ready(), || panic!("not committed")).await;
    assert!(matches!(&behind, Err(SinkError::Sql(reason)) if reason.contains("not this one")), "{behind:?}");
    drop(sink);
    let sink = reopen(&url, layout_of(&postgres_grant(), AVSC)).await.expect("a sink");
    assert_eq!((sink.positions[&0], texts(&client, ROWS).await.len()), (0, 0));
}

#[tokio::test]
async fn many_subscriptions_may_begin_at_a_time_in_an_empty_schema() {
    let (url, client) = database("begin").await;
    let open_one = |number: usize| {
        let mut grant = postgres_grant();
        grant.id = format!("grant-{number}");
        let view = format!("own.table_{number}");
        let layout = layout_for(&grant, &view, AVSC);
        let url = url.clone();
        async move { open_as(&url, layout, TIMEOUTS).await.map(drop) }
    };
    let opened = futures::future::join_all((0..8).map(open_one)).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'own'";
    assert_eq!(texts(&client, tables).await, ["9"]);
}

#[tokio::test]
async fn a_second_instance_stands_by_and_one_that_lost_its_lock_is_fenced() {
    let (url, client) = database("fence").await;
    let mut first = open(&url).await;
    let second = open_as(&url, layout_of(&postgres_grant(), AVSC), TIMEOUTS).await;
    assert!(matches!(second, Err(SinkError::Standby)), "{second:?}");
    // As if a pooler had given the session, and with it the lock, to somebody else.
    client.execute("UPDATE own.freshet_offsets SET next_offset = 3 WHERE partition = 0", &[]).await.expect("moved");
    let fenced = apply(&mut first, &[keyed(0, "a", false)]).await;
    assert!(matches!(fenced, Err(SinkError::Fenced { partition: 0, expected: 0 })), "{fenced:?}");
    assert!(texts(&client, ROWS).await.is_empty());
}

#[tokio::test]
async fn a_new_field_becomes_a_column_and_a_changed_type_is_explained() {
    let (url, client) = database("migration").await;
    let mut sink = open(&url).await;
    apply(&mut sink, &[keyed(0, "a", false)]).await.expect("applied");
    drop(sink);
    let fields = AVSC.strip_suffix("]}").expect("a record");
    let wider = format!(r#"{fields},{{"name":"amount","type":["null","long"],"default":null}}]}}"#);
    let reopened = reopen(&url, layout_of(&postgres_grant(), &wider)).await.expect("migrated");
    assert_eq!(reopened.positions[&0], 1);
    assert_eq!(texts(&client, "SELECT status FROM own.permits WHERE amount IS NULL").await, ["open"]);
    drop(reopened);
    let other = AVSC.replace(r#"["null","string"]"#, r#"["null","boolean"]"#);
    let refused = reopen(&url, layout_of(&postgres_grant(), &other)).await.expect_err("refused").to_string();
    assert!(refused.contains("column status of own.permits is text, the view has boolean"), "{refused}");
}

/// The lock of a connection that was dropped is given back a moment later.
async fn reopen(url: &str, layout: Layout) -> Result<Sink, SinkError> {
    loop {
        match open_as(url, layout.clone(), TIMEOUTS).await {
            Err(SinkError::Standby) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_grant_that_reads_another_view_fills_its_table_anew() {
    let (url, client) = database("regrant").await;
    let mut sink = open(&url).await;
    apply(&mut sink, &[keyed(0, "a", false)]).await.expect("applied");
    drop(sink);
    let mut changed = postgres_grant();
    changed.view = "permits.ba9876543210".to_owned();
    let sink = reopen(&url, layout_of(&changed, AVSC)).await.expect("a sink");
    assert_eq!(sink.positions[&0], 0);
    assert!(texts(&client, ROWS).await.is_empty());
    let mut other = postgres_grant();
    other.id = "another".to_owned();
    let refused = reopen(&url, layout_of(&other, AVSC)).await.expect_err("refused").to_string();
    assert!(refused.contains("belongs to grant tax-permits"), "{refused}");
}

#[tokio::test]
async fn a_subscriber_that_was_away_longer_than_removals_are_kept_is_filled_anew() {
    let (url, client) = database("away").await;
    let mut sink = open(&url).await;
    apply(&mut sink, &[keyed(0, "a", false)]).await.expect("applied");
    drop(sink);
    let age = |hours| format!("UPDATE own.freshet_offsets SET updated_at = now() - interval '{hours} hours'");
    client.batch_execute(&age(160)).await.expect("aged");
    let sink = reopen(&url, layout_of(&postgres_grant(), AVSC)).await.expect("a sink");
    assert_eq!((sink.positions[&0], texts(&client, ROWS).await.len()), (1, 1));
    drop(sink);
    client.batch_execute(&age(169)).await.expect("aged");
    let sink = reopen(&url, layout_of(&postgres_grant(), AVSC)).await.expect("a sink");
    assert_eq!((sink.positions[&0], texts(&client, ROWS).await.len()), (0, 0));
    sink.touch().await.expect("touched");
    let fresh = "SELECT grant_is::text FROM (SELECT bool_and(updated_at > now() - interval '1 minute') AS grant_is \
                 FROM own.freshet_offsets) AS t";
    assert_eq!(texts(&client, fresh).await, ["true"]);
}

#[tokio::test]
async fn a_view_whose_topic_was_made_anew_fills_its_table_anew() {
    let (url, client) = database("anew").await;
    let mut sink = open(&url).await;
    apply(&mut sink, &[keyed(0, "a", false)]).await.expect("applied");
    drop(sink);
    // As a program of before the column left it: of which topic the offsets are is not known, so they are believed.
    client.batch_execute("ALTER TABLE own.freshet_offsets DROP COLUMN topic").await.expect("dropped");
    let sink = reopen(&url, layout_of(&postgres_grant(), AVSC)).await.expect("a sink");
    assert_eq!((sink.positions[&0], texts(&client, ROWS).await.len()), (1, 1));
    drop(sink);
    let locked = loop {
        match Locked::take(&url, &Trust::default(), layout_of(&postgres_grant(), AVSC), TIMEOUTS).await {
            Err(SinkError::Standby) => tokio::task::yield_now().await,
            other => break other.expect("the lock"),
        }
    };
    let sink = locked.open(TopicId(8)).await.expect("a sink");
    assert_eq!((sink.positions[&0], texts(&client, ROWS).await.len()), (0, 0));
}

#[tokio::test]
async fn an_unreachable_database_is_an_error_with_its_reason() {
    let nowhere = "postgres://freshet@127.0.0.1:1/postgres";
    let refused = open_as(nowhere, layout_of(&postgres_grant(), AVSC), TIMEOUTS).await.expect_err("refused");
    assert!(matches!(&refused, SinkError::Connect(_)), "{refused}");
    let wrong = open_as("not a url", layout_of(&postgres_grant(), AVSC), TIMEOUTS).await.expect_err("refused");
    assert!(matches!(&wrong, SinkError::Secret(_)) && !wrong.to_string().contains("not a url"), "{wrong}");
}
