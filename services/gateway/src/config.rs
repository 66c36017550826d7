//! Settings, with their defaults in `defaults.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The section `[gateway]` with every default and what it means.
pub const DEFAULTS: &str = include_str!("defaults.toml");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    #[serde(default)]
    pub pseudonym_key_file: Option<PathBuf>,
    pub max_event_bytes: usize,
    pub max_batch_events: usize,
    pub max_body_bytes: usize,
    pub max_upload_bytes: u64,
    pub max_line_bytes: usize,
    pub max_listed_refusals: u64,
    pub rate_per_second: u32,
    pub burst: u32,
    pub max_requests: usize,
    pub max_uploads: usize,
    pub max_in_flight_events: usize,
    pub header_timeout_seconds: u64,
    pub body_idle_timeout_seconds: u64,
    pub request_timeout_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "gateway") {
            Ok(config) => config,
            Err(error) => unreachable!("defaults.toml is part of this crate and tested: {error}"),
        }
    }
}

impl Config {
    /// Relations between settings, checked before a port is bound. All that is wrong, a sentence each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, problem: &str| {
            if !holds {
                problems.push(format!("gateway.{problem}"));
            }
        };
        require(self.max_event_bytes > 0, "max_event_bytes must be more than 0");
        require(self.max_event_bytes <= 900_000, "max_event_bytes must be at most 900000, what a topic takes");
        require(self.max_event_bytes <= self.max_body_bytes, "max_body_bytes must be at least max_event_bytes");
        require(self.max_batch_events > 0, "max_batch_events must be more than 0");
        require(self.rate_per_second > 0, "rate_per_second must be more than 0");
        require(
            self.burst as usize >= self.max_batch_events,
            "burst must be at least max_batch_events, or a full batch would never pass",
        );
        require(
            self.max_in_flight_events > self.max_batch_events,
            "max_in_flight_events must be more than max_batch_events, or a full batch would never pass",
        );
        require(self.max_line_bytes <= 4 * 1024 * 1024, "max_line_bytes must be at most 4 MiB");
        require(self.max_requests > 0 && self.max_uploads > 0, "max_requests and max_uploads must be more than 0");
        require(
            self.header_timeout_seconds > 0 && self.body_idle_timeout_seconds > 0 && self.request_timeout_seconds > 0,
            "*_timeout_seconds must be more than 0",
        );
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_hold() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn relations_are_checked_all_at_once() {
        let config = Config { burst: 1, max_body_bytes: 1, ..Config::default() };
        let problems = config.check().unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.starts_with("gateway.burst")), "{problems:?}");
    }
}
