//! The listener that every service shares: HTTP/1.1, with TLS where it has a certificate, with a bound for everything that
//! a client may hold open, and a stop that lets requests finish.

mod linger;
mod stall;
pub mod tls;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Version, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use prometheus::{IntCounter, IntGauge, Registry};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::CancellationToken;
use stall::Stall;
use tls::Tls;

/// After an error of `accept` (no file descriptors left) there is no use in asking again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in work may take after the stop: less than the process has, so that a slow client hangs nobody.
const FINISH_LIMIT: Duration = Duration::from_secs(12);

/// What a connection is told that is one too many, before it is closed.
static TOO_MANY: LazyLock<String> = LazyLock::new(|| {
    let problem = serde_json::json!({
        "type": problem_type("unavailable"),
        "title": "Not now; nothing was lost, send it again",
        "status": 503,
        "detail": "there are as many connections as may be; come again in a second, and keep a connection for several requests",
    })
    .to_string();
    let length = problem.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{problem}"
    )
});

/// What hyper needs at least for a head.
pub const MIN_HEAD_BYTES: usize = 8192;

/// The `type` of a problem (RFC 9457 §3.1.1), the same for every service.
pub fn problem_type(kind: &str) -> String {
    format!("urn:freshet:problem:{kind}")
}

/// What a client may hold open, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub max_connections: usize,
    /// hyper answers 431 beyond both.
    pub max_head_bytes: usize,
    pub max_headers: usize,
    /// Until a head is there, from the connection's begin or the answer before: so it ends idle connections too. Also of
    /// the TLS handshake.
    pub header_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
}

/// [`Bounds`] as settings: the section `http` of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    pub max_connections: usize,
    pub max_head_bytes: usize,
    pub max_headers: usize,
    pub header_timeout_seconds: u64,
    pub write_timeout_seconds: u64,
}

impl HttpSettings {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            max_connections: self.max_connections,
            max_head_bytes: self.max_head_bytes,
            max_headers: self.max_headers,
            header_timeout: Duration::from_secs(self.header_timeout_seconds),
            write_timeout: Duration::from_secs(self.write_timeout_seconds),
        }
    }

    /// The first setting that cannot be, and why.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.max_head_bytes < MIN_HEAD_BYTES {
            return Err(("http.max_head_bytes", "must be at least 8192"));
        }
        for (setting, is_zero) in [
            ("http.max_connections", self.max_connections == 0),
            ("http.max_headers", self.max_headers == 0),
            ("http.header_timeout_seconds", self.header_timeout_seconds == 0),
            ("http.write_timeout_seconds", self.write_timeout_seconds == 0),
        ] {
            if is_zero {
                return Err((setting, "must be at least 1"));
            }
        }
        Ok(())
    }
}

/// How many connections there are, and how many were one too many.
#[derive(Debug, Clone)]
pub struct Connections {
    pub open: IntGauge,
    pub refused: IntCounter,
}

impl Connections {
    /// Counted, but shown nowhere.
    pub fn unregistered(service: &str) -> Result<Self, prometheus::Error> {
        let name = |rest: &str| format!("freshet_{service}_{rest}");
        let open = IntGauge::new(name("connections"), "Open connections")?;
        let help = "Connections that were turned away, because there were as many as may be";
        Ok(Self { open, refused: IntCounter::new(name("connections_refused_total"), help)? })
    }

    pub fn register(registry: &Registry, service: &str) -> Result<Self, prometheus::Error> {
        let made = Self::unregistered(service)?;
        registry.register(Box::new(made.open.clone()))?;
        registry.register(Box::new(made.refused.clone()))?;
        Ok(made)
    }
}

/// One listener.
#[derive(Debug)]
pub struct Server {
    pub router: Router,
    pub bounds: Bounds,
    pub tls: Option<Tls>,
    pub connections: Connections,
}

impl Server {
    /// Serves until `stop`; returns when the last request was answered. A request that is not answered by then was not
    /// acknowledged either: the client sends it again.
    pub async fn serve(mut self, listener: TcpListener, stop: CancellationToken) {
        self.router = self.router.layer(from_fn(require_one_host)).layer(from_fn(linger::linger));
        let places = Arc::new(Semaphore::new(self.bounds.max_connections));
        let mut builder = Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.header_timeout)
            .max_headers(self.bounds.max_headers)
            .max_buf_size(self.bounds.max_head_bytes);
        let graceful = GracefulShutdown::new();
        let doors = Doors { builder, server: Arc::new(self) };
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => drop(tokio::spawn(doors.clone().take(stream, place, graceful.watcher()))),
                Err(_) => doors.turn_away(&stream),
            }
        }
        drop(listener);
        if tokio::time::timeout(FINISH_LIMIT, graceful.shutdown()).await.is_err() {
            tracing::warn!(seconds = FINISH_LIMIT.as_secs(), "requests of slow clients were cut off");
        }
    }
}

/// RFC 9112 §3.2: a request without a `Host`, or with several, is refused. Whoever stands before us may have chosen by the
/// other one.
async fn require_one_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() == Version::HTTP_10) {
        return next.run(request).await;
    }
    let detail = format!("the request has {hosts} Host headers; exactly one is due\n");
    (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")], detail).into_response()
}

#[derive(Clone)]
struct Doors {
    builder: Builder,
    server: Arc<Server>,
}

impl Doors {
    /// Without waiting: a client that does not take even this is not worth a task.
    fn turn_away(&self, stream: &TcpStream) {
        self.server.connections.refused.inc();
        if self.server.tls.is_none() {
            let _ = stream.try_write(TOO_MANY.as_bytes());
        }
    }

    async fn take(self, stream: TcpStream, place: OwnedSemaphorePermit, watcher: Watcher) {
        let _place = place;
        let open = self.server.connections.open.clone();
        open.inc();
        let _ = stream.set_nodelay(true);
        let stream = Stall::new(stream, self.server.bounds.write_timeout);
        match &self.server.tls {
            None => self.answer(stream, watcher).await,
            Some(tls) => {
                let handshake = tls.acceptor();
                match tokio::time::timeout(self.server.bounds.header_timeout, handshake.accept(stream)).await {
                    Ok(Ok(stream)) => self.answer(stream, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                }
            }
        }
        open.dec();
    }

    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
        let service = TowerToHyperService::new(self.server.router.clone());
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        // A client that went away is no event of ours.
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}
