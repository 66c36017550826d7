//! The layers, merged by the config crate into one tree whose leaves know where they come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Config, FileFormat, Format as _, Map, Value, ValueKind};

use super::{ConfigError, Problem};

/// The layer that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Defaults,
    File(PathBuf),
    /// The variable's name.
    Environment(String),
    /// The flag's key.
    Override(String),
    /// A file named by the setting `<key>_file`, which itself comes from `named_by`.
    Indirect {
        path: PathBuf,
        named_by: Box<Source>,
    },
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Defaults => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Override(key) => write!(f, "flag {key}"),
            Self::Indirect { path, named_by } => write!(f, "file {}, named by {named_by}", path.display()),
        }
    }
}

impl Source {
    /// What comes as a text has no type: it is read as what the setting asks for.
    fn is_untyped(&self) -> bool {
        !matches!(self, Self::Defaults | Self::File(_))
    }
}

pub(super) enum Node {
    Table(BTreeMap<String, Node>),
    Leaf(Leaf),
}

#[derive(Clone)]
pub(super) struct Leaf {
    pub value: toml::Value,
    /// Came as a text without a type (environment, override): read as what the setting asks for.
    pub untyped: bool,
    pub source: Source,
}

/// Each layer goes over those before.
#[derive(Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// By what the values have for their origin.
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layers {
    pub fn put_toml(&mut self, text: &str, source: Source) -> Result<(), ConfigError> {
        match FileFormat::Toml.parse(Some(&source.to_string()), text) {
            Ok(values) => self.put(values, source),
            Err(error) => {
                return Err(ConfigError::Syntax { source_name: source, reason: error.to_string() });
            }
        }
        Ok(())
    }

    /// Variables `PREFIX__A__B` set `a.b`. In the order of their names, so that what is reported does not depend on chance.
    pub fn put_environment(&mut self, prefix: &str, variables: &[(String, String)]) -> Result<(), ConfigError> {
        let mut variables: Vec<_> = variables
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix(prefix)?.strip_prefix("__")?, name, text)))
            .collect();
        variables.sort();
        for (rest, name, text) in variables {
            let key = rest.to_ascii_lowercase();
            let parts: Vec<&str> = key.split("__").collect();
            self.put_text(&parts, text, Source::Environment(name.clone()))?;
        }
        Ok(())
    }

    /// A key as in TOML: parts with dots between, in quotes where a part has dots of its own.
    pub fn put_override(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let source = Source::Override(key.to_owned());
        let Ok(mut table) = format!("{key} = 0").parse::<toml::Table>() else {
            return Err(unknown(key, source, "not a name of TOML, such as gateway.listen"));
        };
        let mut parts = Vec::new();
        while let Some((part, value)) = table.into_iter().next() {
            parts.push(part);
            table = if let toml::Value::Table(inner) = value { inner } else { toml::Table::new() };
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.put_text(&parts, text, source)
    }

    fn put_text(&mut self, parts: &[&str], text: &str, source: Source) -> Result<(), ConfigError> {
        let value = Value::new(Some(&source.to_string()), text);
        let (Some((first, rest)), true) = (parts.split_first(), parts.iter().all(|part| !part.is_empty())) else {
            return Err(unknown(&parts.join("."), source, "a part of its name is empty"));
        };
        let nested = rest.iter().rfold(value, |value, part| Map::from([((*part).to_owned(), value)]).into());
        self.put(Map::from([((*first).to_owned(), nested)]), source);
        Ok(())
    }

    fn put(&mut self, values: Map<String, Value>, source: Source) {
        self.layers.push(Layer(values));
        self.sources.insert(source.to_string(), source);
    }

    pub fn merged(self) -> Result<Node, ConfigError> {
        let merged = Config::builder().add_source(self.layers).build()?;
        Ok(node(merged.cache, &self.sources))
    }
}

fn unknown(key: &str, from: Source, hint: &str) -> ConfigError {
    ConfigError::Problems(vec![Problem::Unknown { key: key.to_owned(), from, hint: hint.to_owned() }])
}

fn node(value: Value, sources: &BTreeMap<String, Source>) -> Node {
    let source = value.origin().and_then(|origin| sources.get(origin)).cloned().unwrap_or(Source::Defaults);
    match value.kind {
        ValueKind::Table(children) => {
            Node::Table(children.into_iter().map(|(key, value)| (key, node(value, sources))).collect())
        }
        kind => Node::Leaf(Leaf { value: typed(kind), untyped: source.is_untyped(), source }),
    }
}

/// What the config crate reads from TOML, as TOML again: its own conversions take `"yes"` for a truth and 1.5 for 2.
fn typed(kind: ValueKind) -> toml::Value {
    match kind {
        ValueKind::Boolean(value) => toml::Value::Boolean(value),
        ValueKind::I64(value) => toml::Value::Integer(value),
        ValueKind::Float(value) => toml::Value::Float(value),
        ValueKind::Array(values) => toml::Value::Array(values.into_iter().map(|value| typed(value.kind)).collect()),
        ValueKind::Table(children) => {
            toml::Value::Table(children.into_iter().map(|(key, value)| (key, typed(value.kind))).collect())
        }
        // Texts, and what TOML does not have.
        other => toml::Value::String(other.to_string()),
    }
}

impl Node {
    pub fn child(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Table(children) => children.get(key),
            Self::Leaf(_) => None,
        }
    }

    /// The source of the first value at or below this node.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Leaf(leaf) => Some(&leaf.source),
            Self::Table(children) => children.values().find_map(Self::source),
        }
    }

    pub fn to_value(&self) -> toml::Value {
        match self {
            Self::Leaf(leaf) => leaf.value.clone(),
            Self::Table(children) => {
                toml::Value::Table(children.iter().map(|(key, node)| (key.clone(), node.to_value())).collect())
            }
        }
    }
}
