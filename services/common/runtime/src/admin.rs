//! The admin port: `/live`, `/ready`, `/metrics`. Apart from the port that serves users, so that it can stay inside.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use serde_json::json;
use tokio::net::TcpListener;

use crate::Context;
use crate::http::{Bounds, Connections, Server};

/// Who asks are probes and a scraper: few, small, and often on connections that they keep.
const BOUNDS: Bounds = Bounds {
    max_connections: 64,
    max_head_bytes: 16 * 1024,
    max_headers: 100,
    header_timeout: Duration::from_secs(60),
    write_timeout: Duration::from_secs(10),
};

/// What the admin port cannot do.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("admin port {address}: {reason}; choose another with admin.listen or FRESHET__ADMIN__LISTEN")]
    Bind { address: SocketAddr, reason: std::io::Error },
    #[error("admin port: {0}")]
    Metrics(prometheus::Error),
}

/// Binds the port, so that a port in use is found before anything else starts.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address).await.map_err(|reason| AdminError::Bind { address, reason })
}

/// Serves until `stop_serving` is cancelled. That is not `context.stop`: probes are answered while services finish.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    stop_serving: crate::CancellationToken,
) -> Result<(), AdminError> {
    let connections = Connections::unregistered("admin").map_err(AdminError::Metrics)?;
    let server = Server { router: router(context), bounds: BOUNDS, tls: None, connections };
    server.serve(listener, stop_serving).await;
    Ok(())
}

/// The routes, to be served or to be called in a test.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(context)
}

async fn live(State(context): State<Context>) -> Response {
    let stuck = context.liveness.stuck();
    let status = if stuck.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &json!({ "live": stuck.is_empty(), "stuck": stuck }))
}

/// Not ready while stopping either, so that a load balancer sends nothing more here.
async fn ready(State(context): State<Context>) -> Response {
    let mut waiting_for = context.readiness.waiting_for();
    if context.stop.is_cancelled() {
        waiting_for.push("stopping".to_owned());
    }
    let status = if waiting_for.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &json!({ "ready": waiting_for.is_empty(), "waiting_for": waiting_for }))
}

async fn metrics(State(context): State<Context>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&context.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")).into_response(),
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    const HEADERS: [(HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, HEADERS, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn get_json(address: SocketAddr, path: &str) -> (u16, serde_json::Value) {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    #[tokio::test]
    async fn tells_what_it_waits_for_and_what_is_stuck() {
        let context = Context { liveness: crate::Liveness::default(), ..Context::new() };
        let counter = prometheus::IntCounter::new("freshet_test_total", "A test").unwrap();
        context.registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop_serving = crate::CancellationToken::new();
        let server = tokio::spawn(serve(listener, context.clone(), stop_serving.clone()));

        let latch = context.readiness.wait_for("catalogue");
        assert_eq!(get_json(address, "/ready").await, (503, json!({"ready": false, "waiting_for": ["catalogue"]})));
        latch.release();
        assert_eq!(get_json(address, "/ready").await, (200, json!({"ready": true, "waiting_for": []})));
        context.stop.cancel();
        assert_eq!(get_json(address, "/ready").await, (503, json!({"ready": false, "waiting_for": ["stopping"]})));

        assert_eq!(get_json(address, "/live").await, (200, json!({"live": true, "stuck": []})));
        let watchdog = context.liveness.watch("loop", Duration::ZERO);
        watchdog.progressed();
        let (status, body) = loop {
            let (status, body) = get_json(address, "/live").await;
            if status == 503 {
                break (status, body);
            }
        };
        assert_eq!((status, body["stuck"][0]["name"].as_str()), (503, Some("loop")));

        let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap();
        assert!(text.contains("freshet_test_total 1"), "{text}");
        stop_serving.cancel();
        server.await.unwrap().unwrap();
    }

    /// Probes must not be kept out by whoever opens connections and says nothing: there are so many, and they end.
    #[tokio::test]
    async fn one_connection_too_many_is_turned_away_and_the_stop_waits_for_none() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop_serving = crate::CancellationToken::new();
        let server = tokio::spawn(serve(listener, Context::new(), stop_serving.clone()));
        let mut silent = Vec::new();
        for _ in 0..BOUNDS.max_connections {
            silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let mut answer = Vec::new();
        let mut one_too_many = tokio::net::TcpStream::connect(address).await.unwrap();
        one_too_many.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
        silent.pop();
        // Whoever is turned away may be answered before it has asked, which its client takes for an error.
        while status_of(address).await.ok() != Some(200) {}
        stop_serving.cancel();
        server.await.unwrap().unwrap();
    }

    async fn status_of(address: SocketAddr) -> reqwest::Result<u16> {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        client.get(format!("http://{address}/live")).send().await.map(|response| response.status().as_u16())
    }

    #[tokio::test]
    async fn a_port_in_use_says_which_setting_to_change() {
        let first = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = bind(first.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("FRESHET__ADMIN__LISTEN"), "{error}");
    }
}
