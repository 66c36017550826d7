//! The cluster is lost with everything on it. The commands of `docs/disaster.md` are run as they stand there, and every
//! subscriber must end with what the publisher's register holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use freshet_testkit::broker::Life;
use freshet_testkit::departments::{Consumer, Producer, Pull, PullError, Received, Receiver};
use freshet_testkit::postgres::Server;
use freshet_testkit::{Broker, BrokerSettings};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::support::{Bus, Options, copy, eventually, root};
use crate::{alone, permits, token};

const SECRET: &str = "whsec_a2lsbC10ZXN0LXNlY3JldC1vZi10d2VudHktZm91ci1ieXRlcw==";
const LIMIT: Duration = Duration::from_secs(60);
const SUBSCRIBERS: [(&str, &str); 4] = [
    ("tax", "pull"),
    ("hook", ""),
    ("late", "kafka"),
    ("control", "{postgres: {connection: database, table: own.permits}}"),
];

/// Number of a permit → its count. What a register holds, or a subscriber has.
type Rows = BTreeMap<String, i64>;

struct World {
    bus: Bus,
    runtime: tokio::runtime::Runtime,
    client: reqwest::blocking::Client,
    database: Server,
    /// The catalogue's files.
    files: PathBuf,
    view: String,
}

#[test]
fn a_lost_cluster_is_built_anew_by_the_commands_of_the_document() {
    let _alone = alone();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = Server::start_private().expect("a PostgreSQL server (Debian: postgresql)");
    let (receiver, mut deliveries) = runtime.block_on(Receiver::start(0)).expect("a receiver");
    receiver.expect("hook", SECRET);
    let folder = tempfile::tempdir().expect("a folder");
    catalogue(folder.path(), &receiver.url("hook"));
    let tokens = ["roads", "tax", "hook", "late", "control"].map(|id| (id, token(id)));
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let url = database.url();
    let secrets = [("hook", SECRET), ("database", url.as_str())];
    let bus =
        Bus::start(&Options { catalogue: folder.path(), tokens: &tokens, secrets: &secrets, extra_instances: &[] });
    let mut world = World {
        files: bus.folder.path().join("schemas"),
        bus,
        runtime,
        client: reqwest::blocking::Client::new(),
        database,
        view: String::new(),
    };
    copy(folder.path(), &world.files);
    world.view = world.catalogue_of("grants")["late"]["view"].as_str().expect("a view").to_owned();

    // Two versions of the schema, so that a catalogue applied to an empty cluster would give other ids.
    world.publish(&[("p-0", 1), ("p-1", 1), ("p-2", 1), ("p-3", 1)]);
    world.add_a_field();
    world.publish(&[("p-1", 2), ("p-4", 1), ("p-5", 1)]);
    let before: Rows = rows(&[("p-0", 1), ("p-1", 2), ("p-2", 1), ("p-3", 1), ("p-4", 1), ("p-5", 1)]);
    let mut pull = Pull::new(&world.bus.pull, "tax", token("tax"));
    world.pulls(&mut pull, &before);
    world.table_is(&before);
    world.runtime.block_on(count_removals(&world.database.url()));
    let mut posted = Rows::new();
    world.posts(&mut deliveries, &mut posted, &before);
    let schemas = world.schemas();
    let old_bytes = world.first_of("dataset.permit", "p-0");

    // Meanwhile at the source: two permits are gone, one has changed, one is new.
    let after = rows(&[("p-1", 2), ("p-2", 1), ("p-3", 3), ("p-4", 1), ("p-6", 1)]);
    world.play_the_document(&after, &old_bytes);

    assert_eq!(world.schemas(), schemas, "ids, versions and texts of all schemas are kept");
    let received = world.view_records();
    let mut now = Rows::new();
    for record in &received {
        assert!(!now.contains_key(&key(record)), "{} came twice to a Kafka subscriber", key(record));
        now.insert(key(record), 0);
    }
    // p-0 was sent once more by a publisher who had kept the bytes; nobody told the bus that it is gone.
    let mut expected = after.clone();
    expected.insert("p-0".to_owned(), 1);
    assert_eq!(now.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "what a Kafka subscriber sees");

    let gone = world.runtime.block_on(pull.next(100, 500)).expect_err("the old cursor is refused");
    assert!(
        matches!(&gone, PullError::Status { status: 410, detail, .. } if detail.contains("without a cursor")),
        "{gone}"
    );
    world.pulls(&mut Pull::new(&world.bus.pull, "tax", token("tax")), &expected);
    world.table_is(&expected);
    let removals = world.ask("SELECT key FROM own.removals ORDER BY 1");
    assert_eq!(removals, before.keys().cloned().collect::<Vec<_>>(), "a trigger sees a removal of every row of before");
    // A webhook gets every row that is, once more, and no removal: nobody but its owner knows what it holds.
    world.posts(&mut deliveries, &mut posted, &expected);
    assert!(posted.contains_key("p-5"), "no removal of p-5 was posted");

    world.a_second_import_changes_nothing_and_an_old_one_is_refused();
}

