//! What a department is answered about its events.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use freshet_core::Violation;
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::envelope;
use crate::metrics::Outcome;
use crate::problem::{Kind, Problem, ViolationBody};

/// Of an accepted event, its result in the answer.
const USUAL_RESULT_BYTES: usize = 192;

/// What became of one event. Its texts are borrowed from the request, where they stand there as they are.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventResult<'a> {
    /// The event's `id`, where it has one.
    pub id: Option<Cow<'a, str>>,
    pub source: Option<Cow<'a, str>>,
    pub status: EventStatus,
    /// Everything that is wrong with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ViolationBody>)]
    pub violations: Vec<Violation>,
    /// Where it was written: `publish.<dataset>`, or `reject.<department>` for a refused one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionBody>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// The broker has it; the validator judges it next.
    Accepted,
    /// Not published. It stands in the department's reject topic with its violations.
    Refused,
    /// Not known to be written: send it again, with the same id.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PositionBody {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(in crate::routes) struct BatchAnswer<'a> {
    accepted: usize,
    refused: usize,
    /// One per event, in the order of the batch.
    results: Vec<EventResult<'a>>,
}

impl EventResult<'_> {
    fn into_owned(self) -> EventResult<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        EventResult { id: owned(self.id), source: owned(self.source), ..self }
    }
}

impl From<EventStatus> for Outcome {
    fn from(status: EventStatus) -> Self {
        match status {
            EventStatus::Accepted => Self::Accepted,
            EventStatus::Refused => Self::Refused,
            EventStatus::Failed => Self::Failed,
        }
    }
}

/// 202 for an accepted event; a problem for one that was refused or failed.
pub(super) fn one(results: Vec<EventResult<'_>>) -> Result<Response, Problem> {
    let Some(result) = results.into_iter().next() else {
        return Err(Problem::new(Kind::Malformed, "there is no event in the request"));
    };
    match result.status {
        EventStatus::Accepted => Ok((StatusCode::ACCEPTED, Json(result)).into_response()),
        EventStatus::Refused => Err(Problem::refused(result.violations)),
        EventStatus::Failed => Err(Problem::unavailable(result.reason.unwrap_or_default())),
    }
}

/// 200 with one result per event; 503 where one of them is not known to be written.
pub(super) fn batch(results: Vec<EventResult<'_>>) -> Result<Response, Problem> {
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let (accepted, refused, failed) =
        (count(EventStatus::Accepted), count(EventStatus::Refused), count(EventStatus::Failed));
    if failed > 0 {
        let detail = format!("{failed} of {} events are not known to be written; send the batch again", results.len());
        let results = results.into_iter().map(EventResult::into_owned).collect();
        return Err(Problem::unavailable(detail).with_results(results));
    }
    let mut body = Vec::with_capacity(results.len() * USUAL_RESULT_BYTES);
    serde_json::to_writer(&mut body, &BatchAnswer { accepted, refused, results })
        .map_err(|error| Problem::unavailable(format!("the answer cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, envelope::JSON)], body).into_response())
}
