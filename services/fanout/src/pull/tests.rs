//! Who may ask for what, and the document against the routes. Reading itself is tested on the real broker (`tests/`).

use axum::body::Body;
use freshet_catalog_model::{Catalog, GrantStatus};
use freshet_kafka::catalog::CatalogHandle;
use freshet_kafka::{Connection, WindowMetrics};
use freshet_runtime::{CancellationToken, Readiness, credentials};
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::*;
use crate::receipts::tests::{Memory, grant};
use crate::subscription::{Subscription, Subscriptions};
use crate::{Config, metrics, receipts, webhook};

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let webhook = Delivery::Webhook { url: "https://x.example/".to_owned(), secret: "s".to_owned() };
    for (id, delivery, status) in [
        ("pulled", Delivery::Pull, GrantStatus::Active),
        ("suspended", Delivery::Pull, GrantStatus::Suspended),
        ("pushed", webhook, GrantStatus::Active),
    ] {
        let mut one = grant(delivery);
        (one.id, one.status) = (id.to_owned(), status);
        catalog.grants.insert(id.to_owned(), one);
    }
    let mut foreign = grant(Delivery::Pull);
    (foreign.id, foreign.subscriber) = ("foreign".to_owned(), "police".to_owned());
    catalog.grants.insert("foreign".to_owned(), foreign);
    let view = freshet_catalog_model::View {
        id: "permits.0123456789ab".to_owned(),
        dataset: "permits".to_owned(),
        fields: vec!["number".to_owned()],
        masks: Default::default(),
        rows: None,
        schema_id: 7,
        partitions: 2,
    };
    catalog.views.insert(view.id.clone(), view);
    catalog
}

fn app() -> (axum::Router, Arc<Shared>) {
    app_with(Config::default())
}

