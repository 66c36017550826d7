//! The OpenAPI document against the router, and `docs/gateway.md` against both.

use std::collections::BTreeSet;

use axum::body::Body;
use freshet_gateway::problem::Kind;
use http::{Method, Request};
use serde_json::Value;

use crate::fixture::{Fixture, ROADS, get, post};

/// Every route: what is not here is not in the router, which the test below holds against the document.
const ROUTES: [(&str, &str); 4] = [
    ("get", "/openapi.json"),
    ("get", "/v1/datasets"),
    ("post", "/v1/datasets/{dataset}/events"),
    ("post", "/v1/datasets/{dataset}/uploads"),
];

async fn document(fixture: &Fixture) -> Value {
    let answer = fixture.send(get("/openapi.json", "")).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_every_entry_is_a_route() {
    let fixture = Fixture::new();
    let document = document(&fixture).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((method.clone(), path.clone()));
        }
    }
    let routes: BTreeSet<_> = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, routes);
    // And the router answers each, and no other method of it.
    for (_, path) in ROUTES {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let is_route = routes.contains(&(method.as_str().to_lowercase(), path.to_owned()));
            let address = path.replace("{dataset}", "road_closure");
            let request = Request::builder().method(&method).uri(address).body(Body::empty()).unwrap();
            let status = fixture.send(request).await.status;
            assert_eq!(status != 405, is_route, "{method} {path}: {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
}

#[test]
fn routes_are_added_in_one_place_only() {
    let source = include_str!("../../src/routes.rs");
    assert!(!source.contains(".route("), "routes!(…) documents what it adds");
    assert_eq!(source.matches(".routes(routes!(").count(), ROUTES.len());
}

#[tokio::test]
async fn the_examples_work() {
    let fixture = Fixture::new();
    let document = document(&fixture).await;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(content) = item["post"]["requestBody"]["content"].as_object() else { continue };
        for (content_type, content) in content {
            let Some(example) = content.get("example") else { continue };
            let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            let address = path.replace("{dataset}", "road_closure");
            let mut request = post(&address, ROADS, content_type, body);
            if content_type == "application/json" {
                for (name, value) in [
                    ("ce-specversion", "1.0"),
                    ("ce-id", "1"),
                    ("ce-source", "urn:example:roads"),
                    ("ce-type", "example.road_closure.changed"),
                    ("ce-sequence", "1"),
                ] {
                    request.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            let answer = fixture.send(request).await;
            assert!(matches!(answer.status, 200 | 202), "{path} {content_type}: {} {}", answer.status, answer.text);
            assert!(!answer.text.contains("refused\":1"), "{path} {content_type}: {}", answer.text);
            tried += 1;
        }
    }
    assert_eq!(tried, 5);
    assert!(fixture.sink.records().iter().all(|record| record.topic == "publish.road_closure"));
}

#[tokio::test]
async fn the_page_names_every_route_problem_setting_and_metric() {
    let page = include_str!("../../../../docs/gateway.md");
    for (_, path) in ROUTES {
        assert!(page.contains(path), "{path}");
    }
    for kind in Kind::ALL {
        assert!(page.contains(&format!("`{}`", kind.as_str())), "{}", kind.as_str());
    }
    let settings: toml::Table = freshet_gateway::DEFAULTS.parse().unwrap();
    for setting in settings["gateway"].as_table().unwrap().keys() {
        assert!(page.contains(&format!("`{setting}`")), "{setting}");
    }
    let fixture = Fixture::new();
    // So that every family has a sample.
    fixture.publish(&crate::fixture::closure(1)).await;
    assert_eq!(fixture.registry.gather().len(), 7);
    for family in fixture.registry.gather() {
        assert!(page.contains(family.name()), "{}", family.name());
    }
}
