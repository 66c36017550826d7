//! Reads a catalogue folder. The form of its files is described in `docs/catalogue.md`.

mod dataset;
mod departments;
mod folder;
mod grant;
mod mapping;
mod node;
mod reader;
mod syntax;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) use dataset::Draft as DatasetDraft;
pub use dataset::MAX_RULES;
pub use departments::MAX_ID;
pub use folder::{MAX_DATASETS, MAX_GRANTS};
pub(crate) use node::{Document, Kind};
pub use node::{MAX_BYTES, MAX_DEPTH};

use crate::catalog::Catalog;
use crate::check;
use crate::diagnostic::{Diagnostic, Place};
use crate::entry::Department;
use crate::plan;
use crate::source::{SourceCatalog, SourceDataset, SourceSchema};
use reader::Reader;

/// Reads and checks every file of the folder.
///
/// # Errors
/// Every mistake of every file, by file and line.
pub fn load(dir: &Path) -> Result<SourceCatalog, Vec<Diagnostic>> {
    let found = RefCell::new(Vec::new());
    let files = Files::read(dir, &found);
    let mut diagnostics = found.into_inner();
    check::check(&files, &mut diagnostics);
    if diagnostics.is_empty() {
        return Ok(files.into_source());
    }
    diagnostics.sort();
    diagnostics.dedup();
    Err(diagnostics)
}

/// The catalogue that a bus has which was started with the folder: for tests and for tools without a bus.
///
/// # Errors
/// Like [`load`], and what [`plan::diff`] refuses.
pub fn load_catalog(dir: &Path) -> Result<Catalog, Vec<Diagnostic>> {
    plan::diff(&load(dir)?, &Catalog::default()).map(plan::ChangeSet::into_after)
}

/// What could be read, with the documents that say where it stands. `None` stands for what is there but was refused, so
/// that nothing which refers to it is blamed too.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub departments: Option<(Document, BTreeMap<String, Option<Department>>)>,
    pub datasets: BTreeMap<String, DatasetFiles>,
    pub grants: BTreeMap<String, (Document, Option<grant::Draft>)>,
}

#[derive(Debug)]
pub(crate) struct DatasetFiles {
    pub document: Option<Document>,
    pub dataset: Option<dataset::Draft>,
    /// Oldest first; the last is today's. Empty where that is missing.
    pub schemas: Vec<SourceSchema>,
}

impl Files {
    fn read(dir: &Path, found: &RefCell<Vec<Diagnostic>>) -> Self {
        let listing = folder::list(dir, &mut found.borrow_mut());
        let open = |file: &str| {
            let text = folder::read(dir, file, &mut found.borrow_mut())?;
            let mut found = found.borrow_mut();
            Document::parse(file, &text, &mut found).map_err(|diagnostic| found.push(diagnostic)).ok()
        };
        let departments = listing.departments.as_deref().and_then(open).map(|document| {
            let departments = departments::read(Reader { document: &document, found });
            (document, departments)
        });
        let datasets = listing.datasets.iter().map(|(id, names)| {
            let document = open(&names.dataset);
            let dataset = document.as_ref().and_then(|document| dataset::read(Reader { document, found }, id));
            let read = |file: &String| {
                let avsc = folder::read(dir, file, &mut found.borrow_mut())?;
                Some(SourceSchema { file: file.clone(), avsc })
            };
            let schemas = names.schemas.iter().map(read).collect::<Option<Vec<_>>>().unwrap_or_default();
            (id.clone(), DatasetFiles { document, dataset, schemas })
        });
        let datasets = datasets.collect();
        let grants = listing.grants.iter().filter_map(|(id, file)| {
            let document = open(file)?;
            let grant = grant::read(Reader { document: &document, found }, id);
            Some((id.clone(), (document, grant)))
        });
        let grants = grants.collect();
        Self { departments, datasets, grants }
    }

    /// The ids of all departments, also of those that were refused.
    pub fn department_ids(&self) -> BTreeSet<&str> {
        self.departments.iter().flat_map(|(_, departments)| departments.keys().map(String::as_str)).collect()
    }

    /// Called only where nothing was refused.
    fn into_source(self) -> SourceCatalog {
        let departments = self.departments.into_iter().flat_map(|(_, departments)| departments);
        let datasets = self.datasets.into_iter().filter_map(|(id, files)| {
            let at = |key: &str| match &files.document {
                Some(document) => document.key_place(&[key]),
                None => Place::file(&id),
            };
            let source = SourceDataset {
                partitions_at: at("partitions"),
                key_at: at("key"),
                version_at: at("version"),
                mapping_at: at("mapping"),
                dataset: files.dataset?.dataset,
                schemas: files.schemas,
            };
            Some((id, source))
        });
        SourceCatalog {
            departments: departments.filter_map(|(id, department)| Some((id, department?))).collect(),
            datasets: datasets.collect(),
            grants: self.grants.into_iter().filter_map(|(id, (_, draft))| Some((id, draft?.grant))).collect(),
        }
    }
}
