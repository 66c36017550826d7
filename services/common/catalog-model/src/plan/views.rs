//! Views follow from grants: one view for each distinct (dataset, fields, masks, rows).

use std::collections::{BTreeMap, HashMap};

use freshet_avro::Plan;
use freshet_avro::projection::Projection;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::schemas::Registry;
use crate::catalog::Catalog;
use crate::compiled::mask_kinds;
use crate::diagnostic::{Diagnostic, Place};
use crate::entry::{Dataset, Grant, Mask, View};
use crate::source::SourceCatalog;

/// What makes a view: serialised in this order, it is what the id is a digest of.
#[derive(Serialize)]
struct Identity<'a> {
    dataset: &'a str,
    fields: &'a [String],
    masks: &'a BTreeMap<String, Mask>,
    rows: Option<&'a str>,
}

/// `<dataset>.<12 hex digits of SHA-256>`. `fields` are in schema order.
pub fn view_id(dataset: &str, fields: &[String], masks: &BTreeMap<String, Mask>, rows: Option<&str>) -> String {
    // Texts, lists and maps of texts always serialise.
    let json = serde_json::to_vec(&Identity { dataset, fields, masks, rows }).unwrap_or_default();
    let digest = Sha256::digest(&json);
    let hex: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{dataset}.{hex}")
}

/// Adds the grants, each with its view, and the views to `after`, whose datasets are there already.
pub fn derive(source: &SourceCatalog, registry: &mut Registry, after: &mut Catalog, refused: &mut Vec<Diagnostic>) {
    let mut plans: HashMap<&str, Plan> = HashMap::new();
    for (id, grant) in &source.grants {
        let mut refuse = |message: String| {
            let place = Place::file(format!("grants/{id}.yaml"));
            refused.push(Diagnostic::new(place, message, "mend the grant, or the dataset that it is of"));
        };
        let Some(dataset) = after.datasets.get(&grant.dataset) else {
            refuse(format!("dataset {} is not in the catalogue", grant.dataset));
            continue;
        };
        if !plans.contains_key(grant.dataset.as_str()) {
            match plan_of(source, &grant.dataset) {
                Ok(plan) => drop(plans.insert(&grant.dataset, plan)),
                Err(reason) => {
                    refuse(reason);
                    continue;
                }
            }
        }
        match view_of(grant, dataset, &plans[grant.dataset.as_str()], registry) {
            Ok(view) => {
                after.grants.insert(id.clone(), Grant { view: view.id.clone(), ..grant.clone() });
                after.views.insert(view.id.clone(), view);
            }
            Err(reason) => refuse(reason),
        }
    }
}

fn plan_of(source: &SourceCatalog, dataset: &str) -> Result<Plan, String> {
    let schema = source.datasets.get(dataset).and_then(|files| files.schemas.last());
    let schema = schema.ok_or_else(|| format!("dataset {dataset} has no schema"))?;
    Plan::compile(&schema.avsc).map_err(|error| format!("{}: {error}", schema.file))
}

fn view_of(grant: &Grant, dataset: &Dataset, plan: &Plan, registry: &mut Registry) -> Result<View, String> {
    let fields = in_schema_order(&grant.fields, plan)?;
    let rows = grant.rows.as_ref().map(|rows| rows.trim().to_owned());
    let projection =
        Projection::compile(plan, &fields, &mask_kinds(&grant.masks)).map_err(|error| error.to_string())?;
    let id = view_id(&grant.dataset, &fields, &grant.masks, rows.as_deref());
    let schema_id = registry.register_view(&id, projection.avsc());
    Ok(View {
        id,
        dataset: grant.dataset.clone(),
        fields,
        masks: grant.masks.clone(),
        rows,
        schema_id,
        partitions: dataset.partitions,
    })
}

fn in_schema_order(fields: &[String], plan: &Plan) -> Result<Vec<String>, String> {
    let mut slots = Vec::new();
    for field in fields {
        slots.push((plan.slot(field).ok_or_else(|| format!("field {field} is not in the schema"))?, field));
    }
    slots.sort();
    slots.dedup();
    Ok(slots.into_iter().map(|(_, field)| field.clone()).collect())
}
