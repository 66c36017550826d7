//! What a client may hold open, over a real connection: heads, connections, idle ones, TLS.

use std::net::SocketAddr;
use std::time::Duration;

use freshet_gateway::Config;
use freshet_runtime::CancellationToken;
use freshet_runtime::http::tls::Tls;
use freshet_runtime::http::{Bounds, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::Fixture;

const LIMIT: Duration = Duration::from_secs(60);
const GET: &str = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n";

pub async fn listen(server: Server) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(listener, stop.clone()));
    (address, stop)
}

pub fn bounds() -> Bounds {
    Config::default().bounds()
}

/// What comes back until the gateway closes the connection.
pub async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

pub async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset behind the answer is an end too.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the gateway ends it");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of a request whose connection stays open.
async fn status(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn heads_are_bounded_in_number_and_bytes() {
    let fixture = Fixture::new();
    let (address, _stop) = listen(fixture.server(Bounds { max_headers: 10, max_head_bytes: 8192, ..bounds() })).await;
    // With Host and Connection.
    let with = |count: usize| {
        let headers: String = (0..count - 2).map(|number| format!("x-{number}: 1\r\n")).collect();
        format!("{GET}Connection: close\r\n{headers}\r\n")
    };
    assert!(exchange(address, &with(10)).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(address, &with(11)).await.starts_with("HTTP/1.1 431"));
    let of = |bytes: usize| {
        let head = format!("{GET}Connection: close\r\nx: \r\n\r\n");
        head.replace("x: \r\n", &format!("x: {}\r\n", "y".repeat(bytes - head.len())))
    };
    assert_eq!(of(8_000).len(), 8_000);
    assert!(exchange(address, &of(8_000)).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(address, &of(20_000)).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn connections_are_bounded_and_one_too_many_is_told_when_to_come_back() {
    let fixture = Fixture::new();
    let (address, _stop) = listen(fixture.server(Bounds { max_connections: 2, ..bounds() })).await;
    let get = format!("{GET}\r\n");
    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(status(&mut first, &get).await, "HTTP/1.1 200");
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(status(&mut second, &get).await, "HTTP/1.1 200");
    let mut third = TcpStream::connect(address).await.unwrap();
    let answer = rest(&mut third).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("retry-after: 1"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["type"]), (&503.into(), &"urn:freshet:problem:unavailable".into()));
    assert_eq!(fixture.metric("freshet_gateway_connections_refused_total").unwrap(), "1");
    drop(first);
    let deadline = tokio::time::Instant::now() + LIMIT;
    while fixture.metric("freshet_gateway_connections").unwrap() != "1" {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let mut fourth = TcpStream::connect(address).await.unwrap();
    assert_eq!(status(&mut fourth, &get).await, "HTTP/1.1 200");
}

#[tokio::test]
async fn a_connection_that_waits_or_never_speaks_is_closed() {
    let fixture = Fixture::new();
    let timeout = Duration::from_millis(200);
    let (address, _stop) = listen(fixture.server(Bounds { header_timeout: timeout, ..bounds() })).await;
    // Half-open: never a byte.
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    // Slow: a byte now and then is no excuse.
    let mut slow = TcpStream::connect(address).await.unwrap();
    let begun = tokio::time::Instant::now();
    while slow.write_all(b"x").await.is_ok() {
        assert!(begun.elapsed() < LIMIT, "a head that trickles");
        tokio::time::sleep(timeout / 10).await;
    }
    // Idle behind an answer.
    let mut idle = TcpStream::connect(address).await.unwrap();
    assert_eq!(status(&mut idle, &format!("{GET}\r\n")).await, "HTTP/1.1 200");
    let begun = tokio::time::Instant::now();
    rest(&mut idle).await;
    assert!(begun.elapsed() >= timeout / 2, "it was kept for the next request");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_speaks_tls_and_takes_a_renewed_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let renew = |name: &str| {
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output();
        match made {
            Ok(made) if made.status.success() => {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
                true
            }
            _ => false,
        }
    };
    if !renew("first") {
        println!("the TLS listener was not tested: this machine has no openssl command");
        return;
    }
    let trusting = || {
        let pem = std::fs::read(&certificate).unwrap();
        let ours = reqwest::Certificate::from_pem(&pem).unwrap();
        reqwest::Client::builder().add_root_certificate(ours).no_proxy().build().unwrap()
    };
    let fixture = Fixture::new();
    let tls = Tls::read(&certificate, &key).unwrap();
    let server = Server { tls: Some(tls.clone()), ..fixture.server(bounds()) };
    let (address, _stop) = listen(server).await;
    let url = format!("https://{address}/openapi.json");
    let first = trusting();
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200);
    assert!(exchange(address, &format!("{GET}\r\n")).await.is_empty(), "plain HTTP is not answered");

    assert!(!tls.reload_if_changed().unwrap());
    assert!(renew("second"));
    assert!(tls.reload_if_changed().unwrap());
    let second = trusting();
    assert_eq!(second.get(&url).send().await.unwrap().status(), 200);
    // What does not fit leaves the good one in force.
    std::fs::write(&certificate, "no certificate").unwrap();
    assert!(tls.reload_if_changed().unwrap_err().to_string().contains("tls.crt"));
    assert_eq!(second.get(&url).send().await.unwrap().status(), 200);
    // A key that everybody may read is refused.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Tls::read(&certificate, &key).unwrap_err().to_string().contains("everybody"));
}
