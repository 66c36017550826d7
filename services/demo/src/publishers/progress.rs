//! How far a department has come with what it publishes: kept in a file, as its own system would keep it, so that a
//! restart goes on from there. What was sent and not yet confirmed is sent again under the same ids; the bus drops it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

#[derive(Debug)]
pub(crate) struct Progress {
    path: PathBuf,
    confirmed: usize,
}

impl Progress {
    /// Of an earlier run, or nothing confirmed.
    pub fn read(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let confirmed = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().with_context(|| format!("{} holds no number", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Ok(Self { path, confirmed })
    }

    /// Events, from the first on, that the bus has taken for good.
    pub fn confirmed(&self) -> usize {
        self.confirmed
    }

    pub fn confirm(&mut self, more: usize) -> anyhow::Result<()> {
        self.confirmed += more;
        let new = self.path.with_extension("new");
        fs::write(&new, self.confirmed.to_string())
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("writing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::read(folder.path(), "tax").unwrap();
        assert_eq!(progress.confirmed(), 0);
        progress.confirm(500).unwrap();
        progress.confirm(7).unwrap();
        assert_eq!(Progress::read(folder.path(), "tax").unwrap().confirmed(), 507);
        std::fs::write(folder.path().join("tax"), "many").unwrap();
        assert!(Progress::read(folder.path(), "tax").unwrap_err().to_string().ends_with("tax holds no number"));
    }
}
