//! Errors as RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use freshet_runtime::http::problem_type;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:freshet:problem:<kind>`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    /// What was wrong here, and what to do.
    pub detail: String,
}

impl Problem {
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be understood", detail)
    }

    pub fn bad_cursor(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-cursor", "The cursor cannot be used", detail)
    }

    /// What was removed meanwhile may not be in the view any more.
    pub fn cursor_too_old(hours: i64, kept_hours: u32) -> Self {
        let detail = format!(
            "its holder last had everything {hours} h ago, and removals are kept for {kept_hours} h: some may be gone. \
             Begin again without a cursor, and when `more` is false delete what you hold and did not get again"
        );
        Self::new(StatusCode::GONE, "cursor-too-old", "The cursor is too old", detail)
    }

    /// Its fields, masks or rows are others, and so is its view.
    pub fn grant_changed(grant: &str) -> Self {
        let detail = format!(
            "the cursor is of another view: what grant {grant} gives has changed. Begin again without a cursor, and when \
             `more` is false delete what you hold and did not get again"
        );
        Self::new(StatusCode::GONE, "grant-changed", "The grant has changed", detail)
    }

    /// The cluster was lost, or somebody deleted the topic: the offsets are those of other records now.
    pub fn topic_made_anew() -> Self {
        let detail = "the view was written anew since the cursor was given out (the bus lost its Kafka, or the topic was \
                      deleted). Begin again without a cursor, and when `more` is false delete what you hold and did not \
                      get again";
        Self::new(StatusCode::GONE, "topic-made-anew", "The cursor is of a topic that is gone", detail)
    }

    pub fn unauthenticated() -> Self {
        let detail = "send `Authorization: Bearer <token>` with a token of the subscribing department";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "No known token", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not granted", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "No such grant or subscription", detail)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Come back later", detail)
    }

    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { kind: problem_type(kind), title, status: status.as_u16(), detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
