use std::collections::BTreeMap;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::diagnostic::Place;
use crate::entry::*;
use crate::source::SourceSchema;

const AVSC: &str = r#"{"type":"record","name":"Permit","fields":[
    {"name":"number","type":"string"},
    {"name":"holder","type":["null","string"],"default":null},
    {"name":"street","type":"string"},
    {"name":"fee","type":"long"}
]}"#;
const FIELDS: [&str; 4] = ["number", "holder", "street", "fee"];

fn title() -> Title {
    Title { en: Some("Permits".to_owned()), zh: None }
}

fn dataset(id: &str) -> Dataset {
    Dataset {
        id: id.to_owned(),
        title: title(),
        authorities: vec![Authority { department: "planning".to_owned(), divisions: Vec::new() }],
        key: KeyRule { fields: vec!["number".to_owned()], form: KeyForm::Plain },
        version: VersionRule::Sequence,
        division: DivisionRule::default(),
        schema_ids: Vec::new(),
        partitions: 6,
        catalogue: CatalogueFields {
            summary: title(),
            update_frequency: UpdateFrequency::Daily,
            share_type: ShareType::Unconditional,
            share_method: ShareMethod::BatchExchange,
            use_conditions: Vec::new(),
            classification: Classification::General,
            legal_basis: Vec::new(),
            sensitive_fields: Vec::new(),
        },
        retention: Retention::default(),
        identifiers: Vec::new(),
        rules: Vec::new(),
        transitions: None,
        mapping: None,
    }
}

fn files(id: &str, schemas: &[&str]) -> SourceDataset {
    let at = || Place::file(format!("{id}/dataset.yaml"));
    let file = format!("{id}/{id}.avsc");
    SourceDataset {
        dataset: dataset(id),
        schemas: schemas.iter().map(|avsc| SourceSchema { file: file.clone(), avsc: (*avsc).to_owned() }).collect(),
        partitions_at: at(),
        key_at: at(),
        version_at: at(),
        mapping_at: at(),
    }
}

fn grant(id: &str, dataset: &str, fields: &[&str]) -> Grant {
    Grant {
        id: id.to_owned(),
        subscriber: "tax".to_owned(),
        dataset: dataset.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        masks: BTreeMap::new(),
        rows: None,
        purpose: "audit".to_owned(),
        legal_basis: "Tax Act".to_owned(),
        valid_from: date(2026, 1, 1),
        valid_until: date(2026, 12, 31),
        status: GrantStatus::Active,
        delivery: Delivery::Kafka,
        view: String::new(),
    }
}

fn source(datasets: &[(&str, &[&str])], grants: &[Grant]) -> SourceCatalog {
    let department = |id: &str| Department { id: id.to_owned(), title: title(), uscc: None, sources: Vec::new() };
    SourceCatalog {
        departments: ["planning", "tax"].map(|id| (id.to_owned(), department(id))).into(),
        datasets: datasets.iter().map(|(id, schemas)| ((*id).to_owned(), files(id, schemas))).collect(),
        grants: grants.iter().map(|grant| (grant.id.clone(), grant.clone())).collect(),
    }
}

fn after(source: &SourceCatalog, current: &Catalog) -> Catalog {
    diff(source, current).expect("nothing to refuse").into_after()
}

fn messages(source: &SourceCatalog, current: &Catalog) -> Vec<String> {
    diff(source, current).expect_err("refused").into_iter().map(|diagnostic| diagnostic.to_string()).collect()
}

#[test]
fn ids_are_stable_and_the_text_alone_makes_no_version() {
    let first = after(&source(&[("permit", &[AVSC])], &[grant("g", "permit", &["number"])]), &Catalog::default());
    assert_eq!(first.datasets["permit"].schema_ids, [1]);
    assert_eq!(first.schemas[&1].subject, "publish.permit-value");
    assert_eq!(first.schemas[&2].subject, format!("view.{}-value", first.grants["g"].view));
    let respaced = AVSC.replace('\n', " ").replace("  ", "");
    let again = diff(&source(&[("permit", &[&respaced])], &[grant("g", "permit", &["number"])]), &first);
    assert!(again.expect("the same").is_empty());
}

