//! Files of rows. Of a plain dataset of three texts each row is compared with what the `csv` crate or `serde_json` reads;
//! through the mappings of the shipped registers, and in another encoding, nothing may go wrong. Parts: which dataset, file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use freshet_avro::{Plan, json};
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_catalog_model::mapping::Mapping;
use freshet_catalog_model::{Dataset, yaml};
use freshet_mapping::{FileError, Format, Line, Mapper};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fixture;
use crate::guard::Guard;
use crate::mutate::{join, parts};
use crate::target::{Kind, Seen, Target, size_class};

const WORDS: &[&str] = &[
    "a,b,c\n",
    "a;b;c\n",
    ",",
    ";",
    "\"",
    "\"\"",
    "\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "{\"a\":\"",
    "\",\"b\":\"",
    "\"}",
    "{",
    "}",
    "null",
    "\\u0061",
    "\\ud83d",
    "$1,234.50",
    "31/12/2024",
    "2024-02-29",
    "None",
    "<html>",
    "[",
    "plain",
    "gbk",
    "solicitation",
    "contract_award",
    "王",
    "\t",
    "\u{0}",
];

pub const CSV: Kind = Kind {
    name: "csv",
    what: "CSV files, by the mapping of a dataset",
    share: 15,
    parts: 2,
    dictionary: WORDS,
    make: || Box::new(Rows::new(Format::Csv)),
};

pub const JSON_LINES: Kind = Kind {
    name: "json-lines",
    what: "files of JSON lines, by the mapping of a dataset",
    share: 15,
    parts: 2,
    dictionary: WORDS,
    make: || Box::new(Rows::new(Format::JsonLines)),
};

/// So short that the limit is met.
const LIMIT_BYTES: usize = 8 * 1024;
const PLAIN: &str = r#"{"type":"record","name":"Plain","fields":[
    {"name":"a","type":"string"},{"name":"b","type":"string"},{"name":"c","type":"string"}]}"#;
const GBK: &str = r#"{"csv": {"delimiter": ";", "encoding": "gbk"}, "fields": {"a": {"from": ["a"], "trim": true},
    "b": {"from": ["b", "/b"]}, "c": {"from": ["c"]}}}"#;

struct Rows {
    format: Format,
    plan: Arc<Plan>,
    plain: Mapper,
    others: BTreeMap<String, Mapper>,
}

impl Rows {
    fn new(format: Format) -> Self {
        let plan = Arc::new(Plan::compile(PLAIN).expect("a schema"));
        let mut dataset: Dataset = fixture::catalog().datasets["road_closure"].clone();
        dataset.key.fields = vec!["a".to_owned()];
        let limited = |mapper: Mapper| mapper.with_limit_bytes(LIMIT_BYTES);
        let plain = limited(Mapper::new(&dataset, Arc::clone(&plan)).expect("a mapper"));
        dataset.mapping = Some(serde_json::from_str::<Mapping>(GBK).expect("a mapping"));
        let gbk = limited(Mapper::new(&dataset, Arc::clone(&plan)).expect("a mapper"));
        let shipped =
            yaml::load_catalog(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")).expect("a catalogue");
        let mut others: BTreeMap<String, Mapper> = shipped
            .datasets
            .values()
            .filter(|dataset| dataset.mapping.is_some())
            .map(|dataset| {
                let compiled = CompiledDataset::compile(&shipped, &dataset.id).expect("a shipped dataset");
                (dataset.id.clone(), limited(Mapper::compile(&compiled).expect("a shipped mapping")))
            })
            .collect();
        others.insert("gbk".to_owned(), gbk);
        Self { format, plan, plain, others }
    }

    fn texts(&self, line: &Line) -> Option<[String; 3]> {
        let Value::Object(row) = json::decode(&self.plan, line.outcome.as_ref().ok()?.datum.as_ref()?).ok()? else {
            return None;
        };
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        Some([text("a")?, text("b")?, text("c")?])
    }
}

impl Target for Rows {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        const CELLS: [&str; 8] = ["", "x", "a b", "\"q\"\"q\"", "\"l\nl\"", "王", "\"a,b\"", "'"];
        let cell = |rng: &mut Rng| CELLS[rng.usize(..CELLS.len())];
        let mut file = Vec::new();
        if self.format == Format::Csv {
            file.extend_from_slice(b"a,b,c\n");
        }
        for _ in 0..rng.usize(..5) {
            let row = [cell(rng), cell(rng), cell(rng)];
            let line = match self.format {
                Format::Csv => row.join(","),
                Format::JsonLines => serde_json::json!({"a": row[0], "b": row[1], "c": row[2]}).to_string(),
            };
            file.extend_from_slice(line.as_bytes());
            file.extend_from_slice(if rng.bool() { b"\n" } else { b"\r\n" });
        }
        Some(join(&[b"plain", &file]))
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [which, file] = parts(input);
        let other = std::str::from_utf8(which).ok().and_then(|name| self.others.get(name));
        let mapper = other.unwrap_or(&self.plain);
        let most = (4 << 20) + 64 * file.len().min(LIMIT_BYTES);
        let mut lines = Vec::new();
        // Few bytes at a time, so that whatever is read spans two of them.
        let read = guard.ours("a file", most + 512 * file.len(), || {
            for line in mapper.rows(self.format, std::io::BufReader::with_capacity(64, file))? {
                lines.push(line?);
            }
            Ok::<(), FileError>(())
        })?;
        for pair in lines.windows(2) {
            if pair[0].number >= pair[1].number {
                return Err(format!("line {} comes behind line {}", pair[1].number, pair[0].number));
            }
        }
        if let Some(line) =
            lines.iter().find(|line| line.raw.len() > LIMIT_BYTES || line.outcome.as_ref().is_err_and(Vec::is_empty))
        {
            return Err(format!("line {} has {} bytes, and nothing is said of it", line.number, line.raw.len()));
        }
        if other.is_none() {
            match self.format {
                Format::Csv => self.judge_csv(file, &read, &lines)?,
                Format::JsonLines => self.judge_json(file, &read, &lines)?,
            }
        }
        let said: Vec<_> = lines.iter().take(3).map(kind_of).collect();
        Ok(Seen::of((
            read.err().map(|error| Seen::kind_of(&error.to_string())),
            size_class(lines.len()),
            said,
            other.is_some(),
        )))
    }
}

