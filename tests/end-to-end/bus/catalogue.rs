//! The catalogue changes while the bus runs: datasets that nobody has seen, grants that begin and are suspended, an
//! authority that was missing; and what an operator sees of it with the program's commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use freshet_testkit::departments::{
    self, Consumer, Delivery, Producer, Pull, PulledEvent, Received, Receiver, Registry,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{Bus, Options, copy, eventually, root};
use crate::{alone, permits, token};

const SECRET: &str = "whsec_a2lsbC10ZXN0LXNlY3JldC1vZi10d2VudHktZm91ci1ieXRlcw==";
const DEPARTMENTS: [&str; 11] = [
    "roads",
    "bridges",
    "tax",
    "hook",
    "control",
    "late",
    "toronto-public-health",
    "toronto-municipal-licensing",
    "handelsregister",
    "companies-office",
    "finanzamt",
];
/// By which an ended grant must have stopped.
const WITHIN: Duration = Duration::from_secs(5);

struct Live {
    bus: Bus,
    runtime: tokio::runtime::Runtime,
    client: reqwest::blocking::Client,
    registry: Registry,
    folder: tempfile::TempDir,
}

#[test]
fn the_catalogue_changes_on_a_live_bus() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (receiver, mut deliveries) = runtime.block_on(Receiver::start(0)).expect("a receiver");
    permits::catalogue(folder.path(), permits::ROADS);
    permits::grant(folder.path(), "tax", "pull", "");
    for name in ["hook", "control"] {
        receiver.expect(name, SECRET);
        permits::grant(folder.path(), name, &webhook(&receiver, name), "");
    }
    let tokens = DEPARTMENTS.map(|id| (id, token(id)));
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let secrets = [("hook", SECRET), ("control", SECRET)];
    let bus =
        Bus::start(&Options { catalogue: folder.path(), tokens: &tokens, secrets: &secrets, extra_instances: &[] });
    let registry = Registry::new(bus.registry.clone(), None);
    let live = Live { bus, runtime, client: reqwest::blocking::Client::new(), registry, folder };

    let current = publish_permits(&live);
    live.trace("p-7-1");
    live.suspend_and_resume(&receiver, &mut deliveries);
    live.a_new_grant_begins_with_the_current_rows(&current);
    live.rejects_are_resent_when_the_catalogue_is_mended();
    live.a_dataset_by_files_alone();
    live.registers_from_elsewhere();
}

fn webhook(receiver: &Receiver, name: &str) -> String {
    format!("{{webhook: {{url: \"{}\", secret: {name}}}}}", receiver.url(name))
}

/// Thirty permits in three rounds: opened; every third closed; every fifth deleted. The numbers that are open at the end.
fn publish_permits(live: &Live) -> BTreeSet<String> {
    let mut open = BTreeSet::new();
    let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
    for number in 0..30 {
        let name = format!("p-{number}");
        rounds[0].push(permits::event(&format!("{name}-1"), &name, 1, Some("OPEN")));
        if number % 3 == 0 {
            rounds[1].push(permits::event(&format!("{name}-2"), &name, 2, Some("CLOSED")));
        }
        if number % 5 == 0 {
            rounds[2].push(permits::event(&format!("{name}-3"), &name, 3, None));
        }
        if number % 3 != 0 && number % 5 != 0 {
            open.insert(name);
        }
    }
    for round in rounds {
        permits::publish(&live.client, &live.bus.gateway, &round).expect("the gateway takes it");
    }
    open
}

impl Live {
    fn program(&self, arguments: &[&str]) -> Output {
        self.bus.command(arguments).output().expect("the program runs")
    }

