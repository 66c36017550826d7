//! Logs go to standard error, as text for people or as one JSON object a line for machines. Their fields name things
//! (topic, partition, offset, department), never persons: keys, values and headers of events are not logged. A message of an
//! error may quote what somebody sent; whatever it holds, it stays on its line and moves nobody's cursor.

use std::fmt;
use std::io::IsTerminal;

use freshet_core::text::is_hidden;
use serde::{Deserialize, Serialize};
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};

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
    let colours = std::io::stderr().is_terminal() && no_color_is_unset();
    let logger = logger(settings, std::io::stderr, colours)?;
    tracing::subscriber::set_global_default(logger).map_err(|_| LogError::Twice)
}

/// What writes the lines.
fn logger<W>(settings: &LogSettings, writer: W, colours: bool) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&settings.level)?).with_writer(writer);
    Ok(match settings.format {
        LogFormat::Text => {
            Box::new(builder.with_ansi(colours).fmt_fields(format::debug_fn(write_field).delimited(" ")).finish())
        }
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

/// A field of a line of text. A line break in a value would begin what looks like a line of ours.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for character in format!("{value:?}").chars() {
        match is_hidden(character) {
            true => write!(writer, "{}", character.escape_default())?,
            false => writer.write_char(character)?,
        }
    }
    Ok(())
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
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of one event whose fields somebody else chose.
    fn written(format: LogFormat) -> String {
        let (lines, hostile) =
            (Lines::default(), "a\r\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{9b}2J\u{202e}\u{2028}b");
        let settings = LogSettings { format, ..LogSettings::default() };
        let writer = lines.clone();
        let logger = logger(&settings, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(logger, || {
            let span = tracing::info_span!("file", name = %hostile).entered();
            tracing::warn!(shown = %hostile, debugged = ?hostile, text = hostile, number = 7, "refused {hostile}");
            drop(span);
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn whatever_a_field_holds_an_event_is_one_line_without_signs_that_act() {
        let text = written(LogFormat::Text);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_hidden), "{line:?}");
        assert!(line.contains("number=7") && line.contains("shown=a\\r\\n2026"), "{line}");
        assert!(line.contains("file{name=a\\r\\n2026"), "{line}");
    }

    #[test]
    fn whatever_a_field_holds_an_event_is_one_json_object_with_it_in_one_member() {
        let text = written(LogFormat::Json);
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line:?}");
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["shown"].as_str().unwrap().starts_with("a\r\n2026"), "{object}");
        assert_eq!(object["level"], "WARN");
    }

    #[test]
    fn a_wrong_level_says_what_is_wrong() {
        assert!(filter(&LogSettings::default().level).is_ok());
        let error = filter("info,freshet=verbose").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("log.level: `info,freshet=verbose`"), "{error}");
    }
}