#[test]
fn a_new_version_comes_last_and_old_ones_stay() {
    let wider = AVSC.replace("\n]}", r#",{"name":"ward","type":["null","string"],"default":null}]}"#);
    let first = after(&source(&[("permit", &[AVSC])], &[]), &Catalog::default());
    let second = after(&source(&[("permit", &[&wider])], &[]), &first);
    assert_eq!(second.datasets["permit"].schema_ids, [1, 2]);
    assert_eq!(second.schemas[&2].version, 2);
    let back = after(&source(&[("permit", &[AVSC])], &[]), &second);
    assert_eq!(back.datasets["permit"].schema_ids, [2, 1], "today's is the last");
    assert_eq!(back.schemas, second.schemas);
}

#[test]
fn an_incompatible_schema_is_refused_at_its_field() {
    let first = after(&source(&[("permit", &[AVSC])], &[]), &Catalog::default());
    let other = AVSC.replace(r#""fee","type":"long""#, r#""fee","type":"string""#);
    let found = messages(&source(&[("permit", &[&other])], &[]), &first);
    assert!(
        !found.is_empty() && found.iter().all(|line| line.starts_with("permit/permit.avsc:5:13: field fee")),
        "{found:?}"
    );
}

#[test]
fn migrations_are_refused() {
    let first = after(&source(&[("permit", &[AVSC])], &[]), &Catalog::default());
    let mut changed = source(&[("permit", &[AVSC])], &[]);
    let dataset = &mut changed.datasets.get_mut("permit").expect("there").dataset;
    dataset.partitions = 12;
    dataset.key.fields = vec!["street".to_owned()];
    dataset.version = VersionRule::Field("fee".to_owned());
    let found = messages(&changed, &first);
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn what_is_gone_from_the_files_goes_but_schemas_and_topics_stay() {
    let both = source(&[("permit", &[AVSC]), ("visit", &[AVSC])], &[grant("g", "visit", &["number"])]);
    let first = after(&both, &Catalog::default());
    let changes = diff(&source(&[("permit", &[AVSC])], &[]), &first).expect("may go");
    let view = &first.grants["g"].view;
    assert_eq!(changes.removals(), ["grant/g".to_owned(), format!("view/{view}"), "dataset/visit".to_owned()]);
    assert!(changes.puts().is_empty());
    let kept: Vec<&str> = changes
        .topic_changes
        .iter()
        .map(|change| match change {
            TopicChange::Keep(topic) => topic.name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kept, ["dataset.visit", "publish.visit", &format!("view.{view}")]);
    assert_eq!(changes.after().schemas, first.schemas);
    let back = after(&both, changes.after());
    assert_eq!(back, first, "a dataset that comes back has its old schema ids");
}

#[test]
fn the_display_says_what_will_change() {
    let first = diff(&source(&[("permit", &[AVSC])], &[]), &Catalog::default()).expect("new");
    let text = first.to_string();
    assert!(text.contains("+ dataset permit\n"), "{text}");
    assert!(
        text.contains("+ topic publish.permit (6 partitions, cleanup.policy=delete, retention.ms=604800000)\n"),
        "{text}"
    );
    assert!(text.ends_with("4 to add, 0 to change, 0 to remove.\n"), "{text}");
    let mut changed = source(&[("permit", &[AVSC])], &[]);
    changed.datasets.get_mut("permit").expect("there").dataset.retention.publish_hours = 1;
    let second = diff(&changed, first.after()).expect("may change").to_string();
    assert_eq!(
        second,
        "~ dataset permit\n    retention.publish_hours: 168 -> 1\n\
         ~ topic publish.permit (cleanup.policy=delete, retention.ms=604800000 -> cleanup.policy=delete, retention.ms=3600000)\n\
         0 to add, 1 to change, 0 to remove.\n"
    );
    let third = diff(&changed, &after(&changed, first.after())).expect("same").to_string();
    assert_eq!(third, "No changes: the bus has what the files say.\n");
}

#[test]
fn the_view_id_is_a_digest_that_does_not_move() {
    let id = view_id("permit", &["number".to_owned()], &BTreeMap::new(), None);
    // printf '{"dataset":"permit","fields":["number"],"masks":{},"rows":null}' | sha256sum
    assert_eq!(id, "permit.bb7bfeb3ad61");
}

#[test]
fn each_entry_comes_back_from_its_topic_form() {
    let all = source(&[("permit", &[AVSC])], &[grant("g", "permit", &["number"])]);
    let catalog = after(&all, &Catalog::default());
    let mut read = Catalog::default();
    for entry in catalog.entries() {
        let value = serde_json::to_vec(&entry).expect("JSON");
        read.take(&entry.key(), Some(&value)).expect("readable");
    }
    assert_eq!(read, catalog);
}

/// A grant of its own over some of the fields, in any order.
fn any_grant() -> impl Strategy<Value = (Vec<&'static str>, Option<Mask>, Option<&'static str>)> {
    let fields = prop::sample::subsequence(FIELDS.to_vec(), 1..=4).prop_shuffle();
    let mask = prop::option::of(prop::sample::select(vec![Mask::Redact, Mask::LastFour, Mask::FirstCharacter]));
    let rows = prop::option::of(prop::sample::select(vec!["fee > 3", "street = 'A'", " fee > 3 "]));
    (fields, mask, rows)
}

fn build(id: usize, (fields, mask, rows): &(Vec<&str>, Option<Mask>, Option<&str>)) -> Grant {
    let mut built = grant(&format!("g{id}"), "permit", fields);
    if let Some(mask) = mask
        && fields.contains(&"street")
    {
        built.masks.insert("street".to_owned(), *mask);
    }
    built.rows = rows.map(str::to_owned);
    built
}

proptest! {
    #[test]
    fn a_second_diff_is_empty(
        earlier in prop::collection::vec(any_grant(), 0..4),
        later in prop::collection::vec(any_grant(), 0..4),
        has_visit in any::<bool>(),
    ) {
        let grants = |list: &[_]| list.iter().enumerate().map(|(id, one)| build(id, one)).collect::<Vec<_>>();
        let one = after(&source(&[("permit", &[AVSC])], &grants(&earlier)), &Catalog::default());
        let mut datasets: Vec<(&str, &[&str])> = vec![("permit", &[AVSC])];
        if has_visit {
            datasets.push(("visit", &[AVSC]));
        }
        let wanted = source(&datasets, &grants(&later));
        let changes = diff(&wanted, &one).expect("nothing to refuse");
        // What is written gives what was promised.
        let mut bus = one;
        for entry in changes.puts() {
            bus.insert(entry);
        }
        for key in changes.removals() {
            bus.take(&key, None).expect("a key");
        }
        prop_assert_eq!(&bus, changes.after());
        let second = diff(&wanted, &bus).expect("nothing to refuse");
        prop_assert!(second.is_empty() && second.topic_changes.is_empty(), "{}", second);
    }

    /// Two grants share a view exactly where they grant the same, in whatever order it was written.
    #[test]
    fn a_view_is_a_distinct_grant(first in any_grant(), second in any_grant()) {
        let (first, second) = (build(1, &first), build(2, &second));
        let catalog = after(&source(&[("permit", &[AVSC])], &[first.clone(), second.clone()]), &Catalog::default());
        let sorted = |grant: &Grant| {
            let mut fields = grant.fields.clone();
            fields.sort();
            (fields, grant.masks.clone(), grant.rows.as_ref().map(|rows| rows.trim().to_owned()))
        };
        let are_same = sorted(&first) == sorted(&second);
        prop_assert_eq!(catalog.grants["g1"].view == catalog.grants["g2"].view, are_same);
        prop_assert_eq!(catalog.views.len(), if are_same { 1 } else { 2 });
    }
}
