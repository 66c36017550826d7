//! One table in a subscriber's database. Data and offset change in one database transaction, so each event is applied
//! exactly once, whatever dies when.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use freshet_catalog_model::{Grant, View};
use freshet_kafka::TopicId;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use sha2::{Digest, Sha256};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};

use super::SinkError;
use super::columns::{Column, columns};
use super::connect::connect;
use super::rows::Rounds;
use super::sql::{OFFSETS_TABLE, Statements, Table};
use crate::trust::Trust;

const COMMIT: &str = "COMMIT";

/// What the sink needs to know of its table, fixed while a subscription runs.
#[derive(Debug, Clone)]
pub struct Layout {
    pub grant: String,
    pub view: String,
    pub partitions: i32,
    /// How long the view keeps a removal. A subscriber that was away for longer may have missed one.
    pub tombstone_hours: i32,
    table: Table,
    columns: Vec<Column>,
    statements: Statements,
}

impl Layout {
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub fn new(
        grant: &Grant,
        table: &str,
        view: &View,
        (avsc, tombstone_hours): (&str, u32),
    ) -> Result<Self, SinkError> {
        let table = Table::parse(table).map_err(SinkError::Layout)?;
        let columns = columns(avsc).map_err(|error| SinkError::Layout(error.to_string()))?;
        let statements = Statements::new(&table, &columns);
        Ok(Self {
            grant: grant.id.clone(),
            view: view.id.clone(),
            partitions: view.partitions,
            tombstone_hours: i32::try_from(tombstone_hours).unwrap_or(i32::MAX),
            table,
            columns,
            statements,
        })
    }
}

/// An open connection that holds the grant's lock, with the offsets as the database has them.
pub struct Sink {
    client: Client,
    layout: Layout,
    upsert: Statement,
    upsert_json: Statement,
    delete: Statement,
    advance: Statement,
    /// Until an answer: somewhat more than the database itself gives a statement.
    answer: Duration,
    /// Per partition, the next record to apply.
    pub positions: BTreeMap<i32, i64>,
    /// A batch is written and not committed.
    is_open: bool,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("positions", &self.positions).finish_non_exhaustive()
    }
}

/// What is limited in time, in the sink.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    pub statement: Duration,
}

/// A connection that holds the grant's lock.
pub struct Locked {
    client: Client,
    layout: Layout,
    /// Somewhat more than the database itself gives a statement.
    answer: Duration,
}

impl Locked {
    /// Connects and takes the grant's lock.
    ///
    /// # Errors
    /// [`SinkError::Standby`] while another instance holds the lock.
    pub async fn take(url: &str, trust: &Trust, layout: Layout, timeouts: Timeouts) -> Result<Self, SinkError> {
        let answer = timeouts.statement + timeouts.connect;
        let taken = tokio::time::timeout(answer * 2, Self::take_unbounded(url, trust, layout, timeouts));
        taken.await.map_err(|_| unanswered(answer * 2))?
    }

    async fn take_unbounded(url: &str, trust: &Trust, layout: Layout, timeouts: Timeouts) -> Result<Self, SinkError> {
        let client = connect(url, trust, timeouts.connect).await?;
        let limit = timeouts.statement.as_millis();
        client.batch_execute(&format!("SET statement_timeout = {limit}; SET lock_timeout = {limit}")).await?;
        let locked: bool =
            client.query_one("SELECT pg_try_advisory_lock($1)", &[&lock_key(&layout.grant)]).await?.get(0);
        if !locked {
            return Err(SinkError::Standby);
        }
        Ok(Self { client, layout, answer: timeouts.statement + timeouts.connect })
    }

    /// Brings the tables to the view's schema and reads the offsets. `topic`: the one that the view has now.
    pub async fn open(self, topic: TopicId) -> Result<Sink, SinkError> {
        // What is done to the tables may take several statements.
        let limit = self.answer * 2;
        tokio::time::timeout(limit, self.open_unbounded(topic)).await.map_err(|_| unanswered(limit))?
    }

