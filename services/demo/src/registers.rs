//! The real registers that the demo ships: five of the City of Toronto (see `data/README.md`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

static EVENTS: &[u8] = include_bytes!("../data/toronto-registers.events.jsonl.gz");

/// One line of the file.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place among the dataset's lines, from 1.
    pub number: u64,
    /// The register's own count, upwards with gaps.
    pub seq: u64,
    pub is_delete: bool,
    /// RFC 3339.
    pub published: String,
    /// The row, or at a delete the row as it was: texts by column.
    pub row: BTreeMap<String, String>,
    pub key: Vec<String>,
    /// The whole line, as its department keeps it.
    pub text: String,
}

#[derive(Deserialize)]
struct Raw<'a> {
    seq: u64,
    dataset: String,
    op: String,
    key: Vec<String>,
    published: String,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
}

/// By dataset, in publication order.
pub fn read() -> anyhow::Result<BTreeMap<String, Vec<Line>>> {
    let mut all: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for text in BufReader::new(GzDecoder::new(EVENTS)).lines() {
        let text = text?;
        let raw: Raw<'_> = serde_json::from_str(&text)?;
        let row = raw.after.or(raw.before).map_or(Ok(BTreeMap::new()), |row| serde_json::from_str(row.get()))?;
        let (seq, is_delete) = (raw.seq, raw.op == "delete");
        let (dataset, published, key) = (raw.dataset, raw.published, raw.key);
        let lines = all.entry(dataset).or_default();
        let number = lines.len() as u64 + 1;
        lines.push(Line { number, seq, is_delete, published, row, key, text });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_event_is_there_and_each_dataset_counts_upwards() {
        let all = super::read().unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(all.values().map(Vec::len).sum::<usize>(), 36_313);
        for (dataset, lines) in &all {
            assert!(lines.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{dataset}");
        }
    }
}
