//! Secrets by name: one file each in one folder. The catalogue holds names only.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("`{0}` is not the name of a secret: letters, digits, `-`, `_` and `.`, not beginning with a dot")]
    Name(String),
    #[error("secret file {}: {reason}", path.display())]
    File { path: PathBuf, reason: std::io::Error },
}

/// One secret. Read anew at every use: it is small, and a rotation then needs no signal.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
}

/// Which content of the file this is. Compared, never interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64)>);

impl SecretFile {
    pub fn named(folder: &Path, name: &str) -> Result<Self, SecretError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(SecretError::Name(name.to_owned()));
        }
        Ok(Self { path: folder.join(name) })
    }

    pub async fn read(&self) -> Result<String, SecretError> {
        tokio::fs::read_to_string(&self.path)
            .await
            .map_err(|reason| SecretError::File { path: self.path.clone(), reason })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes when the file does, also when it comes or goes.
    pub fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok();
        Stamp(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for wrong in ["", "..", ".hidden", "a/b", "../x", "a\\b", "a b"] {
            assert!(SecretFile::named(Path::new("/s"), wrong).is_err(), "{wrong}");
        }
        let secret = SecretFile::named(Path::new("/s"), "tax.webhook-1").expect("a name");
        assert_eq!(secret.path, Path::new("/s/tax.webhook-1"));
    }
}
