//! What one record costs before anything is sent anywhere: the walk of the compiled plan over every byte, complete, and
//! the identifiers with their check digits.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use freshet_avro::{Walk, framing};
use freshet_catalog_model::compiled::{CompiledDataset, CompiledSchema};
use freshet_catalog_model::{Catalog, IdentifierKind};
use freshet_core::identifiers::uscc;

use crate::catalogue;
use crate::figure::Figure;
use crate::licence::{Defect, Generator};

/// So many that branches are not learnt by heart, and few enough to stay in the cache, as a fetched batch does.
const RECORDS: usize = 1_000;
const FOR: Duration = Duration::from_millis(300);

/// Good licences with their framing, and the dataset that they are of.
#[derive(Debug)]
pub struct Licences {
    pub dataset: std::sync::Arc<CompiledDataset>,
    pub catalog: Catalog,
    pub values: Vec<Vec<u8>>,
}

impl Licences {
    pub fn make() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let catalog = catalogue::changes(&catalogue::base(), &Catalog::default(), folder.path())?.into_after();
        let dataset = CompiledDataset::compile(&catalog, "licence")?;
        let mut generator = Generator::new(1, dataset.latest().id, u64::MAX);
        let good = std::iter::repeat_with(|| generator.next_licence()).filter(|licence| licence.defect == Defect::None);
        let values = good.take(RECORDS).map(|licence| licence.value).collect();
        Ok(Self { dataset, catalog, values })
    }
}

/// The complete check of one framed record, identifiers with it.
pub fn check(schema: &CompiledSchema, value: &[u8], walk: &mut Walk) -> bool {
    let Ok((_, datum)) = framing::split(value) else { return false };
    schema.plan.check(datum, walk) && identifiers_hold(schema, datum, walk)
}

/// Of a record that was walked.
pub fn identifiers_hold(schema: &CompiledSchema, datum: &[u8], walk: &Walk) -> bool {
    schema.identifiers.iter().all(|(_, slot, kind)| match walk.value(&schema.plan, *slot, datum) {
        freshet_avro::Value::String(text) => *kind == IdentifierKind::Uscc && uscc::check(text).is_ok(),
        _ => true,
    })
}

/// The least mean of many rounds over the records: in the others the machine did other work too.
pub fn walker() -> anyhow::Result<Figure> {
    let licences = Licences::make()?;
    let schema = licences.dataset.latest();
    ensure!(!schema.identifiers.is_empty(), "the licence dataset has no identifiers to check");
    let mut walk = Walk::new();
    let mut least: Option<Duration> = None;
    let started = Instant::now();
    while started.elapsed() < FOR {
        let round = Instant::now();
        for value in &licences.values {
            ensure!(check(schema, black_box(value), &mut walk), "a good licence was refused: {:?}", walk.violations());
        }
        let took = round.elapsed();
        least = Some(least.map_or(took, |least| least.min(took)));
    }
    let ns = least.context("no round")?.as_nanos() as f64 / licences.values.len() as f64;
    Ok(Figure::new("walker: complete check of a licence with its identifier", ns, "ns").at_most(500.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_finds_each_defect_but_that_of_a_rule() {
        let licences = Licences::make().expect("licences");
        let schema = licences.dataset.latest();
        let mut walk = Walk::new();
        assert!(licences.values.iter().all(|value| check(schema, value, &mut walk)));
        let mut generator = Generator::new(1, schema.id, u64::MAX);
        let bad = std::iter::repeat_with(|| generator.next_licence()).filter(|licence| licence.defect != Defect::None);
        for licence in bad.take(8) {
            // The order of two dates is a rule, not a matter of the walk.
            assert_eq!(check(schema, &licence.value, &mut walk), licence.defect == Defect::Dates, "{licence:?}");
        }
    }
}
