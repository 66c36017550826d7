//! The HTTP interface: the read side of the Confluent Schema Registry API, and the catalogue as JSON. Everything is a
//! function of the snapshot that the source gives.

mod catalogue;
mod confluent;
mod extract;
mod problem;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use freshet_kafka::catalog::Snapshot;
use prometheus::IntCounterVec;

use problem::Problem;

/// How long a request may take, its body among it.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Gives the catalogue as it is now, or `None` while it was not read to its end.
pub type Source = Arc<dyn Fn() -> Option<Arc<Snapshot>> + Send + Sync>;

/// `requests` counts by route and status.
pub fn router(source: Source, requests: Option<IntCounterVec>) -> Router {
    let registry = Router::new()
        .route("/", get(confluent::root))
        .route("/schemas/types", get(confluent::types))
        .route("/schemas/ids/{id}", get(confluent::schema))
        .route("/schemas/ids/{id}/schema", get(confluent::schema_text))
        .route("/schemas/ids/{id}/versions", get(confluent::schema_versions))
        .route("/subjects", get(confluent::subjects))
        .route("/subjects/{subject}", post(confluent::look_up))
        .route("/subjects/{subject}/versions", get(confluent::versions).post(confluent::register))
        .route("/subjects/{subject}/versions/{version}", get(confluent::version))
        .route("/subjects/{subject}/versions/{version}/schema", get(confluent::version_text))
        .route("/config", get(confluent::config))
        .route("/config/{subject}", get(confluent::config))
        .route("/mode", get(confluent::mode))
        .route("/mode/{subject}", get(confluent::mode))
        .route("/compatibility/subjects/{subject}/versions", post(confluent::compatibility_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(confluent::compatibility));
    let catalogue = Router::new()
        .route("/catalogue/departments", get(catalogue::departments))
        .route("/catalogue/datasets", get(catalogue::datasets))
        .route("/catalogue/grants", get(catalogue::grants))
        .route("/catalogue/views", get(catalogue::views));
    registry
        .merge(catalogue)
        .method_not_allowed_fallback(confluent::read_only)
        .fallback(confluent::unknown)
        .layer(middleware::from_fn_with_state(requests, count))
        .with_state(source)
}

async fn count(State(requests): State<Option<IntCounterVec>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    // A body that does not come ends here.
    let response = match tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, 408, "the request did not come in time").into_response(),
    };
    if let Some(requests) = requests {
        requests.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    }
    response
}

/// The snapshot of one request.
struct Current(Arc<Snapshot>);

impl FromRequestParts<Source> for Current {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, source: &Source) -> Result<Self, Problem> {
        source().map(Self).ok_or_else(Problem::not_ready)
    }
}

#[cfg(test)]
mod tests;
