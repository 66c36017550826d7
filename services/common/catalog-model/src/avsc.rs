//! The `.avsc` files as people write them: every mistake at its place. `apache-avro` stays the judge of what a schema is; it
//! ends at its first mistake, says no place, and passes over what means nothing to it, such as a logical type that stands
//! beside the type.

mod json;
mod types;

use json::{Key, Kind, Node};

use crate::diagnostic::{Diagnostic, Place};
use crate::source::SourceSchema;
use freshet_core::nearest::nearest;

/// Every mistake that can be seen in the text alone. None found means: ask the compiler.
pub fn check(file: &SourceSchema) -> Vec<Diagnostic> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&file.avsc) {
        // serde_json counts columns from 1, but 0 where a line just began.
        let place = Place { file: file.file.clone(), line: error.line().max(1), column: error.column().max(1) };
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or(&text);
        let mend = "mend the JSON: look at commas, quotes and brackets";
        return vec![Diagnostic::new(place, format!("not JSON: {reason}"), mend)];
    }
    let Some(root) = json::parse(&file.avsc) else { return Vec::new() };
    let mut linter = Linter { file, names: Vec::new(), found: Vec::new() };
    linter.keys(&root);
    if root.get("type").and_then(Node::text) == Some("record") {
        linter.record(&root, "");
    } else if linter.found.is_empty() {
        let mend = "wrap it in one: `{\"type\": \"record\", \"name\": \"…\", \"fields\": […]}`";
        linter.fail(root.at, "the schema is no record, and an event is one", mend);
    }
    linter.found
}

/// Where the schema's text names the field; the beginning where it does not (the field is gone).
pub fn field_place(file: &SourceSchema, path: &str) -> Place {
    let found = json::parse(&file.avsc).and_then(|root| {
        let mut names = Vec::new();
        types_by_name(&root, &mut names);
        let mut at = root.at;
        let mut record = Some(&root);
        for name in path.split('.') {
            let field = fields(record?).find(|field| field.get("name").and_then(Node::text) == Some(name))?;
            at = field.get("name")?.at;
            record = field.get("type").and_then(|ty| record_of(ty, &names));
        }
        Some(at)
    });
    found.map_or_else(|| Place::file(&file.file), |at| place(file, at))
}

fn fields<'n, 'a>(record: &'n Node<'a>) -> impl Iterator<Item = &'n Node<'a>> {
    record.get("fields").and_then(Node::items).unwrap_or_default().iter()
}

