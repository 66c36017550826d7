use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use freshet_catalog_model::{Delivery, GrantStatus};
use freshet_runtime::CancellationToken;
use freshet_testkit::departments::Receiver;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::world::{Fanout, LIMIT, World, eventually, ids, in_order, key_and_step};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEYS: &[&str] = &["a", "b", "c", "d", "e"];

struct Subscriber {
    grant: String,
    receiver: Receiver,
    deliveries: UnboundedReceiver<freshet_testkit::departments::Delivery>,
    got: Vec<(String, i64)>,
}

impl Subscriber {
    async fn new(world: &mut World, grant: &str) -> Self {
        let (receiver, deliveries) = Receiver::start(0).await.expect("a receiver");
        receiver.expect("hook", SECRET);
        world.secret(grant, SECRET);
        world.grant(grant, Delivery::Webhook { url: receiver.url("hook"), secret: grant.to_owned() }).await;
        Self { grant: grant.to_owned(), receiver, deliveries, got: Vec::new() }
    }

    /// Waits until it has this many events, and says whether more came.
    async fn receive(&mut self, count: usize) {
        let deadline = Instant::now() + LIMIT;
        while self.got.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            let delivery = tokio::time::timeout(left, self.deliveries.recv()).await;
            let delivery = delivery.unwrap_or_else(|_| panic!("{}: {} of {count}", self.grant, self.got.len()));
            self.take(&delivery.expect("the receiver runs"));
        }
    }

    fn take(&mut self, delivery: &freshet_testkit::departments::Delivery) {
        let event = serde_json::from_slice(&delivery.body).expect("JSON");
        self.got.push(key_and_step(&event));
    }

    fn rest(&mut self) {
        while let Ok(delivery) = self.deliveries.try_recv() {
            self.take(&delivery);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_among_ten_delays_nobody_and_gets_everything_when_it_is_resumed() {
    let mut world = World::new("ten").await;
    let mut subscribers = Vec::new();
    for number in 0..10 {
        subscribers.push(Subscriber::new(&mut world, &format!("ten-{number}")).await);
    }
    let mut dead = subscribers.remove(3);
    dead.receiver.answer(500);
    let fanout = world.start(|config| config.webhook.give_up_after_ms = 500).await;
    world.publish(KEYS, 0..20).await;
    for subscriber in &mut subscribers {
        subscriber.receive(100).await;
    }
    eventually("the dead one is parked", || async { fanout.subscription("ten-3").await["state"] == "parked" }).await;
    assert!(dead.deliveries.try_recv().is_err());
    let parked = |grant| fanout.metric("freshet_fanout_parked", &[("grant", grant)]);
    assert_eq!((parked("ten-3"), parked("ten-4")), (1.0, 0.0));

    // The others go on while it is parked.
    world.publish(KEYS, 20..30).await;
    for subscriber in &mut subscribers {
        subscriber.receive(150).await;
        subscriber.rest();
        assert_eq!(in_order(&subscriber.got), ids(KEYS, 0..30), "{}", subscriber.grant);
        assert_eq!(subscriber.receiver.unsigned(), 0);
    }

    dead.receiver.answer(200);
    resume(&fanout, "ten-3").await;
    dead.receive(150).await;
    dead.rest();
    assert_eq!(in_order(&dead.got), ids(KEYS, 0..30));
    assert_eq!(fanout.subscription("ten-3").await["state"], "running");

    // Each disclosure is in the trail.
    for grant in ["ten-0", "ten-3"] {
        let receipts = world.receipts(grant).await;
        let mut seen: Vec<String> = receipts
            .iter()
            .filter(|receipt| receipt.outcome == freshet_core::ReceiptOutcome::Delivered)
            .flat_map(|receipt| receipt.events.clone())
            .collect();
        seen.sort();
        assert_eq!(seen, ids(KEYS, 0..30), "{grant}");
    }
    fanout.stop().await;
}

async fn resume(fanout: &Fanout, grant: &str) {
    let url = format!("{}/v1/subscriptions/{grant}/resume", fanout.url);
    let request = reqwest::Client::new().post(url).bearer_auth(crate::world::TOKEN);
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_stopped() {
    let mut world = World::new("restart").await;
    let mut subscriber = Subscriber::new(&mut world, "restarted").await;
    let fanout = world.start(|_| {}).await;
    world.publish(KEYS, 0..10).await;
    subscriber.receive(50).await;
    fanout.stop().await;
    world.publish(KEYS, 10..20).await;
    let fanout = world.start(|_| {}).await;
    subscriber.receive(100).await;
    fanout.stop().await;
    subscriber.rest();
    assert_eq!(in_order(&subscriber.got), ids(KEYS, 0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_grant_stops_within_five_seconds_also_when_its_subscriber_hangs() {
    let mut world = World::new("suspended").await;
    let mut subscriber = Subscriber::new(&mut world, "to-suspend").await;
    let mut other = Subscriber::new(&mut world, "to-stay").await;
    let fanout = world.start(|_| {}).await;
    world.publish(KEYS, 0..2).await;
    subscriber.receive(10).await;
    other.receive(10).await;
    subscriber.receiver.answer(503);
    world.publish(KEYS, 2..3).await;
    other.receive(15).await;
    eventually("it is retrying", || async { fanout.subscription("to-suspend").await["state"] == "retrying" }).await;

    let began = Instant::now();
    world.set_status("to-suspend", GrantStatus::Suspended).await;
    eventually("it has ended", || async { fanout.metric("freshet_fanout_revocation_seconds", &[]) >= 1.0 }).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    subscriber.receiver.answer(200);
    world.publish(KEYS, 3..4).await;
    other.receive(20).await;
    assert!(subscriber.deliveries.try_recv().is_err(), "delivered after it was suspended");

    // Nothing that happened meanwhile is lost when it is active again.
    world.set_status("to-suspend", GrantStatus::Active).await;
    subscriber.receive(20).await;
    fanout.stop().await;
    subscriber.rest();
    assert_eq!(in_order(&subscriber.got), ids(KEYS, 0..4));
}

/// Holds its requests until the test lets them go.
#[derive(Default)]
struct Holding {
    open: AtomicUsize,
    most: AtomicUsize,
    taken: AtomicUsize,
    let_go: CancellationToken,
}

impl Holding {
    async fn take(self: Arc<Self>) {
        self.most.fetch_max(self.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.let_go.cancelled().await;
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.taken.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_open_than_the_setting_says() {
    let mut world = World::new("holding").await;
    let holding = Arc::new(Holding::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let receiver = Arc::clone(&holding);
    let app = axum::Router::new().route("/hook", axum::routing::post(move || Arc::clone(&receiver).take()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    world.secret("holding", SECRET);
    world.grant("holding", Delivery::Webhook { url, secret: "holding".to_owned() }).await;
    let fanout = world.start(|config| config.webhook.max_in_flight = 2).await;
    world.publish(KEYS, 0..1).await;
    eventually("two are open", || async { holding.open.load(Ordering::SeqCst) == 2 }).await;
    // Released means that it may go out: the other three wait for nothing but a place.
    let count = |receipts: Vec<freshet_core::Receipt>| receipts.iter().map(|receipt| receipt.count).sum::<u32>();
    eventually("all five are released", || async { count(world.receipts("holding").await) == 5 }).await;
    holding.let_go.cancel();
    eventually("all five are taken", || async { holding.taken.load(Ordering::SeqCst) == 5 }).await;
    assert_eq!(holding.most.load(Ordering::SeqCst), 2);
    fanout.stop().await;
}
