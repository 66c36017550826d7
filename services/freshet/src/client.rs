//! What commands that talk to a bus need: its Kafka, its gateway, a token. Of a bus that `freshet up` runs on this
//! machine, all of it stands in the data folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use freshet_core::nearest::suggestion;
use freshet_kafka::Connection;
use serde::{Deserialize, Serialize};

use crate::cli::Globals;
use crate::settings::{self, Settings};

/// `DATA/bus.json`, written by `freshet up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bus {
    pub kafka: String,
    pub gateway: String,
    pub catalog: String,
    pub fanout: String,
    pub admin: String,
}

impl Bus {
    pub fn file(data: &Path) -> PathBuf {
        data.join("bus.json")
    }

    pub fn read(data: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::file(data)).ok()?).ok()
    }
}

/// The user's settings where they name a cluster, otherwise the bus of the data folder.
pub fn connection(globals: &Globals) -> anyhow::Result<Connection> {
    Ok(settings(globals)?.kafka)
}

/// Refuses a name that the bus does not know: an answer of nothing would look like good news.
pub fn require_known<'a>(
    what: &str,
    name: Option<&str>,
    known: impl Iterator<Item = &'a String> + Clone,
) -> anyhow::Result<()> {
    match name {
        Some(name) if !known.clone().any(|known| known == name) => {
            bail!("there is no {what} {name}; {}", suggestion(name, known.map(String::as_str)))
        }
        _ => Ok(()),
    }
}

/// All settings, with that cluster.
pub fn settings(globals: &Globals) -> anyhow::Result<Settings> {
    let more = match Bus::read(&globals.data) {
        Some(bus) if globals.config.is_none() => vec![("kafka.bootstrap_servers".to_owned(), bus.kafka)],
        _ => Vec::new(),
    };
    Ok(settings::load(globals, &more)?.value)
}

/// The gateway's address.
pub fn gateway(globals: &Globals, given: Option<&str>) -> anyhow::Result<String> {
    if let Some(given) = given {
        return Ok(given.trim_end_matches('/').to_owned());
    }
    match Bus::read(&globals.data) {
        Some(bus) => Ok(bus.gateway),
        None => bail!(
            "no gateway: give --gateway URL, or --data DIR of a bus that `freshet up` runs ({} is none)",
            globals.data.display()
        ),
    }
}

/// A token from a file, or the one that `freshet up` made for the department.
pub fn token(globals: &Globals, file: Option<&Path>, department: Option<&str>) -> anyhow::Result<String> {
    let path = match (file, department) {
        (Some(file), _) => file.to_owned(),
        (None, Some(department)) => globals.data.join("tokens").join(department),
        (None, None) => bail!("no token: give --token-file FILE"),
    };
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading the token {}", path.display()))?;
    Ok(text.trim().to_owned())
}
