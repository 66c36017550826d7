//! The HTTP client of one subscriber: HTTP/1.1 to checked addresses, connections kept. It does nothing by itself that a
//! delivery must not have done: it follows no redirect, asks no proxy, keeps no cookie and decodes no body.
//!
//! hyper-util's client, not the one of reqwest that stands on it: that one parses the URL and copies all headers anew for each
//! request, for redirects and retries of its own, which are off here (docs/performance.md, "Webhooks").

use std::error::Error;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::Service;

use super::address::{CheckedResolver, Refused};
use crate::config::WebhookConfig;

/// Between two looks whether a connection that nothing is sent on is still alive.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Cheap to use again, dear to make: it has the connections.
#[derive(Debug)]
pub(super) struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    uri: Uri,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The address may not be reached, or is none.
    Refused(Refused),
    /// No connection: nothing of the request has left.
    Connect(String),
    Timeout(Duration),
    Transport(String),
}

impl HttpClient {
    pub(super) fn new(
        url: &url::Url,
        resolver: CheckedResolver,
        tls: native_tls::TlsConnector,
        config: &WebhookConfig,
    ) -> Result<Self, String> {
        let uri = Uri::try_from(url.as_str()).map_err(|error| format!("url: {error}"))?;
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        let connector = Connector { https: HttpsConnector::from((http, tls.into())), timeout: connect_timeout };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(config.max_in_flight)
            .build(connector);
        Ok(Self { client, uri, timeout: Duration::from_millis(config.request_timeout_ms) })
    }

    /// One POST. Returns when status and headers have come; the body is read by whoever wants it.
    pub(super) async fn post(&self, mut headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, NoAnswer> {
        const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("freshet/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(NoAnswer::of(&error)),
            Err(_) => Err(NoAnswer::Timeout(self.timeout)),
        }
    }
}

impl NoAnswer {
    fn of(error: &hyper_util::client::legacy::Error) -> Self {
        // The resolver's refusal is ours and stands among the causes.
        let mut innermost: &(dyn Error + 'static) = error;
        loop {
            if let Some(refused) = innermost.downcast_ref::<Refused>() {
                return Self::Refused(refused.clone());
            }
            match innermost.source() {
                Some(source) => innermost = source,
                None => break,
            }
        }
        let reason = innermost.to_string();
        if error.is_connect() { Self::Connect(reason) } else { Self::Transport(reason) }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;
type Https = HttpsConnector<HttpConnector<CheckedResolver>>;

#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
struct ConnectTimeout(Duration);

/// Resolves, connects, and shakes hands, all within the limit.
#[derive(Debug, Clone)]
struct Connector {
    https: Https,
    timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.https.call(uri), self.timeout);
        Box::pin(async move { tokio::time::timeout(timeout, connecting).await.map_err(|_| ConnectTimeout(timeout))? })
    }
}
