//! Requests as texts that a person can read, and what every answer must be.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use tower::ServiceExt as _;

/// `METHOD target`, a header a line, an empty line, the body. None where it is no request: hyper would not pass it on.
pub fn request(text: &[u8]) -> Option<Request<Body>> {
    let end = text.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&text[..end], &text[end + 2..]),
        None => (text, &text[..0]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&first[..space]).ok()?;
    let uri = Uri::try_from(&first[space + 1..]).ok()?;
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// The router's answer, to its last byte.
pub async fn ask(router: &Router, request: Request<Body>) -> Result<Answer, String> {
    let response = router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| format!("the answer's body: {error}"))?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_vec() })
}

impl Answer {
    /// Never a server's error but for 503, which says when to come again; and JSON is JSON.
    pub fn judge(&self) -> Result<(), String> {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        let says_when = self.headers.contains_key(header::RETRY_AFTER);
        match self.status {
            200..=299 | 400..=499 => {}
            503 if says_when => {}
            status => return Err(format!("answered {status}, Retry-After: {says_when}: {}", text())),
        }
        if self.status == 429 && !says_when {
            return Err("answered 429 without Retry-After".to_owned());
        }
        let is_json =
            (self.content_type().ends_with("/json") || self.content_type().ends_with("+json")) && !self.body.is_empty();
        if is_json && serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_err() {
            return Err(format!("answered {} with what is no JSON: {}", self.status, text()));
        }
        Ok(())
    }

    pub fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Of an error, a problem in the form of RFC 9457 with a sentence.
    pub fn problem(&self) -> Result<String, String> {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let (kind, detail) = (problem["type"].as_str(), problem["detail"].as_str());
        match (self.content_type(), kind, detail) {
            ("application/problem+json", Some(kind), Some(detail))
                if !detail.is_empty() && problem["status"] == self.status =>
            {
                Ok(format!("{kind} {detail}"))
            }
            _ => Err(format!(
                "answered {} and no problem that says why: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )),
        }
    }
}

/// For one thread, as a service has it for one request.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