fn rows(rows: &[(&str, i64)]) -> Rows {
    rows.iter().map(|(number, count)| ((*number).to_owned(), *count)).collect()
}

fn key(record: &Received) -> String {
    String::from_utf8_lossy(&record.key).into_owned()
}

fn catalogue(folder: &std::path::Path, hook: &str) {
    permits::catalogue(folder, permits::ROADS);
    let dataset = folder.join("permit/dataset.yaml");
    let text = std::fs::read_to_string(&dataset).expect("the dataset");
    let mapping = "mapping:\n  envelope: {row: /row, sequence: /sequence}\n  fields: {number: number, status: status, \
                   count: count}\n";
    std::fs::write(dataset, text + mapping).expect("the dataset");
    for (subscriber, delivery) in SUBSCRIBERS {
        let hook = format!("{{webhook: {{url: \"{hook}\", secret: hook}}}}");
        permits::grant(folder, subscriber, if delivery.is_empty() { &hook } else { delivery }, "");
    }
}

/// The subscriber's own trigger notes what is removed.
async fn count_removals(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    let trigger = "CREATE TABLE own.removals (key text);
        CREATE FUNCTION own.note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO own.removals VALUES (OLD.freshet_key); RETURN OLD; END $$;
        CREATE TRIGGER note AFTER DELETE ON own.permits FOR EACH ROW EXECUTE FUNCTION own.note()";
    client.batch_execute(trigger).await.expect("a trigger");
}

impl World {
    fn publish(&self, events: &[(&str, u64)]) {
        let event =
            |(number, count): &(&str, u64)| permits::event(&format!("{number}-{count}"), number, *count, Some("OPEN"));
        let events: Vec<Value> = events.iter().map(event).collect();
        permits::publish(&self.client, &self.bus.gateway, &events).expect("the gateway takes it");
    }

    fn add_a_field(&self) {
        let avsc = self.files.join("permit/permit.avsc");
        let first = std::fs::read_to_string(&avsc).expect("the schema");
        let mut schema: Value = serde_json::from_str(&first).expect("JSON");
        let more = json!({"name": "note", "type": ["null", "string"], "default": null});
        schema["fields"].as_array_mut().expect("fields").push(more);
        std::fs::write(self.files.join("permit/permit.v1.avsc"), first).expect("written");
        std::fs::write(avsc, schema.to_string()).expect("written");
        self.bus.run(&["catalog", "apply", "schemas"]);
    }

