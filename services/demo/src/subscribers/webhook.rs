//! Webhooks: one receiver for all departments, a path and a secret for each grant.

use anyhow::Context as _;
use freshet_catalog_model::{Delivery, Grant};
use freshet_testkit::departments::Receiver;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Desk, note_cloudevent};
use crate::World;

pub(super) async fn start(
    desk: &Desk,
    world: &World,
    grants: &[Grant],
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Receiver> {
    let (receiver, mut deliveries) = Receiver::start_keeping(world.webhook_port, &world.webhook_journal())
        .await
        .with_context(|| format!("receiving webhooks on port {}", world.webhook_port))?;
    for grant in grants {
        if let Delivery::Webhook { secret, .. } = &grant.delivery {
            receiver.expect(&grant.id, desk.reach.secret(secret)?.trim());
        }
    }
    let desk = desk.clone();
    tasks.spawn(async move {
        while let Some(Some(delivery)) = desk.stop.run_until_cancelled(deliveries.recv()).await {
            match serde_json::from_slice::<Value>(&delivery.body) {
                Ok(Value::Object(event)) => note_cloudevent(&desk.ledger, &delivery.path, &event),
                _ => desk.ledger.trouble(format!("webhook {}: the body is no CloudEvent", delivery.path)),
            }
        }
    });
    Ok(receiver)
}
