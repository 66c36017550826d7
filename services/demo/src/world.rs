//! What the demo brings along: the subscribers' side of the catalogue (their webhook addresses, their database), made to
//! fit this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use freshet_testkit::postgres::{PostgresError, Server};

/// Ready for the catalogue to be applied.
#[derive(Debug)]
pub struct World {
    data: PathBuf,
    catalogue: PathBuf,
    pub(crate) webhook_port: u16,
    pub(crate) postgres: Option<Server>,
}

impl World {
    /// Copies the catalogue `from` and puts this machine's addresses in; starts a private PostgreSQL where one is
    /// installed, and leaves the grants that need it out where none is.
    pub async fn prepare(data: &Path, from: &Path, webhook_port: u16) -> anyhow::Result<Self> {
        let own = data.join("demo");
        fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        let home = own.clone();
        let postgres = match tokio::task::spawn_blocking(move || Server::start(&home)).await? {
            Ok(server) => Some(server),
            Err(error @ (PostgresError::NotInstalled | PostgresError::NoSetpriv)) => {
                eprintln!("no subscriber has a database of its own this time: {error}");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let catalogue = own.join("schemas");
        if catalogue.exists() {
            fs::remove_dir_all(&catalogue).with_context(|| format!("clearing {}", catalogue.display()))?;
        }
        let world = Self { data: data.to_owned(), catalogue, webhook_port, postgres };
        world.copy(from, &world.catalogue)?;
        Ok(world)
    }

    /// The folder to apply.
    pub fn catalogue(&self) -> &Path {
        &self.catalogue
    }

    /// What each publishing department keeps of how far it has come; made where it is not there.
    pub(crate) fn progress(&self) -> anyhow::Result<PathBuf> {
        let folder = self.data.join("demo/published");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// What the departments with a webhook have acknowledged.
    pub(crate) fn webhook_journal(&self) -> PathBuf {
        self.data.join("demo/webhooks.jsonl")
    }

    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
        let is_grants = from.file_name().is_some_and(|name| name == "grants");
        for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let target = to.join(&name);
            if path.is_dir() {
                if name != "examples" {
                    self.copy(&path, &target)?;
                }
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let text = if is_grants {
                let grant = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                match self.fit(grant, &text)? {
                    Some(text) => text,
                    None => continue,
                }
            } else {
                text
            };
            fs::write(&target, text).with_context(|| format!("writing {}", target.display()))?;
        }
        Ok(())
    }

    /// A grant's file with this machine's addresses; None where its way out is not to be had.
    fn fit(&self, grant: &str, text: &str) -> anyhow::Result<Option<String>> {
        if text.contains("postgres:") {
            let Some(server) = &self.postgres else { return Ok(None) };
            let name = quoted_or_word(text, "connection:").unwrap_or_default();
            let secrets = self.data.join("secrets");
            fs::create_dir_all(&secrets).with_context(|| format!("making {}", secrets.display()))?;
            private(&secrets.join(name), &server.url())?;
            return Ok(Some(text.to_owned()));
        }
        if text.contains("webhook:")
            && let Some(url) = quoted_or_word(text, "url:")
        {
            let own = format!("http://127.0.0.1:{}/{grant}", self.webhook_port);
            return Ok(Some(text.replace(url, &own)));
        }
        Ok(Some(text.to_owned()))
    }
}

/// What follows `key` in YAML, in one line: quoted, or up to the next separator.
fn quoted_or_word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text[text.find(key)? + key.len()..].trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', '}', '\n']).next().map(str::trim),
    }
}

fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = fs::remove_file(path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::quoted_or_word;

    #[test]
    fn finds_what_is_to_be_replaced() {
        let text = "delivery: {webhook: {url: \"http://127.0.0.1:18081/hook\", secret: toronto-water}}\n";
        assert_eq!(quoted_or_word(text, "url:"), Some("http://127.0.0.1:18081/hook"));
        assert_eq!(quoted_or_word("postgres: {connection: tax, table: public.t}", "connection:"), Some("tax"));
        assert_eq!(quoted_or_word("delivery: pull", "url:"), None);
    }
}
