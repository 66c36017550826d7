//! The service's settings. Defaults and their meaning: `defaults.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use freshet_runtime::HttpSettings;
use serde::{Deserialize, Serialize};

/// The text of the defaults: the section `observer`.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub http: HttpSettings,
    /// Empty: no operators, every question is refused.
    pub operators_file: PathBuf,
    pub trail_hours: u32,
    pub trail_bytes: usize,
    pub lag_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "observer") {
            Ok(config) => config,
            Err(error) => unreachable!("the text is part of the crate and tested: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_defaults_can_be_read() {
        assert!(super::Config::default().trail_bytes > 0);
    }
}
