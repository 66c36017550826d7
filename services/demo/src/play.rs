//! From the first event to the closed books.

use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_catalog_model::{Catalog, Grant};
use freshet_runtime::CancellationToken;

use crate::ledger::Ledger;
use crate::publishers::{self, BUSINESS, FILES, Plan, RENTALS};
use crate::subscribers::{self, Subscribers};
use crate::view::{self, View};
use crate::{Options, Outcome, Reach, World};

/// How long nothing may move before the books are closed as they are.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long all must stay complete: what comes twice comes late.
const CALM: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Plays what an earlier run of the same folder has not played, and closes the books over all of it. Without `once` the
/// subscribers go on receiving until `stop`.
pub async fn play(
    world: World,
    reach: Reach,
    catalog: &Catalog,
    options: Options,
    stop: CancellationToken,
) -> anyhow::Result<Outcome> {
    let datasets: Vec<&str> = [RENTALS, BUSINESS].into_iter().chain(FILES.iter().map(|(name, _)| *name)).collect();
    let today = jiff::Zoned::now().date();
    let grants: Vec<Grant> =
        catalog.active_grants(today).filter(|grant| datasets.contains(&grant.dataset.as_str())).cloned().collect();
    let ledger = Arc::new(Ledger::new(&datasets, &grants).map_err(anyhow::Error::msg)?);
    let reach = Arc::new(reach);
    let receiving = CancellationToken::new();
    let desk = subscribers::Desk { reach: reach.clone(), ledger: ledger.clone(), stop: receiving.clone() };
    let subscribers = Subscribers::start(&desk, &world, catalog, &grants).await?;

    let plan = Plan::read(&options)?;
    println!(
        "playing {} events of {} registers to {} subscriptions of {} departments",
        plan.total(),
        datasets.len(),
        grants.len(),
        grants.iter().map(|grant| &grant.subscriber).collect::<std::collections::BTreeSet<_>>().len()
    );
    let publishing =
        publishers::Desk { reach, ledger: ledger.clone(), stop: stop.clone(), progress: world.progress()? };
    let before = plan.published_before(&publishing)?;
    if before > 0 {
        println!("{before} of them were published by an earlier run of this folder; it goes on from there");
    }
    let pace = options.clone();
    let sending = tokio::spawn(async move { plan.publish(&publishing, &pace).await });
    let completed = watch(&ledger, sending, &subscribers, &desk, &stop).await?;
    let outcome = if completed == Watched::Stopped {
        Outcome::Stopped
    } else {
        subscribers.read_tables(&desk).await;
        let closed = ledger.close();
        println!("{}", view::books(&closed, &ledger.grant_states()));
        for trouble in ledger.troubles() {
            println!("note: {trouble}");
        }
        if closed.balance() { Outcome::Balanced } else { Outcome::Unbalanced }
    };
    if !options.once && outcome != Outcome::Stopped {
        println!("{}", options.epilogue);
        stop.cancelled().await;
    }
    receiving.cancel();
    subscribers.finish().await;
    Ok(outcome)
}

#[derive(Debug, PartialEq, Eq)]
enum Watched {
    Settled,
    Stopped,
}

async fn watch(
    ledger: &Ledger,
    mut sending: tokio::task::JoinHandle<anyhow::Result<()>>,
    subscribers: &Subscribers,
    desk: &subscribers::Desk,
    stop: &CancellationToken,
) -> anyhow::Result<Watched> {
    let mut view = View::new();
    let mut sent = false;
    let mut last_move = (Instant::now(), String::new());
    let mut complete_since: Option<Instant> = None;
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            sending.abort();
            return Ok(Watched::Stopped);
        }
        view.show(ledger);
        if !sent && sending.is_finished() {
            (&mut sending).await??;
            sent = true;
            last_move.0 = Instant::now();
        }
        if !sent {
            continue;
        }
        subscribers.read_tables(desk).await;
        let state = format!("{:?}{:?}", ledger.dataset_states(), counts(ledger));
        if state != last_move.1 {
            last_move = (Instant::now(), state);
        }
        complete_since = if ledger.is_complete() { complete_since.or(Some(Instant::now())) } else { None };
        if complete_since.is_some_and(|since| since.elapsed() >= CALM && last_move.0.elapsed() >= CALM) {
            return Ok(Watched::Settled);
        }
        if last_move.0.elapsed() >= PATIENCE {
            println!("nothing has moved for {} s; the books are closed as they are", PATIENCE.as_secs());
            return Ok(Watched::Settled);
        }
    }
}

fn counts(ledger: &Ledger) -> Vec<(usize, usize)> {
    ledger.grant_states().iter().map(|state| (state.due, state.delivered)).collect()
}
