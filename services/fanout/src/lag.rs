//! How far each webhook and database subscriber is behind its view.

use std::sync::Arc;
use std::time::Duration;

use freshet_catalog_model::Delivery;
use freshet_core::{clients, topics};
use freshet_kafka::{Connection, offsets};

use crate::Shared;

const EVERY: Duration = Duration::from_secs(15);

/// Sets the gauge of every webhook subscription again and again until the service stops.
pub(crate) async fn follow(shared: Arc<Shared>) {
    while shared.stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        for subscription in shared.subscriptions.all() {
            let grant = &subscription.grant;
            if !matches!(grant.delivery, Delivery::Webhook { .. }) {
                continue;
            }
            let (connection, group, topic) =
                (shared.connection.clone(), clients::fanout_group(&grant.id), topics::view(&grant.view));
            let read = tokio::task::spawn_blocking(move || behind(&connection, &group, &topic)).await;
            match read {
                Ok(Ok(records)) if !subscription.stop.is_cancelled() => {
                    shared.metrics.lag.with_label_values(&[&grant.id]).set(records);
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(grant = grant.id, %error, "lag not read"),
                Err(error) => tracing::debug!(grant = grant.id, %error, "lag not read"),
            }
        }
    }
}

/// Offsets between what the group has committed and the ends. Transaction markers take offsets too, so a group that has
/// everything may be one behind per partition.
fn behind(connection: &Connection, group: &str, topic: &str) -> Result<i64, freshet_kafka::Error> {
    let partitions = offsets::committed_and_ends(connection, group, topic)?;
    Ok(partitions.iter().map(|(at, marks)| (marks.end - at.unwrap_or(marks.earliest)).max(0)).sum())
}
