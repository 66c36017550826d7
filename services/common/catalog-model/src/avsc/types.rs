//! The types of a schema's fields.

use super::json::{Kind, Node};
use super::{Linter, last_part};
use freshet_core::nearest::suggestion;

/// Every attribute that the Avro specification gives a meaning.
pub const ATTRIBUTES: &[&str] = &[
    "type",
    "name",
    "namespace",
    "doc",
    "aliases",
    "fields",
    "default",
    "order",
    "symbols",
    "items",
    "values",
    "size",
    "logicalType",
    "precision",
    "scale",
];

const PRIMITIVES: &[&str] = &["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Logical types and what they may stand on.
const LOGICAL: &[(&str, &[&str])] = &[
    ("date", &["int"]),
    ("decimal", &["bytes", "fixed"]),
    ("uuid", &["string", "fixed"]),
    ("duration", &["fixed"]),
    ("time-millis", &["int"]),
    ("time-micros", &["long"]),
    ("timestamp-millis", &["long"]),
    ("timestamp-micros", &["long"]),
    ("timestamp-nanos", &["long"]),
    ("local-timestamp-millis", &["long"]),
    ("local-timestamp-micros", &["long"]),
    ("local-timestamp-nanos", &["long"]),
];

/// What people call a type elsewhere, and its name here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bool", "boolean"),
    ("char", "string"),
    ("datetime", "timestamp-millis"),
    ("int32", "int"),
    ("int64", "long"),
    ("integer", "int"),
    ("number", "double"),
    ("numeric", "decimal"),
    ("object", "record"),
    ("str", "string"),
    ("text", "string"),
    ("time", "time-millis"),
    ("timestamp", "timestamp-millis"),
    ("varchar", "string"),
];

