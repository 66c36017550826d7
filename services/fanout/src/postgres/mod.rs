//! Delivery to a table in the subscriber's own database.

mod cells;
mod columns;
mod connect;
mod intake;
mod rows;
mod sink;
mod sql;

use std::sync::Arc;
use std::time::{Duration, Instant};

use freshet_catalog_model::Catalog;
use freshet_core::{Fault, ReceiptOutcome, Way, topics};
use freshet_kafka::batches::BatchReader;
use freshet_kafka::window::WindowEnd;
use freshet_kafka::{OwnedRecord, TopicId};
use freshet_runtime::CancellationToken;

use crate::Shared;
use crate::event::{self, EventError};
use crate::receipts::Unwritten;
use crate::secrets::SecretFile;
use crate::subscription::{State, Subscription};
pub(crate) use intake::Room;
use intake::{Intake, Taken};
use rows::RowMaker;
use sink::{Layout, Locked, Sink, Timeouts};

/// How often the lag is measured, and how long an idle sink goes without asking its database anything.
const LAG_EVERY: Duration = Duration::from_secs(10);
/// How often an instance that stands by tries to take over.
const STANDBY_WAIT: Duration = Duration::from_secs(2);

/// What goes wrong between a view and a table.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("{0}")]
    Secret(String),
    #[error("the database cannot be reached: {0}")]
    Connect(String),
    #[error("the database refuses: {0}")]
    Sql(String),
    #[error("the table cannot take the view: {0}")]
    Layout(String),
    #[error("the event cannot become a row: {0}")]
    Data(String),
    #[error("another instance has written partition {partition} past offset {expected}")]
    Fenced { partition: i32, expected: i64 },
    #[error("another instance delivers this grant")]
    Standby,
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    #[error("view {0} has no topic yet")]
    ViewMissing(String),
    #[error("the view cannot be read: {0}")]
    Kafka(#[from] freshet_kafka::Error),
    #[error("{0}")]
    Event(#[from] EventError),
}

impl From<tokio_postgres::Error> for SinkError {
    fn from(error: tokio_postgres::Error) -> Self {
        if error.as_db_error().is_some() { Self::Sql(describe(&error)) } else { Self::Connect(describe(&error)) }
    }
}

impl SinkError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Connect(_) => "connect",
            Self::Sql(_) => "sql",
            Self::Layout(_) => "layout",
            Self::Data(_) | Self::Event(_) => "event",
            Self::Fenced { .. } => "fenced",
            Self::Standby => "standby",
            Self::Unwritten(_) => "receipt",
            Self::ViewMissing(_) | Self::Kafka(_) => "kafka",
        }
    }

    /// True where waiting alone cannot mend it.
    fn parks_at_once(&self) -> bool {
        match self {
            Self::Layout(_) | Self::Data(_) => true,
            Self::Event(EventError::SchemaUnknown(_)) => false,
            Self::Event(_) => true,
            Self::Secret(_)
            | Self::Connect(_)
            | Self::Sql(_)
            | Self::Fenced { .. }
            | Self::Standby
            | Self::Unwritten(_)
            | Self::ViewMissing(_)
            | Self::Kafka(_) => false,
        }
    }
}

/// What PostgreSQL said, without the values that its message for wrong data quotes: they may be a person's.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(answer) if answer.code().code().starts_with("22") => {
            format!("wrong data (SQLSTATE {})", answer.code().code())
        }
        Some(answer) => format!("{} (SQLSTATE {})", answer.message(), answer.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        }
    }
}

/// Delivers until the subscription stops or parks.
pub(crate) async fn run(
    shared: &Shared,
    subscription: &Arc<Subscription>,
    (table, secret): (&str, &SecretFile),
) -> Result<WindowEnd, Fault> {
    let config = &shared.config.postgres;
    let layout = match layout(&shared.catalog.current().catalog, subscription, table) {
        Ok(layout) => layout,
        Err(error) => return Ok(WindowEnd::Parked { reason: error.to_string() }),
    };
    let give_up_after = Duration::from_millis(config.give_up_after_ms);
    let mut failing_since: Option<Instant> = None;
    let mut attempt = 0;
    let stop = &subscription.stop;
    while !stop.is_cancelled() {
        let before = shared.metrics.delivered.with_label_values(&[&subscription.grant.id, "postgres"]).get();
        let delivery = Delivery { shared, subscription, secret, layout: layout.clone() };
        // What is under way is an open database transaction: dropping it rolls back.
        let Some(ended) = stop.run_until_cancelled(delivery.deliver()).await else { break };
        let error = match ended {
            Ok(never) => match never {},
            Err(error) => error,
        };
        // What the stop itself broke off is no failure of the database.
        if stop.is_cancelled() {
            break;
        }
        if matches!(error, SinkError::Standby) {
            subscription.set(State::Standby);
            let _ = stop.run_until_cancelled(tokio::time::sleep(STANDBY_WAIT)).await;
            continue;
        }
        shared.metrics.error(&subscription.grant.id, error.kind());
        if error.parks_at_once() {
            return Ok(WindowEnd::Parked { reason: error.to_string() });
        }
        let progressed =
            shared.metrics.delivered.with_label_values(&[&subscription.grant.id, "postgres"]).get() > before;
        if progressed {
            (failing_since, attempt) = (None, 0);
        }
        let since = *failing_since.get_or_insert_with(Instant::now);
        let wait = config.backoff().wait(attempt, fastrand::f64());
        attempt += 1;
        if since.elapsed() + wait > give_up_after {
            return Ok(WindowEnd::Parked { reason: format!("{error}; tried {attempt} times") });
        }
        tracing::warn!(grant = subscription.grant.id, %error, "the subscriber's database fails, trying again");
        subscription.retrying(&error.to_string());
        shared.metrics.retries.with_label_values(&[&subscription.grant.id]).inc();
        let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
    Ok(WindowEnd::Stopped)
}

fn layout(catalog: &Catalog, subscription: &Subscription, table: &str) -> Result<Layout, SinkError> {
    let grant = &subscription.grant;
    let view = catalog
        .views
        .get(&grant.view)
        .ok_or_else(|| SinkError::Layout(format!("view {} is not in the catalogue", grant.view)))?;
    let schema = catalog
        .schemas
        .get(&view.schema_id)
        .ok_or_else(|| SinkError::Layout(format!("schema {} is not in the catalogue", view.schema_id)))?;
    let retention = catalog.datasets.get(&grant.dataset).map(|dataset| dataset.retention.clone()).unwrap_or_default();
    Layout::new(grant, table, view, (&schema.avsc, retention.tombstone_hours))
}

/// One connection's worth of delivery.
struct Delivery<'a> {
    shared: &'a Shared,
    subscription: &'a Arc<Subscription>,
    secret: &'a SecretFile,
    layout: Layout,
}

