//! The pull API as a subscriber's program uses it: ask with the last cursor, take the events, keep the new cursor; or
//! listen to server-sent events, whose ids are cursors.

use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::upload::problem_detail;

#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("asking {url}: {source}")]
    Http { url: String, source: reqwest::Error },
    #[error("{url} is no address: {reason}")]
    Address { url: String, reason: String },
    #[error("{url} answers {status}: {detail}")]
    Status { url: String, status: u16, detail: String },
}

/// A CloudEvent in JSON, as it was sent.
pub type PulledEvent = Map<String, Value>;

#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<PulledEvent>,
    cursor: String,
    more: bool,
}

/// One subscription.
#[derive(Debug)]
pub struct Pull {
    url: String,
    token: String,
    cursor: Option<String>,
    client: reqwest::Client,
}

impl Pull {
    /// `fanout`: `http://host:port`.
    pub fn new(fanout: &str, grant: &str, token: impl Into<String>) -> Self {
        let url = format!("{fanout}/v1/grants/{grant}/events");
        Self { url, token: token.into(), cursor: None, client: reqwest::Client::new() }
    }

    /// What to go on from after a restart.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub fn go_on_from(&mut self, cursor: String) {
        self.cursor = Some(cursor);
    }

    /// The next page, and whether there is more at hand; waits up to `wait_ms` where there is nothing yet.
    pub async fn next(&mut self, limit: usize, wait_ms: u64) -> Result<(Vec<PulledEvent>, bool), PullError> {
        let query = [("limit", limit.to_string()), ("wait", format!("{wait_ms}ms"))];
        let page: Page =
            self.ask(&query, "application/json").await?.json().await.map_err(|source| self.http(source))?;
        self.cursor = Some(page.cursor);
        Ok((page.events, page.more))
    }

    /// Server-sent events until the connection ends or nobody takes them any more. Keeps the cursor of each.
    pub async fn listen(&mut self, events: &mpsc::UnboundedSender<PulledEvent>) -> Result<(), PullError> {
        let mut parts = self.ask(&[], "text/event-stream").await?.bytes_stream();
        let mut rest: Vec<u8> = Vec::new();
        let mut id = None;
        while let Some(part) = parts.next().await {
            rest.extend_from_slice(&part.map_err(|source| self.http(source))?);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                // The lines of one message: `id: …`, `data: …`, then an empty one. Comments keep the connection open.
                if let Some(text) = line.strip_prefix("id:") {
                    id = Some(text.trim().to_owned());
                } else if let Some(text) = line.strip_prefix("data:")
                    && let Ok(event) = serde_json::from_str::<PulledEvent>(text.trim())
                {
                    if events.send(event).is_err() {
                        return Ok(());
                    }
                    self.cursor = id.take().or(self.cursor.take());
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, query: &[(&str, String)], accept: &str) -> Result<reqwest::Response, PullError> {
        let mut url = reqwest::Url::parse(&self.url)
            .map_err(|error| PullError::Address { url: self.url.clone(), reason: error.to_string() })?;
        url.query_pairs_mut().extend_pairs(query).extend_pairs(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let request = self.client.get(url).bearer_auth(&self.token).header("accept", accept);
        let response = request.send().await.map_err(|source| self.http(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let detail = problem_detail(&response.text().await.unwrap_or_default());
        Err(PullError::Status { url: self.url.clone(), status: status.as_u16(), detail })
    }

    fn http(&self, source: reqwest::Error) -> PullError {
        PullError::Http { url: self.url.clone(), source }
    }
}
