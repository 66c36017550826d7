//! Datasets and views, ready for the hot path: fields as slots, texts as predicates, prefixes as authorities. Compiled once
//! for a snapshot of the catalogue; nothing here allocates for a record but the key that is asked for.

mod key;
mod transitions;
mod view;

use std::sync::Arc;

use freshet_avro::predicate::{Predicate, PredicateError};
use freshet_avro::projection::ProjectionError;
use freshet_avro::{FieldType, Plan, SchemaError, Slot, Value, Walk};
use freshet_core::authority::{Authorities, Overlap};

pub(crate) use key::can_be_key;
pub use key::{KeyError, MAX_KEY_BYTES, PseudonymKey, plain_key};
pub use transitions::{CompiledTransitions, States};
pub use view::{CompiledView, mask_kinds};

use crate::catalog::Catalog;
use crate::entry::{Dataset, IdentifierKind, Rule, VersionRule};

/// One dataset with every registered version of its schema.
#[derive(Debug)]
pub struct CompiledDataset {
    pub dataset: Dataset,
    /// P5.
    pub authorities: Authorities,
    /// Oldest first; never empty.
    schemas: Vec<CompiledSchema>,
}

/// One version of a dataset's schema, with the dataset's settings resolved to its slots.
#[derive(Debug)]
pub struct CompiledSchema {
    /// As in the Confluent wire format.
    pub id: u32,
    pub plan: Arc<Plan>,
    /// In the order of the dataset's key.
    pub key: Vec<Slot>,
    /// Absent where the version is the `sequence`, or where this schema does not have the field yet.
    pub version: Option<Slot>,
    pub division: Option<Slot>,
    /// Path, slot and kind; fields that this schema does not have are left out.
    pub identifiers: Vec<(String, Slot, IdentifierKind)>,
    pub rules: Vec<(Rule, Predicate)>,
    pub transitions: Option<CompiledTransitions>,
}

/// Why an entry of the catalogue cannot be used. `catalog apply` refuses all of these beforehand, so it means that the
/// catalogue was written by something else.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("dataset {0} is not in the catalogue")]
    UnknownDataset(String),
    #[error("dataset {0} has no schema")]
    NoSchema(String),
    #[error("schema {id} is not in the catalogue, but {user} uses it")]
    UnknownSchema { id: u32, user: String },
    #[error("schema {id}: {source}")]
    Schema { id: u32, source: SchemaError },
    #[error("dataset {dataset}: schema {id} has no field {field}, which is used as {role}")]
    Field { dataset: String, id: u32, field: String, role: &'static str },
    #[error("{owner}: {expression}: {source}")]
    Predicate { owner: String, expression: String, source: PredicateError },
    #[error("dataset {dataset}: {source}")]
    Authorities { dataset: String, source: Overlap },
    #[error("view {view}: {source}")]
    Projection { view: String, source: ProjectionError },
}

impl CompiledDataset {
    pub fn compile(catalog: &Catalog, id: &str) -> Result<Arc<Self>, CompileError> {
        let dataset = catalog.datasets.get(id).ok_or_else(|| CompileError::UnknownDataset(id.to_owned()))?;
        let mut plans = Vec::new();
        for schema_id in &dataset.schema_ids {
            let schema = catalog.schemas.get(schema_id);
            let schema =
                schema.ok_or_else(|| CompileError::UnknownSchema { id: *schema_id, user: format!("dataset {id}") })?;
            let plan = Plan::compile(&schema.avsc).map_err(|source| CompileError::Schema { id: *schema_id, source })?;
            let plan = plan.withholding(dataset.withheld());
            plans.push((*schema_id, Arc::new(plan)));
        }
        Self::from_plans(dataset.clone(), &plans).map(Arc::new)
    }

