//! Which files a catalogue folder has.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use freshet_core::nearest::nearest;

use super::dataset::is_dataset_id;
use super::node::MAX_BYTES;
use crate::diagnostic::{Diagnostic, Place};

/// Files by what they are, relative to the folder.
#[derive(Debug, Default)]
pub struct Listing {
    pub departments: Option<String>,
    pub datasets: BTreeMap<String, DatasetNames>,
    pub grants: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct DatasetNames {
    pub dataset: String,
    /// Oldest first.
    pub schemas: Vec<String>,
}

/// Grants of a catalogue: each is one subscription.
pub const MAX_GRANTS: usize = 10_000;
/// Datasets of a catalogue.
pub const MAX_DATASETS: usize = 10_000;

const DEPARTMENTS: &str = "departments.yaml";
const DATASET: &str = "dataset.yaml";
const GRANTS: &str = "grants";

pub fn list(dir: &Path, found: &mut Vec<Diagnostic>) -> Listing {
    let mut listing = Listing::default();
    let Some(entries) = entries(dir, "", found) else { return listing };
    let is_empty = entries.is_empty();
    let mut is_misnamed = false;
    for entry in entries {
        match entry.name.as_str() {
            DEPARTMENTS if !entry.is_dir => listing.departments = Some(entry.name),
            GRANTS if entry.is_dir => list_grants(dir, found, &mut listing.grants),
            _ if entry.is_dir => {
                if let Some(names) = list_dataset(dir, &entry.name, found) {
                    listing.datasets.insert(entry.name, names);
                }
            }
            _ => is_misnamed |= refuse_lookalike(&entry.name, "", DEPARTMENTS, found),
        }
    }
    for (what, count, most) in
        [("grants", listing.grants.len(), MAX_GRANTS), ("datasets", listing.datasets.len(), MAX_DATASETS)]
    {
        if count > most {
            let message = format!("{count} {what}; at most {most} are taken");
            found.push(Diagnostic::new(Place::file("."), message, "divide the catalogue over two buses"));
        }
    }
    if is_empty {
        let mend = "give the path of a catalogue folder, or write one: docs/catalogue.md shows the form";
        found.push(Diagnostic::new(Place::file("."), format!("the folder {} is empty", dir.display()), mend));
    } else if listing.departments.is_none() && !is_misnamed {
        let mend = "write it (docs/catalogue.md shows the form), or give the folder in which it stands";
        found.push(Diagnostic::new(Place::file(DEPARTMENTS), "the file is missing", mend));
    }
    listing
}

fn list_grants(dir: &Path, found: &mut Vec<Diagnostic>, grants: &mut BTreeMap<String, String>) {
    for entry in entries(dir, GRANTS, found).unwrap_or_default() {
        let file = format!("{GRANTS}/{}", entry.name);
        match entry.name.strip_suffix(".yaml") {
            Some(id) if !entry.is_dir && super::departments::is_department_id(id) => {
                grants.insert(id.to_owned(), file);
            }
            Some(_) if !entry.is_dir => {
                let mend = "name the file with a to z, 0 to 9 and `-`, at most 64 characters";
                found.push(Diagnostic::new(Place::file(file), "the file's name cannot be a grant's id", mend));
            }
            _ if entry.is_dir => {
                let mend = "put each grant into a file `grants/<grant>.yaml`";
                found.push(Diagnostic::new(Place::file(file), "not read: it is a folder", mend));
            }
            _ if entry.name.ends_with(".yml") => {
                let mend = format!("rename it to `{}.yaml`", file.trim_end_matches(".yml"));
                found.push(Diagnostic::new(Place::file(file), "not read: it is no `.yaml` file", mend));
            }
            _ => {}
        }
    }
}

fn list_dataset(dir: &Path, id: &str, found: &mut Vec<Diagnostic>) -> Option<DatasetNames> {
    let files = entries(dir, id, found)?;
    let names: Vec<&str> = files.iter().filter(|entry| !entry.is_dir).map(|entry| entry.name.as_str()).collect();
    let dataset = format!("{id}/{DATASET}");
    if !names.contains(&DATASET) {
        let misnamed = names.iter().filter(|name| refuse_lookalike(name, id, DATASET, found)).count();
        if misnamed == 0 && names.iter().any(|name| name.ends_with(".avsc")) {
            let mend = format!("write it beside the schema: docs/catalogue.md shows the form of `{DATASET}`");
            found.push(Diagnostic::new(Place::file(dataset), "the file is missing", mend));
        }
        return None;
    }
    if !is_dataset_id(id) {
        let message = format!("the folder's name `{id}` cannot be a dataset's id");
        let mend = "name the folder with a to z, 0 to 9 and `_`, beginning with a letter, at most 64";
        found.push(Diagnostic::new(Place::file(&dataset), message, mend));
    }
    Some(DatasetNames { dataset, schemas: list_schemas(id, &names, found) })
}

fn list_schemas(id: &str, names: &[&str], found: &mut Vec<Diagnostic>) -> Vec<String> {
    let today = format!("{id}.avsc");
    let mut versions: BTreeMap<u32, &str> = BTreeMap::new();
    for name in names.iter().filter(|name| name.ends_with(".avsc") && **name != today) {
        let number = name
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix(".v")?.strip_suffix(".avsc")?.parse::<u32>().ok())
            .filter(|number| *name == format!("{id}.v{number}.avsc") && *number > 0);
        match number {
            Some(number) => drop(versions.insert(number, name)),
            None => {
                let mend = format!("call today's schema `{today}` and earlier ones `{id}.v1.avsc`, `{id}.v2.avsc`, …");
                found.push(Diagnostic::new(Place::file(format!("{id}/{name}")), "not read: unknown name", mend));
            }
        }
    }
    for (expected, (number, name)) in (1..).zip(&versions) {
        if *number != expected {
            let message = format!("version {expected} is missing before it");
            found.push(Diagnostic::new(Place::file(format!("{id}/{name}")), message, "count versions from v1"));
            break;
        }
    }
    if !names.contains(&today.as_str()) {
        let file = Place::file(format!("{id}/{today}"));
        found.push(Diagnostic::new(file, "the dataset has no schema", "write its Avro schema (JSON) there"));
        return Vec::new();
    }
    versions.into_values().chain([today.as_str()]).map(|name| format!("{id}/{name}")).collect()
}

