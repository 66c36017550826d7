//! `kill -9` of each role at random while real registers' changes run through the bus. Afterwards the books must balance:
//! every event accepted or refused, none lost, none twice, none out of order, at every way out.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use freshet_testkit::departments::{Consumer, Received};
use serde_json::Value;
use support::{Bus, Options, ROLES, copy, eventually, root};

const KILLS: usize = 24;
const CHUNK_LINES: usize = 400;
const DATASETS: [(&str, &str); 5] = [
    ("short_term_rental_registration", "toronto-municipal-licensing"),
    ("solicitation", "toronto-purchasing"),
    ("contract_award", "toronto-purchasing"),
    ("noncompetitive_contract", "toronto-purchasing"),
    ("apartment_registration", "toronto-rentsafe"),
];
const SUBSCRIBERS: [&str; 3] = ["pulling", "posted", "stored"];
const WEBHOOK_SECRET: &str = "whsec_a2lsbC10ZXN0LXNlY3JldC1vZi10d2VudHktZm91ci1ieXRlcw==";

/// Which sequences of a dataset came out where.
#[derive(Default)]
struct Ledger {
    accepted: BTreeSet<u64>,
    rejected: BTreeSet<u64>,
}

#[test]
fn the_books_balance_after_kills_of_every_role() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres =
        freshet_testkit::postgres::Server::start_private().expect("a PostgreSQL server (Debian: postgresql)");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (receiver, mut deliveries) =
        runtime.block_on(freshet_testkit::departments::Receiver::start(0)).expect("a receiver");
    receiver.expect("posted", WEBHOOK_SECRET);
    catalogue(folder.path(), &receiver.url("posted"));
    let tokens: Vec<(&str, String)> = DATASETS
        .iter()
        .map(|(_, department)| *department)
        .chain(SUBSCRIBERS)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|department| (department, format!("token-of-{department}-with-enough-characters-to-be-one")))
        .collect();
    let tokens: Vec<(&str, &str)> = tokens.iter().map(|(name, token)| (*name, token.as_str())).collect();
    let mut bus = Bus::start(&Options {
        catalogue: folder.path(),
        tokens: &tokens,
        secrets: &[("posted", WEBHOOK_SECRET), ("stored", &postgres.url())],
        extra_instances: &[("validator", "1")],
    });

    let events = events();
    let chunks: usize = events.values().map(|lines| lines.len().div_ceil(CHUNK_LINES)).sum();
    let (kills, released) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let gateway = bus.gateway.clone();
    let killed = std::thread::scope(|scope| {
        let (kills, released, gateway) = (&kills, &released, &gateway);
        let publishers: Vec<_> = DATASETS
            .iter()
            .map(|(dataset, department)| {
                let lines = &events[*dataset];
                let token = tokens.iter().find(|(name, _)| name == department).expect("a token").1;
                scope.spawn(move || {
                    for chunk in lines.chunks(CHUNK_LINES) {
                        // The data lasts as long as the kills do.
                        let number = released.fetch_add(1, Ordering::SeqCst);
                        while number * KILLS > chunks * (kills.load(Ordering::SeqCst) + 1) {
                            std::thread::park_timeout(Duration::from_millis(20));
                        }
                        upload(gateway, dataset, token, chunk);
                    }
                })
            })
            .collect();
        let killed = kill_at_random(&mut bus, kills);
        for publisher in publishers {
            publisher.join().expect("a publisher");
        }
        killed
    });
    assert!(killed.values().sum::<usize>() >= 20 && killed.len() == ROLES.len(), "{killed:?}");

    let drained = Instant::now();
    check_outcomes(&bus, &events);
    let view = view_records(&bus);
    check_order(&view);
    check_pull(&bus, tokens.iter().find(|(name, _)| *name == "pulling").expect("a token").1, &view);
    check_webhook(&mut deliveries, &view);
    check_table(&runtime, &postgres.url(), &view);
    println!("{killed:?} killed, drained and checked in {} s", drained.elapsed().as_secs());
}

