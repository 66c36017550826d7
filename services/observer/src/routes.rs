//! The operator's questions: `GET /v1/trail`, `GET /v1/lag`.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use freshet_core::Receipt;
use freshet_runtime::http::problem_type;
use freshet_runtime::{Credentials, credentials::Token};
use serde::{Deserialize, Serialize};

use crate::lag::Lag;
use crate::trail::{Found, Question, Trail};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;

#[derive(Debug, Clone)]
pub struct Api {
    pub trail: Arc<Mutex<Trail>>,
    pub lags: Arc<Mutex<Vec<Lag>>>,
    pub operators: Option<Credentials>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    event: Option<String>,
    grant: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Answer {
    /// Newest first.
    receipts: Vec<Receipt>,
    /// True where further ones match: the limit is reached, or the answer has 4 MiB.
    more: bool,
    /// True where older receipts are in `freshet.audit` only.
    older_in_audit_topic: bool,
}

#[derive(Debug, Serialize)]
struct Lags {
    subscribers: Vec<Lag>,
}

/// RFC 9457.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
}

impl Problem {
    fn new(kind: &str, title: &'static str, status: u16, detail: String) -> Self {
        Self { kind: problem_type(kind), title, status, detail }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, serde_json::to_vec(&self).unwrap_or_default()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub fn router(api: Api) -> Router {
    Router::new().route("/v1/trail", get(trail)).route("/v1/lag", get(lag)).with_state(api)
}

async fn trail(
    State(api): State<Api>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Answer>, Problem> {
    let operator = api.operator(&headers)?;
    let bad = |detail| Problem::new("bad-request", "The request cannot be understood", 400, detail);
    let Query(parameters) = parameters.map_err(|rejection| bad(rejection.body_text()))?;
    if parameters.event.is_none() && parameters.grant.is_none() {
        return Err(bad("give `event` (the id of an event), `grant`, or both".to_owned()));
    }
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(bad(format!("limit must be 1 to {MAX_LIMIT}")));
    }
    // Who looked is part of the trail too; what was found is not for a log.
    tracing::info!(operator, "the trail was asked");
    let question = Question { event: parameters.event, grant: parameters.grant, limit };
    let trail = api.trail.lock().unwrap_or_else(PoisonError::into_inner);
    let Found { receipts, more } = trail.find(&question);
    Ok(Json(Answer { receipts, more, older_in_audit_topic: trail.has_forgotten() }))
}

async fn lag(State(api): State<Api>, headers: HeaderMap) -> Result<Json<Lags>, Problem> {
    api.operator(&headers)?;
    Ok(Json(Lags { subscribers: api.lags.lock().unwrap_or_else(PoisonError::into_inner).clone() }))
}

impl Api {
    fn operator(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Token(token.trim()));
        let operators = self.operators.as_ref();
        token.and_then(|token| operators?.department_of(token)).ok_or_else(|| {
            let detail = "send `Authorization: Bearer <token>` with a token of observer.operators_file".to_owned();
            Problem::new("unauthenticated", "No known token", 401, detail)
        })
    }
}
