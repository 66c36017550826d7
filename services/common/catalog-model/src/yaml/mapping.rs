//! `mapping` of `dataset.yaml`.

use std::collections::BTreeMap;

use super::node::{Kind, Node};
use super::reader::Reader;
use crate::mapping::{CsvMapping, EnvelopeMapping, FieldMapping, Mapping, ReadAs, Vocabulary};

pub fn read(reader: Reader<'_>, node: &Node) -> Option<Mapping> {
    let map = reader.map(node, "mapping", &["fields", "ignore", "vocabularies", "envelope", "csv"])?;
    let envelope = map.read("envelope", |node, _| envelope(reader, node));
    let csv = map.read("csv", |node, _| csv(reader, node));
    let ignore = map.read("ignore", |node, key| reader.texts(node, key));
    let fields = map.need("fields").and_then(|node| named(reader, node, "fields", field));
    let vocabularies = map.read("vocabularies", |node, key| named(reader, node, key, vocabulary));
    Some(Mapping {
        envelope: envelope?,
        csv: csv?,
        ignore: ignore?.unwrap_or_default(),
        fields: fields?,
        vocabularies: vocabularies?.unwrap_or_default(),
    })
}

fn named<'a, T>(
    reader: Reader<'a>,
    node: &'a Node,
    what: &str,
    each: impl Fn(Reader<'a>, &'a Node, &str) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let entries = reader.entries(node, what)?;
    let read: Vec<Option<(String, T)>> =
        entries.iter().map(|(key, node)| Some((key.text.clone(), each(reader, node, &key.text)?))).collect();
    read.into_iter().collect()
}

fn envelope(reader: Reader<'_>, node: &Node) -> Option<EnvelopeMapping> {
    const KEYS: &[&str] = &["row", "deleted_row", "operation", "delete_words", "upsert_words", "sequence", "time"];
    let map = reader.map(node, "envelope", KEYS)?;
    let optional = |key| map.read(key, |node, key| pointer(reader, node, key));
    let words = |key| map.read(key, |node, key| reader.text_or_texts(node, key));
    let row = map.need("row").and_then(|node| pointer(reader, node, "row"));
    let (deleted_row, operation) = (optional("deleted_row"), optional("operation"));
    let (sequence, time) = (optional("sequence"), optional("time"));
    let (delete_words, upsert_words) = (words("delete_words"), words("upsert_words"));
    Some(EnvelopeMapping {
        row: row?,
        deleted_row: deleted_row?,
        operation: operation?,
        delete_words: delete_words?.unwrap_or_default(),
        upsert_words: upsert_words?.unwrap_or_default(),
        sequence: sequence?,
        time: time?,
    })
}

/// A JSON pointer; the empty one is the whole line.
fn pointer(reader: Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let text = reader.text(node, what)?;
    if !text.is_empty() && !text.starts_with('/') {
        reader.fail(node, format!("`{what}` is `{text}`, which is no JSON pointer"), format!("write `/{text}`"));
        return None;
    }
    Some(text)
}

fn csv(reader: Reader<'_>, node: &Node) -> Option<CsvMapping> {
    const KEYS: &[&str] =
        &["delimiter", "encoding", "header", "operation", "delete_words", "upsert_words", "sequence", "time"];
    let map = reader.map(node, "csv", KEYS)?;
    let optional = |key| map.read(key, |node, key| reader.said(node, key));
    let words = |key| map.read(key, |node, key| reader.text_or_texts(node, key));
    let delimiter = map.read("delimiter", |node, key| {
        let delimiter = reader.character(node, key)?;
        if !delimiter.is_ascii() {
            reader.fail(node, format!("`{delimiter}` is no ASCII character"), "write the sign between two columns");
            return None;
        }
        Some(delimiter)
    });
    let encoding = map.read("encoding", |node, key| encoding(reader, node, key));
    let header = words("header");
    let operation = optional("operation");
    let (sequence, time) = (optional("sequence"), optional("time"));
    let (delete_words, upsert_words) = (words("delete_words"), words("upsert_words"));
    Some(CsvMapping {
        delimiter: delimiter?.unwrap_or(','),
        encoding: encoding?,
        header: header?.unwrap_or_default(),
        operation: operation?,
        delete_words: delete_words?.unwrap_or_default(),
        upsert_words: upsert_words?.unwrap_or_default(),
        sequence: sequence?,
        time: time?,
    })
}

