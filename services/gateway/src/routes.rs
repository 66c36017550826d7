//! The routes, each with its part of the OpenAPI document, and what surrounds all of them.

pub mod datasets;
pub mod events;
mod middleware;
pub mod openapi;
mod path;
pub mod uploads;

use axum::Router;
use axum::response::Response;
use http::Uri;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{Kind, Problem};
use crate::state::Gateway;

/// The service, to be served or to be called in a test.
pub fn router(gateway: Gateway) -> Router {
    let (router, document) = parts();
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::Extension(openapi::Document::new(&document)))
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), middleware::surround))
        .with_state(gateway)
}

/// The OpenAPI document, as `/openapi.json` serves it.
pub fn document() -> utoipa::openapi::OpenApi {
    parts().1
}

/// Routes are added here only, together with their documentation.
fn parts() -> (Router<Gateway>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(openapi::Api::openapi())
        .routes(routes!(events::publish))
        .routes(routes!(uploads::upload))
        .routes(routes!(datasets::list))
        .routes(routes!(openapi::serve))
        .split_for_parts()
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(Kind::NotFound, format!("there is nothing at {}; /openapi.json lists what there is", uri.path()))
}

async fn method_not_allowed(uri: Uri) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{} takes another method; see /openapi.json", uri.path()))
}

/// A label for metrics: the route's pattern, never the path that was asked for.
fn route_of(matched: Option<&axum::extract::MatchedPath>) -> &str {
    matched.map_or("none", axum::extract::MatchedPath::as_str)
}

/// Headers that keep browsers from reading more into an answer than it says. HSTS belongs to whoever ends TLS.
fn secure(response: &mut Response) {
    use http::HeaderValue;
    use http::header;
    let headers = response.headers_mut();
    let mut put = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::CACHE_CONTROL, "no-store");
    put(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    put(header::REFERRER_POLICY, "no-referrer");
}
