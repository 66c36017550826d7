//! Logs go to standard error, as text for people or as one JSON object a line for machines. Their fields name things
//! (topic, partition, offset, department), never persons: keys, values and headers of events are not logged.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`, e.g. `info,freshet_validator=debug`.
    pub level: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        // librdkafka tells of every reconnection at `info`; what matters of it comes back to us as an error.
        Self { format: LogFormat::Text, level: "info,librdkafka=warn,rdkafka=warn".to_owned() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.level: `{level}` is not a list of levels such as `info,freshet_validator=debug`: {reason}")]
    Level { level: String, reason: String },
    #[error("logging was set up before in this process")]
    Twice,
}

/// Sets the process's logger. Once a process; the binary calls it, libraries and services do not.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    let filter = filter(&settings.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal() && no_color_is_unset()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

/// Checks a level without setting it, for `check-config`.
pub fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(level).map_err(|error| LogError::Level { level: level.to_owned(), reason: error.to_string() })
}

/// <https://no-color.org>: set and not empty means no colour.
fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_says_what_is_wrong() {
        assert!(filter(&LogSettings::default().level).is_ok());
        let error = filter("info,freshet=verbose").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("log.level: `info,freshet=verbose`"), "{error}");
    }
}
