//! The check and its messages, by hand.

use freshet_avro::{Plan, Value, Walk, json};
use freshet_core::Code::{self, SchemaMalformed, SchemaType};
use serde_json::json as j;

fn check(fields: &str, bytes: &[u8], expected: &[(Code, &str, &str)]) {
    let avsc = format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    let plan = Plan::compile(&avsc).expect("a plan");
    let mut walk = Walk::new();
    assert_eq!(plan.check(bytes, &mut walk), expected.is_empty(), "{:?}", walk.violations());
    let found = walk.violations();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (violation, (code, field, part)) in found.iter().zip(expected) {
        assert_eq!((violation.code, violation.field.as_deref().unwrap_or("")), (*code, *field), "{violation:?}");
        assert!(violation.message.contains(part), "{violation:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    check(
        r#"{"name":"b","type":"boolean"},
        {"name":"s","type":"string"},
        {"name":"i","type":"int"},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
        {"name":"l","type":{"type":"array","items":{"type":"map","values":{"type":"int","logicalType":"date"}}}},
        {"name":"n","type":["null",{"type":"record","name":"N","fields":[{"name":"u","type":{"type":"string","logicalType":"uuid"}}]}]}"#,
        &[
            7, // neither false nor true
            2, 0xff, // not UTF-8
            0xff, 0xff, 0xff, 0xff, 0x7f, // 35 bits
            4,    // the third of two symbols
            4, 0, 2, 2, b'k', 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, // the second map has a date far away
            2, 2, b'u', // a UUID of one character
            9,    // left over
        ],
        &[
            (SchemaMalformed, "b", "the byte 7 is neither"),
            (SchemaType, "s", "not UTF-8"),
            (SchemaMalformed, "i", "form of an int"),
            (SchemaMalformed, "e", "symbol number 2, but the enum has 2"),
            (SchemaType, "l[1][0]", "is not a date"),
            (SchemaType, "n.u", "not a UUID"),
            (SchemaMalformed, "", "1 bytes are left over"),
        ],
    );
}

#[test]
fn what_has_no_meaning_behind_it_ends_the_walk() {
    let fields = r#"{"name":"a","type":"string"},{"name":"b","type":"boolean"}"#;
    check(fields, &[], &[(SchemaMalformed, "a", "is cut off here")]);
    check(fields, &[6, b'x'], &[(SchemaMalformed, "a", "3 more are needed, 1 are left")]);
    check(fields, &[1], &[(SchemaMalformed, "a", "the length -1 is negative")]);
    check(fields, &[2, b'x'], &[(SchemaMalformed, "b", "is cut off here")]);
    check(fields, &[0x80; 12], &[(SchemaMalformed, "a", "more than 64 bits")]);
    check(r#"{"name":"u","type":["null","int"]}"#, &[4, 2], &[(SchemaMalformed, "u", "branch number 2")]);
    check(r#"{"name":"u","type":["null","int","long"]}"#, &[1], &[(SchemaMalformed, "u", "branch number -1")]);
}

#[test]
fn blocks_are_checked() {
    let array = |items: &str| format!(r#"{{"name":"l","type":{{"type":"array","items":{items}}}}}"#);
    let ints = array(r#""int""#);
    check(&ints, &[2, 2, 4, 4, 6, 0], &[]);
    check(&ints, &[3, 4, 2, 4, 0], &[]);
    check(&ints, &[3, 6, 2, 4, 0], &[(SchemaMalformed, "l", "says that it has 3 bytes, but has 2")]);
    check(&ints, &[3, 1, 2, 4, 0], &[(SchemaMalformed, "l", "says that it has -1 bytes, but has 2")]);
    check(&ints, &[0xfe, 0xff, 0xff, 0x7f, 2, 0], &[(SchemaMalformed, "l", "items are announced, but only 2 bytes")]);
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0];
    check(&ints, &least, &[(SchemaMalformed, "l", "9223372036854775808 items are announced")]);
    check(
        &array(r#""null""#),
        &[0xfe, 0xff, 0x7f, 0],
        &[(SchemaMalformed, "l", "more than 65536 items without content")],
    );
    // Four arrays of 20,000 nulls in one array: the limit is the record's, not the array's.
    let nested = array(r#"{"type":"array","items":"null"}"#);
    let mut bomb = vec![8];
    bomb.extend([0xc0, 0xb8, 0x02, 0].repeat(4));
    bomb.push(0);
    check(&nested, &bomb, &[(SchemaMalformed, "l[3]", "more than 65536 items without content")]);
}

#[test]
fn the_list_of_violations_is_bounded() {
    let plan = Plan::compile(
        r#"{"type":"record","name":"r","fields":[{"name":"l","type":{"type":"array","items":"boolean"}}]}"#,
    )
    .expect("a plan");
    let mut bytes = vec![0xd0, 0x0f];
    bytes.extend([2; 1000]);
    bytes.push(0);
    let mut walk = Walk::new();
    assert!(!plan.check(&bytes, &mut walk));
    assert_eq!(walk.violations().len(), 101);
    assert_eq!(walk.violations()[99].field.as_deref(), Some("l[99]"));
    assert!(walk.violations()[100].message.contains("was not read"));
}

#[test]
fn a_walk_forgets_the_record_before() {
    let plan = Plan::compile(
        r#"{"type":"record","name":"r","fields":[{"name":"a","type":["null",
        {"type":"record","name":"i","fields":[{"name":"x","type":"string"}]}]},{"name":"z","type":"string"}]}"#,
    )
    .expect("a plan");
    let (x, z) = (plan.slot("a.x").expect("a.x"), plan.slot("z").expect("z"));
    let with = json::encode(&plan, &j!({"a": {"x": "in"}, "z": "end"})).expect("a record");
    let without = json::encode(&plan, &j!({"a": null, "z": "end"})).expect("a record");
    let mut walk = Walk::new();
    assert!(plan.check(&with, &mut walk));
    assert_eq!(walk.value(&plan, x, &with), Value::String("in"));
    assert_eq!(&with[walk.raw(z)], b"\x06end");
    assert!(!plan.check(&with[..3], &mut walk));
    assert_eq!(walk.value(&plan, z, &with[..3]), Value::Absent);
    assert!(plan.check(&without, &mut walk));
    assert_eq!(walk.value(&plan, x, &without), Value::Absent);
    assert_eq!(walk.raw(x), 0..0);
    assert_eq!(walk.value(&plan, plan.slot("a").expect("a"), &without), Value::Null);
    assert_eq!(walk.value(&plan, z, &without), Value::String("end"));
    assert!(walk.violations().is_empty());
}
