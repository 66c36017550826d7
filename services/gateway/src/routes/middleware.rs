//! Around every request: a place among those in flight, the time limit, the metrics, the security headers.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{route_of, secure, uploads};
use crate::problem::{Answered, Kind, Problem};
use crate::state::Gateway;

pub(super) async fn surround(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = route_of(matched.as_ref());
    let metrics = &gateway.metrics;
    let mut response = match gateway.requests.try_acquire() {
        Err(_) => Problem::unavailable("too many requests are in work; try again").into_response(),
        Ok(_place) => {
            metrics.in_flight.inc();
            let _gone = OnDrop(|| metrics.in_flight.dec());
            answer(&gateway, route, request, next).await
        }
    };
    secure(&mut response);
    if let Some(Answered(kind)) = response.extensions().get() {
        metrics.errors.with_label_values(&[kind.as_str()]).inc();
    }
    metrics.requests.with_label_values(&[route, response.status().as_str()]).inc();
    metrics.request_seconds.with_label_values(&[route]).observe(begun.elapsed().as_secs_f64());
    response
}

async fn answer(gateway: &Gateway, route: &str, request: Request, next: Next) -> Response {
    if route == uploads::PATH {
        // A file may take long; it is bounded by the time between two of its parts.
        return next.run(request).await;
    }
    let seconds = gateway.config.request_timeout_seconds;
    match tokio::time::timeout(Duration::from_secs(seconds), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("not done after {seconds} s; what was sent may have been written: send it again");
            Problem::new(Kind::Timeout, detail).into_response()
        }
    }
}

/// Also where the client went away and the request's future was dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
