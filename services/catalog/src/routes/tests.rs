use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use freshet_catalog_model::{Catalog, plan, yaml};
use freshet_kafka::catalog::Snapshot;
use prometheus::IntCounterVec;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const AVSC: &str = r#"{"type": "record", "name": "Permit", "namespace": "town", "fields": [
  {"name": "number", "type": "string"},
  {"name": "fee", "type": "long"}
]}"#;

fn catalog() -> Catalog {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |file: &str, text: &str| {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    write("departments.yaml", "planning:\n  title: {en: Planning}\n  sources: [urn:p]\n");
    write("permit/permit.avsc", AVSC);
    write(
        "permit/dataset.yaml",
        "title: {en: Permits}\nauthorities: [planning]\nkey: number\nversion: sequence\n\
         catalogue: {summary: {en: P}, update_frequency: daily, share_type: unconditional, share_method: other, classification: general}\n",
    );
    write(
        "grants/tax.yaml",
        "subscriber: planning\ndataset: permit\nfields: [number, fee]\npurpose: p\nlegal_basis: l\n\
         valid_from: 2026-01-01\nvalid_until: 2026-12-31\ndelivery: kafka\n",
    );
    let source = yaml::load(dir.path()).expect("good files");
    plan::diff(&source, &Catalog::default()).expect("an empty bus").into_after()
}

async fn ask(method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let snapshot = Arc::new(Snapshot { catalog: catalog(), revision: 1 });
    answer(router(Arc::new(move || Some(Arc::clone(&snapshot))), None), method, path, body).await
}

async fn answer(app: Router, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body)
        .expect("a request");
    let response = app.oneshot(request).await.expect("infallible");
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

async fn get(path: &str) -> (StatusCode, Value) {
    ask("GET", path, None).await
}

const SUBJECT: &str = "/subjects/publish.permit-value";

#[tokio::test]
async fn a_client_finds_schemas() {
    assert_eq!(get("/schemas/ids/1").await, (StatusCode::OK, json!({"schema": AVSC})));
    assert_eq!(get("/schemas/ids/1/versions").await.1, json!([{"subject": "publish.permit-value", "version": 1}]));
    let (_, subjects) = get("/subjects").await;
    assert_eq!(subjects.as_array().map(Vec::len), Some(2), "the dataset's and the view's: {subjects}");
    assert_eq!(get(&format!("{SUBJECT}/versions")).await.1, json!([1]));
    let described = json!({"subject": "publish.permit-value", "id": 1, "version": 1, "schema": AVSC});
    for version in ["1", "latest", "-1"] {
        assert_eq!(get(&format!("{SUBJECT}/versions/{version}")).await, (StatusCode::OK, described.clone()));
    }
    assert_eq!(get("/config").await.1, json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    assert_eq!(get("/schemas/ids/1/schema").await.1["name"], "Permit");
}

#[tokio::test]
async fn what_is_missing_has_confluents_codes() {
    for (path, status, code) in [
        ("/schemas/ids/77", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/subjects/nobody-value/versions", 404, 40401),
        ("/subjects/nobody-value/versions/1", 404, 40401),
        ("/subjects/publish.permit-value/versions/9", 404, 40402),
        ("/subjects/publish.permit-value/versions/0", 422, 42202),
        ("/subjects/%ff/versions", 400, 400),
        ("/nothing", 404, 404),
    ] {
        let (found, body) = get(path).await;
        assert_eq!((found.as_u16(), &body["error_code"]), (status, &json!(code)), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_schema_is_found_by_its_text() {
    let other_text = r#"{"name":"town.Permit","type":"record","fields":[{"type":"string","name":"number"},{"type":"long","name":"fee"}]}"#;
    let (status, body) = ask("POST", SUBJECT, Some(json!({"schema": other_text}))).await;
    assert_eq!((status, &body["id"]), (StatusCode::OK, &json!(1)), "{body}");
    // A client that registers before it publishes finds what is there.
    let (status, body) = ask("POST", &format!("{SUBJECT}/versions"), Some(json!({"schema": AVSC}))).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"id": 1})));
    let unknown = json!({"schema": AVSC.replace("fee", "cost")});
    let (status, body) = ask("POST", SUBJECT, Some(unknown)).await;
    assert_eq!((status.as_u16(), &body["error_code"]), (404, &json!(40403)));
    let (status, body) = ask("POST", SUBJECT, Some(json!({"schema": "{"}))).await;
    assert_eq!((status.as_u16(), &body["error_code"]), (422, &json!(42201)), "{body}");
}

#[tokio::test]
async fn writes_are_refused_and_say_how_it_is_done() {
    let unknown = json!({"schema": AVSC.replace("fee", "cost")});
    for (method, path, body, status) in [
        ("POST", "/subjects/publish.permit-value/versions", Some(unknown), 403),
        ("DELETE", "/subjects/publish.permit-value", None, 405),
        ("PUT", "/config", Some(json!({"compatibility": "NONE"})), 405),
        ("PUT", "/config/publish.permit-value", Some(json!({"compatibility": "NONE"})), 405),
        ("POST", "/catalogue/grants", Some(json!({})), 405),
    ] {
        let (found, body) = ask(method, path, body).await;
        assert_eq!(found.as_u16(), status, "{method} {path}");
        let message = body["message"].as_str().unwrap_or_default();
        assert!(message.contains("freshet catalog apply"), "{method} {path}: {message}");
    }
}

#[tokio::test]
async fn compatibility_is_that_of_apply() {
    let path = "/compatibility/subjects/publish.permit-value/versions/latest";
    let wider = AVSC.replace("\n]}", r#", {"name": "ward", "type": ["null", "string"], "default": null}]}"#);
    assert_eq!(ask("POST", path, Some(json!({"schema": wider}))).await.1, json!({"is_compatible": true}));
    let other = json!({"schema": AVSC.replace("long", "string")});
    assert_eq!(ask("POST", path, Some(other.clone())).await.1, json!({"is_compatible": false}));
    let (_, body) = ask("POST", &format!("{path}?verbose=true"), Some(other.clone())).await;
    assert!(body["messages"][0].as_str().is_some_and(|message| message.starts_with("field fee")), "{body}");
    let all = "/compatibility/subjects/publish.permit-value/versions";
    assert_eq!(ask("POST", all, Some(other)).await.1, json!({"is_compatible": false}));
}

#[tokio::test]
async fn the_catalogue_is_json() {
    assert_eq!(get("/catalogue/departments").await.1[0]["id"], "planning");
    assert_eq!(get("/catalogue/datasets").await.1[0]["schema_ids"], json!([1]));
    let (_, grants) = get("/catalogue/grants").await;
    let (_, views) = get("/catalogue/views").await;
    assert_eq!(grants[0]["view"], views[0]["id"]);
}

#[tokio::test]
async fn without_a_catalogue_nothing_is_answered_but_try_again() {
    let requests = IntCounterVec::new(prometheus::Opts::new("r", "r"), &["route", "status"]).expect("a metric");
    let app = router(Arc::new(|| None), Some(requests.clone()));
    let (status, body) = answer(app, "GET", "/schemas/ids/1", None).await;
    assert_eq!((status.as_u16(), &body["error_code"]), (503, &json!(50301)));
    assert_eq!(requests.with_label_values(&["/schemas/ids/{id}", "503"]).get(), 1, "counted by route");
}