fn encoding(reader: Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let label = reader.said(node, what)?;
    let known = encoding_rs::Encoding::for_label(label.as_bytes());
    if !known.is_some_and(encoding_rs::Encoding::is_ascii_compatible) {
        let mend = "write a WHATWG label of an encoding that agrees with ASCII: utf-8, windows-1252, gb18030, …";
        reader.fail(node, format!("the encoding `{label}` is not known"), mend);
        return None;
    }
    Some(label)
}

fn field(reader: Reader<'_>, node: &Node, what: &str) -> Option<FieldMapping> {
    if !matches!(node.kind, Kind::Map(_)) {
        let from = columns(reader, node, what)?;
        return Some(FieldMapping { from, optional: false, null_when: Vec::new(), trim: false, read: ReadAs::Plain });
    }
    let map = reader.map(node, what, &["from", "optional", "null_when", "trim", "read"])?;
    let from = map.need("from").and_then(|node| columns(reader, node, "from"));
    let optional = map.read("optional", |node, key| reader.boolean(node, key));
    let null_when = map.read("null_when", |node, key| match node.kind {
        Kind::Scalar { .. } => reader.text(node, key).map(|text| vec![text]),
        _ => reader.texts(node, key),
    });
    let trim = map.read("trim", |node, key| reader.boolean(node, key));
    let read = map.read("read", |node, _| read_as(reader, node));
    Some(FieldMapping {
        from: from?,
        optional: optional?.unwrap_or_default(),
        null_when: null_when?.unwrap_or_default(),
        trim: trim?.unwrap_or_default(),
        read: read?.unwrap_or_default(),
    })
}

fn columns(reader: Reader<'_>, node: &Node, what: &str) -> Option<Vec<String>> {
    let columns = reader.text_or_texts(node, what)?;
    if columns.is_empty() {
        reader.fail(node, format!("`{what}` names no column"), "write the column's name");
        return None;
    }
    Some(columns)
}

const WAYS: &[&str] = &["plain", "amount", "date", "time", "boolean", "one_of", "list"];

fn read_as(reader: Reader<'_>, node: &Node) -> Option<ReadAs> {
    if let Kind::Scalar { .. } = node.kind {
        let way = reader.word(node, "read", WAYS, |word| WAYS.contains(&word).then(|| word.to_owned()))?;
        return match way.as_str() {
            "plain" => Some(ReadAs::Plain),
            "amount" => Some(ReadAs::Amount { thousands: None, currency: None, decimal: None }),
            way => {
                let mend = format!("write `read: {{{way}: …}}` (docs/catalogue.md says what), or leave `read` out");
                reader.fail(node, format!("`read: {way}` lacks its settings"), mend);
                None
            }
        };
    }
    reader.map(node, "read", WAYS)?;
    let [(way, node)] = reader.entries(node, "read")? else {
        reader.fail(
            node,
            "`read` is not one way of reading",
            "write exactly one, such as `read: {date: \"%Y-%m-%d\"}`",
        );
        return None;
    };
    match way.text.as_str() {
        "amount" => amount(reader, node),
        "date" => Some(ReadAs::Date { formats: formats(reader, node, "date")? }),
        "time" => time(reader, node),
        "boolean" => {
            let map = reader.map(node, "boolean", &["true_words", "false_words"])?;
            let words = |key| map.need(key).and_then(|node| reader.text_or_texts(node, key));
            let (true_words, false_words) = (words("true_words"), words("false_words"));
            Some(ReadAs::Boolean { true_words: true_words?, false_words: false_words? })
        }
        "one_of" => Some(ReadAs::OneOf { vocabulary: name_or(reader, node, "one_of", "vocabulary")? }),
        "list" => {
            let map = reader.map(node, "list", &["separator", "vocabulary"])?;
            let separator = map.need("separator").and_then(|node| separator(reader, node));
            let vocabulary = map.read("vocabulary", |node, key| reader.said(node, key));
            Some(ReadAs::List { separator: separator?, vocabulary: vocabulary? })
        }
        "plain" => {
            reader.fail(node, "`plain` has no settings", "write `read: plain`, or leave `read` out");
            None
        }
        // Unknown words were reported with the map.
        _ => None,
    }
}

