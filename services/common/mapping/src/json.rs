//! JSON from outside, read strictly. A name that stands twice in one object is refused: of two readers one would take the
//! first value and the other the last, and the one that checks need not be the one that acts (RFC 8259 §4). Depth and
//! number of members are bounded.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Error, Map, Number, Value};

/// How deep arrays and objects may nest. A schema nests to 32 records, arrays, maps and unions.
pub const MAX_DEPTH: usize = 64;
/// Members of one row, or attributes of one event.
pub const MAX_MEMBERS: usize = 4096;
/// Most objects whose members are looked at one by one have no more.
const FEW_MEMBERS: usize = 16;
/// Of an event and its data, about what one of its attributes has.
const USUAL_MEMBER_BYTES: usize = 64;

/// A whole document as a tree.
pub fn value(json: &[u8]) -> Result<Value, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The items of an array as they were written, at most `most`; and how many there are in all.
pub fn items(json: &[u8], most: usize) -> Result<(Vec<&RawValue>, usize), Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let items = (&mut deserializer).deserialize_seq(Items { most })?;
    deserializer.end()?;
    Ok(items)
}

/// An array of at most `most` objects, read once. None where it is not plainly that: [`items`] and [`Members::parse`] of
/// each item say what it is.
pub fn objects(json: &[u8], most: usize) -> Option<Objects<'_>> {
    let mut deserializer = serde_json::Deserializer::from_str(simdutf8::basic::from_utf8(json).ok()?);
    let members = Vec::with_capacity(json.len() / USUAL_MEMBER_BYTES);
    let objects = (&mut deserializer).deserialize_seq(ReadObjects { most, members }).ok()?;
    deserializer.end().ok()?;
    Some(objects)
}

/// A member of an object: its name, and its value as it was written.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Several objects, the members of all in one list: one allocation for all of them.
#[derive(Debug, Default)]
pub struct Objects<'a> {
    members: Vec<Member<'a>>,
    /// Behind the last member of each.
    ends: Vec<usize>,
}

impl<'a> Objects<'a> {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The members of each. A name may stand twice in an object: [`repeated_members`] says which.
    pub fn iter(&self) -> impl Iterator<Item = &[Member<'a>]> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| &self.members[std::mem::replace(&mut begin, end)..end])
    }
}

/// An object whose values stay as they were written, in the order of the text. A name may stand in it twice:
/// [`repeated_members`] says which.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<Member<'a>>);

impl<'a> Members<'a> {
    pub fn parse(json: &'a str) -> Result<Self, Error> {
        serde_json::from_str(json)
    }

    /// The value of a name that stands exactly once.
    pub fn once(&self, name: &str) -> Option<&'a RawValue> {
        let mut values = self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| *value);
        values.next().filter(|_| values.next().is_none())
    }
}

/// Names that stand more than once, each once.
pub fn repeated_members<'m>(members: &'m [Member<'_>]) -> Vec<&'m str> {
    // An event has some ten: these are compared sooner than collected.
    let is_again = |(index, (name, _)): (usize, &Member<'_>)| members[..index].iter().any(|(own, _)| own == name);
    if members.len() <= FEW_MEMBERS && !members.iter().enumerate().any(is_again) {
        return Vec::new();
    }
    repeated(members.iter().map(|(name, _)| name.as_ref()))
}

/// Names that stand more than once, each once.
pub(crate) fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let names: Vec<&str> = names.collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    if sorted.windows(2).all(|pair| pair[0] != pair[1]) {
        return Vec::new();
    }
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    names.into_iter().filter(|name| !seen.insert(*name) && twice.insert(*name)).collect()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = Vec::with_capacity(FEW_MEMBERS);
        AppendMembers(&mut members).deserialize(deserializer)?;
        Ok(Self(members))
    }
}

/// Appends the members of one object.
struct AppendMembers<'l, 'de>(&'l mut Vec<Member<'de>>);

impl<'de> DeserializeSeed<'de> for AppendMembers<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AppendMembers<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let begin = self.0.len();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if self.0.len() - begin == MAX_MEMBERS {
                return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
            }
            self.0.push((name.0, map.next_value::<&'de RawValue>()?));
        }
        Ok(())
    }
}

/// A text, borrowed where it has no escapes.
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

struct Items {
    most: usize,
}

impl<'de> Visitor<'de> for Items {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.most
            && let Some(item) = seq.next_element::<&'de RawValue>()?
        {
            items.push(item);
        }
        let mut count = items.len();
        while count >= self.most && seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((items, count))
    }
}

struct ReadObjects<'de> {
    most: usize,
    members: Vec<Member<'de>>,
}

impl<'de> Visitor<'de> for ReadObjects<'de> {
    type Value = Objects<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut ends) = (self.members, Vec::new());
        while seq.next_element_seed(AppendMembers(&mut members))?.is_some() {
            if ends.len() == self.most {
                return Err(A::Error::custom(format_args!("more than {} objects", self.most)));
            }
            ends.push(members.len());
        }
        Ok(Objects { members, ends })
    }
}

