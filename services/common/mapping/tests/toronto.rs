//! Every one of the 36,313 real events ends as mapped, or with the reasons why not. The counts are pinned.

mod shipped;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;

use freshet_avro::Walk;
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_core::{Code, Violation};
use freshet_mapping::{MappedEvent, Mapper, Operation};

/// What one dataset's lines came to.
struct Books {
    dataset: CompiledDataset,
    mapper: Mapper,
    lines: u64,
    last_sequence: u64,
    upserts: u64,
    deletes: u64,
    /// By the complete list of a line's violations.
    rejected: BTreeMap<String, u64>,
}

impl Books {
    fn open(id: &str) -> Self {
        let dataset = shipped::dataset(&shipped::repository().join("schemas"), id);
        let mapper = Mapper::compile(&dataset).unwrap_or_else(|error| panic!("{id}: {error}"));
        Self { dataset, mapper, lines: 0, last_sequence: 0, upserts: 0, deletes: 0, rejected: BTreeMap::new() }
    }

    fn take(&mut self, line: &str) {
        self.lines += 1;
        let outcome = self.mapper.map_json(self.lines, line.as_bytes()).and_then(|event| {
            assert!(event.sequence > Some(self.last_sequence), "line {}: sequences grow", self.lines);
            self.last_sequence = event.sequence.unwrap_or_default();
            assert!(event.time.is_some() && event.key.iter().all(|text| !text.is_empty()), "{event:?}");
            match (event.operation, &event.datum) {
                (Operation::Delete, None) => self.deletes += 1,
                (Operation::Upsert, Some(datum)) => {
                    rules_hold(&self.dataset, &event, datum)?;
                    self.upserts += 1;
                }
                _ => panic!("a datum where none is due, or the other way round: {event:?}"),
            }
            Ok(())
        });
        if let Err(violations) = outcome {
            assert!(!violations.is_empty(), "line {}: a rejection gives its reasons", self.lines);
            let reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
            *self.rejected.entry(reasons.join(" + ")).or_default() += 1;
        }
    }
}

/// What the validator will say of a record that could be read.
fn rules_hold(dataset: &CompiledDataset, event: &MappedEvent, datum: &[u8]) -> Result<(), Vec<Violation>> {
    let schema = dataset.latest();
    let mut walk = Walk::new();
    assert!(schema.plan.check(datum, &mut walk), "line {}: {:?}", event.line, walk.violations());
    let broken = schema.rules.iter().filter(|(_, predicate)| !predicate.matches(&schema.plan, &walk, datum));
    let broken: Vec<Violation> = broken
        .map(|(rule, _)| {
            let field = rule.field.clone().unwrap_or_default();
            Violation::new(Code::Rule, field, rule.message.en.clone().unwrap_or_default())
        })
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

#[test]
fn every_line_ends_as_mapped_or_with_its_reasons() {
    let mut all: BTreeMap<String, Books> = BTreeMap::new();
    for line in shipped::open("toronto-registers.events.jsonl.gz").lines() {
        let line = line.expect("the shipped file can be read");
        let id = line.split("\"dataset\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a dataset");
        all.entry(id.to_owned()).or_insert_with(|| Books::open(id)).take(&line);
    }
    let mut report = String::new();
    let mut total = 0;
    for (id, books) in &all {
        let rejected: u64 = books.rejected.values().sum();
        assert_eq!(books.lines, books.upserts + books.deletes + rejected, "{id}");
        total += books.lines;
        let (upserts, deletes) = (books.upserts, books.deletes);
        writeln!(report, "{id}: {} lines, {upserts} upserts, {deletes} deletes, {rejected} rejected", books.lines)
            .expect("writing to a text");
        for (reasons, count) in &books.rejected {
            writeln!(report, "{count:6} {reasons}").expect("writing to a text");
        }
    }
    assert_eq!(total, 36_313);
    let expected = include_str!("toronto.expected.txt");
    assert!(report == expected, "the books differ from tests/toronto.expected.txt; they are now:\n{report}");
}