/// Whether the name is nearly the expected one, which is then reported.
fn refuse_lookalike(name: &str, folder: &str, expected: &str, found: &mut Vec<Diagnostic>) -> bool {
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml")).unwrap_or(name);
    let known = expected.trim_end_matches(".yaml");
    let is_near = stem == known || nearest(stem, [known]).is_some() && stem != name;
    if is_near {
        let file = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        let mend = format!("rename it to `{expected}`");
        found.push(Diagnostic::new(Place::file(file), "not read: unknown name", mend));
    }
    is_near
}

struct Entry {
    name: String,
    is_dir: bool,
}

/// The entries of a folder by name, without hidden ones.
fn entries(dir: &Path, folder: &str, found: &mut Vec<Diagnostic>) -> Option<Vec<Entry>> {
    let path = if folder.is_empty() { dir.to_owned() } else { dir.join(folder) };
    let read = || -> std::io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            // `metadata` follows links: a mounted ConfigMap is made of them.
            let is_dir = fs::metadata(entry.path())?.is_dir();
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), is_dir });
        }
        Ok(entries)
    };
    match read() {
        Ok(mut entries) => {
            entries.retain(|entry| !entry.name.starts_with('.'));
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Some(entries)
        }
        Err(error) => {
            let message = format!("the folder {} cannot be read: {error}", path.display());
            let name = if folder.is_empty() { "." } else { folder };
            found.push(Diagnostic::new(Place::file(name), message, "give the path of a catalogue folder"));
            None
        }
    }
}

/// A file's text, without a byte order mark.
pub fn read(dir: &Path, file: &str, found: &mut Vec<Diagnostic>) -> Option<String> {
    let mut fail = |message: String, mend: &str| {
        found.push(Diagnostic::new(Place::file(file), message, mend));
        None
    };
    let mut bytes = Vec::new();
    let read = fs::File::open(dir.join(file)).and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return fail(format!("cannot be read: {error}"), "check the file and its permissions");
    }
    if bytes.len() as u64 > MAX_BYTES {
        return fail("larger than 1 MiB".to_owned(), "no file of a catalogue is that large");
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
            fail(format!("line {line} is not UTF-8"), "save the file as UTF-8")
        }
    }
}