/// The shipped datasets, with three grants on one and the same view.
fn catalogue(folder: &std::path::Path, webhook: &str) {
    let shipped = root().join("schemas");
    copy(&shipped, folder);
    std::fs::remove_dir_all(folder.join("grants")).expect("the shipped grants go");
    std::fs::create_dir(folder.join("grants")).expect("a folder for grants");
    let departments = folder.join("departments.yaml");
    let mut text = std::fs::read_to_string(&departments).expect("departments");
    for (subscriber, delivery) in SUBSCRIBERS.iter().zip([
        "pull".to_owned(),
        format!("{{webhook: {{url: \"{webhook}\", secret: posted}}}}"),
        "{postgres: {connection: stored, table: public.solicitations}}".to_owned(),
    ]) {
        text.push_str(&format!("\n{subscriber}:\n  title: {{en: Subscriber of a test}}\n"));
        let grant = format!(
            "subscriber: {subscriber}\ndataset: solicitation\nfields: [document_number, issue_date, divisions]\n\
             purpose: test\nlegal_basis: test\nvalid_from: 2020-01-01\nvalid_until: 2099-12-31\ndelivery: {delivery}\n"
        );
        std::fs::write(folder.join(format!("grants/{subscriber}.yaml")), grant).expect("a grant");
    }
    std::fs::write(departments, text).expect("departments");
}

/// The real change events, by dataset, as their lines.
fn events() -> BTreeMap<String, Vec<String>> {
    let file = std::fs::File::open(root().join("services/demo/data/toronto-registers.events.jsonl.gz")).expect("data");
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let line = line.expect("a line");
        let event: Value = serde_json::from_str(&line).expect("JSON");
        events.entry(event["dataset"].as_str().expect("a dataset").to_owned()).or_default().push(line);
    }
    events
}

/// Uploads until the gateway has answered for every line. A repetition gives duplicates, which the validator drops.
fn upload(gateway: &str, dataset: &str, token: &str, lines: &[String]) {
    let client = reqwest::blocking::Client::new();
    let url = format!("{gateway}/v1/datasets/{dataset}/uploads?format=jsonl&name={dataset}.jsonl");
    let body = lines.join("\n");
    eventually(&format!("an upload to {dataset}"), Duration::from_secs(120), || {
        let answer = client.post(&url).bearer_auth(token).body(body.clone()).timeout(Duration::from_secs(60)).send();
        let answer = answer.and_then(reqwest::blocking::Response::error_for_status);
        let text = answer.and_then(reqwest::blocking::Response::text).ok()?;
        let answer: Value = serde_json::from_str(text.lines().last()?).ok()?;
        let summary = &answer["summary"];
        (summary["complete"] == true && summary["lines"] == lines.len()).then_some(())
    });
}

fn kill_at_random(bus: &mut Bus, kills: &AtomicUsize) -> BTreeMap<String, usize> {
    let mut random = fastrand::Rng::with_seed(20_260_822);
    let mut ids: Vec<String> = ROLES.iter().map(|role| format!("{role}-0")).collect();
    ids.push("validator-1".to_owned());
    let mut killed = BTreeMap::new();
    for number in 0..KILLS {
        // Each role at least three times, in an order that nobody chose.
        if number % ids.len() == 0 {
            random.shuffle(&mut ids);
        }
        let id = &ids[number % ids.len()];
        std::thread::park_timeout(Duration::from_millis(random.u64(300..2_500)));
        bus.kill(id);
        *killed.entry(id.split('-').next().expect("a role").to_owned()).or_default() += 1;
        kills.fetch_add(1, Ordering::SeqCst);
    }
    kills.store(usize::MAX / 1_000_000, Ordering::SeqCst);
    killed
}

