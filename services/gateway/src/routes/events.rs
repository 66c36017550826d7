//! `POST /v1/datasets/{dataset}/events`: one event or a batch.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use freshet_core::Violation;
use freshet_kafka::Position;
use freshet_kafka::publisher::PublishError;
use freshet_mapping::json;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::path::DatasetId;
use crate::admission::{Admission, Buffers, Decision, Sent};
use crate::auth::Caller;
use crate::body;
use crate::config::Config;
use crate::envelope::{Event, Mode};
use crate::limits::TooFast;
use crate::metrics::Outcome;
use crate::problem::{Kind, Problem, ProblemBody, ViolationBody};
use crate::sink::publish_all;
use crate::state::{Gateway, now_us};

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EventResult {
    /// The event's `id`, where it has one.
    pub id: Option<String>,
    pub source: Option<String>,
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
pub(super) struct BatchAnswer {
    accepted: usize,
    refused: usize,
    /// One per event, in the order of the batch.
    results: Vec<EventResult>,
}

/// An example that the tests send: the event of the documentation.
pub(crate) fn example_event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "0197f3a2-7c1e-7b52-9c38-0242ac120002",
        "source": "urn:example:roads",
        "type": "example.road_closure.changed",
        "time": "2026-11-22T08:00:00Z",
        "sequence": 7,
        "data": {"closure_id": "RC-2026-0042", "street": "Queen Street", "lanes": 2, "status": "planned"}
    })
}

fn example_batch() -> Value {
    let mut delete = example_event();
    delete["id"] = json!("0197f3a2-7c1e-7b52-9c38-0242ac120003");
    delete["type"] = json!("example.road_closure.deleted");
    delete["sequence"] = json!(8);
    delete["data"] = json!({"closure_id": "RC-2026-0042"});
    json!([example_event(), delete])
}

/// Publish one event or a batch
///
/// Binary mode (attributes in `ce-` headers, the data as body), structured mode (one JSON object) or batched mode (a JSON
/// array). A delete is an event without data and with the attribute `partitionkey`, or one whose type ends in `.deleted`
/// and whose data holds the key fields; it always needs `sequence`. Sending the same `source` and `id` again is safe.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/events",
    tag = "publish",
    security(("token" = [])),
    params(("dataset" = String, Path, description = "The dataset's id in the catalogue")),
    request_body(content(
        (Value = "application/cloudevents+json", example = json!(example_event())),
        (Value = "application/cloudevents-batch+json", example = json!(example_batch())),
        (Value = "application/json", example = json!(example_event()["data"])),
        (String = "application/avro"),
    )),
    responses(
        (status = 200, description = "A batch: one result per event, in order", body = BatchAnswer),
        (status = 202, description = "One event: the broker has it", body = EventResult),
        (status = 400, description = "Not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not this department's source, dataset or division", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No such dataset", body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body came too slowly", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Event, batch or body too large", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 415, description = "Content type or encoding not taken", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "One event, refused: every violation", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 429, description = "Faster than this department may publish; Retry-After says when", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "Not now; Retry-After says when. Send it again", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn publish(
    State(gateway): State<Gateway>,
    caller: Caller,
    DatasetId(dataset): DatasetId,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let compiled = gateway.catalogue()?;
    let dataset = gateway.dataset(&compiled, &dataset, &caller.department)?;
    let mode = Mode::of(&headers).map_err(|sent| {
        let taken = "application/cloudevents+json, application/cloudevents-batch+json, or application/json and \
                     application/avro with ce- headers; in UTF-8";
        Problem::new(Kind::UnsupportedMedia, format!("the content type is {sent}; taken are {taken}"))
    })?;
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let detail = "events are taken without a content encoding; a large number of them is better sent as an upload";
        return Err(Problem::new(Kind::UnsupportedMedia, detail));
    }
    let department = caller.department.as_str();
    let _place = Gateway::place(&gateway.shares.requests, department, 1, "requests")?;
    // Before the body is read: whoever is too fast costs little.
    gateway.rate.ready(department, Instant::now()).map_err(|too_fast| slow_down(&gateway, department, too_fast))?;
    let config = &gateway.config;
    let body = body::whole(&headers, body, config, (&gateway.shares.work_bytes, department)).await?;
    let events = match mode {
        Mode::Binary => vec![Ok(Event::from_binary(&headers, &body.bytes, config.max_event_bytes))],
        Mode::Structured => vec![sending(text_of(&body.bytes)?, config.max_event_bytes)],
        Mode::Batch => batch(&body.bytes, config)?,
    };
    let _in_flight = Gateway::place(&gateway.shares.events, department, events.len(), "events")?;
    gateway
        .rate
        .take(department, events.len(), Instant::now())
        .map_err(|too_fast| slow_down(&gateway, department, too_fast))?;
    let admission = Admission {
        department,
        catalog: compiled.catalog(),
        dataset: &dataset,
        pseudonym: gateway.pseudonym.as_ref(),
        max_event_bytes: config.max_event_bytes,
        now_us: now_us(),
    };
    let judged = judge(&admission, events);
    let written = publish_all(gateway.sink.as_ref(), judged.iter().map(|judged| judged.decision.record())).await;
    let results: Vec<EventResult> =
        judged.into_iter().zip(written).map(|(judged, written)| judged.result(written)).collect();
    for status in [EventStatus::Accepted, EventStatus::Refused, EventStatus::Failed] {
        let count = results.iter().filter(|result| result.status == status).count();
        gateway.metrics.events_ended(dataset.id(), status.into(), count);
    }
    match mode {
        Mode::Batch => answer_batch(results),
        Mode::Binary | Mode::Structured => answer_one(results),
    }
}

