//! Where the plan and `apache-avro` 0.22 rightly disagree about bytes. Each has a function, which says when the difference
//! is this one, and a test, which shows that it exists: when a newer `apache-avro` decides otherwise, the test fails and
//! the function can go.

use apache_avro::Schema;
use freshet_avro::{Plan, Walk};
use freshet_core::Violation;

use crate::ask::{Answer, ask};

/// What the oracle took where the plan found this violation.
pub struct Case<'a> {
    pub violation: &'a Violation,
    /// Bytes that the oracle did not read.
    pub left: usize,
}

type Explains = fn(&Case<'_>) -> bool;

/// The name of the difference that explains why the oracle takes what the plan refuses.
pub fn why_stricter(case: &Case<'_>) -> Option<&'static str> {
    const DIFFERENCES: [(&str, Explains); 9] = [
        ("trailing bytes", trailing_bytes),
        ("cut off", cut_off),
        ("block size", block_size),
        ("overlong int", overlong_int),
        ("overlong branch", overlong_branch),
        ("more than 64 bits", more_than_64_bits),
        ("decimal digits", decimal_digits),
        ("out of calendar", out_of_calendar),
        ("uuid spelling", uuid_spelling),
    ];
    DIFFERENCES.iter().find(|(_, explains)| explains(case)).map(|(name, _)| *name)
}

/// apache-avro reads one datum from a stream and leaves the rest. A Kafka record is one datum, whole.
fn trailing_bytes(case: &Case<'_>) -> bool {
    case.left > 0 && case.violation.message.contains("left over")
}

/// apache-avro reads null where a string, a boolean or a union begins behind the last byte; `validate` then takes it for
/// a union whose first branch is null. (libraries.md §2.3; rejected by 0.23.)
fn cut_off(case: &Case<'_>) -> bool {
    case.left == 0 && case.violation.message.contains("is cut off here")
}

/// apache-avro ignores the byte size of a block with a negative count. A reader that skips by it would be lost.
fn block_size(case: &Case<'_>) -> bool {
    case.violation.message.starts_with("a block of items says that it has")
}

/// apache-avro takes an int in up to 10 bytes. Java's decoder fails behind the fifth ("Invalid int encoding").
fn overlong_int(case: &Case<'_>) -> bool {
    case.violation.message.contains("is not in the range and form of an int")
}

/// The same for a union's index, which is an int.
fn overlong_branch(case: &Case<'_>) -> bool {
    case.violation.message.starts_with("branch number")
}

/// apache-avro loses what the tenth byte of a number has above its lowest bit.
fn more_than_64_bits(case: &Case<'_>) -> bool {
    case.violation.message.contains("more than 64 bits")
}

/// apache-avro compares a decimal with its precision neither when it decodes nor when it validates.
fn decimal_digits(case: &Case<'_>) -> bool {
    case.violation.message.starts_with("the decimal has more than") || case.violation.message == "a decimal of no bytes"
}

/// apache-avro takes any number for a date, a time or a time stamp.
fn out_of_calendar(case: &Case<'_>) -> bool {
    ["is not a date of the years", "is not within 24 hours", "is not in the years"]
        .iter()
        .any(|part| case.violation.message.contains(part))
}

/// apache-avro takes every spelling of a UUID that the `uuid` crate takes.
fn uuid_spelling(case: &Case<'_>) -> bool {
    case.violation.message.starts_with("not a UUID of the form")
}

/// The plan takes up to 65,536 items without bytes; apache-avro counts each as a `Value` against its allocation limit,
/// which is 1 MiB in these tests.
pub fn why_laxer(error: &str) -> Option<&'static str> {
    error.contains("Unable to allocate").then_some("allocation limit")
}

/// The field is of type `ty`; the bytes must be refused by the plan, taken by the oracle, and the difference be `name`.
fn check(name: &str, ty: &str, bytes: &[u8]) {
    let avsc = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"f","type":{ty}}}]}}"#);
    let schema = Schema::parse_str(&avsc).expect("a schema");
    let plan = Plan::compile(&avsc).expect("a plan");
    let mut walk = Walk::new();
    assert!(!plan.check(bytes, &mut walk), "{name}: the plan takes {bytes:?}");
    let Answer::Taken { left, .. } = ask(&schema, bytes) else { panic!("{name}: apache-avro refuses {bytes:?} too") };
    for violation in walk.violations() {
        assert_eq!(why_stricter(&Case { violation, left }), Some(name), "{violation:?}");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    check("trailing bytes", r#""int""#, &[2, 0]);
}

#[test]
fn a_cut_off_record_is_refused() {
    check("cut off", r#"["null","string"]"#, &[]);
}

#[test]
fn a_wrong_block_size_is_refused() {
    check("block size", r#"{"type":"array","items":"int"}"#, &[1, 4, 2, 0]);
}

#[test]
fn overlong_ints_are_refused() {
    check("overlong int", r#""int""#, &[0x80, 0x80, 0x80, 0x80, 0x80, 0]);
    check("overlong branch", r#"["null","int"]"#, &[0x80, 0x80, 0x80, 0x80, 0x80, 0]);
}

#[test]
fn numbers_of_more_than_64_bits_are_refused() {
    check("more than 64 bits", r#""long""#, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3]);
}

#[test]
fn decimals_beyond_their_precision_are_refused() {
    let ty = r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":0}"#;
    check("decimal digits", ty, &[2, 100]);
    check("decimal digits", ty, &[0]);
}

#[test]
fn numbers_outside_the_calendar_are_refused() {
    check("out of calendar", r#"{"type":"int","logicalType":"date"}"#, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    check("out of calendar", r#"{"type":"int","logicalType":"time-millis"}"#, &[1]);
    let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    check("out of calendar", r#"{"type":"long","logicalType":"time-micros"}"#, &far);
    check("out of calendar", r#"{"type":"long","logicalType":"timestamp-millis"}"#, &far);
}

#[test]
fn uuids_in_other_spellings_are_refused() {
    let mut bytes = vec![64];
    bytes.extend_from_slice(b"00000000000000000000000000000000");
    check("uuid spelling", r#"{"type":"string","logicalType":"uuid"}"#, &bytes);
}

#[test]
fn many_items_without_bytes_are_taken() {
    let avsc = r#"{"type":"record","name":"r","fields":[{"name":"f","type":{"type":"array","items":"null"}}]}"#;
    // 50,000 nulls in one block.
    let bytes = [0xa0, 0x8d, 0x06, 0];
    assert!(Plan::compile(avsc).expect("a plan").check(&bytes, &mut Walk::new()));
    let Answer::Refused(error) = ask(&Schema::parse_str(avsc).expect("a schema"), &bytes) else { panic!("taken") };
    assert_eq!(why_laxer(&error), Some("allocation limit"), "{error}");
}
