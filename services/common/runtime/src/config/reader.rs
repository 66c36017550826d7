//! From the merged tree to the settings' struct: a serde deserializer that knows the path, refuses what the struct does
//! not know whether or not it says `deny_unknown_fields`, turns untyped texts into what is asked for, follows `key_file`,
//! and notes which values are secrets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor, value::StrDeserializer};

use super::layers::{Leaf, Node, Source};
use super::{ConfigError, Loaded, Problem};
use crate::secret;

pub(super) fn read<T: DeserializeOwned>(root: &Node) -> Result<Loaded<T>, ConfigError> {
    let report = RefCell::new(Report::default());
    let result = T::deserialize(Reader { node: root, path: String::new(), report: &report });
    let report = report.into_inner();
    let mut problems = report.problems;
    match result {
        Ok(value) if problems.is_empty() => {
            let mut sources = BTreeMap::new();
            for (key, leaf) in report.read {
                let shown = if report.secrets.contains(&key) || is_named_like_a_secret(&key) {
                    secret::REDACTED.to_owned()
                } else {
                    show(&leaf.value)
                };
                sources.insert(key, (shown, leaf.source));
            }
            Ok(Loaded { value, sources })
        }
        Ok(_) => Err(ConfigError::Problems(problems)),
        Err(error) => {
            let key = error.path.unwrap_or_default();
            // A secret's text must not come back in the words "invalid value …".
            let reason = if report.secrets.contains(&key) || is_named_like_a_secret(&key) {
                "not what this setting takes".to_owned()
            } else {
                error.message
            };
            let from = report.read.get(&key).map(|leaf| leaf.source.clone());
            problems.push(Problem::Value { key, from, reason });
            Err(ConfigError::Problems(problems))
        }
    }
}

/// Beside the type [`crate::Secret`], for crates that hold a secret in a type of their own.
fn is_named_like_a_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    ["password", "secret", "token", "passphrase"].iter().any(|word| name.ends_with(word))
}

fn show(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_else(|_| "?".to_owned()),
    }
}

#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    secrets: BTreeSet<String>,
    read: BTreeMap<String, Leaf>,
}

struct Reader<'a> {
    node: &'a Node,
    path: String,
    report: &'a RefCell<Report>,
}

#[derive(Debug)]
struct ReadError {
    path: Option<String>,
    message: String,
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { path: None, message: message.to_string().trim_end().to_owned() }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl<'a> Reader<'a> {
    /// The innermost path wins.
    fn at<T>(path: &str, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| ReadError { path: Some(error.path.unwrap_or_else(|| path.to_owned())), ..error })
    }

    fn leaf(&self) -> Option<&'a Leaf> {
        match self.node {
            Node::Leaf(leaf) => {
                self.report.borrow_mut().read.insert(self.path.clone(), leaf.clone());
                Some(leaf)
            }
            Node::Table(_) => None,
        }
    }

    fn untyped(&self) -> Option<&'a str> {
        self.leaf().filter(|leaf| leaf.untyped).and_then(|leaf| leaf.value.as_str())
    }

    fn plain<'de, V: Visitor<'de>>(
        self,
        visit: impl FnOnce(toml::Value) -> Result<V::Value, toml::de::Error>,
    ) -> Result<V::Value, ReadError> {
        self.leaf();
        let message = |error: toml::de::Error| ReadError { path: None, message: error.message().to_owned() };
        Self::at(&self.path, visit(self.node.to_value()).map_err(message))
    }

    /// The children that a struct with these fields takes. Others are reported.
    fn known_children(&self, fields: &'static [&'static str]) -> Vec<(String, OwnedNode<'a>)> {
        let Node::Table(children) = self.node else { return Vec::new() };
        let mut known = Vec::new();
        for (key, node) in children {
            if fields.contains(&key.as_str()) {
                let named_by_file = format!("{key}_file");
                let is_from_file = !fields.contains(&named_by_file.as_str()) && children.contains_key(&named_by_file);
                if !(is_from_file && matches!(node.source(), Some(Source::Defaults) | None)) {
                    known.push((key.clone(), OwnedNode::Borrowed(node)));
                }
                continue;
            }
            match key.strip_suffix("_file").filter(|setting| fields.contains(setting)) {
                Some(setting) => self.push_from_file(setting, node, children.get(setting), &mut known),
                None => self.unknown(key, node, fields),
            }
        }
        known
    }

    fn push_from_file(
        &self,
        setting: &str,
        file: &Node,
        given: Option<&Node>,
        known: &mut Vec<(String, OwnedNode<'a>)>,
    ) {
        let refuse = |reason: String| {
            let key = join(&self.path, &format!("{setting}_file"));
            let problem = Problem::Value { key, from: file.source().cloned(), reason };
            self.report.borrow_mut().problems.push(problem);
        };
        if let Some(source) = given.and_then(Node::source).filter(|source| **source != Source::Defaults) {
            return refuse(format!("{setting} is given as well ({source}); give one of them"));
        }
        let (Node::Leaf(Leaf { value: toml::Value::String(path), .. }), Some(named_by)) = (file, file.source()) else {
            return refuse("not the name of a file".to_owned());
        };
        let text = crate::private::read(Path::new(path)).map_err(|error| error.to_string());
        match text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())) {
            Ok(text) => {
                let source = Source::Indirect { path: PathBuf::from(path), named_by: Box::new(named_by.clone()) };
                let value = toml::Value::String(text.trim_end_matches(['\n', '\r']).to_owned());
                let leaf = Leaf { value, untyped: true, source };
                // The content of such a file is not shown, whatever the type: it stands in a file for a reason.
                self.report.borrow_mut().secrets.insert(join(&self.path, setting));
                known.push((setting.to_owned(), OwnedNode::Owned(Node::Leaf(leaf))));
            }
            Err(error) => refuse(format!("{path}: {error}")),
        }
    }

    fn unknown(&self, key: &str, node: &Node, fields: &[&str]) {
        let nearest = fields
            .iter()
            .map(|field| (strsim::damerau_levenshtein(field, key), *field))
            .min()
            .filter(|(distance, field)| *distance <= 1 + field.len() / 4);
        let hint = match nearest {
            Some((_, field)) => format!("did you mean {}?", join(&self.path, field)),
            None => format!("known here: {}", fields.join(", ")),
        };
        self.report.borrow_mut().problems.push(Problem::Unknown {
            key: join(&self.path, key),
            from: node.source().cloned().unwrap_or(Source::Defaults),
            hint,
        });
    }
}

