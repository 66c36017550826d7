//! The service's settings. Defaults and their meaning: `defaults.toml`.

use freshet_kafka::transactional::LoopSettings;
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
    pub fill_batch_records: usize,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "router") {
            Ok(config) => config,
            Err(error) => unreachable!("defaults.toml is tested: {error}"),
        }
    }
}

impl Config {
    pub(crate) fn loop_settings(&self) -> LoopSettings {
        LoopSettings { batch_records: self.batch_records, ..LoopSettings::new("router", &self.group, &self.instance) }
    }

    /// Relations that serde does not check.
    pub fn check(&self) -> Result<(), Error> {
        self.loop_settings().check()?;
        if self.fill_batch_records == 0 {
            let reason = "must be 1 or more, or no new view is ever filled";
            return Err(Error::Setting { setting: "router.fill_batch_records", reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good() {
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn a_bad_relation_is_named() {
        let config = Config { fill_batch_records: 0, ..Config::default() };
        assert!(config.check().is_err_and(|error| error.to_string().contains("router.fill_batch_records")));
    }
}
