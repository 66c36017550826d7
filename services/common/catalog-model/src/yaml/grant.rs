//! `grants/<grant>.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::dataset::Parts;
use super::node::{Kind, Node};
use super::reader::Reader;
use crate::entry::{Delivery, Grant, GrantStatus, Mask};

const KEYS: &[&str] = &[
    "subscriber",
    "dataset",
    "fields",
    "masks",
    "rows",
    "purpose",
    "legal_basis",
    "valid_from",
    "valid_until",
    "status",
    "delivery",
];

/// What could be read of it; the parts that were refused hold a blank.
#[derive(Debug)]
pub struct Draft {
    pub grant: Grant,
    /// The keys that were refused or are missing.
    pub refused: BTreeSet<&'static str>,
}

pub fn read(reader: Reader<'_>, id: &str) -> Option<Draft> {
    let map = reader.map(&reader.document.root, "grant", KEYS)?;
    let need_text = |key| map.need(key).and_then(|node| reader.said(node, key));
    let subscriber = need_text("subscriber");
    let dataset = need_text("dataset");
    let fields = map.need("fields").and_then(|node| {
        let fields = reader.texts(node, "fields")?;
        if fields.is_empty() {
            reader.fail(
                node,
                "`fields` is empty",
                "name the fields that the subscriber may have: nothing is granted by default",
            );
            return None;
        }
        Some(fields)
    });
    let masks = map.read("masks", |node, key| masks(reader, node, key));
    let rows = map.read("rows", |node, key| reader.said(node, key));
    let purpose = need_text("purpose");
    let legal_basis = need_text("legal_basis");
    let valid_from = map.need("valid_from").and_then(|node| reader.date(node, "valid_from"));
    let valid_until = map.need("valid_until").and_then(|node| reader.date(node, "valid_until"));
    let status = map.read("status", |node, key| reader.word(node, key, GrantStatus::WORDS, GrantStatus::from_word));
    let delivery = map.need("delivery").and_then(|node| delivery(reader, node));
    let mut refused = BTreeSet::new();
    let mut parts = Parts { refused: &mut refused };
    let grant = Grant {
        id: id.to_owned(),
        subscriber: parts.take("subscriber", subscriber, String::new()),
        dataset: parts.take("dataset", dataset, String::new()),
        fields: parts.take("fields", fields, Vec::new()),
        masks: parts.take("masks", masks, None).unwrap_or_default(),
        rows: parts.take("rows", rows, None),
        purpose: parts.take("purpose", purpose, String::new()),
        legal_basis: parts.take("legal_basis", legal_basis, String::new()),
        valid_from: parts.take("valid_from", valid_from, Date::MIN),
        valid_until: parts.take("valid_until", valid_until, Date::MAX),
        status: parts.take("status", status, None).unwrap_or(GrantStatus::Active),
        delivery: parts.take("delivery", delivery, Delivery::Pull),
        view: String::new(),
    };
    Some(Draft { grant, refused })
}

fn masks(reader: Reader<'_>, node: &Node, what: &str) -> Option<BTreeMap<String, Mask>> {
    let entries = reader.entries(node, what)?;
    let read: Vec<Option<(String, Mask)>> = entries
        .iter()
        .map(|(key, node)| {
            let mask = reader.word(node, &key.text, Mask::WORDS, Mask::from_word)?;
            Some((key.text.clone(), mask))
        })
        .collect();
    read.into_iter().collect()
}

const WAYS: &[&str] = &["kafka", "pull", "webhook", "postgres"];

fn delivery(reader: Reader<'_>, node: &Node) -> Option<Delivery> {
    if let Kind::Scalar { .. } = node.kind {
        return match reader.word(node, "delivery", WAYS, |word| WAYS.iter().position(|way| *way == word))? {
            0 => Some(Delivery::Kafka),
            1 => Some(Delivery::Pull),
            way => {
                let settings = if way == 2 { "url: …, secret: …" } else { "connection: …, table: …" };
                let way = WAYS[way];
                reader.fail(
                    node,
                    format!("`delivery: {way}` lacks its settings"),
                    format!("write `delivery: {{{way}: {{{settings}}}}}`"),
                );
                None
            }
        };
    }
    let map = reader.map(node, "delivery", WAYS)?;
    let entries = reader.entries(node, "delivery")?;
    if entries.len() != 1 {
        reader.fail(
            node,
            format!("`delivery` names {} ways", entries.len()),
            "name exactly one; make a grant for each way",
        );
        return None;
    }
    if let Some(node) = map.get("webhook") {
        let map = reader.map(node, "webhook", &["url", "secret"])?;
        let url = map.need("url").and_then(|node| url(reader, node));
        let secret = map.need("secret").and_then(|node| secret_name(reader, node, "secret"));
        return Some(Delivery::Webhook { url: url?, secret: secret? });
    }
    if let Some(node) = map.get("postgres") {
        let map = reader.map(node, "postgres", &["connection", "table"])?;
        let connection = map.need("connection").and_then(|node| secret_name(reader, node, "connection"));
        let table = map.need("table").and_then(|node| table(reader, node));
        return Some(Delivery::Postgres { connection: connection?, table: table? });
    }
    if map.get("kafka").is_some() || map.get("pull").is_some() {
        reader.fail(node, "this way has no settings", "write `delivery: kafka` or `delivery: pull`");
    }
    None
}

fn url(reader: Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.said(node, "url")?;
    // The parser of the client that will call it, so that nothing which is taken here fails there.
    match url::Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let mend = "write `https://host/path`: the subscriber knows us by the signature";
            reader.fail(node, "`url` holds a user or a password", mend);
        }
        Ok(url) if !matches!(url.scheme(), "https" | "http") || text.contains(char::is_whitespace) => {
            reader.fail(node, format!("`{text}` is no web address"), "write `https://host/path`");
        }
        Ok(_) => return Some(text),
        Err(error) => {
            reader.fail(node, format!("`{text}` is no web address: {error}"), "write `https://host/path`");
        }
    }
    None
}

/// A file name in the secrets folder: nothing that could lead out of it, and nothing that is itself a secret.
fn secret_name(reader: Reader<'_>, node: &Node, what: &str) -> Option<String> {
    let name = reader.said(node, what)?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > 100 || name.starts_with('.') || name.starts_with("whsec_") || !name.chars().all(is_word) {
        let mend = "write the name of a file in the secrets folder (letters, digits, `-`, `_`, `.`); the secret itself never stands in the catalogue";
        reader.fail(node, format!("`{what}` is not a file name"), mend);
        return None;
    }
    Some(name)
}

fn table(reader: Reader<'_>, node: &Node) -> Option<String> {
    let table = reader.said(node, "table")?;
    let is_name = |name: &str| {
        (1..=63).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && !name.as_bytes()[0].is_ascii_digit()
    };
    match table.split_once('.') {
        Some((schema, name)) if is_name(schema) && is_name(name) => Some(table),
        _ => {
            reader.fail(node, format!("`table` is `{table}`"), "write `schema.table` with a to z, 0 to 9 and `_`");
            None
        }
    }
}