enum OwnedNode<'a> {
    Borrowed(&'a Node),
    Owned(Node),
}

struct Children<'a> {
    rest: std::vec::IntoIter<(String, OwnedNode<'a>)>,
    current: Option<(String, OwnedNode<'a>)>,
    path: String,
    report: &'a RefCell<Report>,
}

impl<'de> de::MapAccess<'de> for Children<'_> {
    type Error = ReadError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(next) = self.rest.next() else { return Ok(None) };
        let path = join(&self.path, &next.0);
        let key: StrDeserializer<'_, ReadError> = next.0.as_str().into_deserializer();
        let key = Reader::at(&path, seed.deserialize(key))?;
        self.current = Some(next);
        Ok(Some(key))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((key, node)) = self.current.take() else { return Err(de::Error::custom("value before its key")) };
        let path = join(&self.path, &key);
        let node = match &node {
            OwnedNode::Borrowed(node) => node,
            OwnedNode::Owned(node) => node,
        };
        let reader = Reader { node, path: path.clone(), report: self.report };
        Reader::at(&path, seed.deserialize(reader))
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let Some(text) = self.untyped() else {
                return self.plain::<V>(|value| de::Deserializer::$method(value, visitor));
            };
            let value = text
                .trim()
                .parse()
                .map_err(|_| de::Error::custom(format!(concat!("`{}` is not ", $what), text)));
            let result = value.and_then(|value| visitor.$visit(value));
            Self::at(&self.path, result)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    parsed! {
        deserialize_bool visit_bool "true or false",
        deserialize_i8 visit_i8 "a whole number that fits",
        deserialize_i16 visit_i16 "a whole number that fits",
        deserialize_i32 visit_i32 "a whole number that fits",
        deserialize_i64 visit_i64 "a whole number that fits",
        deserialize_u8 visit_u8 "a whole number, zero or more, that fits",
        deserialize_u16 visit_u16 "a whole number, zero or more, that fits",
        deserialize_u32 visit_u32 "a whole number, zero or more, that fits",
        deserialize_u64 visit_u64 "a whole number, zero or more, that fits",
        deserialize_f32 visit_f32 "a number",
        deserialize_f64 visit_f64 "a number",
        deserialize_char visit_char "one character",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node {
            Node::Table(_) => self.deserialize_map(visitor),
            Node::Leaf(_) => match self.untyped() {
                // Nobody asks for a type: a TOML value if it is one, else a text.
                Some(text) => {
                    match format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("value")) {
                        Some(value) => self.plain::<V>(|_| de::Deserializer::deserialize_any(value, visitor)),
                        None => visitor.visit_str(text),
                    }
                }
                None => self.plain::<V>(|value| de::Deserializer::deserialize_any(value, visitor)),
            },
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Node::Table(_) = self.node {
            let reason = "a text is wanted, not a table; a name with dots stands in quotes: kafka.extra.\"linger.ms\"";
            return Self::at(&self.path, Err(de::Error::custom(reason)));
        }
        match self.untyped() {
            Some(text) => Self::at(&self.path, visitor.visit_str(text)),
            None => self.plain::<V>(|value| de::Deserializer::deserialize_string(value, visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.untyped() {
            // An empty variable takes an optional setting away.
            Some("") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == secret::TYPE_NAME {
            self.report.borrow_mut().secrets.insert(self.path.clone());
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(text) = self.untyped() else {
            return self.plain::<V>(|value| de::Deserializer::deserialize_seq(value, visitor));
        };
        if text.trim_start().starts_with('[') {
            return self.deserialize_any(visitor);
        }
        let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
        Self::at(&self.path, visitor.visit_seq(de::value::SeqDeserializer::<_, ReadError>::new(members)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Node::Table(children) = self.node else {
            return self.plain::<V>(|value| de::Deserializer::deserialize_map(value, visitor));
        };
        let children: Vec<_> = children.iter().map(|(key, node)| (key.clone(), OwnedNode::Borrowed(node))).collect();
        let path = self.path.clone();
        let children = Children { rest: children.into_iter(), current: None, path: self.path, report: self.report };
        Self::at(&path, visitor.visit_map(children))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if let Node::Leaf(_) = self.node {
            return self.plain::<V>(|value| de::Deserializer::deserialize_struct(value, name, fields, visitor));
        }
        let rest = self.known_children(fields).into_iter();
        let path = self.path.clone();
        let children = Children { rest, current: None, path: self.path, report: self.report };
        Self::at(&path, visitor.visit_map(children))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.plain::<V>(|value| de::Deserializer::deserialize_enum(value, name, variants, visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}
