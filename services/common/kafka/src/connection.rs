//! How to reach the cluster: the part of the settings that an operator gives. What correctness rests on is not here
//! (`settings.rs`) and cannot be changed from here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::settings;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connection {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// The prefix of the client's name in the broker's logs, metrics and quotas.
    pub client_id: String,
    pub security: Security,
    /// Further librdkafka settings, from a list of harmless ones (see [`Connection::check`]).
    pub extra: BTreeMap<String, String>,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            client_id: "freshet".to_owned(),
            security: Security::default(),
            extra: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    pub protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Sasl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Plaintext,
    Tls,
    SaslPlaintext,
    SaslTls,
}

impl Protocol {
    fn as_setting(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslTls => "sasl_ssl",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub username: String,
    /// A file that holds the password; a line end at its end is not part of it.
    pub password_file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    fn as_setting(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// All files are PEM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Without it, the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_password_file: Option<PathBuf>,
}

impl Connection {
    /// A plain connection to these servers, as for a broker on this machine.
    pub fn to(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..Self::default() }
    }

    /// Checks the relations between the settings and reads the secrets once, so that a mistake is told before a service
    /// starts its work.
    pub fn check(&self) -> Result<(), Error> {
        self.client_config("check").map(drop)
    }

    /// The first two layers: the operator's, then ours by default. The forced layer is `settings.rs`' business.
    pub(crate) fn client_config(&self, role: &str) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        if self.bootstrap_servers.trim().is_empty() {
            return Err(setting("bootstrap_servers", "empty; give host:port"));
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", format!("{}.{role}", self.client_id));
        config.set("security.protocol", self.security.protocol.as_setting());
        self.security.apply(&mut config)?;
        for (key, value) in &self.extra {
            if !settings::may_be_set(key) {
                let reason = format!("not one of those that may be given here: {}", settings::MAY_BE_SET.join(", "));
                return Err(setting(&format!("extra.{key}"), &reason));
            }
            config.set(key, value);
        }
        Ok(config)
    }
}

impl Security {
    fn apply(&self, config: &mut ClientConfig) -> Result<(), Error> {
        let wants_sasl = matches!(self.protocol, Protocol::SaslPlaintext | Protocol::SaslTls);
        let wants_tls = matches!(self.protocol, Protocol::Tls | Protocol::SaslTls);
        match &self.sasl {
            Some(_) if !wants_sasl => return Err(setting("security.sasl", "given, but the protocol has no SASL")),
            None if wants_sasl => return Err(setting("security.sasl", "missing, but the protocol needs it")),
            None => {}
            Some(sasl) => {
                config.set("sasl.mechanism", sasl.mechanism.as_setting());
                config.set("sasl.username", &sasl.username);
                config.set("sasl.password", read_secret(&sasl.password_file)?);
            }
        }
        match &self.tls {
            Some(_) if !wants_tls => Err(setting("security.tls", "given, but the protocol has no TLS")),
            None => Ok(()),
            Some(tls) => tls.apply(config),
        }
    }
}

impl Tls {
    fn apply(&self, config: &mut ClientConfig) -> Result<(), Error> {
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return Err(setting("security.tls", "certificate_file and key_file belong together; one is missing"));
        }
        for (key, path) in [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
        ] {
            if let Some(path) = path {
                let text = path.to_str().ok_or_else(|| setting(key, "the path is not UTF-8"))?;
                config.set(key, text);
            }
        }
        if let Some(path) = &self.key_password_file {
            config.set("ssl.key.password", read_secret(path)?);
        }
        Ok(())
    }
}

fn setting(key: &str, reason: &str) -> Error {
    Error::Setting { key: format!("kafka.{key}"), reason: reason.to_owned() }
}

fn read_secret(path: &Path) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Secret { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(connection: &Connection) -> String {
        connection.check().map_or_else(|error| error.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn relations_are_checked() {
        let mut connection = Connection::to("localhost:9092");
        assert_eq!(refused(&connection), "accepted");
        connection.security.protocol = Protocol::SaslTls;
        assert!(refused(&connection).contains("kafka.security.sasl: missing"), "{}", refused(&connection));
        connection.security.protocol = Protocol::Plaintext;
        connection.security.tls = Some(Tls::default());
        assert!(refused(&connection).contains("the protocol has no TLS"), "{}", refused(&connection));
        let connection = Connection { bootstrap_servers: " ".to_owned(), ..Connection::default() };
        assert!(refused(&connection).contains("give host:port"), "{}", refused(&connection));
    }

    #[test]
    fn a_secret_comes_from_its_file() {
        let mut connection = Connection::to("localhost:9092");
        connection.security.protocol = Protocol::SaslPlaintext;
        let path = PathBuf::from("/nowhere/password");
        connection.security.sasl =
            Some(Sasl { mechanism: Mechanism::ScramSha512, username: "bus".to_owned(), password_file: path });
        assert!(refused(&connection).starts_with("secret file /nowhere/password"), "{}", refused(&connection));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<Connection>(r#"{"bootstrap_server": "x:1"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `bootstrap_server`"), "{error}");
    }
}
