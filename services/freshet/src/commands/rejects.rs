//! `freshet rejects list|show|resend`: what stands in the reject topics.

use std::collections::VecDeque;

use anyhow::{Context as _, bail};
use freshet_avro::{Plan, framing};
use freshet_core::{InRecord, Rejection, Replay, ReplayRange, headers, text, topics};
use freshet_kafka::publisher::Publisher;
use freshet_kafka::reader::Reader;
use freshet_kafka::{Connection, Record, admin};
use serde_json::{Value, json};

use crate::cli::{Globals, OutputForm, RejectsAction, RejectsArguments};
use crate::client;
use crate::exit::Exit;

/// Headers that the bus wrote on the rejection; the event did not have them.
const WRITTEN_BY_US: [&str; 4] =
    [headers::VIOLATIONS, headers::REJECTED_FROM, headers::REJECTED_DATASET, headers::REJECTED_LINE];

pub fn run(globals: &Globals, arguments: &RejectsArguments) -> anyhow::Result<Exit> {
    let connection = client::connection(globals)?;
    match &arguments.action {
        RejectsAction::List { department, dataset, limit } => {
            list(globals, &connection, department.as_deref(), dataset.as_deref(), *limit)
        }
        RejectsAction::Show { place } => show(globals, &connection, &Found::at(&connection, place)?),
        RejectsAction::Resend { places } => resend(globals, &connection, places),
    }
}

/// Characters of a header that are shown on a terminal; `--output json` has all of them.
const SHOWN: usize = 500;

/// One rejection, owned.
struct Found {
    place: String,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Found {
    fn of(record: &InRecord<'_>) -> Self {
        Self {
            place: format!("{}/{}/{}", record.topic, record.partition, record.offset),
            timestamp_ms: record.timestamp_ms.unwrap_or_default(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
        }
    }

    /// `<topic>/<partition>/<offset>`.
    fn at(connection: &Connection, place: &str) -> anyhow::Result<Self> {
        let mut parts = place.rsplitn(3, '/');
        let (offset, partition, topic) = (parts.next(), parts.next(), parts.next());
        let parsed =
            topic.zip(partition.and_then(|text| text.parse().ok())).zip(offset.and_then(|text| text.parse().ok()));
        let Some(((topic, partition), offset)) = parsed else {
            bail!("{place} is not <topic>/<partition>/<offset> as `freshet rejects list` prints it");
        };
        if !topic.starts_with("reject.") {
            bail!("{topic} is not a reject topic");
        }
        let range = ReplayRange { from: offset, until: Some(offset + 1), limit: Some(1) };
        let mut found = None;
        Reader::new(connection)?.replay(topic, partition, range, &mut |record| {
            found = (record.offset == offset).then(|| Self::of(record));
            Ok(())
        })?;
        found.with_context(|| format!("nothing stands at {place}; it may be older than the topic keeps"))
    }

    fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// Of events that nobody could read or that are too large to be written again.
    fn is_note(&self) -> bool {
        self.value.is_none() && self.header(headers::ID).is_none()
    }

    fn rejection(&self) -> Rejection {
        self.header(headers::VIOLATIONS).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "place": self.place,
            "at": jiff::Timestamp::from_millisecond(self.timestamp_ms).map(|at| at.to_string()).ok(),
            "dataset": self.header(headers::REJECTED_DATASET),
            "id": self.header(headers::ID),
            "source": self.header(headers::SOURCE),
            "from": self.header(headers::REJECTED_FROM),
            "line": self.header(headers::REJECTED_LINE),
            "violations": self.rejection().violations,
        })
    }
}

fn list(
    globals: &Globals,
    connection: &Connection,
    department: Option<&str>,
    dataset: Option<&str>,
    limit: usize,
) -> anyhow::Result<Exit> {
    let wanted = |topic: &str| match department {
        Some(department) => topic == topics::reject(department),
        None => topic.starts_with("reject."),
    };
    let catalog = freshet_kafka::catalog::read_once(connection)?;
    client::require_known("department", department, catalog.departments.keys())?;
    client::require_known("dataset", dataset, catalog.datasets.keys())?;
    let mut reader = Reader::new(connection)?;
    // Of each partition no more than will be shown, so that a topic of millions needs no memory of millions.
    let (mut all, mut seen) = (Vec::new(), 0usize);
    for (topic, partitions) in admin::topics(connection)?.into_iter().filter(|(topic, _)| wanted(topic)) {
        for partition in 0..partitions {
            let mut newest = VecDeque::new();
            reader.replay(&topic, partition, ReplayRange::default(), &mut |record| {
                if dataset.is_none() || record.header_str(headers::REJECTED_DATASET) == dataset {
                    seen += 1;
                    newest.push_back(Found::of(record));
                    if newest.len() > limit {
                        newest.pop_front();
                    }
                }
                Ok(())
            })?;
            all.extend(newest);
        }
    }
    all.sort_by_key(|found| found.timestamp_ms);
    let shown = all.split_off(all.len().saturating_sub(limit));
    let skipped = seen - shown.len();
    for found in &shown {
        match globals.output {
            OutputForm::Json => println!("{}", found.json()),
            OutputForm::Text => println!("{}", line(found)),
        }
    }
    if skipped > 0 && globals.output == OutputForm::Text {
        eprintln!("{skipped} older ones are not shown (--limit)");
    }
    Ok(Exit::Done)
}

