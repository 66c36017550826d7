//! A view, ready to project records of every version of its dataset's schema.

use std::collections::BTreeMap;

use freshet_avro::predicate::Predicate;
use freshet_avro::projection::{MaskKind, Projection};

use super::{CompileError, CompiledDataset};
use crate::catalog::Catalog;
use crate::entry::{Mask, View};

#[derive(Debug)]
pub struct CompiledView {
    pub view: View,
    /// One a version of the dataset's schema, oldest first.
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    schema_id: u32,
    projection: Projection,
    predicate: Option<Predicate>,
}

impl CompiledView {
    pub fn compile(catalog: &Catalog, dataset: &CompiledDataset, id: &str) -> Result<Self, CompileError> {
        let view = catalog.views.get(id).ok_or_else(|| CompileError::UnknownDataset(format!("of view {id}")))?;
        let schema = catalog.schemas.get(&view.schema_id);
        let schema =
            schema.ok_or_else(|| CompileError::UnknownSchema { id: view.schema_id, user: format!("view {id}") })?;
        let masks = mask_kinds(&view.masks);
        let latest = &dataset.latest().plan;
        let mut versions = Vec::new();
        for writer in dataset.schemas() {
            let projection = Projection::compile_into(&writer.plan, &schema.avsc, &masks)
                .map_err(|source| CompileError::Projection { view: id.to_owned(), source })?;
            let predicate = match &view.rows {
                None => None,
                Some(rows) => {
                    let compiled = Predicate::compile_with_defaults(rows, &writer.plan, latest);
                    Some(compiled.map_err(|source| CompileError::Predicate {
                        owner: format!("view {id}, schema {}", writer.id),
                        expression: rows.clone(),
                        source,
                    })?)
                }
            };
            versions.push(Version { schema_id: writer.id, projection, predicate });
        }
        Ok(Self { view: view.clone(), versions })
    }

    /// How records of this version of the dataset's schema become the view's.
    pub fn projection(&self, schema_id: u32) -> Option<&Projection> {
        self.version(schema_id).map(|version| &version.projection)
    }

    /// The row filter for records of this version. `None`: every row, or a version that the dataset does not have.
    pub fn predicate(&self, schema_id: u32) -> Option<&Predicate> {
        self.version(schema_id).and_then(|version| version.predicate.as_ref())
    }

    pub fn is_filtered(&self) -> bool {
        self.view.rows.is_some()
    }

    fn version(&self, schema_id: u32) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.schema_id == schema_id)
    }
}

pub fn mask_kinds(masks: &BTreeMap<String, Mask>) -> BTreeMap<String, MaskKind> {
    let kind = |mask: &Mask| match mask {
        Mask::FirstCharacter => MaskKind::FirstCharacter,
        Mask::LastFour => MaskKind::LastFour,
        Mask::Redact => MaskKind::Redact,
        Mask::Null => MaskKind::Null,
    };
    masks.iter().map(|(path, mask)| (path.clone(), kind(mask))).collect()
}
