//! The catalogue as lists of JSON objects, by id, in the form of the topic.

use axum::Json;
use freshet_catalog_model::{Dataset, Department, Grant, View};

use super::Current;

pub async fn departments(Current(now): Current) -> Json<Vec<Department>> {
    Json(now.catalog.departments.values().cloned().collect())
}

pub async fn datasets(Current(now): Current) -> Json<Vec<Dataset>> {
    Json(now.catalog.datasets.values().cloned().collect())
}

pub async fn grants(Current(now): Current) -> Json<Vec<Grant>> {
    Json(now.catalog.grants.values().cloned().collect())
}

pub async fn views(Current(now): Current) -> Json<Vec<View>> {
    Json(now.catalog.views.values().cloned().collect())
}