    /// From plans that are already compiled, oldest first.
    pub fn from_plans(dataset: Dataset, plans: &[(u32, Arc<Plan>)]) -> Result<Self, CompileError> {
        let Some((_, latest)) = plans.last() else { return Err(CompileError::NoSchema(dataset.id)) };
        let authorities = Authorities::new(
            dataset.authorities.iter().map(|authority| (authority.department.as_str(), &authority.divisions[..])),
        )
        .map_err(|source| CompileError::Authorities { dataset: dataset.id.clone(), source })?;
        let states = dataset.transitions.as_ref().map(|rule| Arc::new(States::new(rule)));
        let schemas = plans
            .iter()
            .map(|(id, plan)| CompiledSchema::compile(&dataset, *id, plan, latest, states.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { dataset, authorities, schemas })
    }

    pub fn id(&self) -> &str {
        &self.dataset.id
    }

    /// The schema of a record by the id that it is framed with.
    pub fn schema(&self, id: u32) -> Option<&CompiledSchema> {
        // Newest first: nearly every record is of it.
        self.schemas.iter().rev().find(|schema| schema.id == id)
    }

    /// What new events are encoded with.
    pub fn latest(&self) -> &CompiledSchema {
        // `from_plans` refuses a dataset without a schema.
        &self.schemas[self.schemas.len() - 1]
    }

    pub fn schemas(&self) -> impl DoubleEndedIterator<Item = &CompiledSchema> {
        self.schemas.iter()
    }
}

impl CompiledSchema {
    fn compile(
        dataset: &Dataset,
        id: u32,
        plan: &Arc<Plan>,
        latest: &Plan,
        states: Option<&Arc<States>>,
    ) -> Result<Self, CompileError> {
        let lacks =
            |field: &str, role| CompileError::Field { dataset: dataset.id.clone(), id, field: field.to_owned(), role };
        let slot_of_key = |field: &String| plan.slot(field).ok_or_else(|| lacks(field, "the key"));
        let key = dataset.key.fields.iter().map(slot_of_key).collect::<Result<Vec<_>, _>>()?;
        let version = match &dataset.version {
            VersionRule::Sequence => None,
            VersionRule::Field(field) => plan.slot(field),
        };
        let identifiers = dataset
            .identifiers
            .iter()
            .filter_map(|identifier| Some((identifier.field.clone(), plan.slot(&identifier.field)?, identifier.kind)))
            .collect();
        let compile_rule = |rule: &Rule| match Predicate::compile_with_defaults(&rule.require, plan, latest) {
            Ok(predicate) => Ok((rule.clone(), predicate)),
            Err(source) => Err(CompileError::Predicate {
                owner: format!("dataset {}, rule {}, schema {id}", dataset.id, rule.name),
                expression: rule.require.clone(),
                source,
            }),
        };
        let rules = dataset.rules.iter().map(compile_rule).collect::<Result<Vec<_>, _>>()?;
        let transitions = match (&dataset.transitions, states) {
            (Some(rule), Some(states)) => Some(
                CompiledTransitions::new(&rule.field, plan, states)
                    .ok_or_else(|| lacks(&rule.field, "the status of transitions"))?,
            ),
            _ => None,
        };
        let division = dataset.division.field.as_ref().and_then(|field| plan.slot(field));
        Ok(Self { id, plan: Arc::clone(plan), key, version, division, identifiers, rules, transitions })
    }

    /// The record's own version. `None` where the version is the `sequence` of the envelope, or the field holds none.
    pub fn version_of(&self, walk: &Walk, datum: &[u8]) -> Option<i64> {
        match walk.value(&self.plan, self.version?, datum) {
            Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => Some(i64::from(value)),
            Value::Long(value)
            | Value::TimeMicros(value)
            | Value::TimestampMillis(value)
            | Value::TimestampMicros(value)
            | Value::TimestampNanos(value)
            | Value::LocalTimestampMillis(value)
            | Value::LocalTimestampMicros(value)
            | Value::LocalTimestampNanos(value) => Some(value),
            _ => None,
        }
    }

    /// The record's own administrative division. `None` where the dataset names no field, or it is null.
    pub fn division_of<'a>(&'a self, walk: &Walk, datum: &'a [u8]) -> Option<&'a str> {
        match walk.value(&self.plan, self.division?, datum) {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Whether a version can be read from a field of this type.
pub(crate) fn can_be_version(ty: &FieldType) -> bool {
    use FieldType as T;
    matches!(
        ty,
        T::Int
            | T::Long
            | T::Date
            | T::TimestampMillis
            | T::TimestampMicros
            | T::TimestampNanos
            | T::LocalTimestampMillis
            | T::LocalTimestampMicros
            | T::LocalTimestampNanos
    )
}

#[cfg(test)]
mod tests;
