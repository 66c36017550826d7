//! Which views the active grants need now, compiled. A view is one distinct grant (dataset, fields, masks, row filter);
//! grants that agree share it, so cost grows with the number of distinct grants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use freshet_catalog_model::Catalog;
use freshet_catalog_model::compiled::{CompiledDataset, CompiledView};
use freshet_core::{Fault, topics};
use jiff::civil::Date;

/// One dataset of the catalogue with the views that are active.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) dataset: Arc<CompiledDataset>,
    /// By view id.
    pub(crate) views: BTreeMap<String, Arc<ActiveView>>,
}

#[derive(Debug)]
pub(crate) struct ActiveView {
    pub(crate) compiled: CompiledView,
    /// `view.<view>`
    pub(crate) topic: String,
    /// False where the dataset's division is a field that the grant does not have in clear: then the attribute, which
    /// repeats it, must not pass either (P6).
    pub(crate) passes_division: bool,
    /// What it was compiled from.
    dataset: Arc<CompiledDataset>,
}

/// By input topic (`dataset.<dataset>`). `before` are those of the previous snapshot: what did not change is kept.
pub(crate) fn prepare(
    catalog: &Catalog,
    today: Date,
    before: &BTreeMap<String, Arc<Routes>>,
) -> Result<BTreeMap<String, Arc<Routes>>, Fault> {
    let active: BTreeSet<&str> = catalog.active_grants(today).map(|grant| grant.view.as_str()).collect();
    let mut prepared = BTreeMap::new();
    for (id, dataset) in &catalog.datasets {
        let input = topics::dataset(id);
        let old = before.get(&input);
        let compiled = match old.filter(|old| old.dataset.dataset == *dataset) {
            Some(old) => Arc::clone(&old.dataset),
            None => CompiledDataset::compile(catalog, id).map_err(|error| Fault::fatal("prepare the views", error))?,
        };
        let mut views = BTreeMap::new();
        for view in catalog.views.values().filter(|view| view.dataset == *id && active.contains(view.id.as_str())) {
            let old = old.and_then(|old| old.views.get(&view.id));
            let kept = old.filter(|old| old.compiled.view == *view && Arc::ptr_eq(&old.dataset, &compiled));
            let ready = match kept {
                Some(kept) => Arc::clone(kept),
                None => Arc::new(ActiveView::compile(catalog, &compiled, &view.id)?),
            };
            views.insert(view.id.clone(), ready);
        }
        prepared.insert(input, Arc::new(Routes { dataset: compiled, views }));
    }
    Ok(prepared)
}

impl ActiveView {
    fn compile(catalog: &Catalog, dataset: &Arc<CompiledDataset>, id: &str) -> Result<Self, Fault> {
        let compiled =
            CompiledView::compile(catalog, dataset, id).map_err(|error| Fault::fatal("prepare the views", error))?;
        let passes_division = match &dataset.dataset.division.field {
            None => true,
            Some(field) => {
                let covers = |path: &String| {
                    field.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let view = &compiled.view;
                view.fields.iter().any(covers) && !view.masks.keys().any(covers)
            }
        };
        Ok(Self { compiled, topic: topics::view(id), passes_division, dataset: Arc::clone(dataset) })
    }
}
