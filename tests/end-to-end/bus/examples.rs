//! Every file of `schemas/*/examples` goes through the bus: a good one comes out with exactly its data, a bad one is refused
//! with exactly the violations that it names. The form of the files: `schemas/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use freshet_catalog_model::{SourceCatalog, yaml};
use freshet_testkit::departments::{self, Consumer, Producer, Received, Registry};
use reqwest::StatusCode;
use serde_json::{Map, Value};

use crate::support::{Bus, Options, copy, eventually, root};
use crate::{alone, poison, token};

/// An example, and the dataset of the bus that it goes to.
struct Example {
    file: PathBuf,
    of: String,
    dataset: String,
    form: Value,
}

impl Example {
    fn is_bad(&self) -> bool {
        self.form["violations"].is_array()
    }

    fn before(&self) -> &[Value] {
        self.form["before"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// What must become of an event that the broker took.
struct Due {
    what: String,
    dataset: String,
    /// `<topic>/<partition>/<offset>` in the publish topic.
    place: String,
    event: Value,
    key: Vec<String>,
    /// Empty: it is accepted.
    violations: Vec<String>,
}

#[test]
fn examples_come_out_as_they_say_and_poison_blocks_nobody() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let schemas = root().join("schemas");
    let source = yaml::load(&schemas).expect("the shipped catalogue is right");
    let examples = plan(&schemas, &source);
    catalogue(&schemas, folder.path(), &examples);
    let publishers: Vec<&String> =
        source.departments.iter().filter(|(_, department)| !department.sources.is_empty()).map(|(id, _)| id).collect();
    let tokens: Vec<(&str, String)> = publishers.iter().map(|id| (id.as_str(), token(id))).collect();
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(id, token)| (*id, token.as_str())).collect();
    let bus = Bus::start(&Options { catalogue: folder.path(), tokens: &tokens, secrets: &[], extra_instances: &[] });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");

    let mut sender = Sender {
        bus: &bus,
        source: &source,
        runtime: &runtime,
        registry: Registry::new(bus.registry.clone(), None),
        producer: Producer::new(&bus.bootstrap(), &[]).expect("a producer"),
        client: reqwest::blocking::Client::new(),
        due: Vec::new(),
        refused: 0,
        by_kafka: 0,
    };
    for example in &examples {
        for (number, event) in example.before().iter().enumerate() {
            sender.send(example, event, format!("{} before {number}", example.file.display()), Vec::new());
        }
        let violations = named(&example.form["violations"]);
        sender.send(example, &example.form, example.file.display().to_string(), violations);
    }
    let Sender { due, refused, by_kafka, registry, .. } = sender;
    check(&bus, &runtime, &registry, &source, &publishers, &due);
    let bad = examples.iter().filter(|example| example.is_bad()).count();
    println!(
        "{} good and {bad} bad examples, {} events: {refused} refused by the gateway, {by_kafka} sent by Kafka",
        examples.len() - bad,
        due.len() + refused
    );
    poison::check(&bus, &runtime, &registry, &publishers);
}

/// All examples, first those that leave nothing behind. Two that speak of one entity go to different copies of the dataset.
fn plan(schemas: &Path, source: &SourceCatalog) -> Vec<Example> {
    let mut examples = Vec::new();
    for (id, dataset) in &source.datasets {
        let mut forms = Vec::new();
        for kind in ["good", "bad"] {
            let folder = schemas.join(id).join("examples").join(kind);
            for file in std::fs::read_dir(&folder).expect("examples").flatten().map(|entry| entry.path()) {
                let form: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
                assert_eq!(kind == "bad", form["violations"].is_array(), "{}", file.display());
                forms.push((file, form));
            }
        }
        forms.sort_by_key(|(file, form)| (form["violations"].is_null() || form["before"].is_array(), file.clone()));
        let mut used: Vec<BTreeSet<Vec<String>>> = vec![BTreeSet::new()];
        for (file, form) in forms {
            let fields = &dataset.dataset.key.fields;
            let before = form["before"].as_array().into_iter().flatten();
            let mut keys: BTreeSet<Vec<String>> = before.map(|event| key(event, fields)).collect();
            if form["violations"].is_null() || form["before"].is_array() {
                keys.insert(key(&form, fields));
            }
            let free = used.iter().position(|used| used.is_disjoint(&keys)).unwrap_or_else(|| {
                used.push(BTreeSet::new());
                used.len() - 1
            });
            used[free].extend(keys);
            let dataset = if free == 0 { id.clone() } else { format!("{id}_copy{free}") };
            examples.push(Example { file, of: id.clone(), dataset, form });
        }
    }
    examples
}

/// The shipped catalogue without its grants, the copies, and a dataset to be poisoned.
fn catalogue(schemas: &Path, folder: &Path, examples: &[Example]) {
    copy(schemas, folder);
    std::fs::remove_dir_all(folder.join("grants")).expect("the shipped grants go");
    let mut copies: BTreeMap<&str, &str> = examples.iter().map(|one| (one.dataset.as_str(), one.of.as_str())).collect();
    copies.insert(poison::DATASET, poison::OF);
    for (name, of) in copies.into_iter().filter(|(name, of)| name != of) {
        let (from, to) = (schemas.join(of), folder.join(name));
        std::fs::create_dir(&to).expect("a folder");
        std::fs::copy(from.join(format!("{of}.avsc")), to.join(format!("{name}.avsc"))).expect("a schema");
        let text = std::fs::read_to_string(from.join("dataset.yaml")).expect("a dataset");
        std::fs::write(to.join("dataset.yaml"), text.replace("partitions: 6", "partitions: 1")).expect("a dataset");
    }
}

struct Sender<'a> {
    bus: &'a Bus,
    source: &'a SourceCatalog,
    runtime: &'a tokio::runtime::Runtime,
    registry: Registry,
    producer: Producer,
    client: reqwest::blocking::Client,
    due: Vec<Due>,
    refused: usize,
    by_kafka: usize,
}

