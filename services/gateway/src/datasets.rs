//! The datasets of the live catalogue, compiled once per revision.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use freshet_catalog_model::Catalog;
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_core::topics;
use freshet_kafka::catalog::{CatalogHandle, Snapshot};
use freshet_mapping::Mapper;

#[derive(Debug)]
pub struct Datasets {
    handle: CatalogHandle,
    max_line_bytes: usize,
    current: ArcSwap<Compiled>,
    compiling: Mutex<()>,
}

/// One revision of the catalogue.
#[derive(Debug, Default)]
pub struct Compiled {
    pub snapshot: Arc<Snapshot>,
    datasets: BTreeMap<String, Result<Arc<Dataset>, String>>,
}

#[derive(Debug)]
pub struct Dataset {
    pub compiled: Arc<CompiledDataset>,
    pub publish_topic: String,
    /// Why files cannot be taken, where they cannot.
    pub mapper: Result<Mapper, String>,
}

impl Datasets {
    pub fn new(handle: CatalogHandle, max_line_bytes: usize) -> Self {
        Self { handle, max_line_bytes, current: ArcSwap::default(), compiling: Mutex::default() }
    }

    /// `None` while the catalogue was not read to its end, or cannot be followed any more (P10).
    pub fn current(&self) -> Option<Arc<Compiled>> {
        if !self.handle.is_ready() {
            return None;
        }
        let snapshot = self.handle.current();
        let current = self.current.load_full();
        if current.snapshot.revision == snapshot.revision {
            return Some(current);
        }
        let _once = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if current.snapshot.revision == snapshot.revision {
            return Some(current);
        }
        let compiled = Arc::new(Compiled::new(snapshot, self.max_line_bytes));
        self.current.store(Arc::clone(&compiled));
        Some(compiled)
    }
}

impl Compiled {
    fn new(snapshot: Arc<Snapshot>, max_line_bytes: usize) -> Self {
        let mut datasets = BTreeMap::new();
        for id in snapshot.catalog.datasets.keys() {
            let dataset = Dataset::compile(&snapshot.catalog, id, max_line_bytes);
            if let Err(reason) = &dataset {
                tracing::error!(dataset = %id, reason, "dataset cannot be compiled, its events are not taken");
            }
            datasets.insert(id.clone(), dataset.map(Arc::new));
        }
        Self { snapshot, datasets }
    }

    /// `None`: not in the catalogue. `Err`: it is, but cannot be served.
    pub fn get(&self, id: &str) -> Option<&Result<Arc<Dataset>, String>> {
        self.datasets.get(id)
    }

    pub fn catalog(&self) -> &Catalog {
        &self.snapshot.catalog
    }

    /// Those that this department is an authority of.
    pub fn of_department<'a>(&'a self, department: &'a str) -> impl Iterator<Item = &'a Arc<Dataset>> {
        self.datasets.values().filter_map(|dataset| dataset.as_ref().ok()).filter(|dataset| dataset.is_of(department))
    }
}

impl Dataset {
    fn compile(catalog: &Catalog, id: &str, max_line_bytes: usize) -> Result<Self, String> {
        let compiled = CompiledDataset::compile(catalog, id).map_err(|error| error.to_string())?;
        let mapper = Mapper::compile(&compiled)
            .map(|mapper| mapper.with_limit_bytes(max_line_bytes))
            .map_err(|error| error.to_string());
        Ok(Self { compiled, publish_topic: topics::publish(id), mapper })
    }

    pub fn id(&self) -> &str {
        &self.compiled.dataset.id
    }

    /// An authority for at least one division.
    pub fn is_of(&self, department: &str) -> bool {
        self.compiled.dataset.authorities.iter().any(|authority| authority.department == department)
    }
}
