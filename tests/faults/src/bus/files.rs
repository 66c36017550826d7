//! The files that an operator puts beside the settings: tokens, secrets, the pseudonym key.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// `secrets`: file name and contents.
    pub fn write<'a>(
        folder: &Path,
        departments: impl Iterator<Item = &'a str>,
        secrets: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let mut credentials = "[tokens]\n".to_owned();
        for department in departments {
            let digest = Sha256::digest(token(department).as_bytes());
            let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            credentials.push_str(&format!("{department} = [\"{hash}\"]\n"));
        }
        let files = Self { folder: folder.to_owned() };
        private(&folder.join("credentials.toml"), &credentials)?;
        private(&folder.join("pseudonym.key"), "a-pseudonym-key-for-tests-of-32-bytes-or-more")?;
        std::fs::create_dir_all(folder.join("secrets"))?;
        for (name, text) in secrets {
            private(&folder.join("secrets").join(name), text)?;
        }
        Ok(files)
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        vec![
            format!("gateway.credentials_file={}", path("credentials.toml")),
            format!("fanout.credentials_file={}", path("credentials.toml")),
            format!("gateway.pseudonym_key_file={}", path("pseudonym.key")),
            format!("validator.pseudonym_key_file={}", path("pseudonym.key")),
            format!("fanout.secrets_dir={}", path("secrets")),
        ]
    }
}

/// A department's token.
pub fn token(department: &str) -> String {
    format!("token-of-{department}-with-enough-characters-to-be-one")
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("writing {}", path.display()))
}