fn slow_down(gateway: &Gateway, department: &str, too_fast: TooFast) -> Problem {
    let detail = format!("{department} may publish {} events per second", gateway.config.rate_per_second);
    Problem::new(Kind::TooManyRequests, detail).retry_after(too_fast.seconds())
}

/// An event, or a member of a batch that is none: what is wrong with it, and its bytes.
type Sending<'a> = Result<Event<'a>, (Violation, &'a [u8])>;

fn sending(event: &str, most: usize) -> Sending<'_> {
    Event::from_structured(event, most).map_err(|violation| (violation, event.as_bytes()))
}

/// A whole JSON document, whatever it is.
fn text_of(body: &[u8]) -> Result<&str, Problem> {
    serde_json::from_slice::<&RawValue>(body).map(RawValue::get).map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))
}

fn batch<'a>(body: &'a [u8], config: &Config) -> Result<Vec<Sending<'a>>, Problem> {
    if let Some(members) = json::objects(body, config.max_batch_events) {
        return Ok(members.into_iter().map(|event| Ok(Event::from_members(event, config.max_event_bytes))).collect());
    }
    // An array is read once, here below, not once more to see whether it is one.
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'[') {
        text_of(body)?;
        return Err(Problem::new(Kind::Malformed, "the body is not a JSON array, which a batch is"));
    }
    let most = config.max_batch_events;
    let (members, count) = json::items(body, most).map_err(|error| not_json(&error))?;
    if count > most {
        let detail = format!("the batch has {count} events; at most {most} are taken at once");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(members.into_iter().map(|member| sending(member.get(), config.max_event_bytes)).collect())
}

struct Judged {
    id: Option<String>,
    source: Option<String>,
    decision: Decision,
}

fn judge(admission: &Admission<'_>, events: Vec<Sending<'_>>) -> Vec<Judged> {
    let mut buffers = Buffers::default();
    let judge = |sending: Sending<'_>| match sending {
        Ok(event) => {
            let decision = admission.admit(&event, &mut buffers);
            let attribute = |name| event.attribute(name).map(str::to_owned);
            Judged { id: attribute("id"), source: attribute("source"), decision }
        }
        Err((violation, raw)) => {
            let attributes = Default::default();
            let sent = Sent { attributes: &attributes, raw, content_type: "application/json", line: None };
            Judged { id: None, source: None, decision: admission.refuse(vec![violation], sent) }
        }
    };
    events.into_iter().map(judge).collect()
}

impl Judged {
    fn result(self, written: Result<Position, PublishError>) -> EventResult {
        let (status, violations, topic) = match self.decision {
            Decision::Publish(record) => (EventStatus::Accepted, Vec::new(), record.topic),
            Decision::Refuse { violations, record } => (EventStatus::Refused, violations, record.topic),
        };
        let (status, position, reason) = match written {
            Ok(Position { partition, offset }) => (status, Some(PositionBody { topic, partition, offset }), None),
            Err(error) => (EventStatus::Failed, None, Some(error.to_string())),
        };
        EventResult { id: self.id, source: self.source, status, violations, position, reason }
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

fn answer_one(results: Vec<EventResult>) -> Result<Response, Problem> {
    let Some(result) = results.into_iter().next() else {
        return Err(Problem::new(Kind::Malformed, "there is no event in the request"));
    };
    match result.status {
        EventStatus::Accepted => Ok((StatusCode::ACCEPTED, Json(result)).into_response()),
        EventStatus::Refused => Err(Problem::refused(result.violations)),
        EventStatus::Failed => Err(Problem::unavailable(result.reason.unwrap_or_default())),
    }
}

fn answer_batch(results: Vec<EventResult>) -> Result<Response, Problem> {
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let (accepted, refused, failed) =
        (count(EventStatus::Accepted), count(EventStatus::Refused), count(EventStatus::Failed));
    if failed > 0 {
        let detail = format!("{failed} of {} events are not known to be written; send the batch again", results.len());
        return Err(Problem::unavailable(detail).with_results(results));
    }
    Ok(Json(BatchAnswer { accepted, refused, results }).into_response())
}
