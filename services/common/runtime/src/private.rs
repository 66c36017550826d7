//! Files that hold secrets: refused if everybody on the machine may access them.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    #[error(transparent)]
    Unreadable(#[from] std::io::Error),
    #[error(
        "everybody on this machine may access it (mode {mode:o}); chmod 0640 it, or set defaultMode 0440 on the \
         Kubernetes secret"
    )]
    Open { mode: u32 },
}

/// The content of a file with a secret.
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateError> {
    check(&std::fs::metadata(path)?)?;
    Ok(std::fs::read(path)?)
}

/// The owner and the group may have access (Kubernetes mounts secrets with a group), others may not.
pub fn check(metadata: &Metadata) -> Result<(), PrivateError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 == 0 { Ok(()) } else { Err(PrivateError::Open { mode }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_everybody_may_access() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret").unwrap();
        for (mode, is_private) in [(0o600, true), (0o440, true), (0o644, false), (0o602, false), (0o604, false)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let text = read(file.path());
            assert_eq!(text.is_ok(), is_private, "{mode:o}: {text:?}");
        }
        assert!(read(Path::new("/nowhere")).is_err());
    }
}
