//! Secrets by name: one file each in one folder. The catalogue holds names only.

use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use freshet_runtime::private::{self, PrivateError};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("`{0}` is not the name of a secret: letters, digits, `-`, `_` and `.`, not beginning with a dot")]
    Name(String),
    #[error("secret file {}: {reason}", path.display())]
    File { path: PathBuf, reason: std::io::Error },
    #[error("secret file {}: {reason}", path.display())]
    Open { path: PathBuf, reason: PrivateError },
}

/// Two keys of 64 bytes, or a connection URL, and some comments.
const MOST_BYTES: u64 = 64 << 10;

/// One secret. Read anew at every use: it is small, and a rotation then needs no signal.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
}

/// Which content of the file this is. Compared, never interpreted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(Option<(SystemTime, u64, u32, u64)>);

impl Stamp {
    pub fn is_present(self) -> bool {
        self.0.is_some()
    }
}

impl SecretFile {
    pub fn named(folder: &Path, name: &str) -> Result<Self, SecretError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(SecretError::Name(name.to_owned()));
        }
        Ok(Self { path: folder.join(name) })
    }

    /// The content, after a look at who else may read the file. Blocks for as long as a small local file takes.
    pub fn read(&self) -> Result<String, SecretError> {
        let failed = |reason| SecretError::File { path: self.path.clone(), reason };
        let mut file = std::fs::File::open(&self.path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(std::io::Error::other("is not a file")));
        }
        // The rule of every secret of the bus: a group may read it, because Kubernetes mounts secrets with one.
        private::check(&metadata).map_err(|reason| SecretError::Open { path: self.path.clone(), reason })?;
        let mut text = String::new();
        let read = Read::by_ref(&mut file).take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if read as u64 > MOST_BYTES {
            return Err(failed(std::io::Error::other("has more than 64 KiB: is it the right file?")));
        }
        Ok(text)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes when the file or its mode does, also when it comes or goes.
    pub fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(&self.path).ok();
        Stamp(metadata.and_then(|of| Some((of.modified().ok()?, of.len(), of.mode(), of.ino()))))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_everybody_may_read_is_refused_with_its_name_and_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, path) = (SecretFile::named(folder.path(), "hook").expect("a name"), folder.path().join("hook"));
        std::fs::write(&path, "whsec_").expect("written");
        for (mode, is_private) in [(0o600, true), (0o440, true), (0o644, false), (0o604, false)] {
            let before = secret.stamp();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
            let read = secret.read().map_err(|error| error.to_string());
            assert_eq!(read.is_ok(), is_private, "{mode:o}: {read:?}");
            if let Err(error) = read {
                assert!(error.contains("hook") && error.contains("chmod") && !error.contains('\n'), "{error}");
                assert_ne!(secret.stamp(), before, "a mended mode is not seen");
            }
        }
        std::fs::write(&path, "x".repeat(1 << 17)).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        assert!(secret.read().expect_err("too large").to_string().contains("64 KiB"));
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        for wrong in ["", "..", ".hidden", "a/b", "../x", "a\\b", "a b"] {
            assert!(SecretFile::named(Path::new("/s"), wrong).is_err(), "{wrong}");
        }
        let secret = SecretFile::named(Path::new("/s"), "tax.webhook-1").expect("a name");
        assert_eq!(secret.path, Path::new("/s/tax.webhook-1"));
    }
}
