use std::time::Duration;

use freshet_catalog_model::{Delivery, GrantStatus};
use freshet_testkit::departments::{Pull, PullError, PulledEvent};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::world::{LIMIT, TOKEN, World, eventually, ids, in_order, key_and_step};

const KEYS: &[&str] = &["a", "b", "c"];

fn steps(events: &[PulledEvent]) -> Vec<(String, i64)> {
    events.iter().map(|event| key_and_step(&event.clone().into())).collect()
}

/// Pulls until this many events have come.
async fn pull(pull: &mut Pull, count: usize) -> Vec<(String, i64)> {
    let mut got = Vec::new();
    tokio::time::timeout(LIMIT, async {
        while got.len() < count {
            let (events, _) = pull.next(7, 1000).await.expect("a page");
            got.extend(steps(&events));
        }
    })
    .await
    .expect("in time");
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_goes_on_where_it_stood_and_a_long_poll_waits_for_what_comes() {
    let mut world = World::new("pulled").await;
    world.grant("pull", Delivery::Pull).await;
    let fanout = world.start(|_| {}).await;
    world.publish(KEYS, 0..10).await;
    let mut subscriber = Pull::new(&fanout.url, "pull", TOKEN);
    let mut got = pull(&mut subscriber, 30).await;
    let cursor = subscriber.cursor().expect("a cursor").to_owned();

    let (waited, ()) = tokio::join!(subscriber.next(100, 30_000), world.publish(&["a"], 10..11));
    assert_eq!(steps(&waited.expect("a page").0), [("a".to_owned(), 10)]);
    fanout.stop().await;

    // The cursor belongs to the subscriber: another instance takes it.
    let fanout = world.start(|_| {}).await;
    let mut again = Pull::new(&fanout.url, "pull", TOKEN);
    again.go_on_from(cursor);
    got.extend(pull(&mut again, 1).await);
    let mut expected = ids(KEYS, 0..10);
    expected.push("a-10".to_owned());
    expected.sort();
    assert_eq!(in_order(&got), expected);

    let mut disclosed: Vec<String> =
        world.receipts("pull").await.into_iter().flat_map(|receipt| receipt.events).collect();
    disclosed.sort();
    disclosed.dedup();
    assert_eq!(disclosed, expected);
    fanout.stop().await;
}

/// However slow the broker is: who stops at the first `more` that is false has everything.
#[tokio::test(flavor = "multi_thread")]
async fn more_is_false_only_where_everything_was_given() {
    let mut world = World::new("whole").await;
    world.grant("whole", Delivery::Pull).await;
    let fanout = world.start(|_| {}).await;
    world.publish(KEYS, 0..700).await;
    for limit in [1000, 1000, 33, 1000] {
        let mut subscriber = Pull::new(&fanout.url, "whole", TOKEN);
        let mut got = Vec::new();
        loop {
            let (events, more) = subscriber.next(limit, 0).await.expect("a page");
            got.extend(steps(&events));
            if !more {
                break;
            }
        }
        assert_eq!(got.len(), 2100, "in pages of {limit}");
    }
    fanout.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_begins_at_a_time() {
    let mut world = World::new("replayed").await;
    world.grant("replay", Delivery::Pull).await;
    let fanout = world.start(|_| {}).await;
    world.publish(KEYS, 0..5).await;
    // The broker keeps milliseconds: the next event is surely later than the last.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let time = jiff::Timestamp::now();
    world.publish(KEYS, 5..8).await;
    let url = format!("{}/v1/grants/replay/events?from={time}&limit=100", fanout.url);
    let mut got = Vec::new();
    let mut next = url.clone();
    while got.len() < 9 {
        let text = reqwest::Client::new().get(&next).bearer_auth(TOKEN).send().await.expect("an answer");
        let page: serde_json::Value = serde_json::from_str(&text.text().await.expect("a body")).expect("JSON");
        got.extend(page["events"].as_array().expect("events").iter().map(key_and_step));
        let cursor = page["cursor"].as_str().expect("a cursor");
        next = format!("{}/v1/grants/replay/events?cursor={cursor}&limit=100", fanout.url);
    }
    assert_eq!(in_order(&got), ids(KEYS, 5..8));
    fanout.stop().await;
}

async fn receive(events: &mut UnboundedReceiver<PulledEvent>, count: usize) -> Vec<(String, i64)> {
    let mut got = Vec::new();
    while got.len() < count {
        let event = tokio::time::timeout(LIMIT, events.recv()).await.expect("in time").expect("an event");
        got.extend(steps(&[event]));
    }
    got
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_its_last_event_id_and_ends_with_its_grant() {
    let mut world = World::new("streamed").await;
    world.grant("stream", Delivery::Pull).await;
    let fanout = world.start(|config| config.pull.heartbeat_ms = 50).await;
    world.publish(KEYS, 0..5).await;
    let mut subscriber = Pull::new(&fanout.url, "stream", TOKEN);
    let (sender, mut events) = unbounded_channel();
    let mut got = {
        let listening = subscriber.listen(&sender);
        let received = receive(&mut events, 15);
        tokio::select! {
            ended = listening => panic!("the stream ended: {ended:?}"),
            received = received => received,
        }
    };
    // As a browser does after a lost connection.
    let cursor = subscriber.cursor().expect("a cursor").to_owned();
    let url = format!("{}/v1/grants/stream/events", fanout.url);
    let request = reqwest::Client::new().get(url).bearer_auth(TOKEN).header("accept", "text/event-stream");
    let mut response = request.header("last-event-id", cursor).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    world.publish(KEYS, 5..6).await;
    let mut text = String::new();
    while text.matches("\nid:").count() + usize::from(text.starts_with("id:")) < 3 || !text.contains(": heartbeat") {
        let chunk = tokio::time::timeout(LIMIT, response.chunk()).await.expect("in time").expect("a chunk");
        text.push_str(&String::from_utf8_lossy(&chunk.expect("the stream goes on")));
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    got.extend(data.map(|data| key_and_step(&serde_json::from_str(data.trim()).expect("JSON"))));
    assert_eq!(in_order(&got), ids(KEYS, 0..6));

    world.set_status("stream", GrantStatus::Suspended).await;
    let began = std::time::Instant::now();
    let mut end = String::new();
    while let Some(chunk) = tokio::time::timeout(LIMIT, response.chunk()).await.expect("in time").expect("a chunk") {
        end.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(end.contains("event: end") && end.contains("not active"), "{end}");
    eventually("it is refused", || async {
        let refused = Pull::new(&fanout.url, "stream", TOKEN).next(10, 0).await;
        matches!(refused, Err(PullError::Status { status: 403, .. }))
    })
    .await;
    fanout.stop().await;
}
