//! Outages on librdkafka's mock cluster, where no transaction is needed.

use std::time::Duration;

use freshet_kafka::publisher::Publisher;
use freshet_kafka::{Connection, Record, admin, offsets};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

fn record(number: u32) -> Record {
    Record {
        topic: "events".to_owned(),
        partition: Some(0),
        key: Some(b"k".to_vec()),
        value: Some(number.to_string().into_bytes()),
        ..Record::default()
    }
}

#[tokio::test]
async fn what_is_published_during_an_outage_is_acknowledged_after_it_in_order() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("events", 1, 1).unwrap();
    let publisher = Publisher::new(&Connection::to(mock.bootstrap_servers()), "test", 100).unwrap();
    assert_eq!(publisher.publish(record(0)).await.unwrap().offset, 0);
    // Its place is free a moment after its answer.
    while publisher.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    mock.broker_down(1).unwrap();
    let waiting: Vec<_> = (1..10).map(|number| publisher.enqueue(&record(number)).unwrap()).collect();
    assert_eq!(publisher.in_flight(), 9);
    mock.broker_up(1).unwrap();
    for (number, waiting) in (1..10).zip(waiting) {
        assert_eq!(waiting.wait().await.unwrap().offset, number);
    }
}

#[tokio::test]
async fn a_refusal_that_passes_is_retried_without_a_duplicate() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("events", 1, 1).unwrap();
    let publisher = Publisher::new(&Connection::to(mock.bootstrap_servers()), "test", 100).unwrap();
    mock.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        ],
    );
    for number in 0..5 {
        assert_eq!(publisher.publish(record(number)).await.unwrap().offset, i64::from(number));
    }
}

#[tokio::test]
async fn committed_offsets_are_found_when_the_coordinator_comes_up() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("events", 2, 1).unwrap();
    mock.coordinator(MockCoordinator::Group("readers".to_owned()), 1).unwrap();
    mock.request_errors(
        RDKafkaApiKey::FindCoordinator,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE; 3],
    );
    let connection = Connection::to(mock.bootstrap_servers());
    let committed = tokio::task::spawn_blocking(move || offsets::committed(&connection, "readers", "events"));
    assert_eq!(committed.await.unwrap().unwrap(), [None, None]);
}

#[test]
fn an_unreachable_cluster_is_told_within_the_time_given() {
    let error = admin::is_reachable(&Connection::to("127.0.0.1:1"), Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.exit(), freshet_kafka::error::Exit::Retry, "{error}");
}
