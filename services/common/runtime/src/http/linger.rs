//! What a client still sends after it was answered. A connection that is closed with bytes unread is reset by the system,
//! and the answer that was on its way can be lost with it (RFC 9112 §9.6): who was told to come back later would not
//! know. So the rest of a request that nobody wants is taken and thrown away, in bounds.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};

/// Of one request. Whoever sends more is cut off.
const MOST_BYTES: usize = 1 << 20;
const MOST_TIME: Duration = Duration::from_secs(5);

pub(super) async fn linger(request: Request, next: Next) -> Response {
    // Who asks before it sends (RFC 9110 §10.1.1) has sent nothing where nobody wanted it, and is not to be asked now.
    if request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::from_stream(Lent { parts: Some(body.into_data_stream()) }))).await
}

/// A body whose rest is taken once its reader has had enough.
struct Lent {
    /// None at its end.
    parts: Option<BodyDataStream>,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        let polled = parts.poll_next_unpin(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.parts = None;
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(MOST_TIME, take(parts)));
        }
    }
}

async fn take(mut parts: BodyDataStream) {
    let mut taken = 0;
    while let Some(Ok(part)) = parts.next().await
        && taken < MOST_BYTES
    {
        taken += part.len();
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::{Bounds, Connections, Server};
    use super::*;
    use crate::CancellationToken;

    /// A service that reads no body, and a connection to it.
    async fn unwilling() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let second = Duration::from_secs(60);
        let server = Server {
            router: Router::new().route("/", post(|| async { (StatusCode::TOO_MANY_REQUESTS, "later") })),
            bounds: Bounds {
                max_connections: 2,
                max_head_bytes: 8192,
                max_headers: 10,
                header_timeout: second,
                write_timeout: second,
            },
            tls: None,
            connections: Connections::unregistered("test").expect("counters"),
        };
        tokio::spawn(server.serve(listener, CancellationToken::new()));
        TcpStream::connect(address).await.expect("connects")
    }

    fn head(length: usize) -> String {
        format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
    }

    async fn answer(stream: &mut TcpStream) -> String {
        let (mut all, mut part) = (String::new(), [0; 1024]);
        while !all.ends_with("later") {
            let count = stream.read(&mut part).await.expect("not reset");
            assert!(count > 0, "closed after {all:?}");
            all.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        all
    }

    #[tokio::test]
    async fn the_rest_of_a_refused_request_is_taken_and_the_connection_goes_on() {
        let mut stream = unwilling().await;
        for _ in 0..3 {
            stream.write_all(head(MOST_BYTES / 2).as_bytes()).await.expect("sent");
            // The answer is there before the body is.
            assert!(answer(&mut stream).await.starts_with("HTTP/1.1 429"));
            stream.write_all(&vec![b'x'; MOST_BYTES / 2]).await.expect("taken");
        }
    }

    #[tokio::test]
    async fn whoever_goes_on_sending_is_cut_off() {
        let mut stream = unwilling().await;
        stream.write_all(head(usize::MAX >> 1).as_bytes()).await.expect("sent");
        let part = vec![b'x'; 1 << 16];
        // More than the bound and all that the system holds between the two ends.
        let mut sent = 0_u64;
        while sent < 1 << 30 && stream.write_all(&part).await.is_ok() {
            sent += part.len() as u64;
        }
        assert!(sent < 1 << 30, "{sent} bytes were taken");
    }
}
