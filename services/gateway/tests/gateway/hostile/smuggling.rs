//! Requests that a proxy before us and we could take apart differently. Each is refused, or has one reading only; and never
//! does a part of one request come to be another.

use freshet_gateway::Config;

use crate::connections::{exchange, listen};
use crate::fixture::{EVENTS, Fixture, ROADS, closure};

/// What a part of a body would ask for, were it taken for a request.
const INNER: &str = "GET /openapi.json HTTP/1.1\r\nHost: inner\r\n\r\n";

fn head(lines: &str) -> String {
    format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ROADS}\r\n\
         Content-Type: application/cloudevents+json\r\n{lines}\r\n\r\n"
    )
}

/// The body as one chunk.
fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// The statuses of all answers that come back on one connection, and how many events were published.
async fn statuses(request: &str) -> (Vec<u16>, usize) {
    let fixture = Fixture::with(Config::default());
    let (address, _stop) =
        listen(fixture.server(Config { header_timeout_seconds: 1, ..Config::default() }.bounds())).await;
    let text = exchange(address, request).await;
    let statuses = text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().expect("a status")).collect();
    (statuses, fixture.sink.records().len())
}

/// RFC 9112 §6.1: the chunks count, and the connection ends behind the answer. So what a proxy that went by the length takes
/// for the next request is never read.
#[tokio::test]
async fn where_a_length_and_chunks_are_both_given_the_connection_ends() {
    let body = closure(1).to_string();
    let length = body.len();
    for lines in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        assert_eq!(statuses(&(head(lines) + &chunked(&body) + INNER)).await, (vec![202], 1), "{lines}");
        assert_eq!(
            statuses(&(head(lines) + "0\r\n\r\n" + INNER)).await,
            (vec![400], 0),
            "{lines}: no body is no event"
        );
    }
    let whole = format!("Content-Length: {length}\r\nTransfer-Encoding: chunked");
    assert_eq!(statuses(&(head(&whole) + &body + INNER)).await, (vec![400], 0), "the body is no chunk");
}

#[tokio::test]
async fn two_lengths_of_one_body_are_refused() {
    let body = closure(1).to_string();
    let length = body.len();
    let differing = head(&format!("Content-Length: {length}\r\nContent-Length: 0")) + &body + INNER;
    let list = head(&format!("Content-Length: {length}, 0")) + &body + INNER;
    for request in [differing, list] {
        assert_eq!(statuses(&request).await, (vec![400], 0), "{request}");
    }
}

#[tokio::test]
async fn a_transfer_encoding_that_is_not_plainly_chunked_is_refused() {
    let body = closure(1).to_string();
    for coding in [
        "chunked, identity",
        "identity",
        "xchunked",
        "chunked;q=1",
        "\"chunked\"",
        "gzip",
        "chunked\r\nTransfer-Encoding: identity",
        "\x0bchunked",
    ] {
        let request = head(&format!("Transfer-Encoding: {coding}")) + &chunked(&body) + INNER;
        assert_eq!(statuses(&request).await, (vec![400], 0), "{coding:?}");
    }
    let old = head("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0") + &chunked(&body) + INNER;
    assert_eq!(statuses(&old).await, (vec![400], 0), "HTTP/1.0 has no chunks");
}