impl Sender<'_> {
    /// Over HTTP as the department whose source it is. What the gateway does not let pass for its envelope goes by Kafka.
    fn send(&mut self, example: &Example, event: &Value, what: String, violations: Vec<String>) {
        let fields = &self.source.datasets[&example.of].dataset.key.fields;
        let key = key(event, fields);
        let place = match self.by_http(example, event, &key) {
            Some((StatusCode::ACCEPTED, answer)) => place(&answer["position"]),
            Some((StatusCode::UNPROCESSABLE_ENTITY, answer)) => {
                // The gateway calls an attribute as HTTP does, without `ce_`.
                let found = named(&answer["violations"]);
                let due: Vec<String> = violations.iter().map(|one| one.replace(" ce_", " ")).collect();
                if found == due || found == violations {
                    self.refused += 1;
                    return;
                }
                // It stops at what it cannot read on behind, and names a key by its own attribute: the validator has the rest.
                let code = |one: &String| one.split(' ').next().map(str::to_owned);
                let codes: Vec<_> = due.iter().map(code).collect();
                assert!(
                    found.iter().all(|one| codes.contains(&code(one))),
                    "{what}: {due:?} due, the gateway: {answer}"
                );
                self.by_kafka(example, event, &key, &what)
            }
            Some((StatusCode::FORBIDDEN, _)) | None => self.by_kafka(example, event, &key, &what),
            Some((status, answer)) => panic!("{what}: {status} {answer}"),
        };
        let dataset = example.dataset.clone();
        self.due.push(Due { what, dataset, place, event: event.clone(), key, violations });
    }

    /// None where no department has such a source.
    fn by_http(&self, example: &Example, event: &Value, key: &[String]) -> Option<(StatusCode, Value)> {
        let headers = event["headers"].as_object().expect("headers");
        let source = headers["ce_source"].as_str().expect("a source");
        let of = |sources: &[String]| sources.iter().any(|own| source.starts_with(own.as_str()));
        let (department, _) = self.source.departments.iter().find(|(_, department)| of(&department.sources))?;
        let mut body: Map<String, Value> = headers
            .iter()
            .map(|(name, value)| (name.strip_prefix("ce_").expect("an attribute").to_owned(), value.clone()))
            .collect();
        body.insert("data".to_owned(), event["data"].clone());
        if event["key"].is_array() {
            body.insert("partitionkey".to_owned(), joined(key).into());
        }
        let url = format!("{}/v1/datasets/{}/events", self.bus.gateway, example.dataset);
        let request = self.client.post(url).bearer_auth(token(department));
        let request =
            request.header("content-type", "application/cloudevents+json").body(Value::from(body).to_string());
        let answer = request.send().expect("an answer");
        Some((answer.status(), answer.json().expect("JSON")))
    }

    fn by_kafka(&mut self, example: &Example, event: &Value, key: &[String], what: &str) -> String {
        self.by_kafka += 1;
        let headers = event["headers"].as_object().expect("headers");
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect();
        headers.push(("content-type", "application/avro"));
        let value = (!event["data"].is_null()).then(|| {
            let subject = format!("publish.{}-value", example.dataset);
            let (id, schema) = self.runtime.block_on(self.registry.latest(&subject)).expect("a schema");
            let value = departments::from_json(&schema, &event["data"])
                .unwrap_or_else(|error| panic!("{what} is no Avro, so the gateway must name all of it: {error}"));
            departments::encode(id, &schema, value).expect("Avro")
        });
        let topic = format!("publish.{}", example.dataset);
        let delivery = self.runtime.block_on(async {
            let key = joined(key);
            let sent = self.producer.send(&topic, key.as_bytes(), value.as_deref(), &headers).await.expect("sent");
            sent.await.expect("not cancelled").expect("the broker has it")
        });
        format!("{topic}/{}/{}", delivery.partition, delivery.offset)
    }
}

