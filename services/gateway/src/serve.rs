//! The listener: HTTP/1.1 with a limit for slow heads, and a stop that lets requests finish.

use std::time::Duration;

use axum::Router;
use freshet_runtime::CancellationToken;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// A head larger than this is refused by hyper with 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// After an error of `accept` (no file descriptors left) there is no use in asking again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests in work may take after the stop: less than the process has, so that a slow client hangs nobody.
const FINISH_LIMIT: Duration = Duration::from_secs(12);

/// Serves until `stop`; returns when the last request was answered. A request that is not answered by then was not
/// acknowledged either: the department sends it again.
pub async fn serve(listener: TcpListener, router: Router, header_timeout: Duration, stop: CancellationToken) {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MAX_HEAD_BYTES);
    let graceful = GracefulShutdown::new();
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
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that went away is no event of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(FINISH_LIMIT, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = FINISH_LIMIT.as_secs(), "requests of slow clients were cut off");
    }
}