#[tokio::test]
async fn a_length_that_is_not_a_number_is_refused() {
    for length in ["+5", "-1", "0x10", "5 5", "", "18446744073709551616", "1e3", "5\x0b"] {
        let request = head(&format!("Content-Length: {length}")) + "12345" + INNER;
        assert_eq!(statuses(&request).await, (vec![400], 0), "{length:?}");
    }
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused() {
    let body = closure(1).to_string();
    let good = head(&format!("Content-Length: {}", body.len()));
    let with = |line: &str| good.replace("Host: x\r\n", line) + &body + INNER;
    for (name, request) in [
        ("folded line", with("Host: x\r\nX-Folded: a\r\n b\r\n")),
        ("space before the colon", with("Host: x\r\nTransfer-Encoding : chunked\r\n")),
        ("space before the name", with("Host: x\r\n Transfer-Encoding: chunked\r\n")),
        ("no colon", with("Host: x\r\nTransfer-Encoding\r\n")),
        ("empty name", with("Host: x\r\n: chunked\r\n")),
        ("lone carriage return in a value", with("Host: x\r\nX-Return: a\rTransfer-Encoding: chunked\r\n")),
        ("NUL in a value", with("Host: x\r\nX-Nul: a\0b\r\n")),
        ("no Host", with("")),
        ("two Hosts", with("Host: x\r\nHost: y\r\n")),
        ("control sign in the target", good.replace(EVENTS, "/v1/\x01") + &body),
        ("space in the target", good.replace(EVENTS, "/v1/a b") + &body),
        ("unknown version", good.replace("HTTP/1.1", "HTTP/1.2") + &body),
    ] {
        let (statuses, published) = statuses(&request).await;
        assert!(matches!(statuses[..], [400] | [505]) && published == 0, "{name}: {statuses:?}, {published} published");
    }
    assert_eq!(
        statuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await,
        (vec![], 0),
        "HTTP/2 is not spoken, and not answered"
    );
}

/// RFC 9112 §2.2 lets a recipient take a bare line feed for the end of a line. It ends a line only; nothing is hidden by it.
#[tokio::test]
async fn a_bare_line_feed_ends_a_line_and_nothing_else() {
    let body = closure(1).to_string();
    let good = head(&format!("Connection: close\r\nContent-Length: {}", body.len()));
    assert_eq!(statuses(&(good.replace("\r\n", "\n") + &body)).await, (vec![202], 1));
    let hidden = good.replace("Host: x", "Host: x\nTransfer-Encoding: chunked") + &body;
    assert_eq!(
        statuses(&hidden).await,
        (vec![400], 0),
        "what follows it is a header as any other: the body is no chunk"
    );
    let chunk = format!("{:x}\n{body}\n0\n\n", body.len());
    assert_eq!(statuses(&(head("Transfer-Encoding: chunked") + &chunk + INNER)).await, (vec![400], 0), "not in chunks");
}

#[tokio::test]
async fn chunks_that_lie_are_refused_and_end_the_connection() {
    let body = closure(1).to_string();
    let length = body.len();
    for (name, chunks) in [
        ("size beyond 64 bits", format!("10000000000000000{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("size with a sign", format!("+{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("size with 0x", format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("size too small", format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 3)),
        ("no size", format!("\r\n{body}\r\n0\r\n\r\n")),
        ("huge extension", format!("{length:x};x={}\r\n{body}\r\n0\r\n\r\n", "y".repeat(1 << 20))),
        ("huge trailer", format!("{length:x}\r\n{body}\r\n0\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))),
        ("carriage return in an extension", format!("{length:x};a\rb\r\n{body}\r\n0\r\n\r\n")),
    ] {
        let request = head("Transfer-Encoding: chunked") + &chunks + INNER;
        assert_eq!(statuses(&request).await, (vec![400], 0), "{name}");
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_is_its_path() {
    let body = closure(1).to_string();
    let good = head(&format!("Connection: close\r\nContent-Length: {}", body.len())) + &body;
    let absolute = |host: &str| good.replace(EVENTS, &format!("http://{host}{EVENTS}"));
    // The host decides nothing here: no routing, no redirect, no cache.
    assert_eq!(statuses(&absolute("x")).await, (vec![202], 1));
    assert_eq!(statuses(&absolute("169.254.169.254")).await, (vec![202], 1));
    let connect = "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let (tunnel, _) = statuses(connect).await;
    assert!(tunnel.iter().all(|status| *status >= 400), "no tunnel: {tunnel:?}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order_and_each_once() {
    let body = closure(1).to_string();
    let good = head(&format!("Content-Length: {}", body.len())) + &body;
    let last = INNER.replace("Host: inner\r\n", "Host: inner\r\nConnection: close\r\n");
    assert_eq!(statuses(&(good.clone() + &good + &last)).await, (vec![202, 202, 200], 2));
}

/// An answer that comes before its request was read leaves the rest of it on the connection.
#[tokio::test]
async fn the_body_of_a_refused_request_is_never_the_next_request() {
    let body = INNER.repeat(3);
    let length = body.len();
    let refused = head(&format!("Content-Length: {length}")).replace(ROADS, "nobody's") + &body;
    assert_eq!(statuses(&refused).await, (vec![401], 0));
    let too_long = head("Content-Length: 99999999999") + &body;
    assert_eq!(statuses(&too_long).await, (vec![413], 0));
    let absurd = head(&format!("Content-Length: {}", u64::MAX)) + &body;
    assert_eq!(statuses(&absurd).await, (vec![431], 0));
    let chunks = head("Transfer-Encoding: chunked").replace(ROADS, "nobody's") + "5\r\n" + &body;
    assert_eq!(statuses(&chunks).await.0[0], 401);
    assert_eq!(statuses(&chunks).await.0.len(), 1);
}
