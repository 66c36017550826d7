//! The layers merged into one tree whose leaves know where they come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

impl Node {
    pub fn empty() -> Self {
        Self::Table(BTreeMap::new())
    }

    pub fn put_toml(&mut self, text: &str, source: &Source) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            source_name: source.clone(),
            reason: error.to_string(),
        })?;
        self.merge(toml::Value::Table(table), source);
        Ok(())
    }

    fn merge(&mut self, value: toml::Value, source: &Source) {
        match (self, value) {
            (Self::Table(children), toml::Value::Table(table)) => {
                for (key, value) in table {
                    children.entry(key).or_insert_with(Self::empty).merge(value, source);
                }
            }
            (node, toml::Value::Table(table)) => {
                *node = Self::empty();
                node.merge(toml::Value::Table(table), source);
            }
            (node, value) => *node = Self::Leaf(Leaf { value, untyped: false, source: source.clone() }),
        }
    }

    /// Variables `PREFIX__A__B` set `a.b`. In the order of their names, so that what is reported does not depend on chance.
    pub fn put_environment(&mut self, prefix: &str, variables: &[(String, String)]) -> Result<(), ConfigError> {
        let mut variables: Vec<_> = variables
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix(prefix)?.strip_prefix("__")?, name, text)))
            .collect();
        variables.sort();
        for (rest, name, text) in variables {
            let key = rest.to_ascii_lowercase().replace("__", ".");
            self.put_text(&key, text, Source::Environment(name.clone()))?;
        }
        Ok(())
    }

    pub fn put_text(&mut self, key: &str, text: &str, source: Source) -> Result<(), ConfigError> {
        let mut node = self;
        for part in key.split('.') {
            if part.is_empty() {
                return Err(ConfigError::Problems(vec![Problem::Unknown {
                    key: key.to_owned(),
                    from: source,
                    hint: "a part of its name is empty".to_owned(),
                }]));
            }
            if let Self::Leaf(_) = node {
                *node = Self::empty();
            }
            let Self::Table(children) = node else { unreachable!("made a table just above") };
            node = children.entry(part.to_owned()).or_insert_with(Self::empty);
        }
        *node = Self::Leaf(Leaf { value: toml::Value::String(text.to_owned()), untyped: true, source });
        Ok(())
    }

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
