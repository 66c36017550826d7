//! From a folder of files to the bus. These functions block.

use std::path::Path;
use std::time::Duration;

use freshet_catalog_model::access::{self, AccessChange, Acl, Roles};
use freshet_catalog_model::compiled::{CompiledDataset, CompiledView};
use freshet_catalog_model::diagnostic::Place;
use freshet_catalog_model::{Catalog, ChangeSet, Diagnostic, SourceCatalog, plan, yaml};
use freshet_kafka::{Connection, acl, admin, catalog};
use freshet_mapping::{Mapper, MapperError};
use serde::{Serialize, Serializer};

use crate::Error;

const REACH_LIMIT: Duration = Duration::from_secs(10);

/// Reads and checks a folder, without a bus.
///
/// # Errors
/// Every mistake of every file, and what a bus without a catalogue would refuse.
pub fn validate(dir: &Path) -> Result<SourceCatalog, Error> {
    let source = yaml::load(dir).map_err(Error::Refused)?;
    plan(&source, &Catalog::default())?;
    Ok(source)
}

/// What an apply would change in the catalogue.
pub fn diff(connection: &Connection, dir: &Path) -> Result<ChangeSet, Error> {
    let source = yaml::load(dir).map_err(Error::Refused)?;
    plan(&source, &catalog::read_once(connection)?)
}

/// Everything that a folder's departments and the roles need on Kafka today, without a bus.
pub fn access(roles: &Roles, dir: &Path) -> Result<Vec<Acl>, Error> {
    let source = yaml::load(dir).map_err(Error::Refused)?;
    let changes = plan(&source, &Catalog::default())?;
    roles.check(changes.after()).map_err(Error::Access)?;
    Ok(access::access_of(changes.after(), roles, today()).into_iter().collect())
}

/// What an apply would change in the catalogue, and in what everybody may do on Kafka itself: None where the cluster has
/// no authorizer.
fn differences(connection: &Connection, roles: &Roles, dir: &Path) -> Result<(ChangeSet, Option<AccessChange>), Error> {
    let source = yaml::load(dir).map_err(Error::Refused)?;
    // A cluster that is not there, or does not let us in, is told at once and with the reason.
    admin::is_reachable(connection, REACH_LIMIT)?;
    let current = catalog::read_once(connection)?;
    let changes = plan(&source, &current)?;
    roles.check(changes.after()).map_err(Error::Access)?;
    let access = acl::describe(connection)?;
    let access = access.map(|has| access::change(&current, changes.after(), roles, today(), &has));
    Ok((changes, access))
}

pub(crate) fn today() -> jiff::civil::Date {
    jiff::Zoned::now().date()
}

/// The difference, which every service can work with: what only the compilers can refuse is refused here, not by a
/// service that stops.
fn plan(source: &SourceCatalog, current: &Catalog) -> Result<ChangeSet, Error> {
    let changes = plan::diff(source, current).map_err(Error::Refused)?;
    let mut refused = Vec::new();
    for (id, files) in &source.datasets {
        refused.extend(what_does_not_compile(changes.after(), id, &files.mapping_at));
    }
    if refused.is_empty() { Ok(changes) } else { Err(Error::Refused(refused)) }
}

/// What a service that works with this dataset would stop with.
pub(crate) fn what_does_not_compile(catalog: &Catalog, id: &str, place: &Place) -> Vec<Diagnostic> {
    let refuse = |problem: String, mend: &str| Diagnostic::new(place.clone(), problem, mend);
    let dataset = match CompiledDataset::compile(catalog, id) {
        Ok(dataset) => dataset,
        Err(error) => return vec![refuse(error.to_string(), "mend the dataset or its schema")],
    };
    let mut refused = Vec::new();
    for view in catalog.views.values().filter(|view| view.dataset == *id) {
        if let Err(error) = CompiledView::compile(catalog, &dataset, &view.id) {
            refused.push(refuse(error.to_string(), "mend the grants that read this view"));
        }
    }
    if catalog.datasets.get(id).is_some_and(|dataset| dataset.mapping.is_some())
        && let Err(MapperError(problems)) = Mapper::compile(&dataset)
    {
        let mend = "mend the mapping (docs/catalogue.md)";
        refused.extend(problems.into_iter().map(|problem| refuse(problem, mend)));
    }
    refused
}

/// Makes the bus's catalogue what the folder says: first the topics, then all entries in one transaction, so that whoever
/// follows the catalogue finds the topics that it names. With `dry_run`, only says what it would do. Running it again
/// changes nothing.
///
/// # Errors
/// [`Error::Refused`] before anything was changed. Topics that were made before a later error stay, and do no harm.
pub fn apply(connection: &Connection, roles: &Roles, dir: &Path, dry_run: bool) -> Result<Report, Error> {
    let (changes, access) = differences(connection, roles, dir)?;
    if dry_run {
        return Ok(Report { changes, access, dry_run, created: Vec::new(), altered: Vec::new() });
    }
    make(connection, changes, access)
}

/// Makes the change: access that is taken away, topics, entries, access that is given.
pub(crate) fn make(connection: &Connection, changes: ChangeSet, access: Option<AccessChange>) -> Result<Report, Error> {
    let mut report = Report { changes, access, dry_run: false, created: Vec::new(), altered: Vec::new() };
    // What is taken away goes first: were the rest to fail, nobody may do more than before.
    if let Some(access) = &report.access {
        acl::delete(connection, &access.remove)?;
    }
    // Also where nothing changes: a topic that somebody deleted or altered by hand is mended.
    let ensured = admin::ensure_topics(connection, &report.changes.topics())?;
    report.created = ensured.created;
    report.altered = ensured.altered;
    report.altered.extend(ensured.grown);
    report.altered.sort();
    report.altered.dedup();
    catalog::write(connection, &report.changes.puts(), &report.changes.removals())?;
    if let Some(access) = &report.access {
        acl::create(connection, &access.add)?;
    }
    Ok(report)
}

/// What an apply did, or would do.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "as_lines")]
    pub changes: ChangeSet,
    /// None where the cluster has no authorizer: everybody who reaches it may do everything.
    pub access: Option<AccessChange>,
    pub dry_run: bool,
    /// Topics.
    pub created: Vec<String>,
    /// Topics.
    pub altered: Vec<String>,
}

fn as_lines<S: Serializer>(changes: &ChangeSet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(changes.lines())
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let access = self.access.as_ref().map(AccessChange::lines).unwrap_or_default();
        if access.is_empty() || !self.changes.is_empty() {
            write!(f, "{}", self.changes)?;
        }
        for line in &access {
            writeln!(f, "{line}")?;
        }
        match (self.dry_run, self.changes.is_empty() && access.is_empty()) {
            (true, _) => writeln!(f, "Nothing was changed: this was a dry run."),
            (false, true) if self.created.is_empty() && self.altered.is_empty() => Ok(()),
            (false, _) => {
                let (created, altered) = (self.created.len(), self.altered.len());
                writeln!(f, "Applied. {created} topics created, {altered} altered.")
            }
        }
    }
}