    fn catalogue_of(&self, what: &str) -> Value {
        let answer = self.client.get(format!("{}/catalogue/{what}", self.bus.registry)).send().expect("an answer");
        let list: Value = answer.json().expect("JSON");
        let list = list.get(what).cloned().unwrap_or(list);
        let by_id = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (one["id"].as_str().unwrap_or("").to_owned(), one.clone()));
        Value::Object(by_id.collect())
    }

    /// Every schema by its id, as a client of the registry sees it. Events may arrive before the registry has followed.
    fn schemas(&self) -> Vec<Value> {
        eventually("three schemas", LIMIT, || Some(self.known_schemas()).filter(|known| known.len() >= 3))
    }

    fn known_schemas(&self) -> Vec<Value> {
        let ask = |path: String| self.client.get(format!("{}{path}", self.bus.registry)).send().expect("an answer");
        let schemas = (1..).map(|id| (ask(format!("/schemas/ids/{id}")), ask(format!("/schemas/ids/{id}/versions"))));
        let known = schemas.take_while(|(text, _)| text.status().is_success());
        known
            .map(|(text, versions)| {
                json!([text.json::<Value>().expect("JSON"), versions.json::<Value>().expect("JSON")])
            })
            .collect()
    }

    fn pulls(&self, pull: &mut Pull, expected: &Rows) {
        let mut has = Rows::new();
        eventually(&format!("{expected:?} by pull"), LIMIT, || {
            let (events, _) = self.runtime.block_on(pull.next(100, 300)).ok()?;
            for event in events {
                take(&mut has, &Value::Object(event));
            }
            (has == *expected).then_some(())
        });
    }

    /// Everything that is posted goes into `has`, until all of `expected` came since the call.
    fn posts(
        &self,
        deliveries: &mut tokio::sync::mpsc::UnboundedReceiver<freshet_testkit::departments::Delivery>,
        has: &mut Rows,
        expected: &Rows,
    ) {
        let mut since = Rows::new();
        eventually(&format!("{expected:?} by webhook"), LIMIT, || {
            while let Ok(delivery) = deliveries.try_recv() {
                let event = serde_json::from_slice(&delivery.body).expect("JSON");
                take(&mut since, &event);
                take(has, &event);
            }
            (since == *expected).then_some(())
        });
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.database.url(), NoTls).await.expect("a connection");
            tokio::spawn(connection);
            client.query(sql, &[]).await.map_or_else(|_| Vec::new(), |rows| rows.iter().map(|row| row.get(0)).collect())
        })
    }

    fn table_is(&self, expected: &Rows) {
        let expected: Vec<String> = expected.iter().map(|(number, count)| format!("{number} {count}")).collect();
        eventually(&format!("{expected:?} in the table"), LIMIT, || {
            (self.ask("SELECT number || ' ' || count FROM own.permits ORDER BY number") == expected).then_some(())
        });
    }

    fn first_of(&self, topic: &str, of: &str) -> Received {
        let consumer = Consumer::new(&self.bus.bootstrap(), "test.first", &[topic]).expect("a consumer");
        eventually("the record", LIMIT, || {
            let record = consumer.next(Duration::from_secs(1)).ok()??;
            (key(&record) == of).then_some(record)
        })
    }

    /// As a subscriber by Kafka reads its view on the new cluster: its group has no offsets there.
    fn view_records(&self) -> Vec<Received> {
        let topic = format!("view.{}", self.view);
        let consumer = Consumer::new(&self.bus.bootstrap(), "late.own", &[&topic]).expect("a consumer");
        let mut received = Vec::new();
        eventually("all of the view", LIMIT, || {
            while let Ok(Some(record)) = consumer.next(Duration::from_secs(1)) {
                received.push(record);
            }
            (received.len() >= 6).then_some(())
        });
        received
    }

    /// Line by line: what begins with `freshet` is run by a shell, Kubernetes is played by us.
    fn play_the_document(&mut self, snapshot: &Rows, old_bytes: &Received) {
        let lines: String = snapshot
            .iter()
            .map(|(number, count)| {
                json!({"sequence": count, "row": {"number": number, "status": "OPEN", "count": count}}).to_string()
                    + "\n"
            })
            .collect();
        std::fs::write(self.bus.folder.path().join("permits.jsonl"), lines).expect("written");
        let document = std::fs::read_to_string(root().join("docs/disaster.md")).expect("the document");
        let commands =
            document.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
        let mut played = Vec::new();
        for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with("freshet ") {
                if line.starts_with("freshet publish") {
                    self.wait_for(&["catalog", "gateway", "validator", "router"]);
                }
                self.shell(line);
                if line.starts_with("freshet publish") {
                    self.send_again(old_bytes);
                }
            } else if line.starts_with("# The cluster is lost") {
                self.lose_the_cluster();
            } else if let Some(scaled) = line.strip_prefix("kubectl scale deployment ") {
                self.scale(scaled);
            } else {
                assert!(line.starts_with('#'), "nobody plays {line}");
                continue;
            }
            played.push(line.to_owned());
        }
        assert!(played.len() >= 7, "{played:?}");
        self.wait_for(&["fanout", "observer"]);
    }

    fn shell(&self, line: &str) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_freshet"));
        let token_file = self.bus.folder.path().join("roads.token");
        std::fs::write(&token_file, token(permits::ROADS)).expect("written");
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("sh")
            .args(["-euc", line])
            .current_dir(self.bus.folder.path())
            .env("PATH", format!("{}:{path}", program.parent().expect("a folder").display()))
            .env("FRESHET__KAFKA__BOOTSTRAP_SERVERS", self.bus.bootstrap())
            .env("FRESHET_GATEWAY", &self.bus.gateway)
            .env("FRESHET_TOKEN_FILE", token_file)
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        println!("$ {line}\n{said}");
        assert!(output.status.success(), "{line}: {said}");
    }

    fn lose_the_cluster(&mut self) {
        self.bus.broker.kill();
        let folder = self.bus.folder.path().join("kafka-again");
        let settings = BrokerSettings { life: Life::Throwaway, ..BrokerSettings::new(folder) };
        self.bus.broker = Broker::start(settings).unwrap_or_else(|error| panic!("the new broker: {error}"));
    }

    /// `freshet-gateway freshet-router --replicas=1`
    fn scale(&mut self, words: &str) {
        let (names, replicas) = words.split_once(" --replicas=").expect("--replicas");
        for name in names.split_whitespace() {
            let id = format!("{}-0", name.strip_prefix("freshet-").expect("freshet-ROLE"));
            match replicas {
                "0" => self.bus.end(&id),
                _ => {
                    if id == "fanout-0" {
                        // Until now no subscriber has lost anything.
                        self.wait_for(&["router"]);
                        assert_eq!(self.ask("SELECT number FROM own.permits").len(), 6, "the table waits as it was");
                        assert_eq!(self.view_records().len(), 6, "the views are complete before anybody is served");
                    }
                    self.bus.respawn(&id);
                }
            }
        }
    }

    fn wait_for(&self, roles: &[&str]) {
        for role in roles {
            let id = format!("{role}-0");
            eventually(&format!("{id} is ready\n{}", self.bus.logs()), LIMIT, || self.bus.is_ready(&id).then_some(()));
        }
    }

    /// A publisher who keeps what he has encoded sends the same bytes: their schema's id must mean what it meant.
    fn send_again(&self, record: &Received) {
        let producer = Producer::new(&self.bus.bootstrap(), &[]).expect("a producer");
        let headers: Vec<(&str, &str)> = record
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("ce_"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let sent = producer.send("publish.permit", &record.key, record.value.as_deref(), &headers);
        let sent = self.runtime.block_on(async { sent.await.expect("taken").await.expect("an answer") });
        sent.expect("written");
    }

    fn a_second_import_changes_nothing_and_an_old_one_is_refused(&self) {
        let import = |more: &[&str]| {
            let arguments = [&["catalog", "import", "catalogue.json"], more].concat();
            let output = self.bus.command(&arguments).output().expect("the program runs");
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (output.status.code(), said)
        };
        let (code, said) = import(&[]);
        assert!(code == Some(0) && said.contains("No changes"), "{said}");
        std::fs::remove_file(self.files.join("grants/tax.yaml")).expect("removed");
        self.bus.run(&["catalog", "apply", "schemas"]);
        let (code, said) = import(&[]);
        assert!(code == Some(1) && said.contains("--overwrite"), "{said}");
        assert!(
            self.bus.run(&["catalog", "diff", "schemas"]).contains("No changes"),
            "a refused import changes nothing"
        );
        let (code, said) = import(&["--overwrite"]);
        assert!(code == Some(0) && said.contains("+ grant tax"), "{said}");
        let exported = self.bus.run(&["--output", "json", "catalog", "export", "again.json"]);
        let exported: Value = serde_json::from_str(&exported).expect("JSON");
        assert_eq!((&exported["grants"], &exported["datasets"]), (&json!(4), &json!(1)), "{exported}");
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(self.bus.folder.path().join(name)).expect(name);
            serde_json::from_str(&text).expect(name)
        };
        assert_eq!(read("again.json")["entries"], read("catalogue.json")["entries"]);
        std::fs::write(self.bus.folder.path().join("catalogue.json"), "{\"format\": \"fre").expect("cut");
        let (code, said) = import(&["--overwrite"]);
        assert!(code == Some(1) && said.contains("not a whole file"), "{said}");
    }
}

fn take(rows: &mut Rows, event: &Value) {
    let number = event["partitionkey"].as_str().expect("a key").to_owned();
    match event["data"]["count"].as_i64() {
        Some(count) => drop(rows.insert(number, count)),
        None => drop(rows.remove(&number)),
    }
}
