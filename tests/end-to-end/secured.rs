//! The bus on a cluster with TLS, passwords and an authorizer that denies what no ACL allows: each role is a user of its own,
//! none of them a superuser, and may do what its work is and nothing else.

#[path = "bus/permits.rs"]
mod permits;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use freshet_kafka::connection::{Mechanism, Protocol, Sasl, Security, Tls};
use freshet_kafka::{Connection, acl};
use freshet_testkit::broker::{MECHANISMS, Secured};
use freshet_testkit::departments::{Consumer, Pull, Receiver};
use serde_json::Value;
use support::{Bus, Logon, Options, ROLES, eventually};

const LIMIT: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "root";
const DEPARTMENTS: [&str; 6] = ["roads", "bridges", "tax", "hook", "control", "late"];
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Every way to log on is somebody's.
fn mechanism(user: &str) -> &'static str {
    MECHANISMS[user.len() % MECHANISMS.len()]
}

fn token(department: &str) -> String {
    format!("token-of-{department}-with-enough-characters-to-be-one")
}

struct Live {
    bus: Bus,
    secured: Secured,
    runtime: tokio::runtime::Runtime,
    client: reqwest::blocking::Client,
    catalogue: tempfile::TempDir,
    /// The one of the grants over Kafka, by webhook and by pull; and the one of the grant with a row filter.
    view: String,
    filtered: String,
}

#[test]
fn each_role_does_its_work_with_its_own_rights_and_no_more() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (receiver, mut deliveries) = runtime.block_on(Receiver::start(0)).expect("a receiver");
    receiver.expect("hook", SECRET);
    let catalogue = catalogue(&receiver);
    let certificates = tempfile::tempdir().expect("a folder");
    let users: Vec<String> = [SUPERUSER.to_owned(), Logon::OPERATOR.to_owned()]
        .into_iter()
        .chain(ROLES.map(|role| format!("freshet-{role}")))
        .chain(DEPARTMENTS.map(str::to_owned))
        .collect();
    let users: Vec<(String, String)> = users.into_iter().map(|user| (user.clone(), Logon::password(&user))).collect();
    let users: Vec<(&str, &str)> = users.iter().map(|(user, password)| (user.as_str(), password.as_str())).collect();
    let secured = Secured::make(certificates.path(), &users).expect("certificates");
    let tokens = DEPARTMENTS.map(|id| (id, token(id)));
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let options =
        Options { catalogue: catalogue.path(), tokens: &tokens, secrets: &[("hook", SECRET)], extra_instances: &[] };
    let logon = Logon { secured: secured.clone(), mechanism, superuser: SUPERUSER };
    let begun = Instant::now();
    let bus = Bus::start_on(&options, Some(logon));
    println!("ready after {:?}", begun.elapsed());
    let views = views(&bus, catalogue.path());
    let client = reqwest::blocking::Client::new();
    let mut live = Live {
        bus,
        secured,
        runtime,
        client,
        catalogue,
        view: views["tax"].clone(),
        filtered: views["control"].clone(),
    };

    live.publish("first", 1);
    let tax = live.secured.visitor("tax", mechanism("tax")).consumer("tax", &[&live.view]).expect("a consumer");
    live.arrives(&tax, "first");
    live.runtime.block_on(async {
        let delivery = tokio::time::timeout(LIMIT, deliveries.recv()).await.expect("a delivery in time");
        let body: Value = serde_json::from_slice(&delivery.expect("a receiver").body).expect("JSON");
        assert_eq!(body["id"], "first");
    });
    println!("published and received after {:?}", begun.elapsed());
    live.everybody_else_is_served();
    println!("everything served after {:?}", begun.elapsed());
    live.nobody_does_more();
    live.a_right_that_is_taken_away_ends_the_validator(&tax);
    println!("validator and router ended and went on after {:?}", begun.elapsed());
    live.a_right_that_is_taken_away_stops_the_ways_out();
    live.without_the_catalogue_a_role_ends();
    println!("all done after {:?}", begun.elapsed());
}

