//! The catalogue and the data that the repository ships.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use freshet_avro::Plan;
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_catalog_model::yaml;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// One dataset of a catalogue folder, compiled. Panics with the folder's mistakes.
pub fn dataset(folder: &Path, id: &str) -> CompiledDataset {
    let source = yaml::load(folder).unwrap_or_else(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        panic!("{}:\n{}", folder.display(), lines.join("\n"));
    });
    let dataset = source.datasets.get(id).unwrap_or_else(|| panic!("no dataset {id} in {}", folder.display()));
    let mut plans = Vec::new();
    for (id, schema) in (1..).zip(&dataset.schemas) {
        let plan = Plan::compile(&schema.avsc).unwrap_or_else(|error| panic!("{}: {error}", schema.file));
        plans.push((id, Arc::new(plan)));
    }
    CompiledDataset::from_plans(dataset.dataset.clone(), &plans).unwrap_or_else(|error| panic!("{error}"))
}

pub fn open(file: &str) -> impl BufRead {
    let path = repository().join("services/demo/data").join(file);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    BufReader::new(flate2::read::GzDecoder::new(file))
}
