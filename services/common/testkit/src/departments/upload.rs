//! A file to the gateway, as `freshet publish` and any HTTP client send it: the answer streams back line by line while
//! the file is still on its way.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("sending to {url}: {source}")]
    Http { url: String, source: reqwest::Error },
    #[error("{url} answers {status}: {detail}")]
    Status { url: String, status: u16, detail: String },
    #[error("{url} is no address: {reason}")]
    Address { url: String, reason: String },
    #[error("the gateway's answer ended without a summary; send the file again")]
    CutOff,
    #[error("the gateway's answer cannot be read: {0}")]
    Answer(String),
}

/// A line that was refused.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RefusedLine {
    /// From 1.
    pub line: u64,
    pub violations: Vec<freshet_core::Violation>,
}

/// The last line of every answer.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct UploadSummary {
    pub lines: u64,
    pub accepted: u64,
    pub refused: u64,
    pub failed: u64,
    pub by_reason: BTreeMap<String, u64>,
    pub listed: u64,
    /// Every line is either published or stands in the reject topic.
    pub complete: bool,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerLine {
    Summary { summary: UploadSummary },
    Refused(RefusedLine),
}

/// Where and as whom.
#[derive(Debug, Clone)]
pub struct Upload {
    pub gateway: String,
    pub token: String,
    pub dataset: String,
    /// The file's name: its ending says what it is, and messages repeat it.
    pub name: String,
    pub source: Option<String>,
}

impl Upload {
    /// Sends `body`, calls `refused` for each refused line as it is told.
    pub async fn send(
        &self,
        body: reqwest::Body,
        mut refused: impl FnMut(RefusedLine),
    ) -> Result<UploadSummary, UploadError> {
        let plain = format!("{}/v1/datasets/{}/uploads", self.gateway, self.dataset);
        let mut url = reqwest::Url::parse(&plain)
            .map_err(|error| UploadError::Address { url: plain.clone(), reason: error.to_string() })?;
        url.query_pairs_mut()
            .append_pair("name", &self.name)
            .extend_pairs(self.source.as_deref().map(|source| ("source", source)));
        let http = |source| UploadError::Http { url: plain.clone(), source };
        let mut request = reqwest::Client::new().post(url).bearer_auth(&self.token).body(body);
        if self.name.ends_with(".gz") {
            request = request.header("content-encoding", "gzip");
        }
        let response = request.send().await.map_err(http)?;
        let status = response.status();
        if !status.is_success() {
            let detail = problem_detail(&response.text().await.unwrap_or_default());
            return Err(UploadError::Status { url: plain.clone(), status: status.as_u16(), detail });
        }
        let mut parts = response.bytes_stream();
        let mut rest: Vec<u8> = Vec::new();
        let mut summary = None;
        while let Some(part) = parts.next().await {
            rest.extend_from_slice(&part.map_err(http)?);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(AnswerLine::Refused(line)) => refused(line),
                    Ok(AnswerLine::Summary { summary: last }) => summary = Some(last),
                    Err(error) => return Err(UploadError::Answer(error.to_string())),
                }
            }
        }
        summary.ok_or(UploadError::CutOff)
    }
}

/// Of an RFC 9457 answer: the detail and every violation; of anything else, its text.
pub(super) fn problem_detail(body: &str) -> String {
    let Ok(problem) = serde_json::from_str::<serde_json::Value>(body) else { return body.trim().to_owned() };
    let text = |name: &str| problem.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    let mut detail = text("detail").or_else(|| text("title")).unwrap_or_else(|| body.trim().to_owned());
    let violations = problem.get("violations").cloned().unwrap_or_default();
    for violation in serde_json::from_value::<Vec<freshet_core::Violation>>(violations).unwrap_or_default() {
        // The detail of a refusal is its violations.
        let violation = violation.to_string();
        if !detail.contains(&violation) {
            detail.push_str(&format!("; {violation}"));
        }
    }
    detail
}
