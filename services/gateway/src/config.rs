//! Settings, with their defaults in `defaults.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use freshet_runtime::http::{Bounds, MIN_HEAD_BYTES};
use serde::{Deserialize, Serialize};

/// The section `[gateway]` with every default and what it means.
pub const DEFAULTS: &str = include_str!("defaults.toml");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    #[serde(default)]
    pub tls_certificate: Option<PathBuf>,
    #[serde(default)]
    pub tls_key: Option<PathBuf>,
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
    pub max_listed_bytes: usize,
    pub max_head_bytes: usize,
    pub max_headers: usize,
    pub rate_per_second: u32,
    pub burst: u32,
    pub max_connections: usize,
    pub max_requests: usize,
    pub max_department_requests: usize,
    pub max_uploads: usize,
    pub max_department_uploads: usize,
    pub max_in_flight_events: usize,
    pub max_department_in_flight_events: usize,
    pub max_work_bytes: usize,
    pub max_department_work_bytes: usize,
    pub header_timeout_seconds: u64,
    pub body_idle_timeout_seconds: u64,
    pub request_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
    pub min_body_bytes_per_second: u64,
}

/// Semaphores count to 2^32 - 1 at a time, and this is more than a machine has use for.
const MOST: usize = u32::MAX as usize;

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "gateway") {
            Ok(config) => config,
            Err(error) => unreachable!("defaults.toml is part of this crate and tested: {error}"),
        }
    }
}

impl Config {
    /// Of the listener.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_connections: self.max_connections,
            max_head_bytes: self.max_head_bytes,
            max_headers: self.max_headers,
            header_timeout: Duration::from_secs(self.header_timeout_seconds),
            write_timeout: Duration::from_secs(self.write_timeout_seconds),
        }
    }

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
            self.max_department_in_flight_events >= self.max_batch_events,
            "max_department_in_flight_events must be at least max_batch_events, or a full batch would never pass",
        );
        require(
            self.max_department_work_bytes / 8 >= self.max_body_bytes,
            "max_department_work_bytes must be at least 8 times max_body_bytes, or a full body would never pass",
        );
        for (one, all, problem) in [
            (self.max_department_requests, self.max_requests, "max_department_requests must be 1 to max_requests"),
            (self.max_department_uploads, self.max_uploads, "max_department_uploads must be 1 to max_uploads"),
            (
                self.max_department_in_flight_events,
                self.max_in_flight_events,
                "max_department_in_flight_events must be 1 to max_in_flight_events",
            ),
            (
                self.max_department_work_bytes,
                self.max_work_bytes,
                "max_department_work_bytes must be 1 to max_work_bytes, which is at most 4294967295",
            ),
        ] {
            require((1..=all).contains(&one) && all <= MOST, problem);
        }
        require(self.max_head_bytes >= MIN_HEAD_BYTES, "max_head_bytes must be at least 8192");
        require(self.max_headers > 0, "max_headers must be more than 0");
        require(self.max_connections > 0, "max_connections must be more than 0");
        require(self.min_body_bytes_per_second > 0, "min_body_bytes_per_second must be more than 0");
        require(
            self.tls_certificate.is_some() == self.tls_key.is_some(),
            "tls_certificate and tls_key must both be set, or neither",
        );
        require(self.max_line_bytes <= 4 * 1024 * 1024, "max_line_bytes must be at most 4 MiB");
        let timeouts = [
            self.header_timeout_seconds,
            self.body_idle_timeout_seconds,
            self.request_timeout_seconds,
            self.write_timeout_seconds,
        ];
        require(timeouts.iter().all(|seconds| *seconds > 0), "*_timeout_seconds must be more than 0");
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
