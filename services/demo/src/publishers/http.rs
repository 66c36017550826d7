//! Two market regulation bureaus: CloudEvents over HTTP, in batches of JSON.

use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::{Desk, Pace};
use crate::business::Event;

pub const BUSINESS: &str = "business_registration";
pub(crate) const ID_PREFIX: &str = "biz-";
/// CloudEvents source and department.
pub(super) const SOURCES: [(&str, &str); 2] = [
    ("urn:jiangcheng:market-regulation", "jiangcheng-market-regulation"),
    ("urn:hubin:market-regulation", "hubin-market-regulation"),
];
const BATCH: usize = 100;
/// One batch in this many is sent twice, as a client does that lost the answer.
const TWICE_IN: usize = 25;

pub(super) async fn publish(
    desk: Desk,
    mut pace: Pace,
    department: &'static str,
    events: Vec<Event>,
) -> anyhow::Result<()> {
    let url = format!("{}/v1/datasets/{BUSINESS}/events", desk.reach.gateway);
    let token = desk.reach.token(department)?;
    let client = reqwest::Client::new();
    let mut progress = desk.progress(department)?;
    for event in events.iter().take(progress.confirmed()) {
        desk.ledger.published(BUSINESS, id(event));
    }
    let first = progress.confirmed().min(events.len());
    for (number, batch) in events[first..].chunks(BATCH).enumerate() {
        if desk.stop.is_cancelled() {
            return Ok(());
        }
        pace.take(batch.len()).await;
        let body = Value::from_iter(batch.iter().map(cloudevent)).to_string();
        for event in batch {
            desk.ledger.published(BUSINESS, id(event));
        }
        let times = if number % TWICE_IN == TWICE_IN - 1 { 2 } else { 1 };
        for _ in 0..times {
            send(&desk, &client, &url, &token, &body).await?;
        }
        if desk.stop.is_cancelled() {
            return Ok(());
        }
        progress.confirm(batch.len())?;
    }
    Ok(())
}

/// Until the gateway has taken it. The same body again is safe: the ids are the same.
async fn send(desk: &Desk, client: &reqwest::Client, url: &str, token: &str, body: &str) -> anyhow::Result<()> {
    let mut last = String::new();
    for attempt in 0..60 {
        let request = client
            .post(url)
            .bearer_auth(token)
            .header("content-type", "application/cloudevents-batch+json")
            .body(body.to_owned());
        match request.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) => {
                let (status, retry_after) = (response.status(), retry_after(&response));
                last = format!("{status}: {}", response.text().await.unwrap_or_default());
                if status.is_client_error() && status.as_u16() != 429 && status.as_u16() != 408 {
                    break;
                }
                wait(desk, retry_after.unwrap_or(Duration::from_millis(200 * (attempt + 1)))).await;
            }
            Err(error) => {
                last = error.to_string();
                wait(desk, Duration::from_millis(200 * (attempt + 1))).await;
            }
        }
        if desk.stop.is_cancelled() {
            return Ok(());
        }
    }
    bail!("{url} did not take a batch: {last}")
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn wait(desk: &Desk, time: Duration) {
    let _ = desk.stop.run_until_cancelled(tokio::time::sleep(time.min(Duration::from_secs(5)))).await;
}

fn id(event: &Event) -> String {
    format!("{ID_PREFIX}{}", event.number)
}

fn cloudevent(event: &Event) -> Value {
    let verb = if event.is_delete { "deleted" } else { "changed" };
    let mut attributes = json!({
        "specversion": "1.0",
        "id": id(event),
        "source": event.source,
        "type": format!("cn.gov.market.registration.{verb}"),
        "time": event.at.to_string(),
        "divcode": event.division,
        "datacontenttype": "application/json",
        "data": event.to_json(),
    });
    if event.is_delete {
        // A delete has no record, so its version stands in the envelope: the same number as `updated_at`.
        attributes["sequence"] = Value::from(event.at.as_millisecond().to_string());
    }
    attributes
}