fn app_with(config: Config) -> (axum::Router, Arc<Shared>) {
    let registry = prometheus::Registry::new();
    let metrics = metrics::Metrics::register(&registry).expect("metrics");
    let log = Arc::new(Memory::default());
    let shared = Arc::new(Shared {
        config,
        connection: Connection::to("127.0.0.1:1"),
        catalog: CatalogHandle::fixed(catalog()),
        schemas: Arc::new(crate::event::tests::schemas()),
        receipts: receipts::Receipts::new(log, Readiness::default(), metrics.clone(), 100),
        metrics,
        window_metrics: WindowMetrics::unregistered(),
        subscriptions: Subscriptions::default(),
        policy: Arc::new(webhook::address::AddressPolicy::default()),
        trust: crate::trust::Trust::default(),
        room: crate::postgres::Room::default(),
        stop: CancellationToken::new(),
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    let hash = credentials::hash_of("token-of-tax");
    std::fs::write(file.path(), format!("[tokens]\ntax = [\"{hash}\"]\n")).expect("written");
    let credentials = Credentials::read(file.path()).expect("credentials");
    (router(Arc::clone(&shared), Some(credentials)), shared)
}

async fn ask(app: &axum::Router, method: &str, path: &str, token: Option<&str>) -> (StatusCode, serde_json::Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let json = serde_json::from_slice(&body).unwrap_or_default();
    if parts.status.is_client_error() {
        assert_eq!(parts.headers["content-type"], "application/problem+json", "{path}");
    }
    (parts.status, json)
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let (app, _) = app();
    let tax = Some("token-of-tax");
    for (path, token, status, word) in [
        ("/v1/grants/pulled/events", None, 401, "Bearer"),
        ("/v1/grants/pulled/events", Some("guess"), 401, "Bearer"),
        ("/v1/grants/foreign/events", tax, 403, "not one of tax's"),
        ("/v1/grants/suspended/events", tax, 403, "not active"),
        ("/v1/grants/pushed/events", tax, 403, "not `pull`"),
        ("/v1/grants/none/events", tax, 404, "not in the catalogue"),
        ("/v1/grants/pulled/events?limit=0", tax, 400, "limit must be 1 to 1000"),
        ("/v1/grants/pulled/events?limit=1001", tax, 400, "limit must be 1 to 1000"),
        ("/v1/grants/pulled/events?limit=x", tax, 400, "limit"),
        ("/v1/grants/pulled/events?wait=1h", tax, 400, "wait `1h`"),
        ("/v1/grants/pulled/events?from=yesterday", tax, 400, "from `yesterday`"),
        ("/v1/grants/pulled/events?cursor=abc", tax, 400, "not one that this bus gave out"),
        ("/v1/grants/%ff/events", tax, 400, "UTF-8"),
        ("/v1/grants/pulled/events?colour=red", tax, 400, "colour"),
        ("/v2/x", tax, 404, "openapi.json"),
    ] {
        let (found, problem) = ask(&app, "GET", path, token).await;
        assert_eq!(found.as_u16(), status, "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "{path}: {problem}");
    }
}

/// Within its limits a request comes as far as the broker, which is not there.
#[test]
fn limits_of_a_request_at_their_edge_and_one_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(requests_at_their_limits());
    // Whoever waits for a broker that is not there is not waited for.
    runtime.shutdown_background();
}

async fn requests_at_their_limits() {
    let mut config = Config::default();
    config.pull.max_connections = 2;
    let (app, _) = app_with(config);
    let tax = Some("token-of-tax");
    let events = "/v1/grants/pulled/events?limit=";
    let (at_limit, beyond) = (format!("{events}1000"), format!("{events}1001"));
    let mut first = Box::pin(ask(&app, "GET", &at_limit, tax));
    let mut second = Box::pin(ask(&app, "GET", &at_limit, tax));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    assert_eq!(ask(&app, "GET", &beyond, tax).await.0.as_u16(), 400);
    let (status, problem) = ask(&app, "GET", &at_limit, tax).await;
    assert_eq!((status.as_u16(), &problem["detail"]), (503, &"too many pullers are connected".into()));
}

#[tokio::test]
async fn another_views_cursor_is_refused() {
    let (app, _) = app();
    let other =
        cursor::Cursor { view: "permits.ba9876543210".to_owned(), since: now(), topic: None, next: [(0, 3)].into() }
            .encode();
    let path = format!("/v1/grants/pulled/events?cursor={other}");
    let (status, problem) = ask(&app, "GET", &path, Some("token-of-tax")).await;
    assert_eq!((status.as_u16(), &problem["type"]), (410, &"urn:freshet:problem:grant-changed".into()));
    let wide =
        cursor::Cursor { view: "permits.0123456789ab".to_owned(), since: now(), topic: None, next: [(7, 3)].into() }
            .encode();
    let path = format!("/v1/grants/pulled/events?cursor={wide}");
    assert_eq!(ask(&app, "GET", &path, Some("token-of-tax")).await.0.as_u16(), 400);
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[tokio::test]
async fn a_cursor_that_is_older_than_the_removals_is_gone_and_says_how_to_begin_again() {
    let (app, shared) = app();
    let kept = shared.catalog.current().catalog.datasets.get("permits").map(|dataset| dataset.retention.clone());
    let kept = i64::from(kept.unwrap_or_default().tombstone_hours);
    let since = now() - kept * 3600 - 1;
    let old =
        cursor::Cursor { view: "permits.0123456789ab".to_owned(), since, topic: None, next: [(0, 3)].into() }.encode();
    let path = format!("/v1/grants/pulled/events?cursor={old}");
    let (status, problem) = ask(&app, "GET", &path, Some("token-of-tax")).await;
    assert_eq!((status.as_u16(), &problem["type"]), (410, &"urn:freshet:problem:cursor-too-old".into()));
    let detail = problem["detail"].as_str().expect("a sentence");
    assert!(detail.contains(&format!("kept for {kept} h")) && detail.contains("without a cursor"), "{detail}");
}

#[tokio::test]
async fn a_department_sees_and_resumes_its_own_subscriptions() {
    let (app, shared) = app();
    let pushed = shared.catalog.current().catalog.grants["pushed"].clone();
    let subscription = Subscription::new(pushed, &shared.stop);
    shared.subscriptions.insert(Arc::clone(&subscription));
    let tax = Some("token-of-tax");
    assert_eq!(ask(&app, "POST", "/v1/subscriptions/pushed/resume", tax).await.0, StatusCode::NO_CONTENT);
    subscription.park("the subscriber answered 410 Gone", std::time::Duration::from_secs(60));
    let (status, list) = ask(&app, "GET", "/v1/subscriptions", tax).await;
    assert_eq!(status, StatusCode::OK);
    let of =
        |id: &str| list["subscriptions"].as_array().and_then(|all| all.iter().find(|one| one["grant"] == id)).cloned();
    let pushed = of("pushed").expect("listed");
    assert_eq!((&pushed["state"], &pushed["way"]), (&"parked".into(), &"webhook".into()));
    assert_eq!(pushed["reason"], "the subscriber answered 410 Gone");
    assert_eq!(of("pulled").expect("listed")["way"], "pull");
    assert!(of("foreign").is_none() && of("suspended").is_none());
    assert_eq!(ask(&app, "POST", "/v1/subscriptions/pushed/resume", tax).await.0, StatusCode::ACCEPTED);
    tokio::time::timeout(std::time::Duration::from_secs(5), subscription.resumed()).await.expect("resumed");
    assert_eq!(ask(&app, "POST", "/v1/subscriptions/foreign/resume", tax).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ask(&app, "POST", "/v1/subscriptions/pushed/resume", None).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_document_is_served_and_each_of_its_paths_is_a_route() {
    let (app, _) = app();
    let (status, document) = ask(&app, "GET", "/openapi.json", None).await;
    assert_eq!((status, document["openapi"].as_str()), (StatusCode::OK, Some("3.1.0")));
    let paths = document["paths"].as_object().expect("paths");
    let expected = ["/v1/grants/{grant}/events", "/v1/subscriptions", "/v1/subscriptions/{grant}/resume"];
    assert_eq!(paths.keys().collect::<Vec<_>>(), expected);
    for (path, methods) in paths {
        for method in methods.as_object().expect("methods").keys() {
            let (status, problem) = ask(&app, &method.to_uppercase(), &path.replace("{grant}", "pulled"), None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}: {problem}");
        }
    }
    let names: Vec<&str> = document["paths"]["/v1/grants/{grant}/events"]["get"]["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert_eq!(names, ["grant", "cursor", "from", "limit", "wait"]);
}
