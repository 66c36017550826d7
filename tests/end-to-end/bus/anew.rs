//! Somebody deletes a view's topic while the bus runs, and applies the catalogue to have it back.

use std::collections::BTreeSet;
use std::time::Duration;

use freshet_kafka::Connection;
use freshet_kafka::admin;
use freshet_testkit::departments::Pull;
use serde_json::Value;

use crate::support::{Bus, Options, eventually};
use crate::{alone, permits, token};

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn a_view_whose_topic_is_deleted_has_every_row_again() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    permits::catalogue(folder.path(), permits::ROADS);
    permits::grant(folder.path(), "tax", "pull", "");
    let tokens = ["roads", "tax"].map(|id| (id, token(id)));
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let bus = Bus::start(&Options { catalogue: folder.path(), tokens: &tokens, secrets: &[], extra_instances: &[] });
    let connection = Connection::to(bus.bootstrap());
    let client = reqwest::blocking::Client::new();
    let publish = |numbers: std::ops::Range<u64>| {
        let event = |number| permits::event(&format!("p-{number}"), &format!("p-{number}"), 1, Some("OPEN"));
        let events: Vec<Value> = numbers.map(event).collect();
        permits::publish(&client, &bus.gateway, &events).expect("it is taken");
    };
    let view = || {
        let topics = admin::topics(&connection).expect("the topics");
        topics.into_keys().find(|topic| topic.starts_with("view.permit."))
    };
    publish(0..20);
    pulls(&bus, 0..20);

    let name = view().expect("a view");
    admin::delete_topics(&connection, &[&name]).expect("deleted");
    eventually("it is gone", LIMIT, || view().is_none().then_some(()));
    publish(20..25);
    bus.run(&["catalog", "apply", &folder.path().to_string_lossy()]);
    assert_eq!(view(), Some(name));
    publish(25..30);
    pulls(&bus, 0..30);
}

/// A subscriber who begins without a cursor gets all of these.
fn pulls(bus: &Bus, numbers: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let wanted: BTreeSet<String> = numbers.map(|number| format!("p-{number}")).collect();
    let mut pull = Pull::new(&bus.pull, "tax", token("tax"));
    let mut seen = BTreeSet::new();
    eventually(&format!("{wanted:?}"), LIMIT, || {
        let (events, _) = runtime.block_on(pull.next(100, 300)).ok()?;
        seen.extend(events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)));
        wanted.is_subset(&seen).then_some(())
    });
}
