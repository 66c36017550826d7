//! The shipped catalogue, made to fit this machine, and grants that come and go while the bus runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use freshet_catalog_model::{Catalog, Delivery, Grant, plan, yaml};

/// What the shipped grants have in place of their webhooks' addresses.
const PLACEHOLDER: &str = "http://127.0.0.1:18081/hook";
/// Departments that get a grant while the bus runs.
const LATECOMERS: usize = 60;
pub const WAYS: [&str; 4] = ["kafka", "pull", "webhook", "postgres"];

/// A folder to apply.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    webhook_port: u16,
}

impl Folder {
    pub fn write(path: &Path, webhook_port: u16) -> anyhow::Result<Self> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        let folder = Self { path: path.to_owned(), webhook_port };
        folder.copy(&shipped, path)?;
        let mut departments = std::fs::read_to_string(path.join("departments.yaml"))?;
        for number in 0..LATECOMERS {
            departments.push_str(&format!("\n{}:\n  title: {{en: Comes late}}\n", latecomer(number)));
        }
        std::fs::write(path.join("departments.yaml"), departments)?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As the bus will have it.
    pub fn read(&self) -> anyhow::Result<Catalog> {
        let lines = |problems: Vec<freshet_catalog_model::Diagnostic>| {
            anyhow::anyhow!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        let source = yaml::load(&self.path).map_err(lines)?;
        Ok(plan::diff(&source, &Catalog::default()).map_err(lines)?.after().clone())
    }

    /// A grant with a view of its own. Gives its id.
    pub fn add_grant(&self, number: usize, way: &str) -> anyhow::Result<String> {
        let id = latecomer(number % LATECOMERS);
        let delivery = match way {
            "webhook" => {
                format!("{{webhook: {{url: \"http://127.0.0.1:{}/{id}\", secret: late-hook}}}}", self.webhook_port)
            }
            "postgres" => format!("{{postgres: {{connection: late, table: public.late_{number}}}}}"),
            other => other.to_owned(),
        };
        let rows = match number % 2 {
            0 => format!("licence_no != '{id}'"),
            _ => format!("status in ('GRANTED', 'AMENDED') and licence_no != '{id}'"),
        };
        let text = format!(
            "subscriber: {id}\ndataset: licence\nfields: [licence_no, status, holder_name, fee_minor, updated_at]\n\
             rows: \"{rows}\"\npurpose: test\nlegal_basis: test\nvalid_from: 2020-01-01\nvalid_until: 2099-12-31\n\
             delivery: {delivery}\n"
        );
        std::fs::write(self.grant(&id), text)?;
        Ok(id)
    }

    /// By suspending it, or by taking its file away.
    pub fn end_grant(&self, id: &str, suspend: SuspendOrRemove) -> anyhow::Result<()> {
        let path = self.grant(id);
        match suspend {
            SuspendOrRemove::Suspend => {
                let text = std::fs::read_to_string(&path)?;
                std::fs::write(&path, text + "status: suspended\n")?;
            }
            SuspendOrRemove::Remove => std::fs::remove_file(&path)?,
        }
        Ok(())
    }

    fn grant(&self, id: &str) -> PathBuf {
        self.path.join(format!("grants/{id}.yaml"))
    }

    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
            let path = entry?.path();
            let Some(name) = path.file_name() else { continue };
            if path.is_dir() {
                if name != "examples" {
                    self.copy(&path, &to.join(name))?;
                }
                continue;
            }
            let grant = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let own = format!("http://127.0.0.1:{}/{grant}", self.webhook_port);
            std::fs::write(to.join(name), std::fs::read_to_string(&path)?.replace(PLACEHOLDER, &own))?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuspendOrRemove {
    Suspend,
    Remove,
}

fn latecomer(number: usize) -> String {
    format!("late-{number}")
}

/// The files in the secrets folder that these grants name, and those of the latecomers.
pub fn secrets<'a>(grants: impl Iterator<Item = &'a Grant>, database: &str) -> Vec<(String, String)> {
    // The latecomers share one of each.
    let mut secrets =
        BTreeMap::from([("late".to_owned(), database.to_owned()), ("late-hook".to_owned(), WEBHOOK_SECRET.to_owned())]);
    for grant in grants {
        match &grant.delivery {
            Delivery::Webhook { secret, .. } => drop(secrets.insert(secret.clone(), WEBHOOK_SECRET.to_owned())),
            Delivery::Postgres { connection, .. } => drop(secrets.insert(connection.clone(), database.to_owned())),
            Delivery::Kafka | Delivery::Pull => {}
        }
    }
    secrets.into_iter().collect()
}

pub const WEBHOOK_SECRET: &str = "whsec_ZmF1bHQtdGVzdC1zZWNyZXQtb2YtdHdlbnR5LWZvdXItYnl0ZXM=";
