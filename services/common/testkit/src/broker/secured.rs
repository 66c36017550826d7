//! A cluster as in production: a listener with TLS and passwords (SASL PLAIN and SCRAM), and an authorizer that denies what
//! no ACL allows. The plain listener stays for the brokers themselves and for `freshet up`'s own look at them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BrokerError;
use super::properties::Ports;
use crate::departments::Visitor;
use crate::ports::free_port;

/// The ways in which each user may log on, as Kafka names them.
pub const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
const STORE_PASSWORD: &str = "not-secret-in-a-test";

#[derive(Debug, Clone)]
pub struct Secured {
    pub port: u16,
    /// PEM: what clients have to trust.
    pub ca_file: PathBuf,
    keystore: PathBuf,
    users: Vec<(String, String)>,
}

impl Secured {
    /// Users with their passwords, by each of [`MECHANISMS`]; the first may do everything. The certificate is made by the JDK's `keytool`, for
    /// 127.0.0.1, in `folder`.
    pub fn make(folder: &Path, users: &[(&str, &str)]) -> Result<Self, BrokerError> {
        let port = free_port().map_err(io("choosing a port in", folder))?;
        let (keystore, ca_file) = (folder.join("broker.p12"), folder.join("ca.pem"));
        let shared = |command: &mut Command| -> Result<(), BrokerError> {
            let store = ["-alias", "broker", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD];
            let output = command.args(store).arg("-keystore").arg(&keystore).output();
            let output = output.map_err(io("running keytool in", folder))?;
            if output.status.success() {
                return Ok(());
            }
            let reason = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Err(BrokerError::Start { reason: format!("keytool: {reason}"), log: folder.to_owned() })
        };
        shared(Command::new("keytool").args(["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1"]).args([
            "-dname",
            "CN=freshet test",
            "-ext",
            "san=ip:127.0.0.1",
            "-ext",
            "bc:c=ca:true",
            "-validity",
            "3650",
        ]))?;
        shared(Command::new("keytool").args(["-exportcert", "-rfc", "-file"]).arg(&ca_file))?;
        let users = users.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect();
        Ok(Self { port, ca_file, keystore, users })
    }

    /// A client of this user, who logs on by one of [`MECHANISMS`].
    pub fn visitor(&self, user: &str, mechanism: &str) -> Visitor {
        let password = self.users.iter().find(|(name, _)| name == user).map_or("", |(_, password)| password);
        let settings = [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
            ("ssl.ca.location", &self.ca_file.to_string_lossy()),
        ];
        Visitor::new(&self.bootstrap(), &settings)
    }

    /// `host:port` of the listener with TLS.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What `kafka-storage format` writes into a new cluster: SCRAM's users are the cluster's own, not of a file.
    pub(super) fn format_arguments(&self) -> Vec<String> {
        let of = |mechanism: &str| {
            let mechanism = mechanism.to_owned();
            self.users.iter().flat_map(move |(name, password)| {
                ["--add-scram".to_owned(), format!("{mechanism}=[name=\"{name}\",password=\"{password}\"]")]
            })
        };
        of("SCRAM-SHA-256").chain(of("SCRAM-SHA-512")).collect()
    }

    /// Behind the others: of a setting that stands twice, Kafka takes the last.
    pub(super) fn properties(&self, ports: Ports) -> String {
        let Ports { broker, controller } = ports;
        let mut login = "org.apache.kafka.common.security.plain.PlainLoginModule required".to_owned();
        for (name, password) in &self.users {
            // Writing to a String cannot fail.
            let _ = write!(login, " user_{name}=\"{password}\"");
        }
        let first = self.users.first().map_or("nobody", |(name, _)| name.as_str());
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},SECURED://127.0.0.1:{port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SECURED://127.0.0.1:{port}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL\n\
             sasl.enabled.mechanisms={mechanisms}\n\
             listener.name.secured.plain.sasl.jaas.config={login};\n\
             listener.name.secured.scram-sha-256.sasl.jaas.config={SCRAM}\n\
             listener.name.secured.scram-sha-512.sasl.jaas.config={SCRAM}\n\
             listener.name.secured.ssl.keystore.type=PKCS12\n\
             listener.name.secured.ssl.keystore.location={keystore}\n\
             listener.name.secured.ssl.keystore.password={STORE_PASSWORD}\n\
             listener.name.secured.ssl.key.password={STORE_PASSWORD}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:{first}\n",
            port = self.port,
            mechanisms = MECHANISMS.join(","),
            keystore = self.keystore.display()
        )
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BrokerError + use<> {
    let path = path.to_owned();
    move |source| BrokerError::Io { doing, path, source }
}
