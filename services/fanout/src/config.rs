//! The service's settings. Defaults and their meaning: `defaults.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use freshet_runtime::HttpSettings;
use serde::{Deserialize, Serialize};

use crate::webhook::address::AddressPolicy;
use crate::webhook::retry::Backoff;

/// The text of the defaults: the section `fanout`.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    pub http: HttpSettings,
    /// Empty: no credentials, every pull is refused.
    pub credentials_file: PathBuf,
    pub secrets_dir: PathBuf,
    pub allow_private_addresses: Vec<String>,
    pub webhook: WebhookConfig,
    pub postgres: PostgresConfig,
    pub pull: PullConfig,
    pub receipts: ReceiptsConfig,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    pub connect_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub max_in_flight: usize,
    pub max_response_bytes: usize,
    pub retry_initial_ms: u64,
    pub retry_max_ms: u64,
    pub retry_after_max_ms: u64,
    pub give_up_after_ms: u64,
    pub resume_after_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    pub connect_timeout_ms: u64,
    pub statement_timeout_ms: u64,
    pub batch_records: usize,
    pub batch_wait_ms: u64,
    pub retry_initial_ms: u64,
    pub retry_max_ms: u64,
    pub give_up_after_ms: u64,
    pub resume_after_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullConfig {
    pub default_limit: usize,
    pub max_limit: usize,
    pub default_wait_ms: u64,
    pub max_wait_ms: u64,
    pub max_connections: usize,
    pub max_readers: usize,
    pub heartbeat_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptsConfig {
    pub max_events: usize,
}

impl Default for Config {
    fn default() -> Self {
        match freshet_runtime::config::section(DEFAULTS, "fanout") {
            Ok(config) => config,
            Err(error) => unreachable!("the text is part of the crate and tested: {error}"),
        }
    }
}

impl WebhookConfig {
    pub fn backoff(&self) -> Backoff {
        backoff(self.retry_initial_ms, self.retry_max_ms)
    }
}

impl PostgresConfig {
    pub fn backoff(&self) -> Backoff {
        backoff(self.retry_initial_ms, self.retry_max_ms)
    }
}

fn backoff(initial_ms: u64, max_ms: u64) -> Backoff {
    Backoff { initial: Duration::from_millis(initial_ms), max: Duration::from_millis(max_ms) }
}

/// A relation between settings that does not hold. Found before a port is bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct ConfigError {
    pub setting: &'static str,
    pub reason: String,
}

impl Config {
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("webhook.max_in_flight", self.webhook.max_in_flight),
            ("webhook.request_timeout_ms", self.webhook.request_timeout_ms as usize),
            ("postgres.batch_records", self.postgres.batch_records),
            ("pull.max_limit", self.pull.max_limit),
            ("pull.max_readers", self.pull.max_readers),
            ("pull.max_connections", self.pull.max_connections),
            ("pull.heartbeat_ms", self.pull.heartbeat_ms as usize),
            ("receipts.max_events", self.receipts.max_events),
        ];
        for (setting, value) in positive {
            if value == 0 {
                return Err(ConfigError { setting, reason: "must be at least 1".to_owned() });
            }
        }
        self.http.check().map_err(|(setting, reason)| ConfigError { setting, reason: reason.to_owned() })?;
        if self.pull.default_limit > self.pull.max_limit {
            return Err(ConfigError { setting: "pull.default_limit", reason: "is above pull.max_limit".to_owned() });
        }
        if self.pull.default_wait_ms > self.pull.max_wait_ms {
            return Err(ConfigError {
                setting: "pull.default_wait_ms",
                reason: "is above pull.max_wait_ms".to_owned(),
            });
        }
        AddressPolicy::new(&self.allow_private_addresses)
            .map_err(|error| ConfigError { setting: "allow_private_addresses", reason: error.to_string() })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn relations_are_checked() {
        let config = Config { allow_private_addresses: vec!["nowhere".to_owned()], ..Config::default() };
        assert_eq!(config.check().expect_err("no network").setting, "allow_private_addresses");
        let mut config = Config::default();
        config.pull.default_limit = config.pull.max_limit + 1;
        assert_eq!(config.check().expect_err("above").setting, "pull.default_limit");
        let mut config = Config::default();
        config.webhook.max_in_flight = 0;
        assert_eq!(config.check().expect_err("zero").setting, "webhook.max_in_flight");
    }
}