/// Every named type of the text.
fn types_by_name<'n, 'a>(node: &'n Node<'a>, names: &mut Vec<(&'n str, &'n Node<'a>)>) {
    if let (Some(name), true) = (node.get("name").and_then(Node::text), node.get("fields").is_some()) {
        names.push((last_part(name), node));
    }
    match &node.kind {
        Kind::Object(members) => members.iter().for_each(|(_, node)| types_by_name(node, names)),
        Kind::Array(items) => items.iter().for_each(|node| types_by_name(node, names)),
        Kind::Text(_) | Kind::Other(_) => {}
    }
}

/// The record that a field of this type holds, also where it is nullable or in a list.
fn record_of<'n, 'a>(ty: &'n Node<'a>, names: &[(&'n str, &'n Node<'a>)]) -> Option<&'n Node<'a>> {
    match &ty.kind {
        Kind::Text(name) => names.iter().find(|(known, _)| *known == last_part(name)).map(|(_, node)| *node),
        Kind::Array(branches) => branches.iter().find_map(|branch| record_of(branch, names)),
        Kind::Object(_) if ty.get("fields").is_some() => Some(ty),
        Kind::Object(_) => ["type", "items", "values"].iter().find_map(|key| record_of(ty.get(key)?, names)),
        Kind::Other(_) => None,
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn place(file: &SourceSchema, at: usize) -> Place {
    let before = &file.avsc[..at];
    let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        file: file.file.clone(),
        line: before.matches('\n').count() + 1,
        column: before[line_begin..].chars().count() + 1,
    }
}

struct Linter<'a> {
    file: &'a SourceSchema,
    /// The named types that were defined so far, with their namespace.
    names: Vec<String>,
    found: Vec<Diagnostic>,
}

impl Linter<'_> {
    fn fail(&mut self, at: usize, message: impl Into<String>, mend: impl Into<String>) {
        self.found.push(Diagnostic::new(place(self.file, at), message, mend));
    }

    /// No key twice: a reader takes one of the two and says nothing.
    fn keys(&mut self, node: &Node<'_>) {
        match &node.kind {
            Kind::Object(members) => {
                for (index, (key, node)) in members.iter().enumerate() {
                    if members[..index].iter().any(|(known, _)| known.text == key.text) {
                        self.fail(key.at, format!("`{}` stands here a second time", key.text), "keep one of the two");
                    }
                    self.keys(node);
                }
            }
            Kind::Array(items) => items.iter().for_each(|node| self.keys(node)),
            Kind::Text(_) | Kind::Other(_) => {}
        }
    }

    /// The value of an attribute that must be there. A key that is nearly its name is blamed in its stead.
    fn need<'n, 'a>(&mut self, node: &'n Node<'a>, what: &str, key: &str, example: &str) -> Option<&'n Node<'a>> {
        let value = node.get(key);
        if value.is_none() && !self.slip(node, what, key) {
            self.fail(node.at, format!("{what} lacks `{key}`"), format!("add `{example}`"));
        }
        value
    }

    /// Whether a key is nearly this attribute's name, while the attribute itself is not there. Avro lets a schema have
    /// attributes of its own, so any other key is none of our business.
    fn slip(&mut self, node: &Node<'_>, what: &str, attribute: &str) -> bool {
        let Kind::Object(members) = &node.kind else { return false };
        let is_near =
            |key: &&Key| nearest(&key.text, [attribute]).is_some() && !types::ATTRIBUTES.contains(&&*key.text);
        let near = members.iter().map(|(key, _)| key).find(is_near);
        match near {
            Some(key) if node.get(attribute).is_none() => {
                let message = format!("`{}` is no attribute of {what}", key.text);
                self.fail(key.at, message, format!("did you mean `{attribute}`?"));
                true
            }
            _ => false,
        }
    }

    fn record(&mut self, node: &Node<'_>, namespace: &str) {
        let namespace = self.define(node, "the record", namespace);
        let example = "\"fields\": [{\"name\": \"…\", \"type\": \"string\"}]";
        let Some(fields) = self.need(node, "the record", "fields", example) else { return };
        let Some(items) = fields.items() else {
            self.fail(fields.at, "`fields` is no list", format!("write `{example}`"));
            return;
        };
        let mut known: Vec<&str> = Vec::new();
        for field in items {
            if !matches!(field.kind, Kind::Object(_)) {
                self.fail(field.at, "a field is an object", "write `{\"name\": \"…\", \"type\": \"…\"}`");
                continue;
            }
            let name = self.need(field, "the field", "name", "\"name\": \"…\"").and_then(|node| self.name(node));
            if let (Some(name), Some(node)) = (name, field.get("name")) {
                if known.contains(&name) {
                    let message = format!("a second field is called `{name}`");
                    self.fail(node.at, message, "give each field its own name");
                }
                known.push(name);
            }
            self.field(field, &namespace);
        }
    }

    /// A name without its namespace; reports one that Avro does not take.
    fn name<'n>(&mut self, node: &'n Node<'_>) -> Option<&'n str> {
        let Some(name) = node.text() else {
            self.fail(node.at, "a name is a text", "put it into double quotes");
            return None;
        };
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_good = name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit());
        if !is_good {
            let message = format!("`{name}` cannot be a name");
            self.fail(node.at, message, "use A to Z, a to z, 0 to 9 and `_`, beginning with no digit");
        }
        is_good.then_some(name)
    }
}
