//! `GET /openapi.json`: made from the routes themselves.

use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use http::header;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Freshet gateway",
        description = "Departments publish change events over HTTP: CloudEvents 1.0 in binary, structured or batched \
            mode, or a whole file. An answer means that the broker has the event; whether it passes the validator is \
            read in the department's reject topic."
    ),
    modifiers(&Token)
)]
pub(super) struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        scheme.description = Some("The department's token, from the bus's operator.".to_owned());
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

#[derive(Debug, Clone)]
pub(super) struct Document(Arc<str>);

impl Document {
    pub fn new(document: &utoipa::openapi::OpenApi) -> Self {
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub(super) async fn serve(Extension(document): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0.to_string()).into_response()
}
