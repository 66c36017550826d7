//! Departments that have only a file: some lines at a time.

use std::time::Duration;

use freshet_demo::registers::Line;
use freshet_testkit::departments::Upload;

use super::{Desk, Pace};
use crate::bus::token;

const LINES: usize = 60;
const LIMIT: Duration = Duration::from_secs(30);

pub async fn publish(
    desk: Desk,
    per_second: f64,
    (dataset, department): (&'static str, &'static str),
    lines: Vec<Line>,
) -> anyhow::Result<()> {
    let upload = Upload {
        gateway: desk.gateway.clone(),
        token: token(department),
        dataset: dataset.to_owned(),
        name: format!("{dataset}.jsonl"),
        source: None,
    };
    let mut pace = Pace::new(per_second);
    for part in lines.chunks(LINES) {
        if desk.stop_publishing.is_cancelled() {
            break;
        }
        pace.take(part.len()).await;
        let text: String = part.iter().map(|line| line.text.clone() + "\n").collect();
        while let Err(problem) = send(&upload, &text, part.len()).await {
            desk.ledger.trouble(format!("uploading {dataset}: {problem}"));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        desk.ledger.acknowledged(dataset, part.iter().map(|line| (published_as(line.seq), line.key.join("|"))));
    }
    Ok(())
}

async fn send(upload: &Upload, text: &str, count: usize) -> Result<(), String> {
    let sending = upload.send(reqwest::Body::from(text.to_owned()), |_| {});
    match tokio::time::timeout(LIMIT, sending).await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Err(freshet_testkit::departments::UploadError::Http { source, .. })) => {
            Err(super::http::kind(&source).to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(summary)) if summary.complete && summary.lines == count as u64 => Ok(()),
        Ok(Ok(summary)) => Err(format!("not complete: {}", summary.reason.unwrap_or_default())),
    }
}

/// What a line of a register is known by: the register's own count.
pub fn published_as(seq: u64) -> String {
    format!("seq-{seq}")
}
