//! Two market regulation bureaus: CloudEvents over HTTP, in batches.

use std::time::Duration;

use freshet_demo::business::{self, Event};
use serde_json::{Value, json};

use super::{BUSINESS, Desk, Pace};
use crate::bus::token;

/// CloudEvents source and department.
pub const SOURCES: [(&str, &str); 2] = [
    ("urn:jiangcheng:market-regulation", "jiangcheng-market-regulation"),
    ("urn:hubin:market-regulation", "hubin-market-regulation"),
];
const BATCH: usize = 10;
/// An answer that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(15);

pub async fn publish(
    desk: Desk,
    per_second: f64,
    (source, department): (&'static str, &'static str),
    (seed, count): (u64, usize),
) -> anyhow::Result<()> {
    let events: Vec<Event> = business::events(seed, count).into_iter().filter(|event| event.source == source).collect();
    let url = format!("{}/v1/datasets/{BUSINESS}/events", desk.gateway);
    let client = reqwest::Client::builder().timeout(LIMIT).build()?;
    let mut pace = Pace::new(per_second);
    for batch in events.chunks(BATCH) {
        if desk.stop_publishing.is_cancelled() {
            break;
        }
        pace.take(batch.len()).await;
        let body = Value::from_iter(batch.iter().map(cloudevent)).to_string();
        // The same again is safe: the ids are the same.
        while let Err(problem) = send(&client, &url, &token(department), &body).await {
            desk.ledger.trouble(format!("publishing {BUSINESS}: {problem}"));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        desk.ledger.acknowledged(BUSINESS, batch.iter().map(|event| (id(event), event.business.uscc.clone())));
    }
    Ok(())
}

async fn send(client: &reqwest::Client, url: &str, token: &str, body: &str) -> Result<(), String> {
    let request = client
        .post(url)
        .bearer_auth(token)
        .header("content-type", "application/cloudevents-batch+json")
        .body(body.to_owned());
    let response = request.send().await.map_err(|error| kind(&error).to_owned())?;
    let status = response.status();
    // An answer that does not come whole is none.
    response.bytes().await.map_err(|error| kind(&error).to_owned())?;
    if status.is_success() { Ok(()) } else { Err(status.to_string()) }
}

pub fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}

fn id(event: &Event) -> String {
    format!("biz-{}", event.number)
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
        // A delete has no record, so its version stands in the envelope.
        attributes["sequence"] = Value::from(event.at.as_millisecond().to_string());
    }
    attributes
}
