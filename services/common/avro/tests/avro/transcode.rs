//! JSON that becomes Avro on the way, against the encoder that reads a tree of it.

use std::cell::RefCell;

use apache_avro::Schema;
use fastrand::Rng;
use freshet_avro::{FieldType, Plan, RecordType, json};
use proptest::prelude::*;
use serde_json::Value as Json;

use crate::shape::{self, shapes};

thread_local! {
    /// Used again for whatever comes next, of other schemas too.
    static TRANSCODER: RefCell<json::Transcoder> = RefCell::default();
}

/// What [`json::Transcoder`] makes of a text, and what [`json::encode`] makes of the text's tree.
fn both(plan: &Plan, text: &str) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut out = b"before".to_vec();
    let is_taken = TRANSCODER.with_borrow_mut(|transcoder| transcoder.append(plan, text.as_bytes(), &mut out));
    assert_eq!(out[..6], *b"before");
    assert!(is_taken || out.len() == 6, "what is not taken leaves nothing");
    let tree = serde_json::from_str(text).ok();
    (is_taken.then(|| out.split_off(6)), tree.and_then(|tree: Json| json::encode(plan, &tree).ok()))
}

/// Whether a map or a choice between types stands anywhere in it.
fn has_choices(record: &RecordType) -> bool {
    fn within(ty: &FieldType) -> bool {
        match ty {
            FieldType::Map(_) => true,
            FieldType::Union(branches) => {
                branches.iter().filter(|branch| **branch != FieldType::Null).count() > 1 || branches.iter().any(within)
            }
            FieldType::Array(items) => within(items),
            FieldType::Record(record) => has_choices(record),
            _ => false,
        }
    }
    record.fields.iter().any(|field| within(&field.ty))
}

/// Writes JSON as senders do: members in any order, blanks, escapes; and now and then something else than was meant.
struct Writer {
    rng: Rng,
    /// One of so many values is replaced, left out or repeated.
    wrong_of: usize,
    has_repeated: bool,
    text: String,
}

const OTHERS: [&str; 20] = [
    "null",
    "true",
    "0",
    "-0",
    "1.0",
    "1e3",
    "1E-2",
    "12.5",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "123456789012345678",
    "\"\"",
    "\"NaN\"",
    "\"2024-02-29\"",
    "\"S1\"",
    "[]",
    "{}",
    "[[1]]",
    "{\"f0\":null}",
];

impl Writer {
    fn is_wrong(&mut self) -> bool {
        self.wrong_of > 0 && self.rng.usize(..self.wrong_of) == 0
    }

    fn blank(&mut self) {
        self.text.push_str(["", "", " ", "\n\t"][self.rng.usize(..4)]);
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.text.extend(['\\', character]),
                _ if character.is_control() || self.rng.u8(..8) == 0 => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        self.text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    fn value(&mut self, json: &Json) {
        self.blank();
        if self.is_wrong() {
            let other = OTHERS[self.rng.usize(..OTHERS.len())];
            return self.text.push_str(other);
        }
        match json {
            Json::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.text.push_str(if index > 0 { "," } else { "" });
                    self.value(item);
                }
                self.text.push(']');
            }
            Json::Object(members) => self.object(members),
            Json::String(text) => self.string(text),
            scalar => self.text.push_str(&scalar.to_string()),
        }
        self.blank();
    }

    fn object(&mut self, members: &serde_json::Map<String, Json>) {
        let mut members: Vec<(String, Json)> = members.clone().into_iter().collect();
        if self.rng.bool() {
            self.rng.shuffle(&mut members);
        }
        if !members.is_empty() && self.is_wrong() {
            let at = self.rng.usize(..members.len());
            match self.rng.u8(..3) {
                0 => drop(members.remove(at)),
                1 => members[at].0 = "unknown".to_owned(),
                _ => {
                    self.has_repeated = true;
                    members.push(members[at].clone());
                }
            }
        }
        self.text.push('{');
        for (index, (name, value)) in members.iter().enumerate() {
            self.text.push_str(if index > 0 { "," } else { "" });
            self.blank();
            self.string(name);
            self.text.push(':');
            self.value(value);
        }
        self.text.push('}');
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same bytes or none; and where the schema has no choices, none only where the tree is refused too.
    #[test]
    fn what_is_taken_is_what_the_tree_gives(shape in shapes(), seed: u64, wrong_of in 0usize..12) {
        let avsc = shape::avsc(&shape);
        let plan = Plan::compile(&avsc).expect("a plan");
        let (_, datum) = shape::value(&Schema::parse_str(&avsc).expect("a schema"), seed);
        let record = json::decode(&plan, &datum).expect("its JSON");
        let mut writer = Writer { rng: Rng::with_seed(seed), wrong_of, has_repeated: false, text: String::new() };
        writer.value(&record);
        let (taken, of_tree) = both(&plan, &writer.text);
        if writer.has_repeated {
            prop_assert_eq!(taken, None, "{}", writer.text);
        } else if taken.is_some() || !has_choices(plan.record()) {
            prop_assert_eq!(taken, of_tree, "{}", writer.text);
        }
    }
}

