//! `departments.yaml`.

use std::collections::BTreeMap;

use super::node::{Key, Node};
use super::reader::Reader;
use crate::entry::Department;

const KEYS: &[&str] = &["title", "sources", "uscc"];
pub const MAX_ID: usize = 64;

/// The departments, and `None` for each that was named but cannot be read.
pub fn read(reader: Reader<'_>) -> BTreeMap<String, Option<Department>> {
    let Some(entries) = reader.entries(&reader.document.root, "departments.yaml") else { return BTreeMap::new() };
    entries.iter().map(|(key, node)| (key.text.clone(), department(reader, key, node))).collect()
}

pub fn is_department_id(id: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    id.len() <= MAX_ID && id.bytes().next().is_some_and(is_word) && id.bytes().all(|byte| is_word(byte) || byte == b'-')
}

/// `unassigned` would share `reject.unassigned` with events whose source nobody owns. `freshet` would be given the bus's
/// groups, `freshet.*`, as its own; `freshet-router` is what the router's own user may well be called.
fn is_the_bus_own(id: &str) -> bool {
    id == "unassigned" || id == "freshet" || id.starts_with("freshet-")
}

fn department(reader: Reader<'_>, key: &Key, node: &Node) -> Option<Department> {
    let is_good_id = is_department_id(&key.text);
    if !is_good_id {
        let message = format!("`{}` cannot be a department's id", key.text);
        reader.fail_at_key(key, message, "use a to z, 0 to 9 and `-`, beginning with a letter or digit, at most 64");
    }
    let is_reserved = is_the_bus_own(&key.text);
    if is_reserved {
        reader.fail_at_key(key, format!("`{}` is the bus's own word", key.text), "choose another id");
    }
    let map = reader.map(node, &key.text, KEYS)?;
    let title = map.need("title").and_then(|node| reader.title(node, "title"));
    let sources = map.read("sources", |node, key| reader.list(node, key, |item, _| reader.said(item, key)));
    let uscc = map.read("uscc", |node, key| {
        let code = reader.text(node, key)?;
        match freshet_core::identifiers::uscc::check(&code) {
            Ok(()) => Some(code),
            Err(error) => {
                reader.fail(node, format!("`{code}`: {error}"), "write the code as it stands in the certificate");
                None
            }
        }
    });
    let (title, sources, uscc) = (title?, sources?, uscc?);
    (is_good_id && !is_reserved).then(|| Department {
        id: key.text.clone(),
        title,
        uscc,
        sources: sources.unwrap_or_default(),
    })
}