    /// Every line that a command prints with `--output json`.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.program(&[&["--output", "json"], arguments].concat());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {line}")))
            .collect()
    }

    fn apply(&self) {
        self.bus.run(&["catalog", "apply", &self.folder.path().to_string_lossy()]);
    }

    /// Everything that a pull subscription has, when `enough` says so.
    fn pull(&self, grant: &str, department: &str, enough: impl Fn(&[PulledEvent]) -> bool) -> Vec<PulledEvent> {
        let mut pull = Pull::new(&self.bus.pull, grant, token(department));
        let mut all = Vec::new();
        eventually(&format!("what grant {grant} is due"), Duration::from_secs(60), || {
            if let Ok((events, _)) = self.runtime.block_on(pull.next(1000, 500)) {
                all.extend(events);
            }
            enough(&all).then_some(())
        });
        // And nothing behind it.
        let (more, _) = self.runtime.block_on(pull.next(1000, 500)).expect("a page");
        all.extend(more);
        all
    }

    fn trace(&self, id: &str) {
        self.pull("tax", "tax", |events| events.iter().any(|event| event["id"] == id));
        let hops = eventually("receipts of the subscribers", Duration::from_secs(30), || {
            let hops = self.json(&["trace", id]).pop()?;
            let notes: Vec<String> =
                hops.as_array()?.iter().map(|hop| format!("{} {}", hop["hop"], hop["note"]).replace('"', "")).collect();
            let all = ["released tax by pull", "delivered hook by webhook", "delivered control by webhook"];
            all.iter().all(|way| notes.iter().any(|note| note.starts_with(way))).then_some(hops)
        });
        let found: BTreeSet<&str> =
            hops.as_array().into_iter().flatten().filter_map(|hop| hop["hop"].as_str()).collect();
        assert_eq!(found, BTreeSet::from(["published", "accepted", "routed", "released", "delivered"]), "{hops}");
        let text = self.bus.run(&["trace", id, "--dataset", "permit"]);
        assert!(text.contains("publish.permit/") && text.contains("dataset.permit/"), "{text}");
        assert_eq!(self.program(&["trace", "nobody"]).status.code(), Some(3), "an unknown event is a finding");
        println!("trace: {found:?}");
    }

    fn suspend_and_resume(&self, receiver: &Receiver, deliveries: &mut UnboundedReceiver<Delivery>) {
        let mut got: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut has = |path: &str, id: &str| {
            while let Ok(delivery) = deliveries.try_recv() {
                let body: Value = serde_json::from_slice(&delivery.body).expect("JSON");
                got.entry(delivery.path).or_default().insert(body["id"].as_str().expect("an id").to_owned());
            }
            got.get(path).is_some_and(|ids| ids.contains(id))
        };
        for path in ["hook", "control"] {
            eventually("the last event by webhook", Duration::from_secs(30), || has(path, "p-25-3").then_some(()));
        }
        permits::grant(self.folder.path(), "tax", "pull", "status: suspended\n");
        permits::grant(self.folder.path(), "hook", &webhook(receiver, "hook"), "status: suspended\n");
        self.apply();
        let applied = Instant::now();
        let url = format!("{}/v1/grants/tax/events?limit=1", self.bus.pull);
        eventually("pull is refused", WITHIN, || {
            let answer = self.client.get(&url).bearer_auth(token("tax")).send().ok()?;
            (answer.status() == reqwest::StatusCode::FORBIDDEN).then_some(())
        });
        let pull = applied.elapsed();
        let url = format!("{}/v1/subscriptions", self.bus.pull);
        eventually("the webhook's subscription is gone", WITHIN.saturating_sub(pull), || {
            let answer = self.client.get(&url).bearer_auth(token("hook")).send().ok()?;
            (!answer.text().ok()?.contains("\"hook\"")).then_some(())
        });
        let webhooks = applied.elapsed();
        let marker = permits::event("marker", "marker", 1, Some("CLOSED"));
        permits::publish(&self.client, &self.bus.gateway, &[marker]).expect("the gateway takes it");
        eventually("the marker at the other webhook", Duration::from_secs(30), || {
            has("control", "marker").then_some(())
        });
        assert!(!has("hook", "marker"), "a suspended grant was delivered");

        permits::grant(self.folder.path(), "tax", "pull", "");
        permits::grant(self.folder.path(), "hook", &webhook(receiver, "hook"), "");
        self.apply();
        eventually("what was held back", Duration::from_secs(30), || has("hook", "marker").then_some(()));
        println!("suspended: pull stopped after {pull:?}, the webhook after {webhooks:?}; resumed without a gap");
    }

    fn a_new_grant_begins_with_the_current_rows(&self, open: &BTreeSet<String>) {
        permits::grant(self.folder.path(), "late", "pull", "rows: status = 'OPEN'\n");
        self.apply();
        let events = self.pull("late", "late", |events| rows(events).len() >= open.len());
        let rows = rows(&events);
        assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), *open);
        for (number, data) in &rows {
            assert_eq!(*data, json!({"number": number, "status": "OPEN", "count": 1}));
        }
        println!("a new grant: {} events give exactly the {} current rows", events.len(), rows.len());
    }

    fn rejects_are_resent_when_the_catalogue_is_mended(&self) {
        let producer = Producer::new(&self.bus.bootstrap(), &[]).expect("a producer");
        self.runtime.block_on(async {
            let (id, schema) = self.registry.latest("publish.permit-value").await.expect("a schema");
            let data = json!({"number": "b-1", "status": "OPEN", "count": 1});
            let data = departments::from_json(&schema, &data).expect("Avro");
            let value = departments::encode(id, &schema, data).expect("Avro");
            let headers = [
                ("ce_specversion", "1.0"),
                ("ce_id", "of-bridges"),
                ("ce_source", "urn:example:bridges"),
                ("ce_type", "example.permit.changed"),
                ("ce_sequence", "1"),
                ("content-type", "application/avro"),
            ];
            let sent = producer.send("publish.permit", b"b-1", Some(&value), &headers).await.expect("sent");
            sent.await.expect("not cancelled").expect("the broker has it");
        });
        let rejected = eventually("the rejection", Duration::from_secs(30), || {
            self.json(&["rejects", "list", "--department", "bridges", "--dataset", "permit"]).pop()
        });
        assert_eq!(
            (&rejected["id"], &rejected["violations"][0]["code"]),
            (&json!("of-bridges"), &json!("source.authority"))
        );
        let place = rejected["place"].as_str().expect("a place");
        let shown = self.json(&["rejects", "show", place]).pop().expect("an answer");
        assert_eq!(shown["headers"]["ce_source"], "urn:example:bridges", "{shown}");
        let text = self.bus.run(&["rejects", "list"]) + &self.bus.run(&["rejects", "show", place]);
        assert!(text.contains(place) && text.contains("source.authority"), "{text}");

        permits::catalogue(self.folder.path(), "bridges");
        self.apply();
        // The validator may judge by the old catalogue for a moment yet; then it is rejected again, and resent again.
        let hops = eventually("the resent event is accepted", Duration::from_secs(30), || {
            let sent = self.json(&["rejects", "resend", place]).pop()?;
            assert!(sent["error"].is_null() && sent["sent_to"].is_string(), "{sent}");
            let hops = self.json(&["trace", "of-bridges", "--dataset", "permit"]).pop()?;
            hops.as_array()?.iter().any(|hop| hop["hop"] == "accepted").then_some(hops)
        });
        let accepted = hops.as_array().into_iter().flatten().filter(|hop| hop["hop"] == "accepted").count();
        assert_eq!(accepted, 1, "{hops}");
        println!("rejects: listed, shown, resent and accepted after the catalogue was mended");
    }

    /// Adds a catalogue's folders and departments to the one of the bus.
    fn add_catalogue(&self, name: &str) {
        let shipped = root().join("tests/catalogues").join(name);
        let valid = self.json(&["catalog", "validate", &shipped.to_string_lossy()]).pop().expect("an answer");
        assert_eq!(valid["valid"], true, "{valid}");
        let departments = self.folder.path().join("departments.yaml");
        let before = std::fs::read_to_string(&departments).expect("departments");
        copy(&shipped, self.folder.path());
        let added = std::fs::read_to_string(&departments).expect("departments");
        std::fs::write(&departments, format!("{before}\n{added}")).expect("departments");
        self.apply();
    }

    /// `freshet publish`; the summary.
    fn publish(&self, dataset: &str, department: &str, file: &Path) -> Value {
        let token_file = self.bus.folder.path().join(format!("{department}.token"));
        std::fs::write(&token_file, token(department)).expect("a token");
        let (file, token_file) = (file.to_string_lossy(), token_file.to_string_lossy());
        // The gateway follows the catalogue, and has the new dataset within a moment.
        eventually("the gateway takes the file", Duration::from_secs(60), || {
            let gateway = &self.bus.gateway;
            let said = self.json(&["publish", dataset, &file, "--gateway", gateway, "--token-file", &token_file]);
            said.into_iter().find_map(|line| line.get("summary").cloned())
        })
    }

    /// Canonical and rejected records of a dataset, when there are `count`.
    fn outcomes(&self, dataset: &str, department: &str, count: usize) -> Vec<Received> {
        let topics = [format!("dataset.{dataset}"), format!("reject.{department}")];
        let consumer = Consumer::new(&self.bus.bootstrap(), &format!("test.{dataset}"), &[&topics[0], &topics[1]]);
        let consumer = consumer.expect("a consumer");
        let mut all = Vec::new();
        eventually(&format!("an outcome for every line of {dataset}"), Duration::from_secs(90), || {
            while let Some(record) = consumer.next(Duration::from_millis(200)).expect("a record") {
                all.push(record);
            }
            (all.len() >= count).then_some(())
        });
        all
    }

    /// As docs/tutorial-new-dataset.md says it.
    fn a_dataset_by_files_alone(&self) {
        self.add_catalogue("dinesafe");
        let packed = std::fs::File::open(root().join("services/demo/data/toronto-dinesafe-2021.csv.gz")).expect("data");
        let file = self.bus.folder.path().join("dinesafe.csv");
        std::io::copy(&mut flate2::read::GzDecoder::new(packed), &mut std::fs::File::create(&file).expect("a file"))
            .expect("unpacked");
        let summary = self.publish("food_inspection", "toronto-public-health", &file);
        assert_eq!((&summary["lines"], &summary["complete"]), (&json!(9070), &json!(true)), "{summary}");
        assert_eq!((&summary["accepted"], &summary["refused"]), (&json!(9070), &json!(0)), "{summary}");
        let outcomes = self.outcomes("food_inspection", "toronto-public-health", 9070);
        let rejected = outcomes.iter().filter(|record| record.topic.starts_with("reject.")).count();
        assert_eq!(outcomes.len(), 9070, "every line has one outcome");

        let mut due: BTreeMap<&[u8], Value> = BTreeMap::new();
        for record in outcomes.iter().filter(|record| record.topic == "dataset.food_inspection") {
            let value = record.value.as_deref().expect("no line is a delete");
            let id = u32::from_be_bytes(value[1..5].try_into().expect("four bytes"));
            let schema = self.runtime.block_on(self.registry.schema(id)).expect("a schema");
            let data = departments::to_json(&schema, &departments::decode(&schema, value).expect("Avro"));
            if data["severity"] == "CRUCIAL" || data["action"] == "Closure Order" {
                due.insert(&record.key, data);
            } else {
                due.remove(record.key.as_slice());
            }
        }
        let grant = ("licensing-crucial-infractions", "toronto-municipal-licensing");
        let events = self.pull(grant.0, grant.1, |events| rows(events).len() >= due.len());
        let rows = rows(&events);
        assert_eq!(rows.len(), due.len());
        for (key, data) in &due {
            let row = &rows[&String::from_utf8_lossy(key).into_owned()];
            for (name, value) in row.as_object().expect("an object") {
                assert_eq!(*value, data[name], "{name} of {row}");
            }
            assert_eq!(row.as_object().map(serde_json::Map::len), Some(9), "only what was granted: {row}");
        }
        println!("dinesafe: 9070 lines, {rejected} rejected, {} rows by pull are exactly those granted", rows.len());
    }

    /// Semicolons, decimal commas and an older encoding; JSON in an envelope.
    fn registers_from_elsewhere(&self) {
        self.add_catalogue("elsewhere");
        let german = self.bus.folder.path().join("unternehmen.csv");
        std::fs::write(&german, GERMAN).expect("a file");
        let summary = self.publish("unternehmen", "handelsregister", &german);
        assert_eq!((&summary["lines"], &summary["refused"]), (&json!(2), &json!(0)), "{summary}");
        let events = self.pull("finanzamt-unternehmen", "finanzamt", |events| !rows(events).is_empty());
        let rows = rows(&events);
        let row = rows.values().next().expect("a row");
        assert_eq!(
            (rows.len(), &row["name"], &row["kapital"]),
            (1, &json!("M\u{fc}ller GmbH"), &json!("1234.50")),
            "{row}"
        );
        println!("elsewhere: {row}");
    }
}

/// Windows-1252: 0xfc is ü, 0xd6 Ö, 0x80 €. The second is not active, so the tax office does not get it.
const GERMAN: &[u8] =
    b"Satzart;Lfd;Registernummer;Firma;Stammkapital;Breite;Gr\xfcndung;\xc4nderung;Aktiv;Rechtsform;Branchen;\
Mitarbeiter;Ort;PLZ;Zweigstelle\n\
N;1;HRB 1;M\xfcller GmbH;1.234,50 \x80;48,1;01.02.2003;03.04.2024 05:06;Ja;GmbH;Bau / Handel;1.200;M\xfcnchen;80331;\n\
N;2;HRB 2;\xd6l AG;k.A.;;01.02.2003;03.04.2024 05:06;Nein;Aktiengesellschaft;Handel;;Bremen;28195;\n";

/// The rows that a subscriber has who applied these events.
fn rows(events: &[PulledEvent]) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    for event in events {
        let key = event["partitionkey"].as_str().expect("a key").to_owned();
        match &event["data"] {
            Value::Null => rows.remove(&key),
            data => rows.insert(key, data.clone()),
        };
    }
    rows
}