impl Linter<'_> {
    pub(super) fn field(&mut self, field: &Node<'_>, namespace: &str) {
        let Some(ty) = self.need(field, "the field", "type", "\"type\": \"string\"") else { return };
        if field.get("default").is_none() {
            self.slip(field, "the field", "default");
        }
        // All of these mean something only inside of the type.
        let inside = ["logicalType", "symbols", "items", "values", "fields", "size"];
        let misplaced = inside.iter().find_map(|key| Some((key, field.get(key)?)));
        match (misplaced, &ty.kind) {
            (Some((key, node)), Kind::Text(name)) => {
                let message = format!("`{key}` stands beside the field's type, where it means nothing");
                let value = node.text().map_or_else(|| "…".to_owned(), |text| format!("\"{text}\""));
                let mend = format!("put both into the type: `\"type\": {{\"type\": \"{name}\", \"{key}\": {value}}}`");
                self.fail(node.at, message, mend);
            }
            _ => self.ty(ty, namespace),
        }
        if let Some(default) = field.get("default")
            && matches!(default.text(), Some("null" | "None" | "NULL"))
            && ty.items().is_some_and(|branches| branches.iter().any(|branch| branch.text() == Some("null")))
        {
            self.fail(default.at, "the default is a text, not null", "write `\"default\": null`, without quotes");
        } else if let Some(default) = field.get("default")
            && may_be(ty, default) == Some(false)
        {
            let mend = "write a value of the type: a number or true without quotes, a date as days since 1970-01-01, null \
                        where the type is `[\"null\", …]`";
            self.fail(default.at, "the default is no value of the type", mend);
        }
    }

    fn ty(&mut self, node: &Node<'_>, namespace: &str) {
        match &node.kind {
            Kind::Text(name) => self.known(node, name, namespace),
            Kind::Array(branches) => self.union(node, branches, namespace),
            Kind::Object(_) => self.complex(node, namespace),
            Kind::Other(text) => {
                self.fail(node.at, format!("`{text}` is no type"), "write the type's name in double quotes");
            }
        }
    }

    fn union(&mut self, node: &Node<'_>, branches: &[Node<'_>], namespace: &str) {
        if branches.is_empty() {
            self.fail(node.at, "a union of no types has no value", "name its types: `[\"null\", \"string\"]`");
        }
        let mut seen: Vec<&str> = Vec::new();
        for branch in branches {
            if branch.items().is_some() {
                self.fail(branch.at, "a union stands in a union", "write the types of both into one list");
                continue;
            }
            if let Some(name) = branch.text() {
                if seen.contains(&name) {
                    self.fail(branch.at, format!("`{name}` is in the union twice"), "name it once");
                }
                seen.push(name);
            }
            self.ty(branch, namespace);
        }
    }

    fn complex(&mut self, node: &Node<'_>, namespace: &str) {
        let Some(ty) = self.need(node, "the type", "type", "\"type\": \"…\"") else { return };
        let Some(name) = ty.text() else { return self.ty(ty, namespace) };
        match name {
            "record" => self.record(node, namespace),
            "enum" => self.enumeration(node, namespace),
            "fixed" => {
                self.define(node, "the fixed type", namespace);
                if let Some(size) = self.need(node, "the fixed type", "size", "\"size\": 16")
                    && size.number().is_none()
                {
                    self.fail(size.at, "`size` is no whole number", "write how many bytes a value has");
                }
            }
            "array" | "map" => {
                let (what, key) = if name == "array" { ("the array", "items") } else { ("the map", "values") };
                if let Some(inner) = self.need(node, what, key, &format!("\"{key}\": \"string\"")) {
                    self.ty(inner, namespace);
                }
            }
            _ => self.known(ty, name, namespace),
        }
        self.logical(node, name);
    }

    fn enumeration(&mut self, node: &Node<'_>, namespace: &str) {
        self.define(node, "the enum", namespace);
        let Some(symbols) = self.need(node, "the enum", "symbols", "\"symbols\": [\"A\", \"B\"]") else { return };
        let items = symbols.items().unwrap_or_default();
        if items.is_empty() {
            self.fail(symbols.at, "the enum has no symbol", "name them: `\"symbols\": [\"A\", \"B\"]`");
            return;
        }
        let mut known: Vec<&str> = Vec::new();
        for item in items {
            let Some(symbol) = self.name(item) else { continue };
            if known.contains(&symbol) {
                self.fail(item.at, format!("the symbol `{symbol}` stands twice"), "name it once");
            }
            known.push(symbol);
        }
        if let Some(default) = node.get("default")
            && let Some(symbol) = default.text()
            && !known.contains(&symbol)
        {
            let mend = suggestion(symbol, known.iter().copied());
            self.fail(default.at, format!("the default `{symbol}` is no symbol of the enum"), mend);
        }
    }

    fn logical(&mut self, node: &Node<'_>, base: &str) {
        let Some(logical) = node.get("logicalType") else {
            self.slip(node, "the type", "logicalType");
            return;
        };
        let Some(name) = logical.text() else {
            self.fail(logical.at, "`logicalType` is no text", "write its name in double quotes");
            return;
        };
        let Some((_, bases)) = LOGICAL.iter().find(|(known, _)| *known == name) else {
            // Avro passes over logical types that it does not know, so only what looks like a slip is one.
            let known = LOGICAL.iter().map(|(known, _)| *known);
            if let Some(meant) = freshet_core::nearest::nearest(name, known) {
                self.fail(logical.at, format!("`{name}` is no logical type"), format!("did you mean `{meant}`?"));
            }
            return;
        };
        if !bases.contains(&base) {
            let message = format!("`{name}` does not stand on {base}, so it would mean nothing");
            let mend = format!("write `{{\"type\": \"{}\", \"logicalType\": \"{name}\"}}`", bases[0]);
            self.fail(logical.at, message, mend);
            return;
        }
        if name == "decimal" {
            self.decimal(node);
        }
    }

    fn decimal(&mut self, node: &Node<'_>) {
        let precision = self.need(node, "the decimal", "precision", "\"precision\": 12, \"scale\": 2");
        let Some(precision) = precision else { return };
        let digits = precision.number().filter(|digits| (1..=38).contains(digits));
        if digits.is_none() {
            self.fail(precision.at, "`precision` is the number of digits", "write a whole number from 1 to 38");
        }
        if let (Some(scale), Some(digits)) = (node.get("scale"), digits)
            && scale.number().is_none_or(|scale| scale > digits)
        {
            let mend = format!("write a whole number from 0 to {digits}, the precision");
            self.fail(scale.at, "`scale` is the number of digits behind the point", mend);
        }
    }

    /// A primitive type, or one that was defined before.
    fn known(&mut self, node: &Node<'_>, name: &str, namespace: &str) {
        let full = full_name(name, namespace);
        if PRIMITIVES.contains(&name) || self.names.iter().any(|known| *known == full || *known == name) {
            return;
        }
        let meant =
            ELSEWHERE.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(name, |(_, meant)| meant);
        let mend = match meant {
            "record" => "write `{\"type\": \"record\", \"name\": \"…\", \"fields\": […]}` as the type".to_owned(),
            "enum" => "write `{\"type\": \"enum\", \"name\": \"…\", \"symbols\": […]}` as the type".to_owned(),
            "array" => "write `{\"type\": \"array\", \"items\": \"string\"}` as the type".to_owned(),
            "map" => "write `{\"type\": \"map\", \"values\": \"string\"}` as the type".to_owned(),
            "fixed" => "write `{\"type\": \"fixed\", \"name\": \"…\", \"size\": 16}` as the type".to_owned(),
            "decimal" => "write `{\"type\": \"bytes\", \"logicalType\": \"decimal\", \"precision\": 12, \"scale\": 2}`"
                .to_owned(),
            _ => match LOGICAL.iter().find(|(known, _)| *known == meant) {
                Some((_, bases)) => format!("write `{{\"type\": \"{}\", \"logicalType\": \"{meant}\"}}`", bases[0]),
                None if PRIMITIVES.contains(&meant) => format!("write `\"{meant}\"`"),
                None => {
                    let defined = self.names.iter().map(|name| last_part(name));
                    suggestion(name, PRIMITIVES.iter().copied().chain(defined))
                }
            },
        };
        self.fail(node.at, format!("there is no type `{name}`"), mend);
    }

    /// Takes note of a named type. Gives the namespace of what is inside of it.
    pub(super) fn define(&mut self, node: &Node<'_>, what: &str, around: &str) -> String {
        let Some(name_node) = self.need(node, what, "name", "\"name\": \"…\"") else { return around.to_owned() };
        let Some(name) = name_node.text() else {
            self.name(name_node);
            return around.to_owned();
        };
        let namespace = match name.rsplit_once('.') {
            Some((namespace, _)) => namespace,
            None => node.get("namespace").and_then(Node::text).unwrap_or(around),
        };
        if name.split('.').all(|part| !part.is_empty()) {
            for part in name.split('.') {
                let part = Node { at: name_node.at, kind: Kind::Text(part.to_owned()) };
                if self.name(&part).is_none() {
                    break;
                }
            }
        } else {
            self.name(name_node);
        }
        let full = full_name(name, namespace);
        if self.names.contains(&full) {
            let message = format!("a second type is called `{full}`");
            self.fail(
                name_node.at,
                message,
                "give each type its own name; where it is the same type, write only its name",
            );
        }
        self.names.push(full);
        namespace.to_owned()
    }
}

/// Whether the JSON could be a default of the type; None where the text alone does not say.
fn may_be(ty: &Node<'_>, json: &Node<'_>) -> Option<bool> {
    let word = match json.kind {
        Kind::Other(word) => word,
        Kind::Object(_) | Kind::Array(_) | Kind::Text(_) => "",
    };
    match &ty.kind {
        Kind::Array(branches) => {
            let fits: Option<Vec<bool>> = branches.iter().map(|branch| may_be(branch, json)).collect();
            fits.map(|fits| fits.contains(&true))
        }
        Kind::Object(_) => may_be(ty.get("type")?, json),
        Kind::Text(name) => Some(match name.as_str() {
            "null" => word == "null",
            "boolean" => matches!(word, "true" | "false"),
            "int" => word.parse::<i32>().is_ok(),
            "long" => word.parse::<i64>().is_ok(),
            "float" | "double" => word.parse::<f64>().is_ok(),
            "string" | "bytes" | "fixed" | "enum" => json.text().is_some(),
            "array" => json.items().is_some(),
            "record" | "map" => matches!(json.kind, Kind::Object(_)),
            _ => return None,
        }),
        Kind::Other(_) => None,
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}
