//! A JSON text as a tree of places. `serde_json` has said before that the text is JSON, so this only finds where its parts
//! begin, and a part that it cannot find ends the tree.

/// A value and where it begins.
#[derive(Debug)]
pub struct Node<'a> {
    /// Bytes of the text before it.
    pub at: usize,
    pub kind: Kind<'a>,
}

#[derive(Debug)]
pub enum Kind<'a> {
    /// In the order of the text; a key may stand in it twice.
    Object(Vec<(Key, Node<'a>)>),
    Array(Vec<Node<'a>>),
    Text(String),
    /// A number, a boolean or null, as it stands there.
    Other(&'a str),
}

#[derive(Debug)]
pub struct Key {
    pub text: String,
    pub at: usize,
}

/// Deeper than any schema that is taken, and no danger to the stack.
const MAX_DEPTH: usize = 128;

/// None where the text is no JSON, or deeper than 128 levels.
pub fn parse(text: &str) -> Option<Node<'_>> {
    Scanner { text, at: 0 }.value(0)
}

impl<'a> Node<'a> {
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        match &self.kind {
            Kind::Object(members) => members.iter().find(|(known, _)| known.text == key).map(|(_, node)| node),
            Kind::Array(_) | Kind::Text(_) | Kind::Other(_) => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Object(_) | Kind::Array(_) | Kind::Other(_) => None,
        }
    }

    pub fn items(&self) -> Option<&[Node<'a>]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            Kind::Object(_) | Kind::Text(_) | Kind::Other(_) => None,
        }
    }

    /// A whole number that is not negative.
    pub fn number(&self) -> Option<u64> {
        match self.kind {
            Kind::Other(text) => text.parse().ok(),
            Kind::Object(_) | Kind::Array(_) | Kind::Text(_) => None,
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Option<Node<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let first = self.peek()?;
        let at = self.at;
        let kind = match first {
            b'{' => Kind::Object(self.between(b'}', |scanner| {
                scanner.peek()?;
                let at = scanner.at;
                let text = scanner.string()?;
                scanner.take(b':')?;
                Some((Key { text, at }, scanner.value(depth + 1)?))
            })?),
            b'[' => Kind::Array(self.between(b']', |scanner| scanner.value(depth + 1))?),
            b'"' => Kind::Text(self.string()?),
            _ => {
                let rest = &self.text[at..];
                let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len());
                self.at += end;
                Kind::Other(&rest[..end])
            }
        };
        Some(Node { at, kind })
    }

    /// The items between an opening sign, at which the scanner stands, and the closing one.
    fn between<T>(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.at += 1;
        if self.peek()? == close {
            self.at += 1;
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.peek()? == close {
                self.at += 1;
                return Some(items);
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let mut is_escaped = false;
        let is_end = |byte: &u8| {
            let is_end = *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        };
        let length = rest.as_bytes().get(1..)?.iter().position(is_end)? + 2;
        self.at += length;
        serde_json::from_str(&rest[..length]).ok()
    }

    fn take(&mut self, sign: u8) -> Option<()> {
        (self.peek()? == sign).then(|| self.at += 1)
    }

    /// The next sign that is no white space; the scanner then stands at it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        self.at += bytes.get(self.at..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        bytes.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn as_value(node: &Node<'_>) -> Value {
        match &node.kind {
            Kind::Object(members) => members.iter().map(|(key, node)| (key.text.clone(), as_value(node))).collect(),
            Kind::Array(items) => items.iter().map(as_value).collect(),
            Kind::Text(text) => Value::from(text.as_str()),
            Kind::Other(text) => serde_json::from_str(text).expect("a number, a boolean or null"),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}|[\"\\\\{}\\[\\],: ]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("\\PC{0,4}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The tree is what serde_json reads, and at each place that it names stands the text of that part.
        #[test]
        fn a_tree_is_what_serde_json_reads(value in json(), is_pretty in any::<bool>()) {
            let text = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = format!(" {}\n", text.expect("written"));
            let node = parse(&text).expect("JSON");
            prop_assert_eq!(as_value(&node), value);
            let mut open = vec![&node];
            while let Some(node) = open.pop() {
                let mut rest = serde_json::Deserializer::from_str(&text[node.at..]).into_iter::<Value>();
                prop_assert_eq!(rest.next().expect("a value").expect("JSON"), as_value(node));
                match &node.kind {
                    Kind::Object(members) => open.extend(members.iter().map(|(_, node)| node)),
                    Kind::Array(items) => open.extend(items),
                    Kind::Text(_) | Kind::Other(_) => {}
                }
            }
        }

        #[test]
        fn no_text_makes_it_fall(text in "[\\[\\]{}\",:\\\\ a1é]{0,24}") {
            let _ = parse(&text);
        }
    }
}
