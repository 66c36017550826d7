//! `GET /v1/grants/{grant}/events`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use freshet_catalog_model::{Delivery, Grant};
use freshet_core::{ReceiptOutcome, topics};
use freshet_kafka::OwnedRecord;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::{IntoParams, ToSchema};

use super::cursor::{Cursor, CursorError, TopicMark};
use super::problem::Problem;
use super::readers::Wanted;
use super::{Api, GrantId, stream};
use crate::event::{EventError, published_at};

/// One look at the view. Between two, the grant is checked again.
const SLICE: Duration = Duration::from_millis(500);
/// How long a request waits for a free reader, and for a broker that is slow to say whether there is anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a response waits for its receipts.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// As the last response gave it. Without it, from the beginning: the current state, then every change.
    cursor: Option<String>,
    /// Replay from this time on (RFC 3339, the time at which the bus wrote the event to the view).
    from: Option<String>,
    /// Events at most.
    limit: Option<usize>,
    /// How long to wait where there is nothing new: seconds, or a number with `s` or `ms`.
    wait: Option<String>,
}

/// A page of events.
#[derive(Debug, ToSchema)]
pub(super) struct Events {
    /// CloudEvents 1.0 in JSON, in order for each `partitionkey`.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Vec<u8>>,
    /// Give it with the next request. It is good for as long as the dataset keeps removals
    /// (`retention.tombstone_hours`), and as the view's topic is the same; after that the answer is 410.
    cursor: String,
    /// False where this is all there was: the broker has said that nothing follows. True where more follows or may follow, also
    /// after an empty page: ask again at once.
    more: bool,
}

impl IntoResponse for Events {
    /// Each text is freed when it is in the body: a page of large events is not held twice.
    fn into_response(self) -> Response {
        let mut body = b"{\"events\":[".to_vec();
        for (index, event) in self.events.into_iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&event);
        }
        let rest = json!({"cursor": self.cursor, "more": self.more}).to_string();
        body.extend_from_slice(b"],");
        body.extend_from_slice(rest.trim_start_matches('{').as_bytes());
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    }
}

/// Where reading goes on: a cursor without its view.
#[derive(Debug, Clone)]
pub(super) struct Begin {
    pub position: BTreeMap<i32, i64>,
    /// When the caller last had everything, or began. Seconds since the epoch.
    pub since: i64,
    /// Which topic the offsets are of.
    pub mark: TopicMark,
}

/// What a look at the view has brought.
#[derive(Debug)]
pub(super) struct Look {
    pub records: Vec<OwnedRecord>,
    /// True where the broker has said that nothing follows.
    pub at_end: bool,
}

/// What one request may do, checked.
#[derive(Debug)]
pub(super) struct Reading {
    pub grant: Grant,
    pub department: String,
    pub topic: String,
    pub begin: Begin,
    pub limit: usize,
    pub wait: Duration,
    /// One of the connections that the service allows.
    pub _connection: OwnedSemaphorePermit,
}