    async fn open_unbounded(mut self, topic: TopicId) -> Result<Sink, SinkError> {
        let layout = self.layout;
        let transaction = self.client.transaction().await?;
        migrate(&transaction, &layout).await?;
        let positions = offsets(&transaction, &layout, &topic.to_string()).await?;
        transaction.commit().await?;
        let upsert = self.client.prepare(&layout.statements.upsert).await?;
        let upsert_json = self.client.prepare(&layout.statements.upsert_json).await?;
        let delete = self.client.prepare(&layout.statements.delete).await?;
        let advance = self.client.prepare(&layout.statements.advance_offset).await?;
        let answer = self.answer;
        let (client, is_open) = (self.client, false);
        Ok(Sink { client, layout, upsert, upsert_json, delete, advance, answer, positions, is_open })
    }
}

impl Sink {
    /// Writes a batch and leaves its transaction open. What was open before is committed first, and `committed` is called
    /// when the database has said so: commit and batch are sent together, so that the database does not wait for us between
    /// two transactions. `released` writes the receipts while the rows are written, and is done before it returns, so that
    /// nothing is disclosed without one.
    ///
    /// After an error the connection is of no use, and dropping it rolls back: whether a commit that was not answered took
    /// place is known only from the offsets that the next [`Locked::open`] reads. Where the commit in front fails, the offsets
    /// are not those that the batch expects ([`SinkError::Fenced`]).
    pub async fn write<E>(
        &mut self,
        batch: Rounds,
        released: impl Future<Output = Result<(), E>>,
        committed: impl FnOnce() + Send,
    ) -> Result<(), SinkError>
    where
        SinkError: From<E>,
    {
        let (client, limit) = (&self.client, self.answer);
        // Each is sent when it is first polled, which is in this order, and none waits for the answer to another.
        let mut statements = FuturesOrdered::<BoxFuture<'_, Result<(), SinkError>>>::new();
        if self.is_open {
            statements.push_back(Box::pin(async move {
                client.batch_execute(COMMIT).await?;
                committed();
                Ok(())
            }));
        }
        statements.push_back(Box::pin(async move { Ok(client.batch_execute("BEGIN").await?) }));
        // Each has its values to itself, and lets them go when they are encoded.
        for round in batch.rounds {
            if !round.upserts.is_empty() {
                statements.push_back(Box::pin(done(client.execute_raw(&self.upsert, round.upserts))));
            }
            if !round.texts.is_empty() {
                let texts = serde_json::to_string(&round.texts).map_err(|error| SinkError::Data(error.to_string()))?;
                statements.push_back(Box::pin(done(client.execute_raw(&self.upsert_json, [texts]))));
            }
            if !round.deletes.is_empty() {
                statements.push_back(Box::pin(done(client.execute_raw(&self.delete, [round.deletes]))));
            }
        }
        for (&partition, next) in &batch.next {
            let expected = self.positions.get(&partition).copied().unwrap_or(0);
            let (layout, advance) = (&self.layout, &self.advance);
            statements.push_back(Box::pin(async move {
                let parameters: &[&(dyn ToSql + Sync)] = &[&layout.grant, &partition, &layout.view, next, &expected];
                match client.execute(advance, parameters).await? {
                    1 => Ok(()),
                    _ => Err(SinkError::Fenced { partition, expected }),
                }
            }));
        }
        let write = async {
            loop {
                match tokio::time::timeout(limit, statements.next()).await {
                    Ok(Some(answer)) => answer?,
                    Ok(None) => return Ok(()),
                    Err(_) => return Err(unanswered(limit)),
                }
            }
        };
        tokio::try_join!(write, async { released.await.map_err(SinkError::from) })?;
        drop(statements);
        self.is_open = true;
        self.positions.extend(batch.next.iter().map(|(partition, next)| (*partition, *next)));
        Ok(())
    }

    /// Commits what is open, if anything is.
    pub async fn commit(&mut self) -> Result<(), SinkError> {
        if self.is_open {
            bounded(self.answer, self.client.batch_execute(COMMIT)).await?;
            self.is_open = false;
        }
        Ok(())
    }

    /// Notes that the table is up to date; an error where the connection is dead, so that an idle sink notices.
    pub async fn touch(&self) -> Result<(), SinkError> {
        bounded(self.answer, self.client.execute(&self.layout.statements.touch, &[&self.layout.grant])).await?;
        Ok(())
    }
}

async fn done(call: impl Future<Output = Result<u64, tokio_postgres::Error>>) -> Result<(), SinkError> {
    call.await?;
    Ok(())
}

