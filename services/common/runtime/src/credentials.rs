//! Who is calling: bearer tokens of departments. The file holds only SHA-256 hashes (tokens are 256 random bits, so a
//! plain hash is enough), is refused if everybody on the machine may read it, and is read again when it changes.
//!
//! ```toml
//! [tokens]
//! licensing = ["<sha256 of the token, 64 hex digits>", "<the next one, while tokens are changed>"]
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::CancellationToken;
use crate::private::{self, PrivateError};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The tokens of the departments; clones share them.
#[derive(Debug, Clone)]
pub struct Credentials {
    path: Arc<PathBuf>,
    state: Arc<ArcSwap<State>>,
}

struct State {
    /// Which content of the file this is.
    stamp: Stamp,
    tokens: Vec<(String, [u8; 32])>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

/// A file that was replaced or written differs in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// A bearer token as a caller presents it.
#[derive(Debug, Clone, Copy)]
pub struct Token<'a>(pub &'a str);

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("credentials file {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    #[error("credentials file {}: {reason}", path.display())]
    Open { path: PathBuf, reason: PrivateError },
    #[error("credentials file {}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tokens: BTreeMap<String, Vec<String>>,
}

impl Credentials {
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, CredentialsError> {
        let path = path.into();
        let state = State::read(&path)?;
        Ok(Self { path: Arc::new(path), state: Arc::new(ArcSwap::from_pointee(state)) })
    }

    /// The department whose token this is. Takes the same time for every token: all hashes are compared, completely.
    pub fn department_of(&self, token: Token<'_>) -> Option<String> {
        let presented: [u8; 32] = Sha256::digest(token.0.as_bytes()).into();
        let state = self.state.load();
        let mut found = None;
        for (department, hash) in &state.tokens {
            let difference = hash.iter().zip(&presented).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
            if difference == 0 {
                found = Some(department);
            }
        }
        found.cloned()
    }

    /// Reads the file again if it changed; true if it was read. On an error the tokens stay as they were.
    pub fn reload_if_changed(&self) -> Result<bool, CredentialsError> {
        let stamp = Stamp::of(&self.path)?;
        if stamp == self.state.load().stamp {
            return Ok(false);
        }
        self.state.store(Arc::new(State::read(&self.path)?));
        Ok(true)
    }

    /// Looks at the file once a second until `stop`. A file that cannot be read any more is an error in the log, once,
    /// and the last good tokens go on being valid.
    pub async fn follow(self, stop: CancellationToken) {
        let mut last_error = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            match self.reload_if_changed() {
                Ok(reloaded) => {
                    if reloaded {
                        tracing::info!(file = %self.path.display(), "credentials read again");
                    }
                    last_error = None;
                }
                Err(error) => {
                    let text = error.to_string();
                    if last_error.as_ref() != Some(&text) {
                        tracing::error!(error = %text, "credentials not read again, the last good ones stay in force");
                        last_error = Some(text);
                    }
                }
            }
        }
    }
}

/// The hash of a token as it stands in the file.
pub fn hash_of(token: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, CredentialsError> {
        let metadata =
            std::fs::metadata(path).map_err(|reason| CredentialsError::Unreadable { path: path.to_owned(), reason })?;
        private::check(&metadata).map_err(|reason| CredentialsError::Open { path: path.to_owned(), reason })?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self { inode: metadata.ino(), size: metadata.size(), changed })
    }
}

impl State {
    fn read(path: &Path) -> Result<Self, CredentialsError> {
        // The stamp first: a file that changes in between is then read again.
        let stamp = Stamp::of(path)?;
        let text = std::fs::read_to_string(path)
            .map_err(|reason| CredentialsError::Unreadable { path: path.to_owned(), reason })?;
        // What is wrong is said without quoting the file: somebody may have put a token there.
        let content = |reason: String| CredentialsError::Content { path: path.to_owned(), reason };
        let file: File = toml::from_str(&text).map_err(|error| content(error.message().to_owned()))?;
        let mut tokens: Vec<(String, [u8; 32])> = Vec::new();
        for (department, hashes) in file.tokens {
            for (index, hash) in hashes.iter().enumerate() {
                let number = index + 1;
                let hash = parse_hash(hash).ok_or_else(|| {
                    content(format!(
                        "tokens.{department}, entry {number}: not 64 hex digits; \
                         make it with: printf %s \"$TOKEN\" | sha256sum"
                    ))
                })?;
                if let Some((other, _)) = tokens.iter().find(|(other, known)| *known == hash && *other != department) {
                    return Err(content(format!("{other} and {department} have the same token")));
                }
                tokens.push((department.clone(), hash));
            }
        }
        Ok(Self { stamp, tokens })
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(file: &tempfile::NamedTempFile, text: &str) {
        let mut handle = std::fs::File::create(file.path()).unwrap();
        handle.write_all(text.as_bytes()).unwrap();
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(&file, text);
        file
    }

    #[test]
    fn knows_the_department_by_any_of_its_tokens() {
        let (old, new) = (hash_of("old"), hash_of("new"));
        let file = file(&format!("[tokens]\nlicensing = [\"{old}\", \"{new}\"]\nroads = [\"{}\"]\n", hash_of("roads")));
        let credentials = Credentials::read(file.path()).unwrap();
        let department = |token| credentials.department_of(Token(token));
        assert_eq!(department("old").as_deref(), Some("licensing"));
        assert_eq!(department("new").as_deref(), Some("licensing"));
        assert_eq!(department("roads").as_deref(), Some("roads"));
        assert_eq!(department(""), None);
        assert_eq!(department(&old), None, "the hash is not the token");
        assert!(!format!("{credentials:?}").contains(&old));
    }

    #[test]
    fn is_read_again_when_it_changes_and_keeps_the_last_good_one() {
        let file = file(&format!("[tokens]\na = [\"{}\"]\n", hash_of("one")));
        let credentials = Credentials::read(file.path()).unwrap();
        assert!(!credentials.reload_if_changed().unwrap());
        write(&file, &format!("[tokens]\nlonger = [\"{}\"]\n", hash_of("two")));
        assert!(credentials.reload_if_changed().unwrap());
        assert_eq!(credentials.department_of(Token("one")), None);
        assert_eq!(credentials.department_of(Token("two")).as_deref(), Some("longer"));
        write(&file, "[tokens\n");
        assert!(credentials.reload_if_changed().is_err());
        assert_eq!(credentials.department_of(Token("two")).as_deref(), Some("longer"));
    }

    #[test]
    fn refuses_a_file_that_everybody_may_read() {
        let file = file("[tokens]\n");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Credentials::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("mode 644") && error.contains("chmod 0640"), "{error}");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Credentials::read(file.path()).is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_the_file() {
        let same = hash_of("same");
        for (text, expected) in [
            ("[tokens]\na = [\"plain-token\"]".to_owned(), "tokens.a, entry 1: not 64 hex digits"),
            (format!("[tokens]\na = [\"{same}\"]\nb = [\"{same}\"]"), "a and b have the same token"),
            ("[token]\n".to_owned(), "unknown field `token`"),
        ] {
            let error = Credentials::read(file(&text).path()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("plain-token"), "{error}");
        }
        assert!(Credentials::read("/nowhere").is_err());
    }
}