/// Published = accepted + rejected, for every dataset, each once.
fn check_outcomes(bus: &Bus, events: &BTreeMap<String, Vec<String>>) {
    let topics: Vec<String> = DATASETS.iter().map(|(dataset, _)| format!("dataset.{dataset}")).collect();
    let rejects: BTreeSet<String> = DATASETS.iter().map(|(_, department)| format!("reject.{department}")).collect();
    let all: Vec<&str> = topics.iter().chain(&rejects).map(String::as_str).collect();
    let consumer = Consumer::new(&bus.bootstrap(), "test.outcomes", &all).expect("a consumer");
    let mut ledgers: BTreeMap<String, Ledger> = BTreeMap::new();
    let published: usize = events.values().map(Vec::len).sum();
    let mut last: BTreeMap<(String, Vec<u8>), u64> = BTreeMap::new();
    eventually("an outcome for every event", Duration::from_secs(120), || {
        while let Some(record) = consumer.next(Duration::from_millis(200)).expect("a record") {
            take_outcome(&record, &mut ledgers, &mut last);
        }
        let known: usize = ledgers.values().map(|ledger| ledger.accepted.len() + ledger.rejected.len()).sum();
        if known < published {
            let by: Vec<_> = ledgers.iter().map(|(name, l)| (name, l.accepted.len(), l.rejected.len())).collect();
            eprintln!("{known} of {published} outcomes: {by:?}");
        }
        (known >= published).then_some(())
    });
    for (dataset, lines) in events {
        let ledger = &ledgers[dataset];
        let sent: BTreeSet<u64> = lines.iter().map(|line| sequence(line)).collect();
        let both: Vec<_> = ledger.accepted.intersection(&ledger.rejected).collect();
        assert!(both.is_empty(), "{dataset}: accepted and rejected: {both:?}");
        let known: BTreeSet<u64> = ledger.accepted.union(&ledger.rejected).copied().collect();
        assert_eq!(known, sent, "{dataset}: outcomes are not those of what was sent");
        assert!(ledger.accepted.len() > lines.len() / 2, "{dataset}: only {} accepted", ledger.accepted.len());
    }
}

fn take_outcome(
    record: &Received,
    ledgers: &mut BTreeMap<String, Ledger>,
    last: &mut BTreeMap<(String, Vec<u8>), u64>,
) {
    let sequence: u64 = match record.header("ce_sequence") {
        Some(text) => text.parse().expect("a sequence is a number"),
        // A line that the mapping refused is kept as it came.
        None => sequence(std::str::from_utf8(record.value.as_deref().expect("the line")).expect("UTF-8")),
    };
    match record.topic.strip_prefix("dataset.") {
        Some(dataset) => {
            let once = ledgers.entry(dataset.to_owned()).or_default().accepted.insert(sequence);
            assert!(once, "{dataset} sequence {sequence} is in the canonical topic twice");
            let before = last.insert((dataset.to_owned(), record.key.clone()), sequence);
            assert!(before.is_none_or(|before| before < sequence), "{dataset}: a step back at {sequence}");
        }
        None => {
            let dataset = record.header("freshet_dataset").expect("a rejection names its dataset");
            // A repeated upload refuses the same line again: at least once, known by its sequence.
            ledgers.entry(dataset.to_owned()).or_default().rejected.insert(sequence);
        }
    }
}

fn sequence(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).expect("JSON");
    event["seq"].as_u64().expect("a sequence")
}

/// Every record of the one view, when it has as many events as the canonical topic gave it.
fn view_records(bus: &Bus) -> Vec<Received> {
    let grant: Value = reqwest::blocking::get(format!("{}/catalogue/grants", bus.registry))
        .and_then(reqwest::blocking::Response::json)
        .expect("the grants");
    let text = grant.to_string();
    let view = text.split("solicitation.").nth(1).expect("a view").get(..12).expect("a view's id");
    let topic = format!("view.solicitation.{view}");
    let canonical = read_to_end(bus, "dataset.solicitation", "test.canonical");
    let due: BTreeSet<&str> = canonical.iter().filter(|r| r.value.is_some()).map(id).collect();
    let consumer = Consumer::new(&bus.bootstrap(), "test.view", &[&topic]).expect("a consumer");
    let mut records = Vec::new();
    eventually("every accepted event in the view", Duration::from_secs(60), || {
        while let Some(record) = consumer.next(Duration::from_millis(200)).expect("a record") {
            records.push(record);
        }
        let have: BTreeSet<&str> = records.iter().map(id).collect();
        due.is_subset(&have).then_some(())
    });
    records
}

