//! Receivers that do not speak HTTP as they should. Each misbehaves once; after that the event must arrive, whatever it
//! did, within the limits that the settings give and without more memory than they allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use freshet_kafka::window::Attempt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::tests::Fixture;

const OK: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evil {
    Hangs,
    Resets,
    Garbage,
    TricklesHeaders,
    TricklesBody,
    HugeHeaders,
    HugeBody,
    HalfAnAnswer,
}

/// Takes one request to its end.
async fn request(stream: &mut TcpStream) -> bool {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
        }
        let Some(end) = text.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if text.len() >= end + 4 + length.unwrap_or(0) {
            return true;
        }
    }
}

async fn misbehave(evil: Evil, stream: &mut TcpStream, sent: &AtomicUsize) {
    let trickle = Duration::from_millis(100);
    match evil {
        Evil::Hangs => tokio::time::sleep(Duration::from_secs(60)).await,
        Evil::Resets => {
            let _ = stream.set_zero_linger();
        }
        Evil::Garbage => drop(stream.write_all(b"\x00\xff not HTTP at all\r\n\r\n").await),
        Evil::HalfAnAnswer => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await),
        Evil::TricklesHeaders => {
            for byte in b"HTTP/1.1 200 OK\r\n".iter().chain(std::iter::repeat(&b'x')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(trickle).await;
            }
        }
        Evil::TricklesBody => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(trickle).await;
            }
        }
        Evil::HugeHeaders => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
            while stream.write_all(format!("x-{0}: {0}\r\n", "y".repeat(8000)).as_bytes()).await.is_ok() {
                if sent.fetch_add(16_000, Ordering::SeqCst) > 100_000_000 {
                    return;
                }
            }
        }
        Evil::HugeBody => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {
                if sent.fetch_add(65_536, Ordering::SeqCst) > 104_000_000 {
                    return;
                }
            }
        }
    }
}

/// The first request meets `evil`, every other one is answered. Returns how many requests came, how long it took, and how
/// many bytes the receiver got rid of.
async fn meet(evil: Evil) -> (usize, Duration, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (requests, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, written) = (Arc::clone(&requests), Arc::clone(&sent));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (requests, sent) = (Arc::clone(&counted), Arc::clone(&written));
            tokio::spawn(async move {
                while request(&mut stream).await {
                    if requests.fetch_add(1, Ordering::SeqCst) == 0 {
                        return misbehave(evil, &mut stream, &sent).await;
                    }
                    if stream.write_all(OK).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let fixture = Fixture::with(&["127.0.0.0/8"], |config| config.request_timeout_ms = 1500, |_| url).await;
    let began = Instant::now();
    assert_eq!(fixture.deliver(3).await, Attempt::Delivered, "{evil:?}");
    let took = began.elapsed();
    assert_eq!(fixture.deliver(4).await, Attempt::Delivered, "{evil:?}: the next event");
    (requests.load(Ordering::SeqCst), took, sent.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_hostile_receiver_costs_one_attempt_and_nothing_is_lost() {
    let bad = [Evil::Hangs, Evil::Resets, Evil::Garbage, Evil::HalfAnAnswer, Evil::TricklesHeaders, Evil::HugeHeaders];
    for (evil, (requests, took, sent)) in
        futures::future::join_all(bad.map(|evil| async move { (evil, meet(evil).await) })).await
    {
        assert!(requests >= 3, "{evil:?}: the attempt that failed was not made again: {requests}");
        assert!(took < Duration::from_secs(20), "{evil:?} held the event for {took:?}");
        assert!(sent < 30_000_000, "{evil:?}: {sent} bytes were taken");
    }
}

/// The status is an answer, whatever comes behind it.
#[tokio::test]
async fn a_body_without_end_is_not_read() {
    for (evil, (requests, took, sent)) in futures::future::join_all(
        [Evil::TricklesBody, Evil::HugeBody].map(|evil| async move { (evil, meet(evil).await) }),
    )
    .await
    {
        assert_eq!(requests, 2, "{evil:?}");
        assert!(took < Duration::from_secs(20), "{evil:?} held the event for {took:?}");
        assert!(sent < 30_000_000, "{evil:?}: {sent} bytes were taken");
    }
}
