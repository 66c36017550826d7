//! The pull API's routes, up to where the broker would be asked: that is where an answer waits, and the request ends here.

use axum::Router;
use fastrand::Rng;
use freshet_fanout::Cursor;
use freshet_fanout::in_process::pull_router;
use freshet_kafka::catalog::CatalogHandle;
use freshet_runtime::Credentials;

use crate::fixture;
use crate::guard::Guard;
use crate::http_text;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "pull",
    what: "the routes of pull and server-sent events",
    share: 15,
    parts: 1,
    dictionary: &[
        "GET ",
        "POST ",
        "/v1/grants/",
        "pulled",
        "/events",
        "/v1/subscriptions",
        "/resume",
        "/openapi.json",
        "?cursor=",
        "&limit=",
        "&wait=",
        "&from=",
        "1000",
        "1001",
        "30s",
        "500ms",
        "18446744073709551615",
        "2026-01-31T08:00:00Z",
        "-009999-01-01T00:00:00Z",
        "authorization: Bearer token-of-roads\n",
        "authorization: Bearer token-of-parks\n",
        "accept: text/event-stream\n",
        "last-event-id: ",
        "%00",
        "%ff",
        "%0d%0a",
        "\n\n",
        "王",
    ],
    make: || Box::new(Pull::new()),
};

const VIEW: &str = "road_closure.0123456789ab";

struct Pull {
    runtime: tokio::runtime::Runtime,
    router: Router,
    _credentials: tempfile::NamedTempFile,
}

impl Pull {
    fn new() -> Self {
        let runtime = http_text::runtime();
        let file = fixture::credentials_file();
        let credentials = Credentials::read(file.path()).expect("credentials");
        let router = pull_router(CatalogHandle::fixed(catalog()), Some(credentials)).expect("a router");
        Self { runtime, router, _credentials: file }
    }
}

/// One grant to be pulled of roads, one suspended, one of parks, one by webhook.
pub fn catalog() -> freshet_catalog_model::Catalog {
    let mut catalog = fixture::catalog();
    for (id, subscriber, status, delivery) in [
        ("pulled", "roads", "active", r#"{"way":"pull"}"#),
        ("suspended", "roads", "suspended", r#"{"way":"pull"}"#),
        ("foreign", "parks", "active", r#"{"way":"pull"}"#),
        ("pushed", "roads", "active", r#"{"way":"webhook","url":"https://x.example/","secret":"s"}"#),
    ] {
        let grant = format!(
            r#"{{"id":"{id}","subscriber":"{subscriber}","dataset":"road_closure","fields":["street"],"view":"{VIEW}","purpose":"p",
            "legal_basis":"l","valid_from":"2020-01-01","valid_until":"9999-12-31","status":"{status}","delivery":{delivery}}}"#
        );
        catalog.grants.insert(id.to_owned(), serde_json::from_str(&grant).expect("a grant"));
    }
    let view = format!(
        r#"{{"id":"{VIEW}","dataset":"road_closure","fields":["street"],"masks":{{}},"schema_id":7,"partitions":2}}"#
    );
    catalog.views.insert(VIEW.to_owned(), serde_json::from_str(&view).expect("a view"));
    catalog
}

impl Target for Pull {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let next = [(0, rng.i64(0..)), (1, 7)].into();
        let since = jiff::Timestamp::now().as_second() - rng.i64(-10..10_000);
        let cursor = Cursor { view: VIEW.to_owned(), since, topic: None, next }.encode();
        let accept = if rng.bool() { "text/event-stream" } else { "application/json" };
        let head = format!("authorization: Bearer {}\naccept: {accept}\n\n", fixture::ROADS);
        Some(
            format!("GET /v1/grants/pulled/events?cursor={cursor}&limit={}&wait=1ms\n{head}", rng.u16(..1200))
                .into_bytes(),
        )
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Some(request) = http_text::request(input) else { return Ok(Seen::of("no request")) };
        let is_api = request.uri().path().starts_with("/v1/") && request.method() != http::Method::HEAD;
        let (runtime, router) = (&self.runtime, &self.router);
        let most = (1 << 20) + 256 * input.len();
        let answer = guard.ours("a request", most, || {
            runtime.block_on(async {
                let asked = std::pin::pin!(http_text::ask(router, request));
                futures::poll!(asked)
            })
        })?;
        let std::task::Poll::Ready(answer) = answer else { return Ok(Seen::of("waits for the broker")) };
        let answer = answer?;
        answer.judge()?;
        // A path or a method that there is not is answered by the router itself.
        let said = match answer.status {
            400.. if is_api && answer.status != 405 => Seen::kind_of(&answer.problem()?),
            _ => String::new(),
        };
        Ok(Seen::of((answer.status, said, size_class(answer.body.len()))))
    }
}
