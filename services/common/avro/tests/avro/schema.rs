//! Which schemas are taken.

use freshet_avro::{MAX_PATH_BYTES, Plan, SchemaError};

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

/// A name of a million bytes would be written out again for each of twenty thousand fields below it.
#[test]
fn long_names_over_many_fields_are_refused() {
    let avsc = |name_bytes: usize| {
        let name = "n".repeat(name_bytes);
        let fields: Vec<String> =
            (0..1000).map(|number| format!(r#"{{"name":"f{number:03}","type":"int"}}"#)).collect();
        let inner = format!(r#"{{"type":"record","name":"inner","fields":[{}]}}"#, fields.join(","));
        with_field(&format!(r#"{{"name":"{name}","type":{inner}}}"#))
    };
    // Each path: the long name, a dot, four letters, and the dot that may follow; beside them the long name's own.
    let most = (MAX_PATH_BYTES - 1000 * 6 - 1) / 1001;
    assert!(Plan::compile(&avsc(most)).is_ok());
    assert_eq!(error(&avsc(most + 1)), SchemaError::PathsTooLong);
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
fn a_name_is_defined_once() {
    let twice = |second: &str| {
        let first = r#"{"name":"a","type":{"type":"fixed","name":"T","size":2}}"#;
        error(&with_field(&format!(r#"{first},{{"name":"b","type":{second}}}"#))).to_string()
    };
    for second in [
        r#"{"type":"enum","name":"T","symbols":["X"]}"#,
        r#"{"type":"record","name":"T","fields":[]}"#,
        r#"{"type":"record","name":"r","fields":[]}"#,
        r#"{"type":"fixed","name":"T","size":4,"logicalType":"decimal","precision":4}"#,
    ] {
        assert!(twice(second).contains("is defined a second time"), "{second}: {}", twice(second));
    }
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
