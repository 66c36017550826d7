//! What a department has acknowledged, in a file of its own: one JSON object a line, written before the answer.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};

use super::Delivery;

#[derive(Debug)]
pub(super) struct Journal {
    file: Mutex<File>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    id: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Journal {
    /// Opens or makes the file; returns what it holds. A last line without its end was never answered, so it is cut off.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Delivery>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let kept = lines.map(read).collect::<io::Result<_>>()?;
        Ok((Self { file: Mutex::new(file) }, kept))
    }

    pub(super) fn keep(&self, delivery: &Delivery) -> io::Result<()> {
        let Delivery { path, id, headers, body } = delivery;
        let body = String::from_utf8_lossy(body).into_owned();
        let line = Line { path: path.clone(), id: id.clone(), headers: headers.clone(), body };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text)
    }
}

fn read(line: &[u8]) -> io::Result<Delivery> {
    let Line { path, id, headers, body } = serde_json::from_slice(line)?;
    Ok(Delivery { path, id, headers, body: Bytes::from(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_there_after_a_restart_and_half_a_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.jsonl");
        let delivery = |id: &str| Delivery {
            path: "tax".to_owned(),
            id: id.to_owned(),
            headers: BTreeMap::new(),
            body: Bytes::from_static(b"{\n}"),
        };
        let (journal, kept) = Journal::open(&path).unwrap();
        assert!(kept.is_empty());
        journal.keep(&delivery("one")).unwrap();
        // A kill in the middle of the second.
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"path\":\"tax\",\"i").unwrap();
        let (journal, kept) = Journal::open(&path).unwrap();
        assert_eq!(kept.len(), 1);
        journal.keep(&delivery("two")).unwrap();
        let (_, kept) = Journal::open(&path).unwrap();
        let ids: Vec<&str> = kept.iter().map(|delivery| delivery.id.as_str()).collect();
        assert_eq!(ids, ["one", "two"]);
        assert_eq!(kept[0].body, delivery("one").body);
    }
}
