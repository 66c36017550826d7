//! `POST /v1/datasets/{dataset}/events`: one event or a batch.

mod answer;

use std::borrow::Cow;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use freshet_core::Violation;
use freshet_kafka::Position;
use freshet_kafka::publisher::PublishError;
use freshet_mapping::json;
use http::{HeaderMap, header};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::path::DatasetId;
use crate::admission::{Admission, Buffers, Decision, Sent};
use crate::auth::Caller;
use crate::body;
use crate::envelope::{Event, Mode};
use crate::limits::TooFast;
use crate::problem::{Kind, Problem, ProblemBody};
use crate::sink::{EventSink, HandOver};
use crate::state::{Gateway, now_us};

pub use answer::EventResult;
use answer::{BatchAnswer, EventStatus, PositionBody};

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
        Mode::Binary => Events::Binary(&headers, &body.bytes),
        Mode::Structured => Events::Structured(text_of(&body.bytes)?),
        Mode::Batch => batch(&body.bytes, config.max_batch_events)?,
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
    let (judged, handed_over) = hand_over(&admission, &events, gateway.sink.as_ref());
    let written = handed_over.answers().await;
    let results: Vec<EventResult<'_>> =
        judged.into_iter().zip(written).map(|(judged, written)| judged.result(written)).collect();
    for status in [EventStatus::Accepted, EventStatus::Refused, EventStatus::Failed] {
        let count = results.iter().filter(|result| result.status == status).count();
        gateway.metrics.events_ended(dataset.id(), status.into(), count);
    }
    match mode {
        Mode::Batch => answer::batch(results),
        Mode::Binary | Mode::Structured => answer::one(results),
    }
}

fn slow_down(gateway: &Gateway, department: &str, too_fast: TooFast) -> Problem {
    let detail = format!("{department} may publish {} events per second", gateway.config.rate_per_second);
    Problem::new(Kind::TooManyRequests, detail).retry_after(too_fast.seconds())
}

/// The events of a request, not yet looked at.
enum Events<'a> {
    Binary(&'a HeaderMap, &'a [u8]),
    Structured(&'a str),
    Batch(json::Objects<'a>),
    /// A batch in which something is no event.
    Items(Vec<&'a RawValue>),
}

/// An event, or a member of a batch that is none: what is wrong with it, and its bytes.
type Sending<'a> = Result<Event<'a>, (Violation, &'a [u8])>;

impl<'a> Events<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Binary(..) | Self::Structured(_) => 1,
            Self::Batch(objects) => objects.len(),
            Self::Items(items) => items.len(),
        }
    }

    /// Reads one after the other. Data of more than `most` bytes is not read.
    fn for_each(&self, most: usize, mut each: impl FnMut(Sending<'a>)) {
        let sending = |event: &'a str| Event::from_structured(event, most).map_err(|error| (error, event.as_bytes()));
        match self {
            Self::Binary(headers, body) => each(Ok(Event::from_binary(headers, body, most))),
            Self::Structured(event) => each(sending(event)),
            Self::Batch(objects) => objects.iter().for_each(|members| each(Ok(Event::from_members(members, most)))),
            Self::Items(items) => items.iter().for_each(|item| each(sending(item.get()))),
        }
    }
}

/// A whole JSON document, whatever it is.
fn text_of(body: &[u8]) -> Result<&str, Problem> {
    serde_json::from_slice::<&RawValue>(body).map(RawValue::get).map_err(|error| not_json(&error))
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Malformed, format!("the body is not JSON: {error}"))
}

fn batch(body: &[u8], most: usize) -> Result<Events<'_>, Problem> {
    if let Some(objects) = json::objects(body, most) {
        return Ok(Events::Batch(objects));
    }
    // An array is read once, here below, not once more to see whether it is one.
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'[') {
        text_of(body)?;
        return Err(Problem::new(Kind::Malformed, "the body is not a JSON array, which a batch is"));
    }
    let (items, count) = json::items(body, most).map_err(|error| not_json(&error))?;
    if count > most {
        let detail = format!("the batch has {count} events; at most {most} are taken at once");
        return Err(Problem::new(Kind::TooLarge, detail));
    }
    Ok(Events::Items(items))
}

/// An event that was judged, and its record handed over.
struct Judged<'a> {
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    status: EventStatus,
    violations: Vec<Violation>,
    topic: String,
}

/// Each event goes all the way before the next is looked at, so that what it takes in memory is there for the next one, and
/// still in the processor's cache. That all of the body is JSON is known by now.
fn hand_over<'a, 's>(
    admission: &Admission<'_>,
    events: &Events<'a>,
    sink: &'s dyn EventSink,
) -> (Vec<Judged<'a>>, HandOver<'s>) {
    let mut judged = Vec::with_capacity(events.len());
    let mut handed_over = HandOver::new(sink, events.len());
    let mut buffers = Buffers::default();
    events.for_each(admission.max_event_bytes, |sending| {
        let (id, source, decision) = judge(admission, sending, &mut buffers);
        handed_over.put(decision.record());
        let (status, violations, topic) = match decision {
            Decision::Publish(record) => (EventStatus::Accepted, Vec::new(), record.topic),
            Decision::Refuse { violations, record } => (EventStatus::Refused, violations, record.topic),
        };
        judged.push(Judged { id, source, status, violations, topic });
    });
    (judged, handed_over)
}

/// The event's `id` and `source`, and what is to be done with it.
fn judge<'a>(
    admission: &Admission<'_>,
    sending: Sending<'a>,
    buffers: &mut Buffers,
) -> (Option<Cow<'a, str>>, Option<Cow<'a, str>>, Decision) {
    match sending {
        Ok(mut event) => {
            let decision = admission.admit(&event, buffers);
            (event.attributes.remove("id"), event.attributes.remove("source"), decision)
        }
        Err((violation, raw)) => {
            let attributes = Default::default();
            let sent = Sent { attributes: &attributes, raw, content_type: "application/json", line: None };
            (None, None, admission.refuse(vec![violation], sent))
        }
    }
}

impl<'a> Judged<'a> {
    fn result(self, written: Result<Position, PublishError>) -> EventResult<'a> {
        let Self { id, source, status, violations, topic } = self;
        let (status, position, reason) = match written {
            Ok(Position { partition, offset }) => (status, Some(PositionBody { topic, partition, offset }), None),
            Err(error) => (EventStatus::Failed, None, Some(error.to_string())),
        };
        EventResult { id, source, status, violations, position, reason }
    }
}