/// A database that has hung, or a network that swallows everything, does not end its statements itself.
async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SinkError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(unanswered(limit)),
    }
}

fn unanswered(limit: Duration) -> SinkError {
    SinkError::Connect(format!("no answer within {} ms", limit.as_millis()))
}

/// The lock of a grant, and without one that of the tables of all: the first 8 bytes of a hash, because PostgreSQL's advisory locks are numbers.
fn lock_key(grant: &str) -> i64 {
    let digest: [u8; 32] = Sha256::digest(format!("freshet.fanout.{grant}")).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

async fn migrate(transaction: &Transaction<'_>, layout: &Layout) -> Result<(), SinkError> {
    let (table, statements) = (&layout.table, &layout.statements);
    // Two that create at a time both find nothing there, IF NOT EXISTS or not, and one of them fails.
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&lock_key("")]).await?;
    // A subscriber may allow us to create tables but not schemas: ask only for what is missing.
    let schema = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    if transaction.query_opt(schema, &[&table.schema]).await?.is_none() {
        transaction.batch_execute(&statements.create_schema).await?;
    }
    transaction.batch_execute(&statements.create_offsets).await?;
    // Only its owner may alter a table, also where there is nothing to alter.
    let known = transaction.query(statements.read_columns, &[&table.schema, &OFFSETS_TABLE]).await?;
    if !known.iter().any(|row| row.get::<_, String>(0) == "topic") {
        transaction.batch_execute(&statements.add_topic).await?;
    }
    transaction.batch_execute(&statements.create_rows).await?;
    let found = transaction.query(statements.read_columns, &[&table.schema, &table.name]).await?;
    let found: BTreeMap<String, String> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (name, sql_type, add) in &statements.add_columns {
        match found.get(name) {
            None => transaction.batch_execute(add).await?,
            Some(existing) if super::sql::long_name(sql_type) == existing => {}
            Some(existing) => {
                return Err(SinkError::Layout(format!(
                    "column {name} of {}.{} is {existing}, the view has {sql_type}: alter it, or give the grant a table \
                     of its own",
                    table.schema, table.name
                )));
            }
        }
    }
    tracing::debug!(grant = layout.grant, columns = layout.columns.len(), "the subscriber's table fits the view");
    Ok(())
}

/// The offsets of the grant, after putting right what does not belong to this view.
async fn offsets(transaction: &Transaction<'_>, layout: &Layout, topic: &str) -> Result<BTreeMap<i32, i64>, SinkError> {
    let statements = &layout.statements;
    let table = layout.table.to_string();
    if let Some(other) = transaction.query_opt(&statements.other_grant, &[&layout.grant, &table]).await? {
        let other: String = other.get(0);
        return Err(SinkError::Layout(format!(
            "table {table} belongs to grant {other}: name another table, or delete that grant's rows of freshet_offsets \
             and empty the table"
        )));
    }
    let known = transaction.query(&statements.read_offsets, &[&layout.grant]).await?;
    // The grant reads another view now: what the table holds was granted before, perhaps with more fields or rows.
    let changed = known.iter().any(|row| row.get::<_, String>(1) != layout.view || row.get::<_, String>(3) != table);
    // The view's topic was made anew: the offsets are those of other records, and what is gone nobody removes.
    let made_anew = known.iter().any(|row| row.get::<_, Option<&str>>(4).is_some_and(|known| known != topic));
    let hours: &(dyn ToSql + Sync) = &layout.tombstone_hours;
    let was_away: bool = transaction.query_one(&statements.was_away, &[&layout.grant, hours]).await?.get(0);
    if changed || was_away || made_anew {
        let (grant, view) = (&layout.grant, &layout.view);
        tracing::info!(grant, view, changed, was_away, made_anew, "the subscriber's table is filled anew");
        transaction.execute(&statements.forget_rows, &[]).await?;
        transaction.execute(&statements.forget_offsets, &[&layout.grant]).await?;
    }
    for partition in 0..layout.partitions {
        let parameters: &[&(dyn ToSql + Sync)] = &[&layout.grant, &partition, &layout.view, &0_i64, &table];
        transaction.execute(&statements.first_offset, parameters).await?;
    }
    transaction.execute(&statements.note_topic, &[&layout.grant, &topic]).await?;
    let rows = transaction.query(&statements.read_offsets, &[&layout.grant]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(2))).collect())
}
