//! Departments that pull with a cursor; one listens to server-sent events.

use std::time::Duration;

use freshet_catalog_model::Grant;
use freshet_testkit::departments::{Pull, PullError};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::Desk;
use super::kafka_out::FieldSets;
use crate::bus::token;
use crate::history::Delivery;
use crate::ledger::{Ledger, now};

const PAGE: usize = 500;
const WAIT_MS: u64 = 1_000;
/// An answer that takes longer is not waited for.
const LIMIT: Duration = Duration::from_secs(20);

pub async fn ask(desk: Desk, grant: Grant) {
    let mut pull = Pull::new(&desk.pull, &grant.id, token(&grant.subscriber));
    let mut fields = FieldSets::default();
    let stop = desk.stop.clone();
    let asking = async {
        loop {
            match tokio::time::timeout(LIMIT, pull.next(PAGE, WAIT_MS)).await {
                Ok(Ok((events, _))) => {
                    events.iter().for_each(|event| note(&desk.ledger, &grant.id, event, None, &mut fields));
                }
                Ok(Err(error)) => troubled(&desk, &error).await,
                Err(_) => desk.ledger.trouble("pulling: no answer in time".to_owned()),
            }
        }
    };
    stop.run_until_cancelled(asking).await;
}

pub async fn listen(desk: Desk, grant: Grant) {
    let mut pull = Pull::new(&desk.pull, &grant.id, token(&grant.subscriber));
    let mut fields = FieldSets::default();
    let (sender, mut events) = mpsc::unbounded_channel();
    let stop = desk.stop.clone();
    let listening = async {
        loop {
            // A connection that is silent for good must not be waited for; the cursor goes on where it was.
            match tokio::time::timeout(LIMIT, pull.listen(&sender)).await {
                Ok(Err(error)) => troubled(&desk, &error).await,
                Ok(Ok(())) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let noting = async {
        while let Some(event) = events.recv().await {
            note(&desk.ledger, &grant.id, &event, None, &mut fields);
        }
    };
    stop.run_until_cancelled(async { tokio::join!(listening, noting) }).await;
}

async fn troubled(desk: &Desk, error: &PullError) {
    let text = match error {
        PullError::Http { source, .. } => super::http::kind(source).to_owned(),
        PullError::Status { status, detail, .. } => format!("{status} {detail}"),
        PullError::Address { reason, .. } => reason.clone(),
    };
    desk.ledger.trouble(format!("pulling: {text}"));
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// A CloudEvent in JSON, as webhook and pull deliver it.
pub fn note(ledger: &Ledger, grant: &str, event: &Map<String, Value>, message: Option<String>, fields: &mut FieldSets) {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let names = event.get("data").and_then(Value::as_object).map(|data| data.keys().cloned().collect());
    let delivery = Delivery {
        event: text("id").to_owned(),
        key: text("partitionkey").to_owned(),
        is_removal: text("operation") == "delete",
        fields: fields.one(names.unwrap_or_default()),
        content: None,
        message,
        at: now(),
    };
    ledger.delivered(grant, delivery);
}
