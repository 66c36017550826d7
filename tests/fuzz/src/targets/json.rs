//! JSON as it is read from outside (`freshet_mapping::json`), against `serde_json`'s own tree.

use std::fmt;

use fastrand::Rng;
use freshet_mapping::json;
use serde_json::Value;
use serde_json::from_slice;

use crate::guard::Guard;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "json",
    what: "JSON documents, arrays of events, objects of attributes",
    share: 100,
    parts: 1,
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u0000",
        "\\ud800",
        "\\udc00",
        "\\u0061",
        "null",
        "true",
        "1e999",
        "-0",
        "0.1",
        "\"a\":",
        "\"a\":1,\"a\":2",
        "[[[[[[[[",
        "{\"a\":{\"a\":{\"a\":",
        "18446744073709551616",
        "\u{feff}",
        "NaN",
        "王",
    ],
    make: || Box::new(Json),
};

#[derive(Debug)]
struct Json;

impl Target for Json {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        Some(random(rng, 4).to_string().into_bytes())
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let most = (64 << 10) + 160 * input.len();
        let ours = guard.ours("a JSON document", most, || json::value(input))?;
        let theirs = from_slice::<Value>(input);
        let kind = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => "taken".to_owned(),
            (Ok(ours), theirs) => return Err(format!("read as {ours}, by serde_json as {theirs:?}")),
            (Err(_), Err(_)) => "refused".to_owned(),
            (Err(error), Ok(theirs)) if depth(theirs) > json::MAX_DEPTH || has_a_name_twice(input) => {
                Seen::kind_of(&error.to_string())
            }
            (Err(error), Ok(theirs)) => return Err(format!("refused ({error}), by serde_json read as {theirs}")),
        };
        let items = guard.ours("a JSON array", most, || json::items(input, 3))?;
        match (&items, from_slice::<Vec<serde::de::IgnoredAny>>(input)) {
            (Ok((kept, count)), Ok(theirs)) if *count == theirs.len() && kept.len() == theirs.len().min(3) => {}
            (Err(_), Err(_)) => {}
            // What is passed over need not be what can be read: half a surrogate pair.
            (Err(_), Ok(_)) if theirs.is_err() => {}
            (ours, theirs) => return Err(format!("items {ours:?}, by serde_json {:?}", theirs.map(|all| all.len()))),
        }
        if let (Ok(text), Ok(Value::Object(theirs))) = (std::str::from_utf8(input), &theirs) {
            let members =
                guard.ours("a JSON object", most, || json::Members::parse(text).map(|members| members.0.len()))?;
            match members {
                Ok(count) if count >= theirs.len() => {}
                Err(_) if theirs.len() > json::MAX_MEMBERS || has_a_name_twice(input) => {}
                members => return Err(format!("members {members:?}, by serde_json {}", theirs.len())),
            }
        }
        Ok(Seen::of((
            kind,
            size_class(input.len()),
            theirs.as_ref().map(depth).ok(),
            theirs.err().map(|error| Seen::kind_of(&error.to_string())),
        )))
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Members of all objects, as they stand in the text: `serde_json`'s tree keeps of two of one name the last.
struct Counted {
    members: usize,
    distinct: usize,
}

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> serde::de::Visitor<'de> for Count {
            type Value = Counted;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Counted, E> {
                Ok(Counted { members: 0, distinct: 0 })
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Counted, E> {
                self.visit_bool(true)
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Counted, E> {
                self.visit_bool(true)
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Counted, E> {
                self.visit_bool(true)
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Counted, E> {
                self.visit_bool(true)
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Counted, E> {
                self.visit_bool(true)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Counted, A::Error> {
                let mut sum = Counted { members: 0, distinct: 0 };
                while let Some(inner) = seq.next_element::<Counted>()? {
                    sum = Counted { members: sum.members + inner.members, distinct: sum.distinct + inner.distinct };
                }
                Ok(sum)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Counted, A::Error> {
                let mut names = std::collections::HashSet::new();
                let mut sum = Counted { members: 0, distinct: 0 };
                while let Some((name, inner)) = map.next_entry::<String, Counted>()? {
                    sum.members += 1 + inner.members;
                    sum.distinct += usize::from(names.insert(name)) + inner.distinct;
                }
                Ok(sum)
            }
        }
        deserializer.deserialize_any(Count)
    }
}

fn has_a_name_twice(json: &[u8]) -> bool {
    from_slice::<Counted>(json).is_ok_and(|counted| counted.members != counted.distinct)
}

fn random(rng: &mut Rng, levels: u32) -> Value {
    const TEXTS: [&str; 6] = ["", "a", "b\n", "王", "\u{1F600}", "a\\u0061"];
    match rng.u8(..if levels == 0 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(rng.bool()),
        2 => Value::from(rng.i64(..) >> rng.u8(..63)),
        3 => Value::from(f64::from(rng.i32(..)) / 8.0),
        4 => Value::from(TEXTS[rng.usize(..TEXTS.len())]),
        5 => (0..rng.usize(..5)).map(|_| random(rng, levels - 1)).collect(),
        _ => Value::Object(
            (0..rng.usize(..5))
                .map(|_| (TEXTS[rng.usize(..TEXTS.len())].to_owned(), random(rng, levels - 1)))
                .collect(),
        ),
    }
}
