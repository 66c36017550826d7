//! The pull API: events of a grant by cursor, by long poll or as a stream, and the state of a department's subscriptions.

mod cursor;
mod events;
mod problem;
mod readers;
mod stream;

pub use cursor::{Cursor, CursorError, TopicMark};

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use freshet_catalog_model::{Delivery, Grant};
use freshet_runtime::{Credentials, credentials::Token};
use http::HeaderMap;
use http::request::Parts;
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::receipts::way_of;
use crate::subscription;
use problem::Problem;
use readers::Readers;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    shared: Arc<Shared>,
    credentials: Option<Credentials>,
    readers: Readers,
    connections: Arc<Semaphore>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Freshet fanout",
        description = "Events of a grant by cursor, long poll or server-sent events; the state of subscriptions."
    ),
    modifiers(&BearerToken),
    security(("department" = []))
)]
struct Documentation;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("department", scheme);
    }
}

fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Documentation::openapi())
        .routes(routes!(events::events))
        .routes(routes!(subscriptions))
        .routes(routes!(resume))
}

/// The document that `/openapi.json` serves.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

pub(crate) fn router(shared: Arc<Shared>, credentials: Option<Credentials>) -> axum::Router {
    let config = &shared.config.pull;
    let api = Api {
        readers: Readers::new(&shared.connection, config.max_readers),
        connections: Arc::new(Semaphore::new(config.max_connections)),
        credentials,
        shared,
    };
    let (router, document) = routes().split_for_parts();
    router
        .with_state(api)
        .route("/openapi.json", axum::routing::get(move || std::future::ready(Json(document.clone()))))
        .fallback(|| std::future::ready(Problem::not_found("no such path; see /openapi.json")))
}

impl Api {
    /// The department whose token the request carries.
    fn department(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let token = headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Token(token.trim()));
        let credentials = self.credentials.as_ref().ok_or_else(Problem::unauthenticated)?;
        token.and_then(|token| credentials.department_of(token)).ok_or_else(Problem::unauthenticated)
    }

    /// The grant, if this department may use it. Asked again while a request waits: a grant may end meanwhile (P9).
    fn grant(&self, id: &str, department: &str) -> Result<Grant, Problem> {
        if self.shared.catalog.in_force().is_err() {
            return Err(Problem::unavailable("the catalogue cannot be followed, so no grant is certain"));
        }
        let snapshot = self.shared.catalog.current();
        let grant = snapshot
            .catalog
            .grants
            .get(id)
            .ok_or_else(|| Problem::not_found(format!("grant {id} is not in the catalogue")))?;
        if grant.subscriber != department {
            return Err(Problem::forbidden(format!("grant {id} is not one of {department}'s")));
        }
        if !grant.is_active_on(jiff::Zoned::now().date()) {
            return Err(Problem::forbidden(format!("grant {id} is not active: suspended, ended or not begun")));
        }
        Ok(grant.clone())
    }
}

/// The grant's id in the path. What is no UTF-8 is a problem like any other; axum's own answer is plain text.
#[derive(Debug)]
struct GrantId(String);

impl FromRequestParts<Api> for GrantId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, api).await;
        path.map(|Path(id)| Self(id)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// One subscription as its department sees it.
#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionStatus {
    grant: String,
    dataset: String,
    view: String,
    /// `webhook`, `postgres`, `pull` or `kafka`.
    way: &'static str,
    /// For webhook and postgres. The others are as fast as they read.
    #[serde(flatten)]
    state: Option<subscription::State>,
}

#[derive(Debug, Serialize, ToSchema)]
struct SubscriptionList {
    subscriptions: Vec<SubscriptionStatus>,
}

/// The active grants of the calling department and what their delivery is doing.
#[utoipa::path(get, path = "/v1/subscriptions", responses(
    (status = 200, body = SubscriptionList),
    (status = 401, body = Problem, content_type = "application/problem+json"),
))]
async fn subscriptions(State(api): State<Api>, headers: HeaderMap) -> Result<Json<SubscriptionList>, Problem> {
    let department = api.department(&headers)?;
    let snapshot = api.shared.catalog.current();
    let grants = snapshot.catalog.active_grants(jiff::Zoned::now().date());
    let subscriptions = grants
        .filter(|grant| grant.subscriber == department)
        .map(|grant| SubscriptionStatus {
            grant: grant.id.clone(),
            dataset: grant.dataset.clone(),
            view: grant.view.clone(),
            way: if grant.delivery == Delivery::Kafka { "kafka" } else { way_of(grant).as_str() },
            state: api.shared.subscriptions.get(&grant.id).map(|subscription| subscription.state()),
        })
        .collect();
    Ok(Json(SubscriptionList { subscriptions }))
}

/// Ends the parking of a subscription: delivery goes on where it stopped.
#[utoipa::path(post, path = "/v1/subscriptions/{grant}/resume",
    params(("grant" = String, Path, description = "The grant's id")),
    responses(
        (status = 202, description = "It was parked and goes on"),
        (status = 204, description = "It was not parked"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
))]
async fn resume(
    State(api): State<Api>,
    GrantId(grant): GrantId,
    headers: HeaderMap,
) -> Result<http::StatusCode, Problem> {
    let department = api.department(&headers)?;
    let grant = api.grant(&grant, &department)?;
    let subscription = api
        .shared
        .subscriptions
        .get(&grant.id)
        .ok_or_else(|| Problem::not_found(format!("grant {} is not delivered by this service", grant.id)))?;
    Ok(if subscription.resume() { http::StatusCode::ACCEPTED } else { http::StatusCode::NO_CONTENT })
}

#[cfg(test)]
mod tests;