impl Delivery<'_> {
    /// Ends with an error only; the caller drops it to stop.
    async fn deliver(self) -> Result<std::convert::Infallible, SinkError> {
        let (shared, config) = (self.shared, &self.shared.config.postgres);
        let url = self.secret.read().map_err(|error| SinkError::Secret(error.to_string()))?;
        let timeouts = Timeouts {
            connect: Duration::from_millis(config.connect_timeout_ms),
            statement: Duration::from_millis(config.statement_timeout_ms),
        };
        let locked = Locked::take(&url, &shared.trust, self.layout.clone(), timeouts).await?;
        let (reader, topic) = self.reader().await?;
        let mut sink = locked.open(topic).await?;
        let reader = self.assign(reader, &sink).await?;
        let rows = RowMaker::new(self.layout.columns().to_vec(), Arc::clone(&shared.schemas));
        let wait = Duration::from_millis(config.batch_wait_ms);
        let mut intake = Intake::new(reader, rows, (config.batch_records, wait), shared.room.clone());
        let mut measured = Instant::now();
        let mut taken = Taken::default();
        let mut open = Moments::new();
        self.subscription.running();
        loop {
            let measure = measured.elapsed() > LAG_EVERY;
            // The next batch is read and made into rows while the database works on this one. One that is there by then goes
            // right behind the commit.
            let free = CancellationToken::new();
            let _free_at_the_latest_then = free.clone().drop_guard();
            let reading = {
                let free = free.clone();
                tokio::task::spawn_blocking(move || intake.take(&free, measure))
            };
            if !taken.records.is_empty() {
                self.write(&mut sink, &mut taken, std::mem::take(&mut open)).await?;
                open = moments(&taken.records);
            }
            free.cancel();
            let read = if reading.is_finished() {
                reading.await
            } else {
                tokio::try_join!(self.commit(&mut sink, std::mem::take(&mut open)), async { Ok(reading.await) })?.1
            };
            let (returned, next) = read.map_err(|error| SinkError::Connect(format!("reader: {error}")))?;
            (intake, taken) = (returned, next?);
            if taken.records.is_empty() {
                self.commit(&mut sink, std::mem::take(&mut open)).await?;
            }
            if let Some(behind) = taken.behind {
                // Nothing came, and Kafka answers: what is left are markers of transactions.
                let records = if taken.records.is_empty() { 0 } else { behind };
                shared.metrics.lag.with_label_values(&[&self.subscription.grant.id]).set(records);
                measured = Instant::now();
                if taken.records.is_empty() {
                    sink.touch().await?;
                }
            }
        }
    }

    /// `open`: when the events were published that stand in what is open.
    async fn write(&self, sink: &mut Sink, taken: &mut Taken, open: Moments) -> Result<(), SinkError> {
        let (shared, grant) = (self.shared, &self.subscription.grant);
        shared.receipts.writable().await;
        let stop = &self.subscription.stop;
        let released = shared.receipts.write_batch(grant, ReceiptOutcome::Released, &taken.records, stop);
        sink.write(std::mem::take(&mut taken.rounds), released, || self.delivered(open)).await
    }

    async fn commit(&self, sink: &mut Sink, open: Moments) -> Result<(), SinkError> {
        sink.commit().await?;
        self.delivered(open);
        Ok(())
    }

    fn delivered(&self, moments: Moments) {
        let counted = self.shared.metrics.of(&self.subscription.grant.id, Way::Postgres);
        moments.into_iter().for_each(|published_at| counted.delivered(published_at));
        self.subscription.running();
    }

    /// A reader, and which topic it will read.
    async fn reader(&self) -> Result<(BatchReader, TopicId), SinkError> {
        let (connection, topic) = (self.shared.connection.clone(), topics::view(&self.layout.view));
        let opened = blocking(move || {
            let reader = BatchReader::new(&connection, "fanout")?;
            let id = reader.topic_id(&topic)?;
            Ok::<_, freshet_kafka::Error>((reader, id))
        });
        let (reader, id) = opened.await??;
        Ok((reader, id.ok_or_else(|| SinkError::ViewMissing(self.layout.view.clone()))?))
    }

    async fn assign(&self, mut reader: BatchReader, sink: &Sink) -> Result<BatchReader, SinkError> {
        let (topic, positions) = (topics::view(&self.layout.view), sink.positions.clone());
        let assigned = blocking(move || reader.assign(&topic, &positions).map(|()| reader));
        Ok(assigned.await??)
    }
}

/// When events were published.
type Moments = Vec<Option<jiff::Timestamp>>;

fn moments(records: &[OwnedRecord]) -> Moments {
    records.iter().map(event::published_at).collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SinkError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SinkError::Connect(format!("reader: {error}")))
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
