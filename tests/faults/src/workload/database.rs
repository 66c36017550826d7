//! Departments whose tables the bus keeps. A trigger notes each write, so that what is overwritten was seen too.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls};

use super::Desk;
use super::kafka_out::FieldSets;
use crate::history::Delivery;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Numbers are given before a transaction commits, so a lower one may be seen later.
const OVERLAP: i64 = 5_000;

/// Makes the table as the bus would, and the trigger on it. `table`: `public.name`.
pub async fn prepare(url: &str, table: &str) -> anyhow::Result<()> {
    let client = connect(url).await?;
    let name = name(table);
    let text = format!(
        "create table if not exists public.\"{name}\" (freshet_key text primary key, \
             freshet_written_at timestamptz not null default now());
         create table if not exists public.\"{name}_writes\" (number bigserial primary key, key text not null, event text, \
             fields text[] not null, at timestamptz not null default clock_timestamp());
         create or replace function public.\"{name}_note\"() returns trigger language plpgsql as $$
         begin
             if tg_op = 'DELETE' then
                 insert into public.\"{name}_writes\" (key, fields) values (old.freshet_key, '{{}}');
             else
                 insert into public.\"{name}_writes\" (key, event, fields)
                 select new.freshet_key, to_jsonb(new)->>'freshet_event_id', array_agg(field)
                 from jsonb_object_keys(to_jsonb(new)) as field;
             end if;
             return null;
         end $$;
         create or replace trigger note after insert or update or delete on public.\"{name}\"
             for each row execute function public.\"{name}_note\"();"
    );
    client.batch_execute(&text).await.with_context(|| format!("making the table {table}"))
}

pub async fn watch(desk: Desk, url: String, grant: String, table: String) {
    let mut watcher = Watcher { seen: HashSet::new(), furthest: 0, fields: FieldSets::default() };
    while desk.stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let looked = tokio::time::timeout(Duration::from_secs(15), watcher.look(&desk, &url, &grant, &table)).await;
        if !matches!(looked, Ok(Ok(()))) {
            desk.ledger.trouble("a department cannot look into its database".to_owned());
        }
    }
}

struct Watcher {
    seen: HashSet<i64>,
    furthest: i64,
    fields: FieldSets,
}

impl Watcher {
    async fn look(&mut self, desk: &Desk, url: &str, grant: &str, table: &str) -> anyhow::Result<()> {
        let client = connect(url).await?;
        let text = format!(
            "select number, key, event, fields, (extract(epoch from at) * 1000)::bigint \
             from public.\"{}_writes\" where number > $1 order by number",
            name(table)
        );
        for row in client.query(&text, &[&(self.furthest - OVERLAP)]).await? {
            let number: i64 = row.get(0);
            self.furthest = self.furthest.max(number);
            if !self.seen.insert(number) {
                continue;
            }
            let event: Option<String> = row.get(2);
            let names: Vec<String> = row.get(3);
            let names: BTreeSet<String> = names.into_iter().filter(|name| !name.starts_with("freshet_")).collect();
            let delivery = Delivery {
                is_removal: event.is_none(),
                event: event.unwrap_or_default(),
                key: row.get(1),
                fields: self.fields.one(names),
                content: None,
                message: None,
                at: row.get(4),
            };
            desk.ledger.delivered(grant, delivery);
        }
        Ok(())
    }
}

/// Holds the table for a while: nobody else can write or read it.
pub async fn lock(url: &str, table: &str, time: Duration) -> anyhow::Result<()> {
    let client = connect(url).await?;
    let held = format!("begin; lock table public.\"{}\" in access exclusive mode", name(table));
    client.batch_execute(&held).await?;
    tokio::time::sleep(time).await;
    Ok(client.batch_execute("commit").await?)
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn name(table: &str) -> &str {
    table.rsplit('.').next().unwrap_or(table)
}