/// `reject.purchasing/2/17  contract_award awards.jsonl line 812, field award_amount: "…" is not an amount (+1 more)`
fn line(found: &Found) -> String {
    let dataset = found.header(headers::REJECTED_DATASET).unwrap_or_else(|| "?".to_owned());
    let what = found.header(headers::REJECTED_LINE).or_else(|| found.header(headers::ID));
    let what = what.map_or_else(|| "without an id".to_owned(), |what| text::shown(what, SHOWN));
    let violations = found.rejection().violations;
    let first = violations.first().map_or_else(|| "no reason given".to_owned(), ToString::to_string);
    let more = if violations.len() > 1 { format!(" (+{} more)", violations.len() - 1) } else { String::new() };
    format!("{}  {dataset} {what}, {first}{more}", found.place)
}

fn show(globals: &Globals, connection: &Connection, found: &Found) -> anyhow::Result<Exit> {
    let value = found.value.as_deref().map(|value| readable(connection, value)).transpose()?;
    if globals.output == OutputForm::Json {
        let mut json = found.json();
        json["headers"] = found
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(String::from_utf8_lossy(value).into_owned())))
            .collect::<serde_json::Map<_, _>>()
            .into();
        json["value"] = value.into();
        println!("{json}");
        return Ok(Exit::Done);
    }
    println!("{}", found.place);
    for violation in found.rejection().violations {
        println!("  {}  {violation}", violation.code.as_str());
    }
    println!("headers");
    for (name, value) in found.headers.iter().filter(|(name, _)| name != headers::VIOLATIONS) {
        println!(
            "  {}: {}",
            text::shown(name.clone(), SHOWN),
            text::shown(String::from_utf8_lossy(value).into_owned(), SHOWN)
        );
    }
    println!("value");
    let none = if found.is_note() { "none (a note; its publisher has the event)" } else { "none (a delete)" };
    for line in value.as_deref().unwrap_or(none).lines() {
        println!("  {}", text::shown(line.to_owned(), usize::MAX));
    }
    Ok(Exit::Done)
}

/// A record of a schema that the bus has, as JSON; else the text that it is; else hex digits.
fn readable(connection: &Connection, bytes: &[u8]) -> anyhow::Result<String> {
    if let Ok((schema_id, datum)) = framing::split(bytes) {
        let catalog = freshet_kafka::catalog::read_once(connection)?;
        let plan = catalog.schemas.get(&schema_id).and_then(|schema| Plan::compile(&schema.avsc).ok());
        if let Some(json) = plan.and_then(|plan| freshet_avro::json::decode(&plan, datum).ok()) {
            return Ok(serde_json::to_string_pretty(&json)?);
        }
    }
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

fn resend(globals: &Globals, connection: &Connection, places: &[String]) -> anyhow::Result<Exit> {
    let mut records = Vec::new();
    for place in places {
        let found = Found::at(connection, place)?;
        let Some(dataset) = found.header(headers::REJECTED_DATASET) else {
            bail!("{place} does not say for which dataset it was meant");
        };
        if found.header(headers::CONTENT_TYPE).is_some_and(|content_type| content_type != headers::AVRO) {
            bail!("{place} was refused before it became an event; publish it again where it came from");
        }
        if found.is_note() {
            bail!("{place} is a note that says where events were; publish them again where they came from");
        }
        let headers = found.headers.into_iter().filter(|(name, _)| !WRITTEN_BY_US.contains(&name.as_str())).collect();
        let topic = topics::publish(&dataset);
        records.push(Record { topic, key: found.key, value: found.value, headers, ..Record::default() });
    }
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let written = runtime.block_on(async {
        let publisher = Publisher::new(connection, "rejects", records.len().max(1))?;
        Ok::<_, freshet_kafka::Error>(publisher.publish_all(&records).await)
    })?;
    let mut exit = Exit::Done;
    for ((place, record), result) in places.iter().zip(&records).zip(written) {
        let (to, error) = match result {
            Ok(position) => (Some(format!("{}/{}/{}", record.topic, position.partition, position.offset)), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if error.is_some() {
            exit = Exit::Failed;
        }
        match (globals.output, &to, &error) {
            (OutputForm::Json, _, _) => println!("{}", json!({ "place": place, "sent_to": to, "error": error })),
            (OutputForm::Text, Some(to), _) => println!("{place} sent to {to}"),
            (OutputForm::Text, None, _) => eprintln!("{place} not sent: {}", error.unwrap_or_default()),
        }
    }
    Ok(exit)
}
