//! Settings in four layers, each over the one before: the defaults (TOML in the binary), a file (TOML), the environment
//! (`FRESHET__SECTION__KEY`), overrides (flags). Every key must be known, in every layer; every value's layer is kept, so
//! that `check-config` can show it.
//!
//! Texts of the environment and of overrides become what the setting's type asks for: `8080`, `true`, `a,b` or
//! `["a", "b"]` for a list. Where a setting `key` exists and `key_file` does not, `key_file` names a file that holds the
//! value of `key`; one that everybody on the machine may access is refused.

mod layers;
mod reader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use layers::Layers;
pub use layers::Source;

/// The prefix of environment variables, without the `__` that follows it.
pub const ENVIRONMENT_PREFIX: &str = "FRESHET";

/// Settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub value: T,
    /// By dotted key: the value as it is shown (secrets are not), and the layer that it comes from.
    pub sources: BTreeMap<String, (String, Source)>,
}

/// Why settings were refused. Its text is for the person who wrote them and names each problem on a line of its own.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("settings file {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("{source_name}: not TOML: {reason}")]
    Syntax { source_name: Source, reason: String },
    #[error("the layers cannot be merged: {0}")]
    Layers(#[from] config::ConfigError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("unknown setting {key} ({from}); {hint}")]
    Unknown { key: String, from: Source, hint: String },
    #[error("setting {key}{}: {reason}", from.as_ref().map(|from| format!(" ({from})")).unwrap_or_default())]
    Value { key: String, from: Option<Source>, reason: String },
}

/// Reads `T` from the four layers. `overrides` are (dotted key, text).
pub fn load<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<&Path>,
    environment_prefix: &str,
    overrides: &[(String, String)],
) -> Result<Loaded<T>, ConfigError> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    load_from(defaults_toml, file, (environment_prefix, &environment), overrides)
}

/// The same with the environment as an argument: (prefix, variables).
pub fn load_from<T: DeserializeOwned>(
    defaults_toml: &str,
    file: Option<&Path>,
    (prefix, environment): (&str, &[(String, String)]),
    overrides: &[(String, String)],
) -> Result<Loaded<T>, ConfigError> {
    let mut layers = Layers::default();
    layers.put_toml(defaults_toml, Source::Defaults)?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|reason| ConfigError::Unreadable { path: path.to_owned(), reason })?;
        layers.put_toml(&text, Source::File(path.to_owned()))?;
    }
    layers.put_environment(prefix, environment)?;
    for (key, text) in overrides {
        layers.put_override(key, text)?;
    }
    reader::read(&layers.merged()?)
}

/// One section of a defaults text, for `Default` of a service's settings. An error here is a mistake in the text that the
/// crate was built with.
pub fn section<T: DeserializeOwned>(defaults_toml: &str, name: &str) -> Result<T, ConfigError> {
    let mut layers = Layers::default();
    layers.put_toml(defaults_toml, Source::Defaults)?;
    match layers.merged()?.child(name) {
        Some(section) => Ok(reader::read(section)?.value),
        None => Err(ConfigError::Problems(vec![Problem::Value {
            key: name.to_owned(),
            from: Some(Source::Defaults),
            reason: "no such section".to_owned(),
        }])),
    }
}

#[cfg(test)]
mod tests;
