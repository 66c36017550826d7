//! The repository's own catalogue.

use std::path::Path;

use freshet_catalog_model::compiled::{CompiledDataset, CompiledView};
use freshet_catalog_model::{Catalog, plan, yaml};

#[test]
fn the_repositorys_catalogue_is_good() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../schemas");
    let source = match yaml::load(&dir) {
        Ok(source) => source,
        Err(diagnostics) => {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"));
        }
    };
    let changes = plan::diff(&source, &Catalog::default()).expect("an empty bus refuses nothing");
    let catalog = changes.after();
    for id in catalog.datasets.keys() {
        let dataset = CompiledDataset::compile(catalog, id).unwrap_or_else(|error| panic!("{error}"));
        for view in catalog.views.values().filter(|view| view.dataset == *id) {
            CompiledView::compile(catalog, &dataset, &view.id).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(plan::diff(&source, catalog).expect("the same files").is_empty());
}
