//! The service's settings. Defaults and their meaning: `defaults.toml`.

use std::net::SocketAddr;

use freshet_runtime::HttpSettings;
use serde::{Deserialize, Serialize};

/// The text of the defaults: the section `catalog`.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// Sets ACLs where grants begin and end by their dates, on a cluster that has an authorizer.
    pub keep_access: bool,
    pub http: HttpSettings,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "catalog") {
            Ok(config) => config,
            Err(error) => unreachable!("defaults.toml is tested: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_defaults_are_settings() {
        assert!(super::Config::default().listen.ip().is_loopback());
    }
}