fn amount(reader: Reader<'_>, node: &Node) -> Option<ReadAs> {
    let map = reader.map(node, "amount", &["thousands", "currency", "decimal"])?;
    let thousands = map.read("thousands", |node, key| reader.character(node, key));
    let currency = map.read("currency", |node, key| reader.said(node, key));
    let decimal = map.read("decimal", |node, key| reader.character(node, key));
    let (thousands, currency, decimal) = (thousands?, currency?, decimal?);
    if thousands.is_some() && thousands == Some(decimal.unwrap_or('.')) {
        reader.fail(
            node,
            "`thousands` and `decimal` are the same sign",
            "where thousands are parted by `.`, name the decimal sign: `decimal: \",\"`",
        );
        return None;
    }
    Some(ReadAs::Amount { thousands, currency, decimal })
}

fn time(reader: Reader<'_>, node: &Node) -> Option<ReadAs> {
    let is_short = !matches!(&node.kind, Kind::Map(_));
    if is_short {
        return Some(ReadAs::Time { formats: formats(reader, node, "time")?, zone: None });
    }
    let map = reader.map(node, "time", &["formats", "zone"])?;
    let formats = map.need("formats").and_then(|node| formats(reader, node, "formats"));
    let zone = map.read("zone", |node, key| {
        let zone = reader.said(node, key)?;
        if jiff::tz::TimeZone::get(&zone).is_err() {
            reader.fail(
                node,
                format!("`{zone}` is no time zone"),
                "write an IANA name, such as America/Toronto or Asia/Shanghai",
            );
            return None;
        }
        Some(zone)
    });
    Some(ReadAs::Time { formats: formats?, zone: zone? })
}

/// Formats, alone or as a list, or under `formats`.
fn formats(reader: Reader<'_>, node: &Node, what: &str) -> Option<Vec<String>> {
    if let Kind::Map(_) = node.kind {
        let map = reader.map(node, what, &["formats"])?;
        return map.need("formats").and_then(|node| formats(reader, node, "formats"));
    }
    let texts = reader.text_or_texts(node, what)?;
    if texts.is_empty() {
        reader.fail(node, format!("`{what}` names no format"), "write one, such as \"%Y-%m-%d\"");
        return None;
    }
    let bad = texts.iter().enumerate().find_map(|(index, text)| Some((index, format_error(text)?)));
    if let Some((index, reason)) = bad {
        let at = match &node.kind {
            Kind::List(items) => &items[index],
            _ => node,
        };
        let mend = "use strptime signs: %Y %m %d %b %B %H %M %S %p %z, and texts as they stand";
        reader.fail(at, format!("`{}` is no format: {reason}", texts[index]), mend);
        return None;
    }
    Some(texts)
}

fn format_error(format: &str) -> Option<String> {
    if !format.contains('%') {
        return Some("it has no % sign".to_owned());
    }
    let sample = jiff::civil::date(2024, 1, 2).at(3, 4, 5, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    jiff::fmt::strtime::format(format, &sample).err().map(|error| error.to_string())
}

fn separator(reader: Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "separator")?;
    if text.is_empty() {
        reader.fail(node, "`separator` is empty", "write the sign between two members, in quotes");
        return None;
    }
    Some(text)
}

/// `{one_of: name}` as well as `{one_of: {vocabulary: name}}`.
fn name_or(reader: Reader<'_>, node: &Node, what: &'static str, key: &'static str) -> Option<String> {
    if let Kind::Scalar { .. } = node.kind {
        return reader.said(node, what);
    }
    let map = reader.map(node, what, &["vocabulary"])?;
    map.need(key).and_then(|node| reader.said(node, key))
}

fn vocabulary(reader: Reader<'_>, node: &Node, what: &str) -> Option<Vocabulary> {
    if let Kind::List(_) = node.kind {
        let members = reader.texts(node, what)?.into_iter().map(|member| (member, Vec::new())).collect();
        return Some(Vocabulary { members });
    }
    let members = named(reader, node, what, |reader, node, what| match &node.kind {
        // `Parks:` with nothing behind it is a member without other spellings.
        Kind::Scalar { text, is_plain: true, .. } if text.is_empty() || text == "~" => Some(Vec::new()),
        _ => reader.text_or_texts(node, what),
    })?;
    Some(Vocabulary { members })
}