fn read_to_end(bus: &Bus, topic: &str, group: &str) -> Vec<Received> {
    let consumer = Consumer::new(&bus.bootstrap(), group, &[topic]).expect("a consumer");
    let mut records = Vec::new();
    eventually(topic, Duration::from_secs(60), || {
        while let Some(record) = consumer.next(Duration::from_secs(1)).expect("a record") {
            records.push(record);
        }
        (!records.is_empty()).then_some(())
    });
    records
}

fn id(record: &Received) -> &str {
    record.header("ce_id").expect("an id")
}

fn check_order(view: &[Received]) {
    let ids: BTreeSet<&str> = view.iter().map(id).collect();
    assert_eq!(ids.len(), view.len(), "an event is in the view twice");
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    for record in view {
        let offset: i64 = record.header("freshet_dataset_offset").and_then(|t| t.parse().ok()).expect("an offset");
        let before = last.insert(record.partition, offset);
        assert!(before.is_none_or(|before| before < offset), "out of order at {offset}");
    }
}

fn check_pull(bus: &Bus, token: &str, view: &[Received]) {
    let client = reqwest::blocking::Client::new();
    let (mut cursor, mut ids) = (String::new(), Vec::new());
    eventually("every event by pull", Duration::from_secs(60), || {
        let mut url = format!("{}/v1/grants/pulling/events?limit=500&wait=1s", bus.pull);
        if !cursor.is_empty() {
            url.push_str(&format!("&cursor={cursor}"));
        }
        let page: Value = client.get(&url).bearer_auth(token).send().and_then(|answer| answer.json()).ok()?;
        cursor = page["cursor"].as_str()?.to_owned();
        ids.extend(page["events"].as_array()?.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)));
        (ids.len() >= view.len()).then_some(())
    });
    let distinct: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), ids.len(), "an event was pulled twice");
    assert_eq!(distinct, view.iter().map(id).collect());
}

/// At least once, and each event under one id.
fn check_webhook(
    deliveries: &mut tokio::sync::mpsc::UnboundedReceiver<freshet_testkit::departments::Delivery>,
    view: &[Received],
) {
    let mut events: BTreeMap<String, String> = BTreeMap::new();
    eventually("every event by webhook", Duration::from_secs(120), || {
        while let Ok(delivery) = deliveries.try_recv() {
            let body: Value = serde_json::from_slice(&delivery.body).expect("JSON");
            let event = body["id"].as_str().expect("an id").to_owned();
            let before = events.insert(event.clone(), delivery.id.clone());
            assert!(before.is_none_or(|before| before == delivery.id), "{event} came under two ids");
        }
        (events.len() >= view.len()).then_some(())
    });
    let ids: BTreeSet<&str> = events.keys().map(String::as_str).collect();
    assert_eq!(ids, view.iter().map(id).collect());
}

/// The table is what the view says, row by row.
fn check_table(runtime: &tokio::runtime::Runtime, url: &str, view: &[Received]) {
    let mut due: BTreeSet<&[u8]> = BTreeSet::new();
    for record in view {
        if record.value.is_some() {
            due.insert(&record.key);
        } else {
            due.remove(record.key.as_slice());
        }
    }
    eventually("the table holds the view", Duration::from_secs(60), || {
        let keys: Vec<String> = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.ok()?;
            tokio::spawn(connection);
            let rows = client.query("select freshet_key from public.solicitations", &[]).await.ok()?;
            Some(rows.iter().map(|row| row.get(0)).collect())
        })?;
        let have: BTreeSet<&[u8]> = keys.iter().map(String::as_bytes).collect();
        (keys.len() == due.len() && have == due).then_some(())
    });
}
