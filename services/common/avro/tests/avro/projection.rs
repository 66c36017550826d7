//! Views against `apache-avro`: what comes out, read with the view's schema, is the subset of what went in.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::types::Value;
use freshet_avro::projection::{MaskKind, Projection};
use freshet_avro::{Plan, Walk, json};
use proptest::prelude::*;
use serde_json::json as j;

use crate::ask::{Answer, ask};
use crate::naive;
use crate::shape::{self, shapes};

fn project(projection: &Projection, plan: &Plan, bytes: &[u8]) -> Vec<u8> {
    let mut walk = Walk::new();
    assert!(plan.check(bytes, &mut walk), "{:?}", walk.violations());
    let mut out = Vec::new();
    projection.project(plan, &walk, bytes, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_is_the_subset(shape in shapes(), seed: u64, picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6)) {
        let avsc = shape::avsc(&shape);
        let plan = Plan::compile(&avsc).expect("a plan");
        let schema = Schema::parse_str(&avsc).expect("a schema");
        let (value, _) = shape::value(&schema, seed);
        let bytes = shape::encode_in_blocks(&schema, &value, seed);
        let paths: Vec<&str> = plan.fields().map(|(path, ..)| path).collect();
        let fields: Vec<String> = picks.iter().map(|pick| paths[pick.index(paths.len())].to_owned()).collect();

        let projection = Projection::compile(&plan, &fields, &BTreeMap::new())
            .map_err(|error| TestCaseError::fail(format!("{error}: {fields:?} of {avsc}")))?;
        let out = project(&projection, &plan, &bytes);

        let view = Plan::compile(projection.avsc()).expect("the view's schema");
        let mut walk = Walk::new();
        prop_assert!(view.check(&out, &mut walk), "{:?}", walk.violations());
        let view_schema = Schema::parse_str(projection.avsc()).expect("the view's schema");
        let Answer::Taken { value: shown, left: 0 } = ask(&view_schema, &out) else {
            return Err(TestCaseError::fail("apache-avro refuses the view's record"));
        };
        prop_assert_eq!(&shown, &naive::subset(&value, &shown));
        // Nothing more than asked for (P6), and nothing less.
        for (path, ..) in view.fields() {
            prop_assert!(naive::is_granted(path, &fields), "{path} of {fields:?}");
        }
        for field in &fields {
            prop_assert!(view.slot(field).is_some(), "{field}");
        }
    }

    #[test]
    fn a_view_of_everything_is_the_record(shape in shapes(), seed: u64) {
        let avsc = shape::avsc(&shape);
        let plan = Plan::compile(&avsc).expect("a plan");
        let schema = Schema::parse_str(&avsc).expect("a schema");
        let (_, bytes) = shape::value(&schema, seed);
        let fields: Vec<String> = plan.record().fields.iter().map(|field| field.name.clone()).collect();
        let projection = Projection::compile(&plan, &fields, &BTreeMap::new()).expect("a projection");
        prop_assert_eq!(project(&projection, &plan, &bytes), bytes);
        prop_assert_eq!(Schema::parse_str(projection.avsc()).expect("a schema").canonical_form(), schema.canonical_form());
    }

    /// Masks on every text that a slot reaches: the view has the masked texts, and all else as it was.
    #[test]
    fn masked_texts_do_not_leave(shape in shapes(), seed: u64) {
        const KINDS: [MaskKind; 3] = [MaskKind::FirstCharacter, MaskKind::LastFour, MaskKind::Redact];
        let avsc = shape::avsc(&shape);
        let plan = Plan::compile(&avsc).expect("a plan");
        let schema = Schema::parse_str(&avsc).expect("a schema");
        let (value, bytes) = shape::value(&schema, seed);
        let masks: BTreeMap<String, MaskKind> = plan
            .fields()
            .filter(|(_, _, ty)| matches!(ty.without_null(), freshet_avro::FieldType::String))
            .enumerate()
            .map(|(index, (path, ..))| (path.to_owned(), KINDS[index % 3]))
            .collect();
        let fields: Vec<String> = plan.record().fields.iter().map(|field| field.name.clone()).collect();
        let projection = Projection::compile(&plan, &fields, &masks).expect("a projection");
        let out = project(&projection, &plan, &bytes);
        let Answer::Taken { value: shown, left: 0 } = ask(&schema, &out) else {
            return Err(TestCaseError::fail("apache-avro refuses the masked record"));
        };
        for (path, _, ty) in plan.fields() {
            match (masks.get(path), naive::at(&value, path), naive::at(&shown, path)) {
                (Some(mask), Some(Value::String(text)), shown) => {
                    prop_assert_eq!(shown, Some(&Value::String(naive::masked(*mask, text))));
                }
                (_, before, after) if matches!(ty.without_null(), freshet_avro::FieldType::Record(_)) => {
                    prop_assert_eq!(before.is_some(), after.is_some());
                }
                (_, before, after) => prop_assert_eq!(before, after),
            }
        }
    }
}

const PERSON: &str = r#"{"type":"record","name":"Person","namespace":"gov","doc":"A person.","fields":[
    {"name":"name","type":"string"},
    {"name":"id","type":["null","string"],"default":null},
    {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
    {"name":"age","type":["int","null"],"default":18},
    {"name":"home","type":{"type":"record","name":"Address","fields":[
        {"name":"street","type":"string"},{"name":"city","type":"string","default":"Toronto"}]}},
    {"name":"work","type":["null","Address"],"default":null},
    {"name":"others","type":{"type":"array","items":"Address"},"default":[]}]}"#;

