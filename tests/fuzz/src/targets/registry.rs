//! The registry's routes: schemas of any size and shape, by anybody who reaches the port.

use std::sync::Arc;

use axum::Router;
use fastrand::Rng;
use freshet_kafka::catalog::Snapshot;
use serde_json::json;

use super::schemas::{random_avsc, schema_bytes};
use crate::fixture;
use crate::guard::Guard;
use crate::http_text;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "registry",
    what: "the schema registry's and the catalogue's routes",
    share: 10,
    parts: 1,
    dictionary: &[
        "GET ",
        "POST ",
        "PUT ",
        "DELETE ",
        "/subjects",
        "/publish.road_closure-value",
        "/versions",
        "/latest",
        "/-1",
        "/1",
        "/schema",
        "/schemas/ids/1",
        "/config",
        "/mode",
        "/compatibility",
        "?verbose=true",
        "/catalogue/datasets",
        "%ff",
        "%2f",
        "\n\n",
        "{\"schema\":\"",
        "\\\"type\\\":\\\"record\\\"",
        "\\\"fields\\\":[",
        "\\\"logicalType\\\":\\\"decimal\\\"",
        "\\\"precision\\\":99",
        "\\\"default\\\":",
        "\\\"aliases\\\":[",
        "\\\"namespace\\\":\\\"",
        "\\\"size\\\":-1",
        "\"schemaType\":\"AVRO\"",
        "\"references\":[]",
        "[[[[[[[[[[[[[[[[",
        "18446744073709551616",
        "王",
    ],
    make: || Box::new(Registry::new()),
};

struct Registry {
    runtime: tokio::runtime::Runtime,
    router: Router,
}

impl Registry {
    fn new() -> Self {
        let snapshot = Arc::new(Snapshot { catalog: fixture::catalog(), revision: 1 });
        let router = freshet_catalog::router(Arc::new(move || Some(Arc::clone(&snapshot))), None);
        Self { runtime: http_text::runtime(), router }
    }
}

impl Target for Registry {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        const PATHS: [&str; 3] = [
            "/subjects/publish.road_closure-value",
            "/subjects/publish.road_closure-value/versions",
            "/compatibility/subjects/publish.road_closure-value/versions?verbose=true",
        ];
        let avsc = if rng.u8(..10) == 0 { wide_avsc(rng) } else { random_avsc(rng)? };
        let body = json!({ "schema": avsc });
        Some(format!("POST {}\n\n{body}", PATHS[rng.usize(..3)]).into_bytes())
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Some(request) = http_text::request(input) else { return Ok(Seen::of("no request")) };
        let is_head = request.method() == http::Method::HEAD;
        let (runtime, router) = (&self.runtime, &self.router);
        let most = schema_bytes(input.len());
        let answer = guard.ours("a request", most, || runtime.block_on(http_text::ask(router, request)))??;
        answer.judge()?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status >= 400 && !is_head && !(body["error_code"].is_u64() && body["message"].is_string()) {
            return Err(format!(
                "answered {} without an error code: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        let said = Seen::kind_of(body["message"].as_str().unwrap_or_default());
        Ok(Seen::of((answer.status, said, body["error_code"].as_u64(), size_class(answer.body.len()))))
    }
}

/// Few long names and many short ones: what is written out for each of the many, shows itself.
fn wide_avsc(rng: &mut Rng) -> String {
    let long = "n".repeat(1 << rng.u8(4..17));
    let count = 1 << rng.u8(4..12);
    let fields: Vec<String> = (0..count).map(|number| format!(r#"{{"name":"f{number}","type":"int"}}"#)).collect();
    let inner = format!(r#"{{"type":"record","name":"inner","fields":[{}]}}"#, fields.join(","));
    let ty = match rng.u8(..4) {
        0 => inner,
        1 => format!(r#"["null",{inner}]"#),
        2 => format!(r#"{{"type":"array","items":{inner}}}"#),
        _ => format!(
            r#"{{"type":"enum","name":"e","symbols":[{}]}}"#,
            (0..count).map(|n| format!("\"S{n}\"")).collect::<Vec<_>>().join(",")
        ),
    };
    format!(r#"{{"type":"record","name":"r","fields":[{{"name":"{long}","type":{ty}}}]}}"#)
}