fn catalogue(receiver: &Receiver) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    permits::catalogue(folder.path(), permits::ROADS);
    permits::grant(folder.path(), "tax", "kafka", "");
    permits::grant(folder.path(), "late", "pull", "");
    permits::grant(folder.path(), "control", "kafka", "rows: status = 'CLOSED'\n");
    let webhook = format!("{{webhook: {{url: \"{}\", secret: hook}}}}", receiver.url("hook"));
    permits::grant(folder.path(), "hook", &webhook, "");
    folder
}

/// The view's topic of each grant over Kafka, from what the operator is told that they may read; and that the roles do all
/// their work with what is listed there.
fn views(bus: &Bus, catalogue: &Path) -> std::collections::BTreeMap<String, String> {
    let listed = bus.run(&["--output", "json", "catalog", "access", &catalogue.to_string_lossy()]);
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let view = |acl: &Value| {
        let topic = acl["resource"]["topic"].as_str()?;
        let user = acl["principal"].as_str()?.strip_prefix("User:")?;
        topic.starts_with("view.").then(|| (user.to_owned(), topic.to_owned()))
    };
    listed.iter().filter_map(view).collect()
}

impl Live {
    fn publish(&self, id: &str, sequence: u64) {
        let event = permits::event(id, "p-1", sequence, Some("OPEN"));
        permits::publish(&self.client, &self.bus.gateway, &[event]).expect("the gateway takes it");
    }

    fn arrives(&self, subscriber: &Consumer, id: &str) {
        eventually(&format!("{id} at the subscriber over Kafka"), LIMIT, || {
            let record = subscriber.next(Duration::from_millis(200)).expect("allowed")?;
            (record.header("ce_id") == Some(id)).then_some(())
        });
        subscriber.commit().expect("committed");
    }

