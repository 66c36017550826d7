//! Every file of `schemas/*/examples` is a test: a good event is accepted, a bad one is refused with exactly the violations
//! that it names. The form of the files: `schemas/README.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use freshet_avro::{framing, json};
use freshet_catalog_model::compiled::{CompiledDataset, PseudonymKey};
use freshet_catalog_model::{Catalog, Entry, SchemaVersion, yaml};
use freshet_core::{Outcome, Rejection, Violation, topics};
use freshet_kafka::catalog::CatalogHandle;
use freshet_testkit::memory::{Bus, End, Member};
use freshet_validator::{Metrics, Setup, Validator};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

const SCHEMA_ID: u32 = 1;
/// Behind every time in the examples but the ones that are in the future.
const NOW_MS: i64 = 1_800_000_000_000;

/// One dataset's catalogue, as the examples are checked against it.
struct Bench {
    dataset: Arc<CompiledDataset>,
    catalog: Catalog,
    pseudonym: PseudonymKey,
}

impl Bench {
    fn open(schemas: &Path, id: &str) -> Self {
        let source = yaml::load(schemas).unwrap_or_else(|diagnostics| {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"));
        });
        let mut catalog = Catalog::default();
        for department in source.departments.into_values() {
            catalog.insert(Entry::Department(department));
        }
        let own = &source.datasets[id];
        let mut dataset = own.dataset.clone();
        dataset.schema_ids = vec![SCHEMA_ID];
        let avsc = own.schemas.last().expect("a schema").avsc.clone();
        let subject = format!("dataset.{id}-value");
        catalog.insert(Entry::Schema(SchemaVersion { id: SCHEMA_ID, subject, version: 1, avsc }));
        catalog.insert(Entry::Dataset(Box::new(dataset)));
        let dataset = CompiledDataset::compile(&catalog, id).unwrap_or_else(|error| panic!("{id}: {error}"));
        let pseudonym = PseudonymKey::new(&[7; 32]).expect("32 bytes");
        Self { dataset, catalog, pseudonym }
    }

    /// The violations of the last event, none where it is accepted. The ones before it must be.
    fn judge(&self, example: &Json) -> Vec<Violation> {
        let clock = || Timestamp::from_millisecond(NOW_MS).expect("in range");
        let validator = Validator::new(Setup {
            catalogue: CatalogHandle::fixed(self.catalog.clone()),
            clock: Box::new(clock),
            pseudonym: Some(self.pseudonym.clone()),
            max_event_bytes: 65_536,
            clock_skew: SignedDuration::from_secs(300),
            width: Box::new(|_| Ok(None)),
            metrics: Metrics::new(&prometheus::Registry::new()).expect("an empty registry"),
        });
        let mut bus = Bus::default();
        bus.now_ms = NOW_MS;
        let mut member = Member::new(validator);
        let partitions: Vec<i32> = (0..self.dataset.dataset.partitions).collect();
        member.rebalance(&bus, &partitions).expect("assigned");
        for event in example["before"].as_array().into_iter().flatten() {
            let violations = self.publish(event, &mut bus, &mut member);
            assert_eq!(violations, [], "an event of `before` must be accepted: {event}");
        }
        self.publish(example, &mut bus, &mut member)
    }

    fn publish(&self, event: &Json, bus: &mut Bus, member: &mut Member<Validator>) -> Vec<Violation> {
        let schema = self.dataset.latest();
        let value = match &event["data"] {
            Json::Null => None,
            data => match json::encode(&schema.plan, data) {
                Ok(datum) => {
                    let mut framed = Vec::new();
                    framing::write(SCHEMA_ID, &datum, &mut framed);
                    Some(framed)
                }
                Err(violations) => return violations,
            },
        };
        let texts: Vec<String> = match event["key"].as_array() {
            Some(texts) => texts.iter().map(text).collect(),
            None => self.dataset.dataset.key.fields.iter().map(|field| text(at(&event["data"], field))).collect(),
        };
        let key = self.dataset.key_of_texts(texts.iter().map(String::as_str), Some(&self.pseudonym)).expect("a key");
        let headers = event["headers"].as_object().expect("headers");
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect();
        headers.push(("content-type", "application/avro"));
        let (id, partitions) = (self.dataset.id(), self.dataset.dataset.partitions);
        let partition = freshet_core::partition(&key, partitions);
        bus.publish(&topics::publish(id), partition, Some(&key), value.as_deref(), &headers);
        let outcomes = member.batch(bus, 10, End::Commit).expect("a batch");
        match outcomes[..] {
            [Outcome::Emitted { records: 1 }] => Vec::new(),
            [Outcome::Rejected] => last_rejection(bus, partition),
            _ => panic!("one outcome is due, not {outcomes:?}"),
        }
    }
}

fn last_rejection(bus: &Bus, partition: i32) -> Vec<Violation> {
    let rejects = bus.topics().filter(|at| at.topic.starts_with("reject.") && at.partition == partition);
    let record = rejects.flat_map(|at| bus.records(&at.topic, partition)).last().expect("a rejection");
    let list = record.header("freshet_violations").expect("every rejection has its list");
    serde_json::from_str::<Rejection>(list).expect("a list of violations").violations
}

fn at<'a>(data: &'a Json, path: &str) -> &'a Json {
    path.split('.').fold(data, |at, name| &at[name])
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Codes and fields, which is what an example names, in one order.
fn named(violations: &[Violation]) -> Vec<String> {
    let mut named: Vec<String> = violations
        .iter()
        .map(|violation| format!("{} {}", violation.code.as_str(), violation.field.as_deref().unwrap_or("-")))
        .collect();
    named.sort();
    named
}

fn expected(example: &Json) -> Vec<String> {
    let mut named: Vec<String> = example["violations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|violation| {
            let field = violation["field"].as_str().unwrap_or("-");
            format!("{} {field}", violation["code"].as_str().expect("a code"))
        })
        .collect();
    named.sort();
    named
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_example_is_judged_as_it_says() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut wrong = Vec::new();
    let mut judged = 0;
    for folder in files(&schemas).iter().filter(|folder| folder.join("dataset.yaml").is_file()) {
        let id = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let bench = Bench::open(&schemas, &id);
        for (kind, least) in [("good", 2), ("bad", 3)] {
            let examples = files(&folder.join("examples").join(kind));
            assert!(examples.len() >= least, "{id} has {} {kind} examples, at least {least} are due", examples.len());
            for file in examples {
                let content = std::fs::read_to_string(&file).expect("a file");
                let example: Json =
                    serde_json::from_str(&content).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                assert_eq!(kind == "bad", !expected(&example).is_empty(), "{}", file.display());
                let found = bench.judge(&example);
                judged += 1;
                if named(&found) != expected(&example) {
                    wrong.push(format!("{}: {found:#?}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {judged} examples are not judged as they say:\n{}", wrong.len(), wrong.join("\n"));
}
