//! The service's settings. Defaults and their meaning: `defaults.toml`.

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
    /// Relations that serde does not check.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |setting, reason| Err(Error::Setting { setting, reason });
        if self.group.is_empty() {
            return refuse("router.group", "must not be empty");
        }
        if self.instance.is_empty() {
            return refuse("router.instance", "must not be empty: two instances with one slot fence each other");
        }
        if self.batch_records == 0 {
            return refuse("router.batch_records", "must be 1 or more");
        }
        if self.fill_batch_records == 0 {
            return refuse("router.fill_batch_records", "must be 1 or more, or no new view is ever filled");
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
