//! What a request is answered with when it fails: RFC 9457 problem details, every violation at once.

use axum::response::{IntoResponse, Response};
use freshet_core::{Code, Violation};
use freshet_runtime::http::problem_type;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::routes::events::EventResult;

/// Media type of RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The kinds of problem. Each is a section of `docs/gateway.md`, and a label of `freshet_gateway_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Malformed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    TooLarge,
    UnsupportedMedia,
    Refused,
    TooManyRequests,
    Unavailable,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::Refused,
        Self::TooManyRequests,
        Self::Unavailable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::UnsupportedMedia => "unsupported-media",
            Self::Refused => "refused",
            Self::TooManyRequests => "too-many-requests",
            Self::Unavailable => "unavailable",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Unauthenticated => "No valid token",
            Self::Forbidden => "Not this department's to publish",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "Not a method of this address",
            Self::Timeout => "The request took too long to arrive",
            Self::TooLarge => "Larger than the gateway takes",
            Self::UnsupportedMedia => "Not a content type that the gateway takes",
            Self::Refused => "The event was refused",
            Self::TooManyRequests => "Faster than this department may publish",
            Self::Unavailable => "Not now; nothing was lost, send it again",
        }
    }
}

/// A failed request's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    kind: Kind,
    retry_after_seconds: Option<u64>,
    body: Box<ProblemBody>,
}

/// RFC 9457. `violations` and `results` are extension members.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:freshet:problem:<kind>`.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What was wrong, where, and what to do.
    detail: String,
    /// Everything that is wrong with the event; absent where the problem is not the event's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ViolationBody>, required = false)]
    violations: Vec<Violation>,
    /// One result per event of a batch that could not be written as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    results: Vec<EventResult<'static>>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Violation)]
pub struct ViolationBody {
    /// Reason code; each has a page in `docs/errors/`.
    #[schema(example = "schema.missing")]
    pub code: String,
    /// Dotted path of the field, or the attribute's name.
    pub field: Option<String>,
    pub message: String,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let body = ProblemBody {
            kind: problem_type(kind.as_str()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            violations: Vec::new(),
            results: Vec::new(),
        };
        Self { kind, retry_after_seconds: None, body: Box::new(body) }
    }

    /// For one refused event: 403 where it is not the department's, 413 where it is too large, else 422.
    pub fn refused(violations: Vec<Violation>) -> Self {
        let has = |code: Code| violations.iter().any(|violation| violation.code == code);
        let kind = if has(Code::SourceAuthority) || has(Code::SourceUnknown) {
            Kind::Forbidden
        } else if has(Code::EnvelopeSize) {
            Kind::TooLarge
        } else {
            Kind::Refused
        };
        let detail = violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Self::new(kind, detail).with_violations(violations)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, detail).retry_after(1)
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.body.violations = violations;
        self
    }

    pub fn with_results(mut self, results: Vec<EventResult<'static>>) -> Self {
        self.body.results = results;
        self
    }
}

/// Left in the response for the middleware that counts errors by kind.
#[derive(Debug, Clone, Copy)]
pub struct Answered(pub Kind);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body).unwrap_or_default();
        let mut response = (self.kind.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"freshet\""));
        }
        response.extensions_mut().insert(Answered(self.kind));
        response
    }
}
