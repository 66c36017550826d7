//! The catalogue as one file, and back: what a cluster that was lost is built anew from, together with the publishers'
//! snapshots (`docs/disaster.md`). Ids and versions of schemas are kept, so that bytes that were written with them still
//! decode. These functions block.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};

use freshet_catalog_model::access::{self, Roles};
use freshet_catalog_model::diagnostic::Place;
use freshet_catalog_model::{Catalog, Dataset, Diagnostic, Entry, plan};
use freshet_kafka::{Connection, acl, catalog};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::apply::{Report, make, today, what_does_not_compile};

const FORMAT: &str = "freshet catalogue";
const VERSION: u32 = 1;

/// The file: JSON, entries in the form of the topic `freshet.catalog`, each after those that it refers to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    format: String,
    version: u32,
    /// When the catalogue was changed last. Two files of one catalogue are the same, whenever they were written.
    changed_at: jiff::Timestamp,
    entries: Vec<Entry>,
}

/// Only this much is read of a file whose version is not ours.
#[derive(Debug, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// What stands in a file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub file: PathBuf,
    pub changed_at: jiff::Timestamp,
    pub departments: usize,
    pub datasets: usize,
    pub schemas: usize,
    pub grants: usize,
    pub views: usize,
}

/// Whether a catalogue that was changed after the file's may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    Refuse,
    Overwrite,
}

/// Writes the bus's catalogue to a file, whole or not at all.
///
/// # Errors
/// Also where the bus has no catalogue: an empty file over yesterday's would be no backup.
pub fn export(connection: &Connection, file: &Path) -> Result<Exported, Error> {
    let failed = |reason: String| Error::Backup { file: file.to_owned(), reason };
    let dated = catalog::read_dated(connection)?;
    let (catalog, Some(changed_at)) = (dated.catalog, dated.changed_at) else {
        return Err(failed("not written: the bus has no catalogue".to_owned()));
    };
    let exported = Exported {
        file: file.to_owned(),
        changed_at,
        departments: catalog.departments.len(),
        datasets: catalog.datasets.len(),
        schemas: catalog.schemas.len(),
        grants: catalog.grants.len(),
        views: catalog.views.len(),
    };
    let entries = catalog.entries().collect();
    let backup = Backup { format: FORMAT.to_owned(), version: VERSION, changed_at, entries };
    let mut text = serde_json::to_vec_pretty(&backup).map_err(|error| failed(error.to_string()))?;
    text.push(b'\n');
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut new| new.write_all(&text).and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&beside, file));
    written.map_err(|error| failed(format!("cannot be written: {error}")))?;
    Ok(exported)
}

/// Makes the bus's catalogue what the file says: topics, access, entries, as an apply does. Schemas that only the bus has
/// stay: records that were written with them may still be read. A second import changes nothing.
///
/// # Errors
/// [`Error::Backup`] for a file that is none, [`Error::Refused`] for one that is not whole or that means other things by an
/// id or a topic than this bus, [`Error::Newer`]. Nothing was changed then.
pub fn import(connection: &Connection, roles: &Roles, file: &Path, newer: Newer) -> Result<Report, Error> {
    let (catalog, changed_at) = read(file)?;
    let dated = catalog::read_dated(connection)?;
    let (after, refused) = onto(&dated.catalog, catalog, file);
    if !refused.is_empty() {
        return Err(Error::Refused(refused));
    }
    let changes = plan::replace(&dated.catalog, after);
    if let Some(bus) = dated.changed_at
        && !changes.is_empty()
        && bus > changed_at
        && newer == Newer::Refuse
    {
        return Err(Error::Newer { file: file.to_owned(), file_changed_at: changed_at, bus_changed_at: bus });
    }
    roles.check(changes.after()).map_err(Error::Access)?;
    let has = acl::describe(connection)?;
    let access = has.map(|has| access::change(&dated.catalog, changes.after(), roles, today(), &has));
    make(connection, changes, access)
}

fn read(file: &Path) -> Result<(Catalog, jiff::Timestamp), Error> {
    let failed = |reason: String| Error::Backup { file: file.to_owned(), reason };
    let text = File::open(file).and_then(|file| std::io::read_to_string(BufReader::new(file)));
    let text = text.map_err(|error| failed(format!("cannot be read: {error}")))?;
    let head: Head = serde_json::from_str(&text)
        .map_err(|error| failed(format!("is not a whole file of `freshet catalog export`: {error}")))?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(failed(format!(
            "is `{}` version {}; this program reads `{FORMAT}` version {VERSION}",
            head.format, head.version
        )));
    }
    let backup: Backup = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let mut catalog = Catalog::default();
    let mut count = 0;
    for entry in backup.entries {
        count += 1;
        catalog.insert(entry);
    }
    if catalog.entries().count() != count {
        return Err(failed("has an entry twice".to_owned()));
    }
    Ok((catalog, backup.changed_at))
}

/// The catalogue once the file is imported, and why it may not be.
fn onto(current: &Catalog, file: Catalog, name: &Path) -> (Catalog, Vec<Diagnostic>) {
    let mut refused = Vec::new();
    let place = || Place::file(name.display().to_string());
    let elsewhere = "import it into a cluster without a catalogue";
    let mut after = file;
    for (id, known) in &current.schemas {
        match after.schemas.get(id) {
            None => drop(after.schemas.insert(*id, known.clone())),
            Some(other) if other != known => {
                let message = format!("schema id {id} is {} on the bus, and {} here", known.subject, other.subject);
                refused.push(Diagnostic::new(place(), message, elsewhere));
            }
            Some(_) => {}
        }
    }
    for (id, known) in &current.datasets {
        let fixed = |dataset: &Dataset| (dataset.partitions, dataset.key.clone(), dataset.version.clone());
        if after.datasets.get(id).is_some_and(|other| fixed(other) != fixed(known)) {
            let message = format!("dataset {id} has other partitions, another key or another version on the bus");
            refused.push(Diagnostic::new(place(), message, elsewhere));
        }
    }
    let incomplete = "take another export: this one is not what `freshet catalog export` writes";
    for grant in after.grants.values().filter(|grant| !after.views.contains_key(&grant.view)) {
        let message = format!("grant {} reads view {}, which is not here", grant.id, grant.view);
        refused.push(Diagnostic::new(place(), message, incomplete));
    }
    for id in after.datasets.keys() {
        refused.extend(what_does_not_compile(&after, id, &place()));
    }
    for view in after.views.values().filter(|view| !after.datasets.contains_key(&view.dataset)) {
        let message = format!("view {} is of dataset {}, which is not here", view.id, view.dataset);
        refused.push(Diagnostic::new(place(), message, incomplete));
    }
    (after, refused)
}
