//! The service's settings. Defaults and their meaning: `defaults.toml`.

use freshet_catalog_model::compiled::PseudonymKey;
use freshet_kafka::transactional::LoopSettings;
use freshet_runtime::Secret;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The text of the defaults.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub group: String,
    pub instance: String,
    pub batch_records: usize,
    pub max_event_bytes: usize,
    pub clock_skew_seconds: u32,
    pub pseudonym_key: Secret,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "validator") {
            Ok(config) => config,
            Err(error) => unreachable!("defaults.toml is tested: {error}"),
        }
    }
}

impl Config {
    pub(crate) fn loop_settings(&self) -> LoopSettings {
        LoopSettings {
            batch_records: self.batch_records,
            ..LoopSettings::new("validator", &self.group, &self.instance)
        }
    }

    /// Relations that serde does not check.
    pub fn check(&self) -> Result<(), Error> {
        self.loop_settings().check()?;
        if self.max_event_bytes == 0 || self.max_event_bytes > 1_000_000 {
            let reason = "must be 1 to 1000000 (the broker's own limit is 1 MiB)";
            return Err(Error::Setting { setting: "validator.max_event_bytes", reason });
        }
        self.pseudonym().map(drop)
    }

    /// The key of pseudonyms, where one is set.
    pub fn pseudonym(&self) -> Result<Option<PseudonymKey>, Error> {
        if self.pseudonym_key.is_empty() {
            return Ok(None);
        }
        PseudonymKey::new(self.pseudonym_key.expose().as_bytes()).map(Some).map_err(Error::PseudonymKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good() {
        let config = Config::default();
        assert_eq!((config.max_event_bytes, config.clock_skew_seconds), (65_536, 300));
        assert!(config.check().is_ok());
    }

    #[test]
    fn a_bad_relation_is_named() {
        let short = Config { pseudonym_key: Secret::new("short"), ..Config::default() };
        assert!(short.check().is_err_and(|error| error.to_string().contains("validator.pseudonym_key")));
        assert!(Config { batch_records: 0, ..Config::default() }.check().is_err());
    }
}