fn person() -> serde_json::Value {
    j!({"name": "王小明", "id": "11010519491231002X", "uuid": "123e4567-e89b-12d3-a456-426614174000", "age": 30,
        "home": {"street": "King", "city": "Ottawa"}, "work": {"street": "Queen", "city": "York"},
        "others": [{"street": "Bay", "city": "Hull"}]})
}

fn view(fields: &[&str], masks: &[(&str, MaskKind)]) -> Result<serde_json::Value, String> {
    let plan = Plan::compile(PERSON).expect("a plan");
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    let masks = masks.iter().map(|(path, mask)| ((*path).to_owned(), *mask)).collect();
    let projection = Projection::compile(&plan, &fields, &masks).map_err(|error| error.to_string())?;
    let bytes = json::encode(&plan, &person()).expect("a record");
    let out = project(&projection, &plan, &bytes);
    let view = Plan::compile(projection.avsc()).expect("the view's schema");
    Ok(json::decode(&view, &out).expect("the view's record"))
}

#[test]
fn masks_and_nested_fields() {
    use MaskKind::{FirstCharacter, LastFour, Null, Redact};
    assert_eq!(view(&["name"], &[("name", FirstCharacter)]), Ok(j!({"name": "王*"})));
    assert_eq!(view(&["age", "id"], &[("id", LastFour), ("age", Null)]), Ok(j!({"id": "*002X", "age": null})));
    assert_eq!(view(&["uuid"], &[("uuid", Redact)]), Ok(j!({"uuid": "***"})));
    assert_eq!(view(&["work"], &[("work", Null)]), Ok(j!({"work": null})));
    assert_eq!(
        view(&["work", "home.city"], &[("work.street", FirstCharacter)]),
        Ok(j!({"home": {"city": "Ottawa"}, "work": {"street": "Q*", "city": "York"}}))
    );
    assert_eq!(
        view(&["home.city", "work.street", "others"], &[]),
        Ok(
            j!({"home": {"city": "Ottawa"}, "work": {"street": "Queen"}, "others": [{"street": "Bay", "city": "Hull"}]})
        )
    );
}

#[test]
fn the_views_schema_is_readable() {
    let plan = Plan::compile(PERSON).expect("a plan");
    let projection = Projection::compile(&plan, &["work.city".to_owned(), "id".to_owned()], &BTreeMap::new());
    let avsc: serde_json::Value = serde_json::from_str(projection.expect("a projection").avsc()).expect("JSON");
    assert_eq!(
        avsc,
        j!({"type": "record", "name": "Person", "namespace": "gov", "doc": "A person.", "fields": [
            {"name": "id", "type": ["null", "string"], "default": null},
            {"name": "work", "default": null, "type": ["null",
                {"type": "record", "name": "Address", "namespace": "gov",
                 "fields": [{"name": "city", "type": "string", "default": "Toronto"}]}]}]})
    );
}

#[test]
fn what_is_no_view_is_refused() {
    let refused = |fields: &[&str], masks: &[(&str, MaskKind)], part: &str| {
        let error = view(fields, masks).expect_err(part);
        assert!(error.contains(part), "{error}");
    };
    refused(&[], &[], "no fields");
    refused(&["nmae"], &[], "field nmae: the schema has no such field");
    refused(&["others.city"], &[], "inside others, of which only the whole can be shown");
    refused(&["name"], &[("id", MaskKind::Redact)], "not among the fields of the view");
    refused(&["age"], &[("age", MaskKind::Redact)], "needs a text, this is a nullable int");
    refused(&["name"], &[("name", MaskKind::Null)], "needs a nullable field, this is a string");
}

/// Records of an older and of a newer schema through a view of the middle one.
#[test]
fn views_span_versions() {
    let schema = |address: &str, more: &str| {
        format!(
            r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":"string"}},
            {{"name":"home","type":["null",{{"type":"record","name":"A","fields":[{{"name":"street","type":"string"}}{address}]}}]}},
            {{"name":"list","type":{{"type":"array","items":"A"}}}},
            {{"name":"by","type":{{"type":"map","values":["null","A"]}}}},
            {{"name":"z","type":"long"}}{more}]}}"#
        )
    };
    let city = r#",{"name":"city","type":"string","default":"?"}"#;
    let zip = r#",{"name":"zip","type":"int","default":7}"#;
    let old = Plan::compile(&schema("", "")).expect("old");
    let middle =
        Plan::compile(&schema(city, r#",{"name":"new","type":["null","int"],"default":null}"#)).expect("middle");
    let next =
        Plan::compile(&schema(&format!("{city}{zip}"), r#",{"name":"last","type":"int","default":1}"#)).expect("next");
    let fields = ["a", "home", "list", "by", "z", "new"].map(str::to_owned);
    let projection = Projection::compile(&middle, &fields, &BTreeMap::new()).expect("a projection");
    let view = Plan::compile(projection.avsc()).expect("the view");
    let street = j!({"street": "King"});
    let record = j!({"a": "x", "home": street, "list": [street, street], "by": {"k": street, "n": null}, "z": 9});
    for plan in [&old, &middle, &next] {
        let projection = projection.compile_for(plan).expect("the same view");
        let bytes = json::encode(plan, &record).expect("a record");
        let shown = json::decode(&view, &project(&projection, plan, &bytes)).expect("a record of the view");
        let full = j!({"street": "King", "city": "?"});
        assert_eq!(
            shown,
            j!({"a": "x", "home": full, "list": [full, full], "by": {"k": full, "n": null}, "z": 9, "new": null})
        );
    }
}
