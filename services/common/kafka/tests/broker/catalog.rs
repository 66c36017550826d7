//! The catalogue's topic: followed live, written as a whole. One test, since there is one such topic a cluster.

use std::time::Duration;

use freshet_catalog_model::{Department, Entry, Title};
use freshet_kafka::Connection;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::catalog::{self, State};
use freshet_testkit::broker::Life;
use freshet_testkit::{Broker, BrokerSettings};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio_util::sync::CancellationToken;

fn department(id: &str) -> Entry {
    Entry::Department(Department { id: id.to_owned(), title: Title::default(), uscc: None, sources: vec![] })
}

fn ids(catalog: &freshet_catalog_model::Catalog) -> Vec<&str> {
    catalog.departments.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_live_and_fails_closed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder.path()) };
    let broker = tokio::task::spawn_blocking(move || Broker::start(settings).unwrap()).await.unwrap();
    let connection = Connection::to(broker.bootstrap());
    let stop = CancellationToken::new();

    let handle = catalog::follow(&connection, stop.clone()).unwrap();
    let blocking = connection.clone();
    tokio::task::spawn_blocking(move || assert_eq!(catalog::read_once(&blocking).unwrap().departments.len(), 0))
        .await
        .unwrap();
    assert!(!handle.is_ready());

    let blocking = connection.clone();
    let write = move |puts: Vec<Entry>, removes: Vec<String>| {
        let connection = blocking.clone();
        tokio::task::spawn_blocking(move || catalog::write(&connection, &puts, &removes).unwrap())
    };
    let spec = TopicSpec {
        name: "freshet.catalog".to_owned(),
        partitions: 1,
        may_grow: false,
        settings: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
    };
    let blocking = connection.clone();
    tokio::task::spawn_blocking(move || {
        let first = admin::ensure_topics(&blocking, std::slice::from_ref(&spec)).unwrap();
        assert_eq!(first.created, ["freshet.catalog"]);
        // Again: nothing to do. Another setting: altered. Another count: refused.
        assert_eq!(admin::ensure_topics(&blocking, std::slice::from_ref(&spec)).unwrap(), Default::default());
        let mut other = spec.clone();
        other.settings.insert("min.cleanable.dirty.ratio".to_owned(), "0.1".to_owned());
        assert_eq!(admin::ensure_topics(&blocking, &[other.clone()]).unwrap().altered, ["freshet.catalog"]);
        assert_eq!(admin::ensure_topics(&blocking, &[other]).unwrap(), Default::default());
        let wider = TopicSpec { partitions: 2, ..spec.clone() };
        let error = admin::ensure_topics(&blocking, &[wider]).unwrap_err().to_string();
        assert!(error.contains("has 1 partitions, not 2"), "{error}");
        let grown = TopicSpec { partitions: 3, may_grow: true, name: "reject.a".to_owned(), ..spec.clone() };
        admin::ensure_topics(&blocking, &[TopicSpec { partitions: 1, ..grown.clone() }]).unwrap();
        assert_eq!(admin::ensure_topics(&blocking, &[grown]).unwrap().grown, ["reject.a"]);
    })
    .await
    .unwrap();
    // An empty catalogue that was read to its end is a catalogue.
    let snapshot = tokio::time::timeout(Duration::from_secs(20), handle.ready()).await.unwrap().unwrap();
    assert_eq!(ids(&snapshot.catalog), Vec::<&str>::new());

    let mut changes = handle.changes();
    write(vec![department("a"), department("b")], vec![]).await.unwrap();
    wait_for(&mut changes, || ids(&handle.current().catalog) == ["a", "b"]).await;
    let revision = handle.current().revision;
    write(vec![department("c")], vec!["department/a".to_owned()]).await.unwrap();
    wait_for(&mut changes, || ids(&handle.current().catalog) == ["b", "c"]).await;
    assert!(handle.current().revision > revision);
    let blocking = connection.clone();
    let once = tokio::task::spawn_blocking(move || catalog::read_once(&blocking).unwrap()).await.unwrap();
    assert_eq!(ids(&once), ["b", "c"]);

    // Somebody writes what is no entry: the handle says so and is not ready any more.
    let bootstrap = broker.bootstrap();
    tokio::task::spawn_blocking(move || {
        let producer: rdkafka::producer::BaseProducer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
        let record = BaseRecord::to("freshet.catalog").partition(0).key("department/x").payload("{");
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
    })
    .await
    .unwrap();
    tokio::time::timeout(Duration::from_secs(20), changes.wait_for(|state| *state == State::Failed))
        .await
        .unwrap()
        .unwrap();
    assert!(!handle.is_ready());
    let fault = handle.check().unwrap_err().to_string();
    assert!(fault.contains("catalogue record department/x"), "{fault}");
    // This is what the services ask before they accept or disclose anything.
    assert_eq!(handle.in_force().unwrap_err().to_string(), fault);
    a_topic_that_was_made_anew_is_not_read_as_more_of_the_old(&connection).await;
    stop.cancel();
    tokio::task::spawn_blocking(move || drop(broker)).await.unwrap();
}

/// Else a service that outlives the loss of its cluster would serve by a catalogue that nobody changes any more.
async fn a_topic_that_was_made_anew_is_not_read_as_more_of_the_old(connection: &Connection) {
    let stop = CancellationToken::new();
    let make_anew = |puts: Vec<Entry>| {
        let connection = connection.clone();
        let spec = TopicSpec {
            name: "freshet.catalog".to_owned(),
            partitions: 1,
            may_grow: false,
            settings: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
        };
        tokio::task::spawn_blocking(move || {
            admin::delete_topics(&connection, &["freshet.catalog"]).unwrap();
            // The broker takes a moment to forget the name.
            let ensured = (0..200).find_map(|_| {
                std::thread::sleep(Duration::from_millis(20));
                admin::ensure_topics(&connection, std::slice::from_ref(&spec))
                    .ok()
                    .filter(|made| !made.created.is_empty())
            });
            ensured.expect("a new topic");
            catalog::write(&connection, &puts, &[]).unwrap();
        })
    };
    make_anew(vec![department("a")]).await.unwrap();
    let handle = catalog::follow(connection, stop.clone()).unwrap();
    let snapshot = tokio::time::timeout(Duration::from_secs(20), handle.ready()).await.unwrap().unwrap();
    assert_eq!(ids(&snapshot.catalog), ["a"]);
    // More records than before, so that the old position is one of the new topic too.
    make_anew(["b", "c", "d", "e"].map(department).into()).await.unwrap();
    let mut changes = handle.changes();
    let failed = tokio::time::timeout(Duration::from_secs(20), changes.wait_for(|state| *state == State::Failed)).await;
    failed.unwrap().unwrap();
    assert_eq!(ids(&handle.current().catalog), ["a"], "nothing of the new topic was read as more of the old");
    let fault = handle.check().unwrap_err().to_string();
    assert!(fault.contains("made anew"), "{fault}");
    stop.cancel();
}

async fn wait_for(changes: &mut tokio::sync::watch::Receiver<State>, condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            changes.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
}
