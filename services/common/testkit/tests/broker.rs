//! The broker as a process: continues after a crash, is ended with its owner, is guarded against a second owner.

use std::time::{Duration, Instant};

use freshet_testkit::{Broker, BrokerError, BrokerSettings};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

async fn create(bootstrap: &str, topic: &str) {
    let admin: AdminClient<_> = ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(-1));
    let results = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    results[0].as_ref().unwrap();
}

/// One transaction with one record.
fn write(bootstrap: &str, topic: &str, payload: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", "freshet-testkit")
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(topic).payload(payload)).unwrap();
    producer.commit_transaction(Duration::from_secs(20)).unwrap();
}

fn read(bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < count && Instant::now() < deadline {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            found.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_records_survive_a_kill_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(BrokerSettings::new(folder.path())).unwrap();
    let bootstrap = broker.bootstrap();
    create(&bootstrap, "kept").await;
    write(&bootstrap, "kept", "one");
    broker.kill();
    broker.restart().unwrap();
    write(&bootstrap, "kept", "two");
    assert_eq!(read(&bootstrap, "kept", 2), ["one", "two"]);

    // A second owner of the folder is refused while the first lives, and continues it afterwards, on the same port.
    assert!(matches!(Broker::start(BrokerSettings::new(folder.path())), Err(BrokerError::InUse(_))));
    broker.stop();
    drop(broker);
    let again = Broker::start(BrokerSettings::new(folder.path())).unwrap();
    assert_eq!(again.bootstrap(), bootstrap);
    assert_eq!(read(&bootstrap, "kept", 2), ["one", "two"]);
}

#[test]
fn the_shared_broker_answers() {
    let broker = Broker::shared();
    assert_eq!(broker.pids().len(), 1);
    assert_eq!(broker.bootstrap(), Broker::shared().bootstrap());
}

/// `min.insync.replicas` is 2 of 3: one broker may be lost, and nothing that was committed with it.
#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_go_on_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = BrokerSettings { brokers: 3, heap: "256m".to_owned(), ..BrokerSettings::new(folder.path()) };
    let mut broker = Broker::start(settings).unwrap();
    let bootstrap = broker.bootstrap();
    create(&bootstrap, "kept").await;
    write(&bootstrap, "kept", "one");
    broker.kill_one(0);
    assert!(!broker.is_running());
    write(&bootstrap, "kept", "two");
    broker.restart().unwrap();
    assert_eq!(read(&bootstrap, "kept", 2), ["one", "two"]);
}