#[derive(Clone, Copy)]
struct Strict {
    /// Arrays and objects around it.
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_DEPTH => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels"))),
            depth => Ok(Self { depth: depth + 1 }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner)?;
            match members.entry(name) {
                serde_json::map::Entry::Vacant(place) => drop(place.insert(value)),
                serde_json::map::Entry::Occupied(place) => {
                    let message = format_args!("the name \"{}\" stands twice in one object", shown(place.key()));
                    return Err(A::Error::custom(message));
                }
            }
        }
        Ok(Value::Object(members))
    }
}

fn shown(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<&str, &str>) {
        match (value(json.as_bytes()), expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, serde_json::from_str::<Value>(expected).expect("JSON")),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{json}: {found:?}"),
        }
    }

    #[test]
    fn what_two_readers_read_differently_is_refused() {
        check(r#"{"a": [1, -2, 2.5, "x\n", true, null], "b": {}}"#, Ok(r#"{"b":{},"a":[1,-2,2.5,"x\n",true,null]}"#));
        check(r#"{"a": 1, "a": 2}"#, Err("the name \"a\" stands twice"));
        check(r#"{"a": 1, "\u0061": 2}"#, Err("the name \"a\" stands twice"));
        check(r#"[{"x": {"a": 1, "b": 2, "a": 1}}]"#, Err("stands twice"));
        check("\u{feff}{}", Err("expected value"));
        for json in ["1e999", "NaN", "Infinity", "01", "'a'", "{} {}", "[1,]", "{\"a\":1,}", "\"\\ud800\"", "// x\n1"] {
            assert!(value(json.as_bytes()).is_err(), "{json}");
        }
        assert!(value(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_at_the_limit_and_beyond() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(nested(MAX_DEPTH).as_bytes()).is_ok());
        check(&nested(MAX_DEPTH + 1), Err("nested deeper than 64 levels"));
        check(&"[".repeat(1_000_000), Err("nested deeper than 64 levels"));
    }

    #[test]
    fn members_at_the_limit_and_beyond() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Members::parse(&object(MAX_MEMBERS)).is_ok());
        let error = Members::parse(&object(MAX_MEMBERS + 1)).map(|_| ()).expect_err("one too many");
        assert!(error.to_string().contains("more than 4096 members"), "{error}");
    }

    #[test]
    fn items_are_counted_and_only_the_first_are_kept() {
        let (kept, count) = items(b"[1, [2], {\"a\": 3}]", 3).expect("an array");
        assert_eq!((kept.len(), count, kept[1].get()), (3, 3, "[2]"));
        let (kept, count) = items(b"[1, 2, 3, 4]", 3).expect("an array");
        assert_eq!((kept.len(), count), (3, 4));
        assert!(items(b"{}", 3).is_err());
        assert!(items(b"[1] 2", 3).is_err());
        assert!(items(b"[\"\xff\"]", 3).is_err());
    }

    #[test]
    fn objects_are_what_items_and_members_are() {
        for json in [
            "[]",
            " [ {} ] ",
            r#"[{"a": 1.10, "b\n": "x", "a": null}, {}]"#,
            "[{}, 1]",
            "[{}, {}, {}]",
            "{}",
            "[{}] 2",
            r#"[{"a": [1, {"b": "\ud800"}]}]"#,
            "[{]",
            "",
        ] {
            let parts = items(json.as_bytes(), 2).ok().filter(|(_, count)| *count <= 2).map(|(items, _)| items);
            let of_items: Option<Vec<Members<'_>>> =
                parts.and_then(|items| items.iter().map(|item| Members::parse(item.get()).ok()).collect());
            let text = |all: Vec<&[Member<'_>]>| format!("{all:?}");
            let objects = objects(json.as_bytes(), 2);
            assert_eq!(objects.as_ref().map(Objects::len), of_items.as_ref().map(Vec::len), "{json}");
            assert_eq!(
                objects.as_ref().map(|objects| text(objects.iter().collect())),
                of_items.as_ref().map(|items| text(items.iter().map(|members| members.0.as_slice()).collect())),
                "{json}"
            );
        }
        assert!(objects(b"[{\"a\": \"\xff\"}]", 2).is_none());
    }

    #[test]
    fn members_keep_their_text() {
        let members = Members::parse(r#"{"a": 1.10, "bé\n": "x", "a": null}"#).expect("an object");
        assert_eq!(members.0[0].1.get(), "1.10");
        assert!(members.once("a").is_none() && members.once("bé\n").is_some());
        assert_eq!(members.0[1].0, "bé\n");
        assert_eq!(repeated_members(&members.0), ["a"]);
        assert!(Members::parse("[1]").is_err());
    }
}