fn check(
    bus: &Bus,
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    source: &SourceCatalog,
    publishers: &[&String],
    due: &[Due],
) {
    let mut topics: BTreeSet<String> = due.iter().map(|due| format!("dataset.{}", due.dataset)).collect();
    topics.extend(publishers.iter().map(|id| format!("reject.{id}")));
    topics.insert("reject.unassigned".to_owned());
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let consumer = Consumer::new(&bus.bootstrap(), "test.examples", &topics).expect("a consumer");
    let (mut accepted, mut rejected) = (Vec::new(), BTreeMap::new());
    eventually("an outcome for every example", Duration::from_secs(60), || {
        while let Some(record) = consumer.next(Duration::from_millis(200)).expect("a record") {
            if record.topic.starts_with("dataset.") {
                accepted.push(record);
            } else if let Some(from) = record.header("freshet_rejected_from").map(str::to_owned) {
                // The gateway's own refusals were compared when it answered.
                if from.starts_with("publish.") {
                    assert!(rejected.insert(from.clone(), record).is_none(), "{from} is rejected twice");
                }
            }
        }
        (accepted.len() + rejected.len() >= due.len()).then_some(())
    });
    let mut wrong = Vec::new();
    for due in due {
        let found = rejected.get(&due.place).map_or_else(Vec::new, violations);
        if found != due.violations {
            wrong.push(format!("{}: {:?} due, not {found:?}", due.what, due.violations));
        } else if found.is_empty() {
            wrong.extend(differs(due, &accepted, runtime, registry, source));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    let good = due.iter().filter(|due| due.violations.is_empty()).count();
    assert_eq!((accepted.len(), rejected.len()), (good, due.len() - good), "something came out that nobody sent");
}

/// What differs between an accepted event and what was sent.
fn differs(
    due: &Due,
    accepted: &[Received],
    runtime: &tokio::runtime::Runtime,
    registry: &Registry,
    source: &SourceCatalog,
) -> Option<String> {
    let headers = due.event["headers"].as_object().expect("headers");
    let topic = format!("dataset.{}", due.dataset);
    let same = |record: &&Received| record.topic == topic && record.header("ce_id") == headers["ce_id"].as_str();
    let Some(record) = accepted.iter().find(same) else { return Some(format!("{} is in no topic", due.what)) };
    for (name, value) in headers {
        if record.header(name) != value.as_str() {
            return Some(format!("{}: {name} is {:?}, sent: {value}", due.what, record.header(name)));
        }
    }
    let of = due.dataset.split("_copy").next().expect("a name");
    let plain = source.datasets[of].dataset.key.form == freshet_catalog_model::KeyForm::Plain;
    if plain && record.key != joined(&due.key).as_bytes() {
        return Some(format!("{}: the key is {:?}", due.what, String::from_utf8_lossy(&record.key)));
    }
    let Some(value) = &record.value else {
        let deleted = due.event["data"].is_null() || headers["ce_type"].as_str()?.ends_with(".deleted");
        return (!deleted).then(|| format!("{} came out as a delete", due.what));
    };
    let id = u32::from_be_bytes(value[1..5].try_into().expect("four bytes"));
    let schema = runtime.block_on(registry.schema(id)).expect("a schema");
    let found = departments::to_json(&schema, &departments::decode(&schema, value).expect("Avro"));
    let sent = departments::from_json(&schema, &due.event["data"]).expect("a good example");
    let sent = departments::to_json(&schema, &sent);
    (found != sent).then(|| format!("{}: {sent} was sent, not {found}", due.what))
}

pub fn violations(record: &Received) -> Vec<String> {
    let list = record.header("freshet_violations").expect("every rejection has its list");
    named(&serde_json::from_str(list).expect("JSON"))
}

/// Codes and fields, which is what an example names, in one order.
fn named(violations: &Value) -> Vec<String> {
    let mut named: Vec<String> = violations
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| format!("{} {}", one["code"].as_str().expect("a code"), one["field"].as_str().unwrap_or("-")))
        .collect();
    named.sort();
    named
}

fn place(position: &Value) -> String {
    format!("{}/{}/{}", position["topic"].as_str().expect("a topic"), position["partition"], position["offset"])
}

fn key(event: &Value, fields: &[String]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match event["key"].as_array() {
        Some(texts) => texts.iter().map(text).collect(),
        None => fields.iter().map(|field| text(field.split('.').fold(&event["data"], |at, name| &at[name]))).collect(),
    }
}

fn joined(key: &[String]) -> String {
    match key {
        [one] => one.clone(),
        several => {
            several.iter().map(|text| text.replace('\\', r"\\").replace('|', r"\|")).collect::<Vec<_>>().join("|")
        }
    }
}