const SCHEMA: &str = r#"{"type":"record","name":"permit","fields":[
    {"name":"number","type":"string"},
    {"name":"lanes","type":"int","default":2},
    {"name":"note","type":["string","null"]},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
        {"name":"ward","type":"int"},{"name":"tags","type":{"type":"array","items":"string"},"default":["x"]}]}]},
    {"name":"rate","type":"double","default":0.5}]}"#;

#[track_caller]
fn check(text: &str, is_taken: bool) {
    let (taken, of_tree) = both(&Plan::compile(SCHEMA).expect("a plan"), text);
    assert_eq!(taken.is_some(), is_taken, "{text}");
    if is_taken {
        assert_eq!(taken, of_tree, "{text}");
    }
}

#[test]
fn fields_come_in_any_order_and_defaults_fill_in() {
    check(r#"{"number":"1"}"#, true);
    check(r#"{"number":"1","lanes":3,"note":"n","place":{"ward":1,"tags":[]},"rate":1}"#, true);
    check(r#"{"rate":1e3,"place":{"tags":["a","b"],"ward":1},"note":null,"lanes":-1,"number":"\u0031"}"#, true);
    check(r#"{"place":{"ward":7},"number":"1"}"#, true);
    let many = vec!["\"t\""; 1_000].join(",");
    check(&format!(r#"{{"place":{{"tags":[{many}],"ward":7}},"number":"1"}}"#), true);
}

#[test]
fn what_is_not_plainly_a_record_is_left() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"lanes":1}"#,
        r#"{"number":"1","number":"1"}"#,
        r#"{"number":"1","n\u0075mber":"1"}"#,
        r#"{"number":"1","place":{"ward":1,"ward":1}}"#,
        r#"{"number":"1","colour":"red"}"#,
        r#"{"number":"1","lanes":1.0}"#,
        r#"{"number":"1","lanes":2147483648}"#,
        r#"{"number":"1","lanes":1e3}"#,
        r#"{"number":"1","lanes":-0}"#,
        r#"{"number":"1","rate":1e999}"#,
        r#"{"number":"\ud800"}"#,
        r#"{"number":"1"} {"#,
        r#"{"number":"1",}"#,
        r#"{"number":"1""#,
    ] {
        check(text, false);
    }
    let plan = Plan::compile(SCHEMA).expect("a plan");
    assert!(!json::Transcoder::new().append(&plan, b"{\"number\":\"\xff\"}", &mut Vec::new()), "not UTF-8");
}

#[test]
fn buffers_are_used_again_after_what_was_not_taken() {
    let plan = Plan::compile(SCHEMA).expect("a plan");
    let mut transcoder = json::Transcoder::new();
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let good = br#"{"place":{"tags":["a"],"ward":1},"number":"1"}"#;
    assert!(transcoder.append(&plan, good, &mut first));
    assert!(!transcoder.append(&plan, br#"{"lanes":1,"place":{"tags":["a"],"ward":"x"}}"#, &mut again));
    assert!(transcoder.append(&plan, good, &mut again));
    assert_eq!(first, again);
}

proptest! {
    /// Against the standard library's own reader of numbers.
    #[test]
    fn a_double_keeps_its_last_bit(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite() && value.fract() != 0.0);
        let plan = Plan::compile(r#"{"type":"record","name":"R","fields":[{"name":"f","type":"double"}]}"#).unwrap();
        for text in [format!("{value:e}"), format!("{value:?}")] {
            let (taken, of_tree) = both(&plan, &format!(r#"{{"f":{text}}}"#));
            prop_assert_eq!(taken, Some(text.parse::<f64>().unwrap().to_le_bytes().to_vec()));
            prop_assert_eq!(of_tree, Some(value.to_le_bytes().to_vec()));
        }
    }
}
