//! Forms that a subscriber may give an address or an event may have, so that more goes out than should: addresses that
//! are private in disguise, line breaks on their way into a header.

use freshet_kafka::window::Attempt;

use super::address::{Refused, Target};
use super::tests::Fixture;
use crate::event::tests::record;

/// Each leads to 127.0.0.1 or to another address inside, by the URL standard or by what a resolver makes of it. The
/// receiver listens there: were one of them let through, it would have the event.
const PRIVATE: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "127。0。0。1",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "localhost",
    "LocalHost",
    "10.0.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[fd00:ec2::254]",
    "[fe80::1]",
];

fn reason(attempt: Attempt) -> String {
    match attempt {
        Attempt::Park { reason } => reason,
        Attempt::Delivered => "delivered".to_owned(),
    }
}

#[tokio::test]
async fn a_private_address_is_refused_however_it_is_written() {
    for form in PRIVATE {
        let fixture = Fixture::with(&[], |_| {}, |url| url.replace("127.0.0.1", form)).await;
        let reason = reason(fixture.deliver(3).await);
        assert!(reason.contains("is not a public address"), "{form}: {reason}");
        assert!(fixture.receiver.requests().is_empty(), "{form}");
    }
}

#[test]
fn a_url_that_says_two_things_is_refused() {
    let of = |url: &str| url.parse().map_err(|_| None).and_then(|url| Target::of(&url).map_err(Some));
    for url in [
        "https://hooks.example@127.0.0.1/",
        "https://127.0.0.1%40hooks.example/",
        "https://user:word@hooks.example/",
        "https://[::1%25eth0]/",
        "https://hooks.example:99999/",
        "https:///",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "unix:/var/run/docker.sock",
        "javascript:alert(1)",
    ] {
        assert!(matches!(of(url), Err(None | Some(Refused::Url))), "{url}: {:?}", of(url));
    }
    // What stands behind the host is no host.
    for url in
        ["https://hooks.example/@127.0.0.1/", "https://hooks.example#@127.0.0.1/", "https://hooks.example\\@127.0.0.1/"]
    {
        assert_eq!(of(url).map(|target| target.host), Ok("hooks.example".to_owned()), "{url}");
    }
}

#[tokio::test]
async fn what_an_event_holds_never_becomes_a_header() {
    let fixture = Fixture::with(&["127.0.0.0/8"], |_| {}, |url| url + "?a=b%0d%0aX-Evil:%201\r\nX-Evil: 2").await;
    let mut event = record(3, false);
    let hostile = "e\r\nX-Evil: 3\r\n\r\nPOST / HTTP/1.1\u{0}\u{202e}";
    let is_shown = |name: &str| matches!(name, "ce_id" | "ce_source" | "ce_subject" | "ce_type");
    let headers = event.headers.iter();
    event.headers =
        headers.map(|(name, value)| (name, if is_shown(name) { hostile.as_bytes() } else { value })).collect();
    event.headers.push("ce_x\r\nX-Evil: 4", b"5");
    event.headers.push("X-Evil", b"6");
    assert_eq!(fixture.take(&event).await, Attempt::Delivered);
    let requests = fixture.receiver.requests();
    let [(_, headers, body)] = &requests[..] else { panic!("{requests:?}") };
    assert!(headers.get("x-evil").is_none(), "{headers:?}");
    assert!(headers["webhook-id"].as_bytes().iter().all(u8::is_ascii_graphic), "{headers:?}");
    let sent: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    assert_eq!(sent["id"], hostile, "in the body it is a text, as it was sent");
}
