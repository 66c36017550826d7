//! Which schemas are taken.

use freshet_avro::{Plan, SchemaError};

fn error(avsc: &str) -> SchemaError {
    Plan::compile(avsc).expect_err(avsc)
}

fn with_field(field: &str) -> String {
    format!(r#"{{"type":"record","name":"r","fields":[{field}]}}"#)
}

#[test]
fn what_is_no_record_is_refused() {
    assert!(matches!(error("{"), SchemaError::Syntax(_)));
    assert!(matches!(error(r#"{"type":"record","name":"r"}"#), SchemaError::Syntax(_)));
    assert_eq!(error(r#""string""#), SchemaError::NotARecord);
}

#[test]
fn recursion_is_refused() {
    let avsc = with_field(r#"{"name":"next","type":["null","r"]}"#);
    assert_eq!(error(&avsc), SchemaError::Recursive { path: "next".to_owned(), name: "r".to_owned() });
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |levels: usize| {
        let open = r#"{"type":"array","items":"#.repeat(levels);
        with_field(&format!(r#"{{"name":"f","type":{open}"int"{}}}"#, "}".repeat(levels)))
    };
    assert!(Plan::compile(&nested(31)).is_ok());
    assert!(matches!(error(&nested(40)), SchemaError::TooDeep { .. }));
    // Each type has two fields of the one before: 2^20 when written out.
    let mut fields =
        r#"{"name":"f0","type":{"type":"record","name":"t0","fields":[{"name":"a","type":"int"}]}}"#.to_owned();
    for level in 1..=20 {
        let before = level - 1;
        fields.push_str(&format!(
            r#",{{"name":"f{level}","type":{{"type":"record","name":"t{level}","fields":[
            {{"name":"a","type":"t{before}"}},{{"name":"b","type":"t{before}"}}]}}}}"#
        ));
    }
    assert_eq!(error(&with_field(&fields)), SchemaError::TooLarge);
}

#[test]
fn what_the_bus_cannot_hold_is_refused() {
    let unsupported = |ty: &str, part: &str| {
        let avsc = with_field(&format!(r#"{{"name":"f","type":{ty}}}"#));
        let message = error(&avsc).to_string();
        assert!(message.starts_with("field f: ") && message.contains(part), "{message}");
    };
    unsupported(r#"{"type":"bytes","logicalType":"big-decimal"}"#, "use decimal");
    unsupported(r#"{"type":"bytes","logicalType":"decimal","precision":39,"scale":2}"#, "at most 38 digits");
    unsupported(r#"{"type":"bytes","logicalType":"uuid"}"#, "stands on string");
}

#[test]
fn defaults_are_values_of_their_types() {
    let date = |default: &str| {
        with_field(&format!(r#"{{"name":"f","type":{{"type":"int","logicalType":"date"}},"default":{default}}}"#))
    };
    assert!(Plan::compile(&date("0")).is_ok());
    assert!(matches!(error(&date("2147483647")), SchemaError::Default { .. }));
    assert!(matches!(error(&date(r#""1970-01-01""#)), SchemaError::Default { .. } | SchemaError::Syntax(_)));
}

#[test]
fn fields_have_slots_through_records_only() {
    let plan = Plan::compile(
        r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":{"type":"record","name":"i","fields":[{"name":"x","type":"int"}]}},
        {"name":"b","type":["i","null"]},
        {"name":"c","type":{"type":"array","items":"i"}},
        {"name":"d","type":["null","int","i"]}]}"#,
    )
    .expect("a plan");
    let paths: Vec<&str> = plan.fields().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["a", "a.x", "b", "b.x", "c", "d"]);
    for (path, slot, ty) in plan.fields() {
        assert_eq!((plan.slot(path), plan.path_of(slot), plan.type_of(slot)), (Some(slot), path, ty));
    }
    assert_eq!(plan.slot("c.x"), None);
}
