//! Departments that have only a file: the lines go to the gateway as they are, as `freshet publish` sends them.

use anyhow::{Context as _, bail};
use freshet_testkit::departments::Upload;
use futures::stream;

use super::{Desk, Pace};
use crate::registers::Line;

pub(crate) const TOKEN_PREFIX: &str = "line ";
/// Lines that leave together.
const PART: usize = 20;

pub(super) async fn publish(
    desk: Desk,
    pace: Pace,
    dataset: &'static str,
    department: &'static str,
    lines: Vec<Line>,
) -> anyhow::Result<()> {
    let count = lines.len() as u64;
    // A file is sent whole: one that was interrupted is sent again from its first line.
    let mut progress = desk.progress(dataset)?;
    if progress.confirmed() == lines.len() {
        lines.iter().for_each(|line| desk.ledger.published(dataset, token(line.number)));
        return Ok(());
    }
    let upload = Upload {
        gateway: desk.reach.gateway.clone(),
        token: desk.reach.token(department)?,
        dataset: dataset.to_owned(),
        name: format!("{dataset}.jsonl"),
        source: None,
    };
    let (ledger, stop) = (desk.ledger.clone(), desk.stop.clone());
    let parts = stream::unfold(
        (lines.into_iter(), pace, ledger, stop),
        move |(mut lines, mut pace, ledger, stop)| async move {
            let part: Vec<Line> = lines.by_ref().take(PART).collect();
            if part.is_empty() || stop.is_cancelled() {
                return None;
            }
            pace.take(part.len()).await;
            let mut text = String::new();
            for line in part {
                ledger.published(dataset, token(line.number));
                text.push_str(&line.text);
                text.push('\n');
            }
            Some((Ok::<_, std::io::Error>(text), (lines, pace, ledger, stop)))
        },
    );
    let summary =
        upload.send(reqwest::Body::wrap_stream(parts), |_| {}).await.with_context(|| format!("uploading {dataset}"))?;
    if desk.stop.is_cancelled() {
        return Ok(());
    }
    if !summary.complete || summary.lines != count {
        bail!("{dataset}: {} of {count} lines taken: {}", summary.lines, summary.reason.unwrap_or_default());
    }
    progress.confirm(summary.lines as usize)
}

/// What a line of a file is known by.
pub fn token(number: u64) -> String {
    format!("{TOKEN_PREFIX}{number}")
}
