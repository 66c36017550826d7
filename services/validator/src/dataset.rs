//! The datasets of the catalogue's current snapshot, ready for the hot path.

use std::collections::BTreeMap;
use std::sync::Arc;

use freshet_catalog_model::compiled::CompiledDataset;
use freshet_catalog_model::{Catalog, KeyForm, Transitions, VersionRule};
use freshet_core::{Fault, topics};
use jiff::SignedDuration;

/// One dataset and where its events go.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) compiled: Arc<CompiledDataset>,
    /// `dataset.<dataset>`
    pub(crate) topic: String,
    /// How long an accepted `source` + `id` is remembered.
    pub(crate) window: SignedDuration,
}

/// The settings that decide what is remembered of an entity. Where one changes, what is remembered under the old ones
/// does not compare with new events, and is rebuilt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StateRules {
    version: VersionRule,
    transitions: Option<Transitions>,
    division_field: Option<String>,
}

impl Prepared {
    pub(crate) fn state_rules(&self) -> StateRules {
        let dataset = &self.compiled.dataset;
        StateRules {
            version: dataset.version.clone(),
            transitions: dataset.transitions.clone(),
            division_field: dataset.division.field.clone(),
        }
    }
}

/// By input topic (`publish.<dataset>`). `before` are those of the previous snapshot: what did not change is kept.
pub(crate) fn prepare(
    catalog: &Catalog,
    before: &BTreeMap<String, Arc<Prepared>>,
    has_pseudonym_key: bool,
) -> Result<BTreeMap<String, Arc<Prepared>>, Fault> {
    let mut prepared = BTreeMap::new();
    for (id, dataset) in &catalog.datasets {
        if dataset.key.form == KeyForm::Pseudonym && !has_pseudonym_key {
            // P10: to go on without it would refuse every good event, or let a person's identifier through as a key.
            let reason = format!("the keys of {id} are pseudonyms: set validator.pseudonym_key_file");
            return Err(Fault::fatal("prepare the datasets", reason));
        }
        let input = topics::publish(id);
        let kept = before.get(&input).filter(|kept| kept.compiled.dataset == *dataset);
        let ready = match kept {
            Some(kept) => Arc::clone(kept),
            None => Arc::new(Prepared {
                compiled: CompiledDataset::compile(catalog, id)
                    .map_err(|error| Fault::fatal("prepare the datasets", error))?,
                topic: topics::dataset(id),
                window: SignedDuration::from_hours(dataset.retention.tombstone_hours.into()),
            }),
        };
        prepared.insert(input, ready);
    }
    Ok(prepared)
}