/// Of a text, or of a number, which is its text as it stands (docs/catalogue.md).
fn text_of(json: &RawValue) -> Option<String> {
    match json.get().as_bytes() {
        [b'"', ..] => serde_json::from_str(json.get()).ok(),
        [b'-' | b'0'..=b'9', ..] => Some(json.get().to_owned()),
        _ => None,
    }
}

/// Of an object, in their order, each as often as it stands there.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reads)
    }
}

fn kind_of(line: &Line) -> String {
    match &line.outcome {
        Ok(event) => format!("{:?}", event.operation),
        Err(violations) => violations.iter().take(3).map(|one| Seen::kind_of(&one.message)).collect(),
    }
}

impl Rows {
    /// Record by record, the header is the first.
    fn judge_csv(&self, file: &[u8], read: &Result<(), FileError>, lines: &[Line]) -> Result<(), String> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
        let records: Vec<csv::ByteRecord> =
            reader.byte_records().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let mut header: Vec<&[u8]> = records.first().map(|record| record.iter().collect()).unwrap_or_default();
        // The crate takes the byte order mark away at the file's first byte only, and one.
        if let Some(first) = header.first_mut() {
            *first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first);
        }
        let place = |name: &str| header.iter().position(|column| *column == name.as_bytes());
        let fits = header.len() == 3 && place("a").is_some() && place("b").is_some() && place("c").is_some();
        if let Err(error) = read {
            return if fits { Err(format!("a file with the header a,b,c is refused: {error}")) } else { Ok(()) };
        }
        let (Some(a), Some(b), Some(c), true) = (place("a"), place("b"), place("c"), fits) else {
            return Err(format!("a file with the header {header:?} is taken"));
        };
        if lines.len() != records.len() - 1 {
            return Err(format!("{} records are read, by the csv crate {}", lines.len(), records.len() - 1));
        }
        for (line, record) in lines.iter().zip(&records[1..]) {
            if line.raw.len() == LIMIT_BYTES && line.outcome.is_err() {
                // Rightly, where it is cut, and not just as long as it may be: which of the two, the crate does not say.
                continue;
            }
            let due: Option<Vec<&str>> = record.iter().map(|field| std::str::from_utf8(field).ok()).collect();
            let due = due.filter(|due| due.len() == 3).map(|due| [due[a], due[b], due[c]]);
            self.compare(line, due)?;
        }
        Ok(())
    }

    fn judge_json(&self, file: &[u8], read: &Result<(), FileError>, lines: &[Line]) -> Result<(), String> {
        let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
        let is_blank = |text: &[u8]| text.iter().all(u8::is_ascii_whitespace);
        let texts: Vec<&[u8]> = file.split(|byte| *byte == b'\n').filter(|text| !is_blank(text)).collect();
        if let Err(error) = read {
            let first = texts.first().and_then(|text| text.trim_ascii().first());
            return if matches!(first, Some(b'[' | b'<')) { Ok(()) } else { Err(format!("refused: {error}")) };
        }
        if lines.len() != texts.len() {
            return Err(format!("{} lines are read of {}", lines.len(), texts.len()));
        }
        for (line, text) in lines.iter().zip(texts) {
            let Members(row) = serde_json::from_slice(text).unwrap_or_default();
            let member = |name: &str| text_of(&row.iter().find(|(member, _)| member == name)?.1);
            let due = match (member("a"), member("b"), member("c")) {
                (Some(a), Some(b), Some(c)) if row.len() == 3 => Some([a, b, c]),
                _ => None,
            };
            let due = due.filter(|_| text.len() < LIMIT_BYTES);
            self.compare(line, due.as_ref().map(|due| due.each_ref().map(String::as_str)))?;
        }
        Ok(())
    }

    fn compare(&self, line: &Line, due: Option<[&str; 3]>) -> Result<(), String> {
        // `a` is the key: something. How long it may be is for who makes the event of it.
        let due = due.filter(|due| !due[0].is_empty());
        match (self.texts(line), due) {
            (Some(found), Some(due)) if found.each_ref().map(String::as_str) == due => Ok(()),
            (None, None) => Ok(()),
            (found, due) => Err(format!("line {} gives {found:?} {:?}, due is {due:?}", line.number, line.outcome)),
        }
    }
}
