//! Topics of many partitions: what is said to be there can be used.

use std::collections::BTreeMap;

use freshet_kafka::Connection;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::offsets;
use freshet_testkit::broker::Life;
use freshet_testkit::{Broker, BrokerSettings};

/// A broker of its own: while it opens these, it serves nobody anything new.
#[test]
fn topics_of_many_partitions_can_be_used_when_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let settings = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder.path().join("kafka")) };
    let broker = Broker::start(settings).unwrap();
    let connection = Connection::to(broker.bootstrap());
    let spec = |number| TopicSpec {
        name: format!("wide-{number}"),
        partitions: 600,
        may_grow: false,
        settings: BTreeMap::new(),
    };
    let specs: Vec<TopicSpec> = (0..3).map(spec).collect();
    let made = admin::ensure_topics(&connection, &specs).unwrap();
    assert_eq!(made.created.len(), 3);
    for spec in &specs {
        let ends = offsets::ends(&connection, &spec.name).unwrap();
        assert_eq!(ends.len(), 600);
    }
}
