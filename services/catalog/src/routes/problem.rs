//! Errors as Confluent clients expect them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::registry::Missing;

/// `{"error_code": …, "message": …}`; the first three digits of the code are the HTTP status.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: u32,
    message: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn not_ready() -> Self {
        let message = "the catalogue was not read to its end yet; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, 50301, message)
    }

    pub fn no_schema() -> Self {
        Self::new(StatusCode::NOT_FOUND, 40403, "Schema not found")
    }

    pub fn bad_schema(reason: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, 42201, format!("Invalid schema: {reason}"))
    }

    pub fn missing(missing: Missing, subject: &str, version: &str) -> Self {
        match missing {
            Missing::Subject => Self::new(StatusCode::NOT_FOUND, 40401, format!("Subject '{subject}' not found.")),
            Missing::Version => Self::new(StatusCode::NOT_FOUND, 40402, format!("Version {version} not found.")),
            Missing::BadVersion => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                42202,
                format!(
                    "The specified version '{version}' is not a valid version id. Allowed values are 1 and up, and the string \"latest\""
                ),
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({"error_code": self.code, "message": self.message}));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
