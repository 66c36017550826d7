//! The Confluent Schema Registry API, <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use freshet_avro::compatibility::{self, Incompatibility};
use freshet_catalog_model::schema::{self, is_same};
use freshet_catalog_model::{Catalog, SchemaVersion};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Current;
use super::extract::{Body, Path, Query};
use super::problem::Problem;
use crate::registry;

/// What every dataset's schema obeys; `catalog apply` refuses anything else.
const LEVEL: &str = "FULL_TRANSITIVE";

pub async fn root() -> Json<Value> {
    Json(json!({}))
}

pub async fn types() -> Json<Value> {
    Json(json!(["AVRO"]))
}

fn by_id(catalog: &Catalog, id: &str) -> Result<SchemaVersion, Problem> {
    id.parse().ok().and_then(|id: u32| catalog.schemas.get(&id)).cloned().ok_or_else(Problem::no_schema)
}

pub async fn schema(Current(now): Current, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({"schema": by_id(&now.catalog, &id)?.avsc})))
}

pub async fn schema_text(Current(now): Current, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(text(by_id(&now.catalog, &id)?.avsc))
}

fn text(avsc: String) -> Response {
    ([("content-type", "application/json")], avsc).into_response()
}

pub async fn schema_versions(Current(now): Current, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let schema = by_id(&now.catalog, &id)?;
    Ok(Json(json!([{"subject": schema.subject, "version": schema.version}])))
}

pub async fn subjects(Current(now): Current) -> Json<Value> {
    Json(json!(registry::subjects(&now.catalog)))
}

pub async fn versions(Current(now): Current, Path(subject): Path<String>) -> Result<Json<Value>, Problem> {
    let versions: Vec<u32> = of_subject(&now.catalog, &subject)?.iter().map(|schema| schema.version).collect();
    Ok(Json(json!(versions)))
}

fn of_subject<'a>(catalog: &'a Catalog, subject: &str) -> Result<Vec<&'a SchemaVersion>, Problem> {
    let versions = registry::versions(catalog, subject);
    if versions.is_empty() {
        return Err(Problem::missing(registry::Missing::Subject, subject, ""));
    }
    Ok(versions)
}

fn one<'a>(catalog: &'a Catalog, subject: &str, version: &str) -> Result<&'a SchemaVersion, Problem> {
    registry::version(catalog, subject, version).map_err(|missing| Problem::missing(missing, subject, version))
}

pub async fn version(
    Current(now): Current,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(described(one(&now.catalog, &subject, &version)?)))
}

pub async fn version_text(
    Current(now): Current,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Response, Problem> {
    Ok(text(one(&now.catalog, &subject, &version)?.avsc.clone()))
}

fn described(schema: &SchemaVersion) -> Value {
    json!({"subject": schema.subject, "id": schema.id, "version": schema.version, "schema": schema.avsc})
}

#[derive(Deserialize)]
struct Submitted {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Value>,
}

/// The schema in a body. Clients send it as `application/vnd.schemaregistry.v1+json`, JSON, or with no type at all.
fn submitted(body: &[u8]) -> Result<String, Problem> {
    let submitted: Submitted = serde_json::from_slice(body).map_err(Problem::bad_schema)?;
    if submitted.schema_type.is_some_and(|kind| kind != "AVRO") || !submitted.references.is_empty() {
        return Err(Problem::bad_schema("this registry holds Avro schemas without references"));
    }
    schema::check(&submitted.schema).map_err(Problem::bad_schema)?;
    Ok(submitted.schema)
}

/// The version of the subject that is this schema.
pub async fn look_up(
    Current(now): Current,
    Path(subject): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let versions = of_subject(&now.catalog, &subject)?;
    let wanted = submitted(&body)?;
    let found = versions.iter().rev().find(|schema| is_same(&schema.avsc, &wanted)).ok_or_else(Problem::no_schema)?;
    Ok(Json(described(found)))
}

/// Clients that register what they send get the id of a schema that is known; nothing is ever written here.
pub async fn register(
    Current(now): Current,
    Path(subject): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let wanted = submitted(&body)?;
    let versions = registry::versions(&now.catalog, &subject);
    match versions.iter().rev().find(|schema| is_same(&schema.avsc, &wanted)) {
        Some(schema) => Ok(Json(json!({"id": schema.id}))),
        None => Err(Problem::new(
            StatusCode::FORBIDDEN,
            40301,
            format!(
                "'{subject}' has no such schema, and schemas are not registered here: put it into the dataset's folder and run `freshet catalog apply`"
            ),
        )),
    }
}

pub async fn config() -> Json<Value> {
    Json(json!({"compatibilityLevel": LEVEL}))
}

pub async fn mode() -> Json<Value> {
    Json(json!({"mode": "READONLY"}))
}

#[derive(Deserialize)]
pub struct Verbose {
    #[serde(default)]
    verbose: bool,
}

/// Against this version alone.
pub async fn compatibility(
    Current(now): Current,
    Path((subject, version)): Path<(String, String)>,
    Query(query): Query<Verbose>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let wanted = submitted(&body)?;
    let schema = one(&now.catalog, &subject, &version)?;
    Ok(answer(compatibility::check(&[&schema.avsc], &wanted), &query))
}

/// Against every version, as `catalog apply` does.
pub async fn compatibility_with_all(
    Current(now): Current,
    Path(subject): Path<String>,
    Query(query): Query<Verbose>,
    Body(body): Body,
) -> Result<Json<Value>, Problem> {
    let wanted = submitted(&body)?;
    let versions = of_subject(&now.catalog, &subject)?;
    let previous: Vec<&str> = versions.iter().map(|schema| schema.avsc.as_str()).collect();
    Ok(answer(compatibility::check(&previous, &wanted), &query))
}

fn answer(result: Result<(), Vec<Incompatibility>>, query: &Verbose) -> Json<Value> {
    let mut answer = json!({"is_compatible": result.is_ok()});
    if query.verbose {
        let messages = result.err().unwrap_or_default();
        let messages: Vec<String> = messages.iter().map(sentence).collect();
        answer["messages"] = json!(messages);
    }
    Json(answer)
}

fn sentence(incompatibility: &Incompatibility) -> String {
    match incompatibility.path.as_str() {
        "" => incompatibility.message.clone(),
        path => format!("field {path}: {}", incompatibility.message),
    }
}

pub async fn read_only(method: Method, uri: Uri) -> Problem {
    let message = format!(
        "{method} {}: this registry is read only; change the files of the catalogue and run `freshet catalog apply`",
        uri.path()
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, 405, message)
}

pub async fn unknown(uri: Uri) -> Problem {
    let message = format!(
        "{}: no such resource; there are /subjects, /schemas/ids/{{id}}, /config, /compatibility/… and /catalogue/{{departments|datasets|grants|views}}",
        uri.path()
    );
    Problem::new(StatusCode::NOT_FOUND, 404, message)
}
