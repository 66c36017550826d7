//! Pull with a cursor, and one subscriber by server-sent events.

use std::time::Duration;

use freshet_catalog_model::Grant;
use freshet_testkit::departments::{Pull, PullError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Desk, note_cloudevent};

const PAGE: usize = 500;
const WAIT_MS: u64 = 1_000;

pub(super) fn start(desk: &Desk, grant: &Grant, listens: bool, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let token = desk.reach.token(&grant.subscriber)?;
    let pull = Pull::new(&desk.reach.pull, &grant.id, token);
    let (desk, grant) = (desk.clone(), grant.id.clone());
    tasks.spawn(async move {
        let stop = desk.stop.clone();
        let work = async { if listens { listen(&desk, &grant, pull).await } else { ask(&desk, &grant, pull).await } };
        stop.run_until_cancelled(work).await;
    });
    Ok(())
}

async fn ask(desk: &Desk, grant: &str, mut pull: Pull) {
    loop {
        match pull.next(PAGE, WAIT_MS).await {
            Ok((events, _)) => events.iter().for_each(|event| note_cloudevent(&desk.ledger, grant, event)),
            Err(error) => troubled(desk, grant, error).await,
        }
    }
}

async fn listen(desk: &Desk, grant: &str, mut pull: Pull) {
    let (sender, mut events) = mpsc::unbounded_channel();
    let ledger = desk.ledger.clone();
    let name = grant.to_owned();
    let noting = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            note_cloudevent(&ledger, &name, &event);
        }
    });
    while !desk.stop.is_cancelled() {
        if let Err(error) = pull.listen(&sender).await {
            troubled(desk, grant, error).await;
        }
    }
    noting.abort();
}

/// A busy service says so (503); anything else is told. Either way the subscriber asks again.
async fn troubled(desk: &Desk, grant: &str, error: PullError) {
    let is_busy = matches!(error, PullError::Status { status: 503, .. });
    if !is_busy && !desk.stop.is_cancelled() {
        desk.ledger.trouble(format!("pull {grant}: {error}"));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}
