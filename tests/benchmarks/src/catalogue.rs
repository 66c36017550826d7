//! The benchmark's catalogues, as files in memory, so that the command needs no folder beside it: the one of the tables,
//! and what is added to it where a cost is measured over something that grows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use freshet_catalog_model::{Catalog, plan, yaml};

/// By path below the catalogue's folder.
pub type Files = BTreeMap<String, String>;

const BASE: &[(&str, &str)] = &[
    ("departments.yaml", include_str!("../catalogue/departments.yaml")),
    ("licence/dataset.yaml", include_str!("../catalogue/licence/dataset.yaml")),
    ("licence/licence.avsc", include_str!("../catalogue/licence/licence.avsc")),
    ("grants/counter.yaml", include_str!("../catalogue/grants/counter.yaml")),
    ("grants/tax.yaml", include_str!("../catalogue/grants/tax.yaml")),
    ("grants/police.yaml", include_str!("../catalogue/grants/police.yaml")),
];

/// What a service counter may know of a licence; the shortest of the views.
pub const COUNTER_FIELDS: &str = "licence_no, status, licence_type, holder_name, valid_until, updated_at";

/// One dataset of licences and three views of it.
pub fn base() -> Files {
    BASE.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// The departments and the dataset alone: nobody subscribes.
pub fn without_grants() -> Files {
    base().into_iter().filter(|(name, _)| !name.starts_with("grants/")).collect()
}

/// A further dataset of licences, with so many rules beside the two that licences have.
pub fn add_dataset(files: &mut Files, id: &str, partitions: u32, rules: u32) -> anyhow::Result<()> {
    let text = |name: &str| files.get(name).cloned().with_context(|| format!("no {name}"));
    let mut dataset = text("licence/dataset.yaml")?.replace("partitions: 4", &format!("partitions: {partitions}"));
    for number in 0..rules {
        dataset.push_str(&format!(
            "  - {{name: more_{number}, require: \"licence_type != 'NONE-{number}'\", message: {{en: no such type}}}}\n"
        ));
    }
    let schema = text("licence/licence.avsc")?;
    files.insert(format!("{id}/dataset.yaml"), dataset);
    files.insert(format!("{id}/{id}.avsc"), schema);
    Ok(())
}

/// A department that subscribes to all of a dataset's rows, or to those for which `rows` is true, by Kafka.
pub fn add_subscriber(files: &mut Files, id: &str, dataset: &str, (fields, rows): (&str, Option<&str>)) {
    let departments = files.entry("departments.yaml".to_owned()).or_default();
    departments.push_str(&format!("{id}:\n  title: {{en: Subscriber {id}}}\n"));
    let rows = rows.map_or_else(String::new, |rows| format!("rows: \"{rows}\"\n"));
    let grant = format!(
        "subscriber: {id}\ndataset: {dataset}\nfields: [{fields}]\n{rows}purpose: benchmark\nlegal_basis: none\n\
         valid_from: 2020-01-01\nvalid_until: 2099-12-31\ndelivery: kafka\n"
    );
    files.insert(format!("grants/{id}.yaml"), grant);
}

/// What brings a bus that has `current` to what the files say.
pub fn changes(files: &Files, current: &Catalog, folder: &Path) -> anyhow::Result<plan::ChangeSet> {
    let directory = tempfile::tempdir_in(folder)?;
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().context("no parent")?)?;
        std::fs::write(path, text)?;
    }
    let problems = |diagnostics: Vec<freshet_catalog_model::Diagnostic>| {
        anyhow::anyhow!(diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let source = yaml::load(directory.path()).map_err(problems)?;
    plan::diff(&source, current).map_err(problems)
}
