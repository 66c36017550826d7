//! The observer's routes.

use axum::Router;
use freshet_core::{Receipt, ReceiptOutcome, Way};
use freshet_runtime::Credentials;

use crate::fixture;
use crate::guard::Guard;
use crate::http_text;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "observer",
    what: "the observer's routes",
    share: 12,
    parts: 1,
    dictionary: &[
        "GET ",
        "/v1/trail",
        "/v1/lag",
        "?event=",
        "&grant=",
        "&limit=",
        "e-1",
        "e-%00",
        "1000",
        "1001",
        "%ff",
        "%0a",
        "王",
        "\n\n",
        "authorization: Bearer token-of-roads\n",
        "authorization: bearer  token-of-roads\n",
    ],
    make: || Box::new(Observer::new()),
};

struct Observer {
    runtime: tokio::runtime::Runtime,
    router: Router,
    _operators: tempfile::NamedTempFile,
}

impl Observer {
    fn new() -> Self {
        let file = fixture::credentials_file();
        let operators = Credentials::read(file.path()).expect("credentials");
        let router = freshet_observer::router((0..20).map(receipt).collect(), Some(operators));
        Self { runtime: http_text::runtime(), router, _operators: file }
    }
}

fn receipt(offset: i64) -> Receipt {
    Receipt {
        grant: format!("grant-{}", offset % 3),
        subscriber: "tax".to_owned(),
        purpose: "assessment".to_owned(),
        legal_basis: "law".to_owned(),
        dataset: "permits".to_owned(),
        view: "permits.0123456789ab".to_owned(),
        partition: 0,
        first_offset: offset,
        last_offset: offset,
        count: 1,
        offsets: Vec::new(),
        events: vec![format!("e-{offset}")],
        way: Way::Pull,
        at: "2026-01-01T00:00:00Z".to_owned(),
        outcome: ReceiptOutcome::Delivered,
    }
}

impl Target for Observer {
    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let Some(request) = http_text::request(input) else { return Ok(Seen::of("no request")) };
        let (runtime, router) = (&self.runtime, &self.router);
        let most = (1 << 20) + 256 * input.len();
        let answer = guard.ours("a request", most, || runtime.block_on(http_text::ask(router, request)))??;
        answer.judge()?;
        let said = match answer.status {
            400 | 401 if !answer.body.is_empty() => Seen::kind_of(&answer.problem()?),
            _ => String::new(),
        };
        Ok(Seen::of((answer.status, said, size_class(answer.body.len()))))
    }
}
