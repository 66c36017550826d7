//! `GET /v1/datasets`: what this department may publish.

use axum::Json;
use axum::extract::State;
use freshet_catalog_model::{KeyForm, VersionRule};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::datasets::Dataset;
use crate::problem::{Problem, ProblemBody};
use crate::state::Gateway;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatasetList {
    /// The department whose token this is.
    department: String,
    /// Prefixes of `source` that are its own.
    sources: Vec<String>,
    datasets: Vec<DatasetBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct DatasetBody {
    id: String,
    title_en: Option<String>,
    title_zh: Option<String>,
    /// Division prefixes that this department is the authority of; empty means every division.
    divisions: Vec<String>,
    key_fields: Vec<String>,
    /// The bus replaces the key by a pseudonym, because it identifies a person.
    key_is_pseudonym: bool,
    /// Every event needs the attribute `sequence`; otherwise deletes alone do.
    needs_sequence: bool,
    /// The id that Avro data is framed with.
    latest_schema_id: u32,
    /// The Avro schema that JSON data is read against.
    schema: serde_json::Value,
    /// Why files are not taken for this dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_files_because: Option<String>,
}

/// The datasets that this department may publish
#[utoipa::path(
    get,
    path = "/v1/datasets",
    tag = "about",
    security(("token" = [])),
    responses(
        (status = 200, description = "What this department may publish", body = DatasetList),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The catalogue was not read yet", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(gateway: State<Gateway>, caller: Caller) -> Result<Json<DatasetList>, Problem> {
    let compiled = gateway.catalogue()?;
    let sources = compiled.catalog().departments.get(&caller.department).map(|department| department.sources.clone());
    let datasets =
        compiled.of_department(&caller.department).map(|dataset| body(dataset, &caller.department)).collect();
    Ok(Json(DatasetList { sources: sources.unwrap_or_default(), datasets, department: caller.department }))
}

fn body(served: &Dataset, department: &str) -> DatasetBody {
    let dataset = &served.compiled.dataset;
    let latest = served.compiled.latest();
    let own = dataset.authorities.iter().filter(|authority| authority.department == department);
    DatasetBody {
        id: dataset.id.clone(),
        title_en: dataset.title.en.clone(),
        title_zh: dataset.title.zh.clone(),
        divisions: own.flat_map(|authority| authority.divisions.iter().cloned()).collect(),
        key_fields: dataset.key.fields.clone(),
        key_is_pseudonym: dataset.key.form == KeyForm::Pseudonym,
        needs_sequence: dataset.version == VersionRule::Sequence,
        latest_schema_id: latest.id,
        schema: serde_json::from_str(latest.plan.avsc()).unwrap_or_default(),
        no_files_because: served.mapper.as_ref().err().cloned(),
    }
}