/// Events of a grant: as JSON, or with `Accept: text/event-stream` as a stream that goes on (`id` is the cursor, sent
/// back in `Last-Event-ID`).
#[utoipa::path(get, path = "/v1/grants/{grant}/events",
    params(("grant" = String, Path, description = "The grant's id"), Parameters),
    responses(
        (status = 200, description = "Events", content((Events = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The cursor is older than the removals that are kept, of a topic that is gone, or of the \
            grant as it was: begin again without one",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn events(
    State(api): State<Api>,
    GrantId(grant): GrantId,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let department = api.department(&headers)?;
        let grant = pulled(api.grant(&grant, &department)?)?;
        let Query(parameters) = parameters.map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        let reading = api.reading(grant, department, &parameters, &headers).await?;
        if wants_stream(&headers) {
            return Ok(stream::stream(api.clone(), reading).into_response());
        }
        api.page(reading).await.map(Events::into_response)
    };
    let response = answer.await.unwrap_or_else(Problem::into_response);
    api.shared.metrics.pulls.with_label_values(&[response.status().as_str()]).inc();
    response
}

fn pulled(grant: Grant) -> Result<Grant, Problem> {
    match grant.delivery {
        Delivery::Pull => Ok(grant),
        _ => {
            Err(Problem::forbidden(format!("grant {} is delivered another way: its delivery is not `pull`", grant.id)))
        }
    }
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| part.trim().starts_with("text/event-stream"))
}

impl Api {
    async fn reading(
        &self,
        grant: Grant,
        department: String,
        parameters: &Parameters,
        headers: &HeaderMap,
    ) -> Result<Reading, Problem> {
        let config = &self.shared.config.pull;
        let limit = parameters.limit.unwrap_or(config.default_limit);
        if limit == 0 || limit > config.max_limit {
            return Err(Problem::bad_request(format!("limit must be 1 to {}", config.max_limit)));
        }
        let wait = match &parameters.wait {
            None => Duration::from_millis(config.default_wait_ms),
            Some(text) => parse_wait(text)
                .ok_or_else(|| Problem::bad_request(format!("wait `{text}` is not a time such as 30s, 500ms or 30")))?,
        };
        let wait = wait.min(Duration::from_millis(config.max_wait_ms));
        let connection = std::sync::Arc::clone(&self.connections)
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable("too many pullers are connected"))?;
        let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        let cursor = resumed.or(parameters.cursor.as_deref()).filter(|text| !text.is_empty());
        let begin = self.begin(&grant, cursor, parameters.from.as_deref()).await?;
        let topic = topics::view(&grant.view);
        Ok(Reading { grant, department, topic, begin, limit, wait, _connection: connection })
    }

    /// Where to begin: at the cursor; else at the time; else at the beginning.
    async fn begin(&self, grant: &Grant, cursor: Option<&str>, from: Option<&str>) -> Result<Begin, Problem> {
        let now = jiff::Timestamp::now().as_second();
        let mut since = now;
        let snapshot = self.shared.catalog.current();
        let view = snapshot
            .catalog
            .views
            .get(&grant.view)
            .ok_or_else(|| Problem::unavailable(format!("view {} is being made", grant.view)))?;
        let partitions: Vec<i32> = (0..view.partitions).collect();
        let mut position: BTreeMap<i32, i64> = partitions.iter().map(|partition| (*partition, 0)).collect();
        let mut given = None;
        match (cursor, from) {
            (Some(text), _) => {
                let cursor = Cursor::decode(text, &grant.view).map_err(|error| match error {
                    CursorError::OtherView => Problem::grant_changed(&grant.id),
                    CursorError::Malformed => Problem::bad_cursor(error.to_string()),
                })?;
                if let Some(partition) = cursor.next.keys().find(|partition| !position.contains_key(partition)) {
                    return Err(Problem::bad_cursor(format!("the view has no partition {partition}")));
                }
                let kept_hours = snapshot
                    .catalog
                    .datasets
                    .get(&grant.dataset)
                    .map(|dataset| dataset.retention.clone())
                    .unwrap_or_default()
                    .tombstone_hours;
                let hours = now.saturating_sub(cursor.since) / 3600;
                if hours >= i64::from(kept_hours) {
                    return Err(Problem::cursor_too_old(hours, kept_hours));
                }
                since = cursor.since.min(now);
                given = cursor.topic;
                position.extend(cursor.next);
            }
            (None, Some(text)) => {
                let time: jiff::Timestamp = text.parse().map_err(|_| {
                    Problem::bad_request(format!("from `{text}` is not a time such as 2026-01-31T08:00:00Z"))
                })?;
                let found = self.readers.at_time(topics::view(&grant.view), partitions, time, PATIENCE).await;
                position = found.ok_or_else(busy)?.map_err(unreadable)?;
            }
            (None, None) => {}
        }
        let mark = self.readers.mark(&topics::view(&grant.view), PATIENCE).await;
        let mark = mark.ok_or_else(busy)?.map_err(unreadable)?;
        let mark = mark.ok_or_else(|| Problem::unavailable(format!("view {} is being made", grant.view)))?;
        if given.is_some_and(|given| given != mark) {
            return Err(Problem::topic_made_anew());
        }
        Ok(Begin { position, since, mark })
    }

    async fn page(&self, mut reading: Reading) -> Result<Events, Problem> {
        let begun = Instant::now();
        loop {
            let Look { mut records, at_end } = self.next(&mut reading, SLICE).await?;
            // Who does not want to wait waits all the same until the broker has said that there is nothing.
            let patience = if at_end { reading.wait } else { reading.wait.max(PATIENCE) };
            if !records.is_empty() || begun.elapsed() >= patience || self.shared.stop.is_cancelled() {
                let events = self.release(&reading.grant, &mut records).await?;
                let cursor = reading.begin.cursor(&reading.grant.view).encode();
                return Ok(Events { events, cursor, more: !at_end });
            }
        }
    }

    /// The next records, and the position moved behind them. Checks the grant first.
    pub(super) async fn next(&self, reading: &mut Reading, wait: Duration) -> Result<Look, Problem> {
        let now = pulled(self.grant(&reading.grant.id, &reading.department)?)?;
        if now.view != reading.grant.view {
            return Err(Problem::grant_changed(&now.id));
        }
        let wanted =
            Wanted { topic: reading.topic.clone(), from: reading.begin.position.clone(), max: reading.limit, wait };
        let began = jiff::Timestamp::now().as_second();
        let page = self.readers.read(wanted, PATIENCE).await.ok_or_else(busy)?.map_err(unreadable)?;
        reading.begin.position = page.after;
        if page.at_end {
            reading.begin.since = began;
        }
        Ok(Look { records: page.records, at_end: page.at_end })
    }

    /// The records as they may leave: decoded, and receipted before they do (P8).
    /// They lose their values, which stand in the texts.
    pub(super) async fn release(&self, grant: &Grant, records: &mut [OwnedRecord]) -> Result<Vec<Vec<u8>>, Problem> {
        let text = |record: &mut OwnedRecord| {
            let mut text = self.shared.schemas.cloudevent_json(record)?;
            text.shrink_to_fit();
            record.value = None;
            Ok::<_, EventError>(text)
        };
        let events: Result<Vec<_>, _> = records.iter_mut().map(text).collect();
        let events = events.map_err(|error| {
            tracing::error!(grant = grant.id, %error, "a view record cannot be shown");
            self.shared.metrics.error(&grant.id, "event");
            Problem::unavailable("an event of the view cannot be shown yet; the operator has been told")
        })?;
        let writing = self.shared.receipts.write_batch(grant, ReceiptOutcome::Released, records, &self.shared.stop);
        let written = tokio::time::timeout(RECEIPT_PATIENCE, writing).await;
        if !matches!(written, Ok(Ok(()))) {
            return Err(Problem::unavailable("the audit trail cannot be written, so nothing is handed out"));
        }
        let counted = self.shared.metrics.of(&grant.id, freshet_core::Way::Pull);
        for record in records.iter() {
            counted.delivered(published_at(record));
        }
        Ok(events)
    }
}

impl Begin {
    pub(super) fn cursor(&self, view: &str) -> Cursor {
        Cursor { view: view.to_owned(), since: self.since, topic: Some(self.mark), next: self.position.clone() }
    }
}

fn busy() -> Problem {
    Problem::unavailable("all readers are busy")
}

fn unreadable(error: freshet_kafka::Error) -> Problem {
    tracing::warn!(%error, "a view cannot be read for a puller");
    Problem::unavailable("the view cannot be read now")
}

/// `30`, `30s`, `500ms`.
fn parse_wait(text: &str) -> Option<Duration> {
    if let Some(number) = text.strip_suffix("ms") {
        return number.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s').unwrap_or(text).parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_has_a_unit() {
        for (text, expected) in
            [("30", Some(30_000)), ("30s", Some(30_000)), ("250ms", Some(250)), ("1m", None), ("", None)]
        {
            assert_eq!(parse_wait(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
