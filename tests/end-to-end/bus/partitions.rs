//! Somebody gives topics more partitions than the catalogue says. It must be named, must lose nothing, and must not stop
//! what does not depend on it.

use std::collections::BTreeSet;
use std::time::Duration;

use freshet_kafka::Connection;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_testkit::departments::Pull;
use serde_json::Value;

use crate::support::{Bus, Options, copy, eventually};
use crate::{alone, permits, token};

const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn partitions_that_nobody_planned_are_named_and_lose_nothing() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    permits::catalogue(dir, permits::ROADS);
    // A second register, which is none of its business.
    copy(&dir.join("permit"), &dir.join("visit"));
    let avsc = std::fs::read_to_string(dir.join("visit/permit.avsc")).expect("the schema");
    std::fs::remove_file(dir.join("visit/permit.avsc")).expect("removed");
    std::fs::write(dir.join("visit/visit.avsc"), avsc.replace("permit", "visit")).expect("written");
    permits::grant(dir, "tax", "pull", "");
    permits::grant(dir, "late", "pull", "");
    let late = std::fs::read_to_string(dir.join("grants/late.yaml")).expect("the grant");
    std::fs::write(dir.join("grants/late.yaml"), late.replace("dataset: permit", "dataset: visit")).expect("written");
    let tokens = ["roads", "tax", "late"].map(|id| (id, token(id)));
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let bus = Bus::start(&Options { catalogue: dir, tokens: &tokens, secrets: &[], extra_instances: &[] });
    let world = World { client: reqwest::blocking::Client::new(), bus };
    let mut permits = Reader::new(&world, "tax");
    let mut visits = Reader::new(&world, "late");

    world.publish("permit", 0..10);
    permits.has("p", 0..10);

    // The canonical topic and a view with empty partitions more: nothing is written there, everything goes on.
    world.widen("dataset.permit", 6);
    world.publish("permit", 10..20);
    permits.has("p", 0..20);

    world.widen("publish.permit", 6);
    // Until the validator has seen it, which the group tells within seconds.
    let mut probes = 0;
    eventually("a refusal that names it", LIMIT, || {
        world.publish("permit", 1_000 + probes..1_001 + probes);
        probes += 1;
        (!world.refused().is_empty()).then_some(())
    });
    world.publish("permit", 20..40);
    let ids: BTreeSet<String> = (20..40).map(|number| format!("p-{number}")).collect();
    eventually("all refused", LIMIT, || ids.is_subset(&world.refused()).then_some(()));
    world.publish("visit", 0..10);
    visits.has("v", 0..10);
    let applied = world.bus.command(&["catalog", "apply", &dir.to_string_lossy()]).output().expect("the program runs");
    let said = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(!applied.status.success() && said.contains("has 6 partitions, not 4"), "{said}");

    // As docs/errors/dataset.partitions.md says. The canonical topic stays as it is: what it holds is the register.
    let connection = Connection::to(world.bus.bootstrap());
    admin::delete_topics(&connection, &["publish.permit"]).expect("deleted");
    eventually("the topic is made anew", LIMIT, || {
        let spec = TopicSpec {
            name: "publish.permit".to_owned(),
            partitions: 4,
            may_grow: false,
            settings: std::collections::BTreeMap::new(),
        };
        admin::ensure_topics(&connection, &[spec]).is_ok_and(|made| !made.created.is_empty()).then_some(())
    });
    eventually("the refused events are taken", LIMIT, || {
        let refused = world.places();
        let mut arguments = vec!["rejects", "resend"];
        arguments.extend(refused.iter().map(String::as_str));
        world.bus.command(&arguments).output().expect("the program runs");
        permits.look();
        ids.is_subset(&permits.seen).then_some(())
    });
    assert!(permits.twice.is_empty(), "delivered twice: {:?}", permits.twice);
}

struct World {
    client: reqwest::blocking::Client,
    bus: Bus,
}

impl World {
    fn publish(&self, dataset: &str, numbers: std::ops::Range<u64>) {
        let letter = &dataset[..1];
        let events: Vec<Value> = numbers
            .map(|number| {
                let id = format!("{letter}-{number}");
                permits::event(&id, &id, 1, Some("OPEN"))
            })
            .collect();
        let request = self
            .client
            .post(format!("{}/v1/datasets/{dataset}/events", self.bus.gateway))
            .bearer_auth(token(permits::ROADS))
            .header("content-type", "application/cloudevents-batch+json")
            .body(Value::from(events).to_string());
        let answer = request.send().expect("an answer");
        assert!(answer.status().is_success(), "{:?}", answer.text());
    }

    fn widen(&self, topic: &str, partitions: i32) {
        let settings = std::collections::BTreeMap::new();
        let spec = TopicSpec { name: topic.to_owned(), partitions, may_grow: true, settings };
        let grown = admin::ensure_topics(&Connection::to(self.bus.bootstrap()), &[spec]).expect("wider").grown;
        assert_eq!(grown, [topic]);
    }

    fn rejects(&self) -> Vec<Value> {
        let arguments = ["--output", "json", "rejects", "list", "--department", "roads", "--limit", "1000"];
        let text = self.bus.run(&arguments);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The ids of events that were refused for the topic's partitions.
    fn refused(&self) -> BTreeSet<String> {
        let is_it = |reject: &Value| reject["violations"][0]["code"] == "dataset.partitions";
        let rejects = self.rejects().into_iter().filter(is_it);
        rejects.map(|reject| reject["id"].as_str().expect("an id").to_owned()).collect()
    }

    fn places(&self) -> Vec<String> {
        self.rejects().iter().map(|reject| reject["place"].as_str().expect("a place").to_owned()).collect()
    }
}

struct Reader {
    runtime: tokio::runtime::Runtime,
    pull: Pull,
    seen: BTreeSet<String>,
    twice: Vec<String>,
}

impl Reader {
    fn new(world: &World, grant: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let pull = Pull::new(&world.bus.pull, grant, token(grant));
        Self { runtime, pull, seen: BTreeSet::new(), twice: Vec::new() }
    }

    fn look(&mut self) {
        let Ok((events, _)) = self.runtime.block_on(self.pull.next(500, 300)) else { return };
        for event in events {
            let id = event["id"].as_str().expect("an id").to_owned();
            if !self.seen.insert(id.clone()) {
                self.twice.push(id);
            }
        }
    }

    fn has(&mut self, letter: &str, numbers: std::ops::Range<u64>) {
        let wanted: BTreeSet<String> = numbers.map(|number| format!("{letter}-{number}")).collect();
        eventually(&format!("{wanted:?}"), LIMIT, || {
            self.look();
            wanted.is_subset(&self.seen).then_some(())
        });
    }
}
