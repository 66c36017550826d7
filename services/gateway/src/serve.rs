//! The listener: HTTP/1.1, with TLS where it has a certificate, with a bound for everything that a client may hold open,
//! and a stop that lets requests finish.

mod stall;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use freshet_runtime::CancellationToken;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::tls::Tls;
use stall::Stall;

/// After an error of `accept` (no file descriptors left) there is no use in asking again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in work may take after the stop: less than the process has, so that a slow client hangs nobody.
const FINISH_LIMIT: Duration = Duration::from_secs(12);

/// What a connection is told that is one too many, before it is closed.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

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

impl Bounds {
    pub fn of(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections,
            max_head_bytes: config.max_head_bytes,
            max_headers: config.max_headers,
            header_timeout: Duration::from_secs(config.header_timeout_seconds),
            write_timeout: Duration::from_secs(config.write_timeout_seconds),
        }
    }
}

/// One listener.
#[derive(Debug)]
pub struct Server {
    pub router: Router,
    pub bounds: Bounds,
    pub tls: Option<Tls>,
    pub metrics: Metrics,
}

impl Server {
    /// Serves until `stop`; returns when the last request was answered. A request that is not answered by then was not
    /// acknowledged either: the department sends it again.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.bounds.max_connections));
        let mut builder = Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.header_timeout)
            .max_headers(self.bounds.max_headers)
            .max_buf_size(self.bounds.max_head_bytes);
        let graceful = GracefulShutdown::new();
        let connections = Connections { builder, server: Arc::new(self) };
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
                Ok(place) => drop(tokio::spawn(connections.clone().take(stream, place, graceful.watcher()))),
                Err(_) => connections.turn_away(&stream),
            }
        }
        drop(listener);
        if tokio::time::timeout(FINISH_LIMIT, graceful.shutdown()).await.is_err() {
            tracing::warn!(seconds = FINISH_LIMIT.as_secs(), "requests of slow clients were cut off");
        }
    }
}

#[derive(Clone)]
struct Connections {
    builder: Builder,
    server: Arc<Server>,
}

impl Connections {
    /// Without waiting: a client that does not take even this is not worth a task.
    fn turn_away(&self, stream: &TcpStream) {
        self.server.metrics.connections_refused.inc();
        if self.server.tls.is_none() {
            let _ = stream.try_write(TOO_MANY);
        }
    }

    async fn take(self, stream: TcpStream, place: OwnedSemaphorePermit, watcher: Watcher) {
        let _place = place;
        let connections = self.server.metrics.connections.clone();
        connections.inc();
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
        connections.dec();
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