    /// The parts of the work that an event on its way to a webhook does not touch.
    fn everybody_else_is_served(&self) {
        let (events, _) = self
            .runtime
            .block_on(Pull::new(&self.bus.pull, "late", token("late")).next(10, 5000))
            .expect("the fanout reads views for those who pull");
        assert_eq!(events.len(), 1, "{events:?}");
        // What a department writes by itself and the validator refuses comes back to it, and to nobody else.
        let roads = self.secured.visitor("roads", mechanism("roads"));
        let headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", "spoilt"),
            ("ce_source", "urn:example:roads"),
            ("ce_type", "example.permit.changed"),
            ("content-type", "application/avro"),
        ];
        self.runtime.block_on(async {
            let producer = roads.producer().expect("a producer");
            let sent = producer.send("publish.permit", b"p-2", Some(b"no Avro"), &headers).await.expect("sent");
            sent.await.expect("not cancelled").expect("an authority writes its dataset");
        });
        roads.read("roads.rejections", "reject.roads").expect("its rejection");
        eventually("the operator sees the rejection", LIMIT, || {
            self.bus.run(&["rejects", "list", "--department", "roads"]).contains("spoilt").then_some(())
        });
        eventually("the operator sees every hop", LIMIT, || {
            let hops = self.bus.run(&["trace", "first", "--dataset", "permit"]);
            ["publish.permit", "dataset.permit", self.view.as_str(), "hook"]
                .iter()
                .all(|hop| hops.contains(hop))
                .then_some(())
        });
        eventually("the observer knows how far the subscribers are", LIMIT, || {
            let metrics = self.bus.metrics("observer-0");
            ["tax", "hook"]
                .iter()
                .all(|grant| {
                    metrics.contains(&format!("freshet_observer_subscriber_lag_records{{grant=\"{grant}\"}} 0\n"))
                })
                .then_some(())
        });
        let metrics = self.bus.metrics("observer-0");
        assert!(metrics.contains("freshet_observer_errors_total{kind=\"lag\"} 0\n"), "{metrics}");
        // The operator alone changes the catalogue, and what it changes to is nothing.
        let again = self.bus.run(&["catalog", "apply", &self.catalogue.path().to_string_lossy()]);
        assert_eq!(again, "No changes: the bus has what the files say.\n");
    }

    fn nobody_does_more(&self) {
        let begun = Instant::now();
        let (view, filtered) = (self.view.as_str(), self.filtered.as_str());
        let mut tried = 0;
        for (user, topics) in [
            ("freshet-gateway", &["dataset.permit", view, "freshet.catalog", "freshet.audit"][..]),
            ("freshet-validator", &["publish.permit", view, "freshet.catalog", "freshet.view-positions"]),
            ("freshet-router", &["publish.permit", "dataset.permit", "reject.roads", "freshet.audit"]),
            ("freshet-fanout", &["publish.permit", "dataset.permit", view, "freshet.catalog"]),
            ("freshet-catalog", &["freshet.catalog", "publish.permit", "dataset.permit", view]),
            ("freshet-observer", &["freshet.audit", "freshet.catalog", "publish.permit", view]),
            ("freshet-operator", &["dataset.permit", view, "freshet.audit", "reject.roads"]),
            ("roads", &["dataset.permit", view, "reject.roads", "freshet.catalog"]),
            ("bridges", &["publish.permit", "reject.bridges"]),
            ("tax", &["publish.permit", view]),
        ] {
            for topic in topics {
                let outcome = self.runtime.block_on(self.secured.visitor(user, mechanism(user)).write(topic));
                assert_refused(outcome.map(drop), &format!("{user} writes {topic}"));
                tried += 1;
            }
        }
        for (user, group, topic) in [
            ("freshet-gateway", "freshet.reader", "freshet.catalog"),
            ("freshet-validator", "freshet.router", "dataset.permit"),
            ("freshet-validator", "freshet.validator", view),
            ("freshet-router", "freshet.router", "publish.permit"),
            ("freshet-fanout", "freshet.fanout.hook", "dataset.permit"),
            ("freshet-observer", "freshet.fanout.hook", view),
            ("freshet-catalog", "freshet.catalog", view),
            ("tax", "tax.more", filtered),
            ("tax", "control", view),
            ("tax", "late.own", view),
            ("tax", "tax.rejections", "reject.roads"),
            ("tax", "tax.rejections", "reject.unassigned"),
            ("bridges", "bridges.rejections", "reject.roads"),
            ("roads", "roads.own", "dataset.permit"),
            ("late", "late.own", view),
        ] {
            let outcome = self.secured.visitor(user, mechanism(user)).read(group, topic);
            assert_refused(outcome.map(drop), &format!("{user} reads {topic} as {group}"));
            tried += 1;
        }
        println!("{tried} attempts beyond what each may do, all refused, in {:?}", begun.elapsed());
    }

    fn superuser(&self) -> Connection {
        let password_file = self.bus.folder.path().join("superuser.password");
        std::fs::write(&password_file, Logon::password(SUPERUSER)).expect("a password");
        let sasl = Sasl { mechanism: Mechanism::ScramSha256, username: SUPERUSER.to_owned(), password_file };
        let tls = Tls { ca_file: Some(self.secured.ca_file.clone()), ..Tls::default() };
        let security = Security { protocol: Protocol::SaslTls, sasl: Some(sasl), tls: Some(tls) };
        Connection { security, ..Connection::to(self.secured.bootstrap()) }
    }

    /// Takes a right away, as the cluster's administrator might; the line of it as an apply says it.
    fn take_away(&self, right: &str) {
        let superuser = self.superuser();
        let has = acl::describe(&superuser).expect("the ACLs").expect("an authorizer");
        let right = has.into_iter().find(|acl| acl.to_string() == right).unwrap_or_else(|| panic!("no {right}"));
        acl::delete(&superuser, &[right]).expect("taken away");
    }

    fn give_back(&self, right: &str) {
        let said = self.bus.run(&["catalog", "apply", &self.catalogue.path().to_string_lossy()]);
        assert!(said.contains(&format!("+ {right}\n")), "{said}");
    }

    fn a_right_that_is_taken_away_ends_the_validator(&mut self, tax: &Consumer) {
        let right = "access: User:freshet-validator writes topic dataset.*";
        self.take_away(right);
        self.publish("second", 2);
        let bus = &mut self.bus;
        let (status, log) = eventually("the validator ends", LIMIT, || bus.ended("validator-0"));
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("dataset.permit") && says(&log, "TopicAuthorizationFailed"), "{log}");
        self.give_back(right);
        self.bus.respawn("validator-0");
        self.arrives(tax, "second");

        let right = "access: User:freshet-router reads as group freshet.router";
        self.take_away(right);
        let bus = &mut self.bus;
        let (status, log) = eventually("the router ends", LIMIT, || bus.ended("router-0"));
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(says(&log, "GroupAuthorizationFailed"), "{log}");
        self.give_back(right);
        self.bus.respawn("router-0");
        self.publish("third", 3);
        self.arrives(tax, "third");
    }

    fn a_right_that_is_taken_away_stops_the_ways_out(&self) {
        // P10: without the trail nothing leaves.
        let right = "access: User:freshet-fanout writes topic freshet.audit";
        self.take_away(right);
        self.publish("fourth", 4);
        eventually("the fanout says what it waits for", LIMIT, || {
            self.bus.readiness("fanout-0").contains("audit topic").then_some(())
        });
        self.give_back(right);
        eventually("the fanout is ready again", LIMIT, || self.bus.is_ready("fanout-0").then_some(()));

        let right = "access: User:freshet-fanout reads topic view.*";
        self.take_away(right);
        let url = format!("{}/v1/subscriptions", self.bus.pull);
        eventually("the subscription is parked with the reason", LIMIT, || {
            let said = self.client.get(&url).bearer_auth(token("hook")).send().ok()?.text().ok()?;
            (said.contains("parked") && says(&said, "TopicAuthorizationFailed")).then_some(())
        });
        self.give_back(right);

        let right = "access: User:freshet-gateway writes topic publish.*";
        self.take_away(right);
        let event = permits::event("fifth", "p-1", 5, Some("OPEN"));
        assert_eq!(permits::publish(&self.client, &self.bus.gateway, &[event]), None, "published without the right to");
        self.give_back(right);
        let event = permits::event("fifth", "p-1", 5, Some("OPEN"));
        eventually("the gateway takes events again", LIMIT, || {
            permits::publish(&self.client, &self.bus.gateway, std::slice::from_ref(&event))
        });
    }

    /// P10: nobody works by a catalogue that they cannot follow.
    fn without_the_catalogue_a_role_ends(&mut self) {
        self.take_away("access: User:freshet-gateway reads topic freshet.catalog");
        let bus = &mut self.bus;
        let (status, log) = eventually("the gateway ends", LIMIT, || bus.ended("gateway-0"));
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(says(&log, "TopicAuthorizationFailed"), "{log}");
        // Nor does it begin.
        self.bus.respawn("gateway-0");
        let bus = &mut self.bus;
        let (status, log) = eventually("the gateway ends again", LIMIT, || bus.ended("gateway-0"));
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("freshet.catalog") && log.contains("docs/security.md"), "{log}");
    }
}

/// The client writes a code as a word or as words.
fn says(log: &str, code: &str) -> bool {
    log.replace(' ', "").to_lowercase().contains(&code.to_lowercase())
}

/// Refused by the authorizer, and not for another reason.
fn assert_refused(outcome: Result<(), freshet_testkit::departments::Refusal>, what: &str) {
    let Err(refusal) = outcome else { panic!("{what}: not refused") };
    assert!(refusal.to_string().contains("uthorization"), "{what}: {refusal}");
}
