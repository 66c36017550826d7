//! One struct for all roles; each takes its section. The defaults of a role stand with the role.

use std::net::SocketAddr;

use anyhow::Context as _;
use freshet_catalog_model::access::{Principals, Roles};
use freshet_runtime::Loaded;
use freshet_runtime::log::LogSettings;
use serde::Deserialize;

use crate::cli::Globals;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub kafka: freshet_kafka::Connection,
    pub access: Principals,
    pub admin: Admin,
    pub log: LogSettings,
    pub gateway: freshet_gateway::Config,
    pub validator: freshet_validator::Config,
    pub router: freshet_router::Config,
    pub fanout: freshet_fanout::Config,
    pub catalog: freshet_catalog::Config,
    pub observer: freshet_observer::Config,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    pub listen: SocketAddr,
    pub stop_limit_seconds: u64,
}

/// The text of all defaults.
pub fn defaults() -> String {
    let roles = [
        ("gateway", freshet_gateway::DEFAULTS),
        ("validator", freshet_validator::DEFAULTS),
        ("router", freshet_router::DEFAULTS),
        ("fanout", freshet_fanout::DEFAULTS),
        ("catalog", freshet_catalog::DEFAULTS),
        ("observer", freshet_observer::DEFAULTS),
    ];
    let mut text = include_str!("../default.toml").to_owned();
    for (role, defaults) in roles {
        text.push('\n');
        text.push_str(&below(role, defaults));
    }
    text
}

/// Puts a role's defaults under its section, where they do not stand there already.
fn below(role: &str, defaults: &str) -> String {
    let header = format!("[{role}]");
    if defaults.lines().any(|line| line.trim() == header) {
        return defaults.to_owned();
    }
    let mut text = format!("{header}\n");
    for line in defaults.lines() {
        match line.strip_prefix('[') {
            Some(section) => text.push_str(&format!("[{role}.{section}")),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The four layers. `more` are overrides below those that the user gave.
pub fn load(globals: &Globals, more: &[(String, String)]) -> anyhow::Result<Loaded<Settings>> {
    let mut overrides = more.to_vec();
    if let Some(kafka) = &globals.kafka {
        overrides.push(("kafka.bootstrap_servers".to_owned(), kafka.clone()));
    }
    overrides.extend(globals.set.iter().cloned());
    let loaded = freshet_runtime::config::load(
        &defaults(),
        globals.config.as_deref(),
        freshet_runtime::config::ENVIRONMENT_PREFIX,
        &overrides,
    )?;
    Ok(loaded)
}

impl Settings {
    /// What the services' rights on Kafka follow from.
    pub fn roles(&self) -> Roles {
        Roles {
            principals: self.access.clone(),
            validator_group: self.validator.group.clone(),
            router_group: self.router.group.clone(),
            catalog_keeps_access: self.catalog.keep_access,
        }
    }

    pub fn start_log(&self) -> anyhow::Result<()> {
        freshet_runtime::log::init(&self.log).context("setting up the log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_together() {
        let loaded = freshet_runtime::config::load_from::<Settings>(&defaults(), None, ("FRESHET", &[]), &[]);
        let settings = loaded.unwrap_or_else(|error| panic!("{error}")).value;
        assert_eq!(settings.admin.stop_limit_seconds, 25);
    }

    /// Settings, defaults and tests of the table of limits.
    #[test]
    fn the_table_of_limits_is_what_the_code_has() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let table = include_str!("../../../docs/limits.md");
        let loaded = freshet_runtime::config::load_from::<Settings>(&defaults(), None, ("FRESHET", &[]), &[]);
        let sources = loaded.unwrap_or_else(|error| panic!("{error}")).sources;
        let tests =
            [root.join("services"), root.join("tests")].iter().map(|folder| rust_in(folder)).collect::<String>();
        let rows = table
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| Setting") && !line.starts_with("| Limit"));
        let mut settings = Vec::new();
        for row in rows {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, default, _, named] = cells[..] else { panic!("four columns: {row}") };
            if let Some(key) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
                let (value, _) = sources.get(key).unwrap_or_else(|| panic!("no setting {key}"));
                assert_eq!(value, default, "{key}");
                settings.push(key);
            }
            let tested: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
            assert!(!tested.is_empty(), "no test: {row}");
            for test in tested {
                assert!(tests.contains(&format!("fn {test}(")), "there is no test {test}");
            }
        }
        // Every limit that a department or a subscriber meets over HTTP stands in it.
        let is_limit = |key: &&String| key.contains("max_") || key.contains("timeout_seconds") || key.contains("min_");
        let listeners =
            sources.keys().filter(|key| key.starts_with("gateway.") || key.contains(".http.")).filter(is_limit);
        let missing: Vec<_> = listeners.filter(|key| !settings.contains(&key.as_str())).collect();
        assert!(missing.is_empty(), "docs/limits.md lacks {missing:?}");
    }

    fn rust_in(folder: &std::path::Path) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                text.push_str(&rust_in(&path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
            }
        }
        text
    }

    #[test]
    fn the_document_has_every_default() {
        let document = include_str!("../../../docs/configuration.md");
        let loaded = freshet_runtime::config::load_from::<Settings>(&defaults(), None, ("FRESHET", &[]), &[]);
        let sources = loaded.unwrap_or_else(|error| panic!("{error}")).sources;
        assert!(sources.len() > 50, "{sources:?}");
        for (key, (value, _)) in sources {
            let row = document.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/configuration.md lacks {key}"));
            let shown = match value.as_str() {
                "" | freshet_runtime::secret::REDACTED => "| empty |".to_owned(),
                value => format!("| `{value}` |"),
            };
            assert!(row.contains(&shown), "the default of {key} is {value:?}: {row}");
        }
    }
}
