//! Tokens, webhook secrets and the pseudonym key of a bus on this machine: made at the first start, readable by its
//! owner only, kept from then on.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use freshet_catalog_model::{Delivery, SourceCatalog};
use freshet_runtime::credentials::hash_of;

/// Where everything stands in the data folder.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub credentials_file: PathBuf,
    /// Who may read the trail: one operator, `operator`, whose token stands in `operator.token`.
    pub operators_file: PathBuf,
    pub tokens_dir: PathBuf,
    pub secrets_dir: PathBuf,
    pub pseudonym_key_file: PathBuf,
}

impl Secrets {
    /// Makes what is missing for these departments and grants.
    pub fn prepare(data: &Path, catalogue: &SourceCatalog) -> anyhow::Result<Self> {
        let secrets = Self {
            credentials_file: data.join("credentials.toml"),
            operators_file: data.join("operators.toml"),
            tokens_dir: data.join("tokens"),
            secrets_dir: data.join("secrets"),
            pseudonym_key_file: data.join("pseudonym.key"),
        };
        private_folder(&secrets.tokens_dir)?;
        private_folder(&secrets.secrets_dir)?;
        kept(&secrets.pseudonym_key_file, random_hex)?;
        let mut hashes = BTreeMap::new();
        for department in catalogue.departments.keys() {
            let token = kept(&secrets.tokens_dir.join(department), random_hex)?;
            hashes.insert(department, hash_of(token.trim()));
        }
        if let Some(name) = two_uses(catalogue) {
            bail!("the grants use the secret {name} both for a webhook and for a database; give them two names");
        }
        for grant in catalogue.grants.values() {
            if let Delivery::Webhook { secret, .. } = &grant.delivery {
                kept(&secrets.secrets_dir.join(secret), webhook_secret)?;
            }
        }
        let mut text =
            String::from("# SHA-256 of each department's token; the tokens themselves are in tokens/.\n[tokens]\n");
        for (department, hash) in hashes {
            text.push_str(&format!("{department} = [\"{hash}\"]\n"));
        }
        write_private(&secrets.credentials_file, &text)?;
        let operator = kept(&data.join("operator.token"), random_hex)?;
        write_private(&secrets.operators_file, &format!("[tokens]\noperator = [\"{}\"]\n", hash_of(operator.trim())))?;
        Ok(secrets)
    }
}

/// A name that stands for a webhook's secret and for a database's address: one file cannot hold both.
fn two_uses(catalogue: &SourceCatalog) -> Option<&str> {
    let deliveries = || catalogue.grants.values().map(|grant| &grant.delivery);
    let webhooks: Vec<&str> = deliveries()
        .filter_map(|delivery| match delivery {
            Delivery::Webhook { secret, .. } => Some(secret.as_str()),
            Delivery::Kafka | Delivery::Pull | Delivery::Postgres { .. } => None,
        })
        .collect();
    deliveries().find_map(|delivery| match delivery {
        Delivery::Postgres { connection, .. } if webhooks.contains(&connection.as_str()) => Some(connection.as_str()),
        _ => None,
    })
}

/// 256 random bits.
pub fn random_hex() -> anyhow::Result<String> {
    Ok(random()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Standard Webhooks: `whsec_` and 24 to 64 bytes in base64.
fn webhook_secret() -> anyhow::Result<String> {
    use base64::Engine as _;
    Ok(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(random()?)))
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    Ok(bytes)
}

/// The content of the file; made where there is none.
fn kept(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => {
            let text = make()?;
            write_private(path, &text)?;
            Ok(text)
        }
    }
}

/// Mode 0600 from the beginning, and whole or not at all.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("writing {}", path.display()))
}

pub fn private_folder(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| format!("making {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let first = kept(&path, random_hex).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(kept(&path, random_hex).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(random_hex().unwrap(), first);
        assert!(webhook_secret().unwrap().starts_with("whsec_"));
    }
}
