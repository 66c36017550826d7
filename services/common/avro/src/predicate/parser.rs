//! From tokens to nodes, with the types resolved.

use freshet_core::nearest::suggestion;

use super::evaluate::{Comparison, Item, Node};
use super::operand::{Family, Literal, Operand, family, number_literal, text_literal};
use super::token::{Token, tokens};
use super::{MAX_NESTING, PredicateError};
use crate::Plan;
use crate::schema::FieldType;

const KEYWORDS: [&str; 10] = ["and", "or", "not", "in", "contains", "starts_with", "is", "null", "true", "false"];

pub(super) fn parse(text: &str, writer: &Plan, reader: &Plan) -> Result<Node, PredicateError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, nesting: 0, writer, reader };
    let node = parser.condition()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.expected("`and`, `or` or the end")),
    }
}

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    next: usize,
    nesting: usize,
    writer: &'a Plan,
    reader: &'a Plan,
}

impl Parser<'_> {
    fn condition(&mut self) -> Result<Node, PredicateError> {
        let mut nodes = vec![self.conjunction()?];
        while self.take_word("or") {
            nodes.push(self.conjunction()?);
        }
        Ok(single_or(nodes, Node::Any))
    }

    fn conjunction(&mut self) -> Result<Node, PredicateError> {
        let mut nodes = vec![self.negation()?];
        while self.take_word("and") {
            nodes.push(self.negation()?);
        }
        Ok(single_or(nodes, Node::All))
    }

    fn negation(&mut self) -> Result<Node, PredicateError> {
        if self.nesting == MAX_NESTING {
            return Err(self.wrong(self.at(), format!("nested deeper than {MAX_NESTING} levels")));
        }
        self.nesting += 1;
        let node = if self.take_word("not") {
            Node::Not(Box::new(self.negation()?))
        } else if self.take_sign("(") {
            let node = self.condition()?;
            self.require_sign(")")?;
            node
        } else {
            self.comparison()?
        };
        self.nesting -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, PredicateError> {
        let field = self.field()?;
        let at = self.at();
        if self.take_word("is") {
            let negated = self.take_word("not");
            if !self.take_word("null") {
                return Err(self.expected(if negated { "`null`" } else { "`null` or `not null`" }));
            }
            return Ok(negate_if(negated, Node::IsNull(field)));
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            let literals = self.list(&field)?;
            return Ok(negate_if(negated, Node::OneOf(field, literals)));
        }
        if self.take_word("contains") {
            let node = self.contains(field, at)?;
            return Ok(negate_if(negated, node));
        }
        if self.take_word("starts_with") {
            let ty = field.ty.without_null();
            if !matches!(ty, FieldType::String | FieldType::Uuid) {
                return Err(self.wrong(at, format!("`starts_with` needs a text, the field is a {ty}")));
            }
            let part = self.text()?;
            return Ok(negate_if(negated, Node::StartsWith(field, part)));
        }
        if negated {
            return Err(self.expected("`in`, `contains` or `starts_with`"));
        }
        let comparison = self.sign_of_comparison()?;
        self.right_side(field, comparison, at)
    }

    fn right_side(&mut self, field: Operand, comparison: Comparison, at: usize) -> Result<Node, PredicateError> {
        let Some(left) = family(&field.ty) else {
            let message =
                format!("a {} is not compared; `is null` is all that can be asked of it here", field.ty.without_null());
            return Err(self.wrong(at, message));
        };
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        if ordered && (left == Family::Boolean || matches!(field.ty.without_null(), FieldType::Enum(_))) {
            let message = format!("a {} has no order: use `=`, `!=` or `in`", field.ty.without_null());
            return Err(self.wrong(at, message));
        }
        match self.peek() {
            Token::Word(word) if !is_keyword(word) => {}
            Token::Quoted(_) => {}
            _ => return Ok(Node::Compare(field.clone(), comparison, self.literal(&field.ty)?)),
        }
        let right_at = self.at();
        let right = self.field()?;
        if family(&right.ty) != Some(left) || (ordered && matches!(right.ty.without_null(), FieldType::Enum(_))) {
            let message = format!("a {} is not compared with a {}", field.ty.without_null(), right.ty.without_null());
            return Err(self.wrong(right_at, message));
        }
        Ok(Node::CompareFields(field, comparison, right))
    }

    fn list(&mut self, field: &Operand) -> Result<Vec<Literal>, PredicateError> {
        self.require_sign("(")?;
        let mut literals = vec![self.literal(&field.ty)?];
        while self.take_sign(",") {
            literals.push(self.literal(&field.ty)?);
        }
        match self.take_sign(")") {
            true => Ok(literals),
            false => Err(self.expected("`,` or `)`")),
        }
    }

    fn contains(&mut self, field: Operand, at: usize) -> Result<Node, PredicateError> {
        let ty = field.ty.without_null().clone();
        match &ty {
            FieldType::String => Ok(Node::HasPart(field, self.text()?)),
            FieldType::Array(items) if matches!(**items, FieldType::String | FieldType::Uuid) => {
                let item_at = self.at();
                let text = self.text()?;
                text_literal(items, &text).map_err(|message| self.wrong(item_at, message))?;
                Ok(Node::HasItem(field, Item::Text(text)))
            }
            FieldType::Array(items) if matches!(**items, FieldType::Enum(_)) => {
                let FieldType::Enum(symbols) = &**items else { return Err(self.expected("an enum")) };
                let item_at = self.at();
                let text = self.text()?;
                match symbols.symbols.iter().position(|symbol| **symbol == *text) {
                    Some(index) => Ok(Node::HasItem(field, Item::Symbol(index as i64))),
                    None => Err(self.wrong(item_at, format!("'{text}' is not one of {}", symbols.symbols.join(", ")))),
                }
            }
            ty => Err(self.wrong(at, format!("`contains` needs a text or an array of texts, the field is a {ty}"))),
        }
    }

    fn field(&mut self) -> Result<Operand, PredicateError> {
        let at = self.at();
        let is_quoted = matches!(self.peek(), Token::Quoted(_));
        let path = match self.peek() {
            Token::Word(word) if !is_keyword(word) => word.clone(),
            Token::Quoted(word) => word.clone(),
            _ => return Err(self.expected("a field")),
        };
        self.next += 1;
        Operand::find(&path, self.writer, self.reader).ok_or_else(|| {
            let mend = suggestion(&path, self.reader.fields().map(|(known, ..)| known));
            let quotes = if is_quoted { "; a text stands in single quotes: 'text'" } else { "" };
            self.wrong(at, format!("the schema has no field `{path}`; {mend}{quotes}"))
        })
    }

    fn literal(&mut self, ty: &FieldType) -> Result<Literal, PredicateError> {
        let at = self.at();
        let literal = match self.peek() {
            Token::Text(text) => text_literal(ty, text),
            Token::Number(number) => number_literal(ty, number),
            Token::Word(word) if word.eq_ignore_ascii_case("null") => {
                Err("nothing equals null: write `is null` or `is not null`".to_owned())
            }
            Token::Word(word) if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") => {
                if family(ty) == Some(Family::Boolean) {
                    Ok(Literal::Boolean(word.eq_ignore_ascii_case("true")))
                } else {
                    Err(format!("the field is a {}, not a boolean", ty.without_null()))
                }
            }
            _ => return Err(self.expected("a value: 'text', a number, true or false")),
        };
        let literal = literal.map_err(|message| self.wrong(at, message))?;
        self.next += 1;
        Ok(literal)
    }

    fn text(&mut self) -> Result<Box<str>, PredicateError> {
        let Token::Text(text) = self.peek() else { return Err(self.expected("a 'text'")) };
        let text = text.as_str().into();
        self.next += 1;
        Ok(text)
    }

    fn sign_of_comparison(&mut self) -> Result<Comparison, PredicateError> {
        let comparison = match self.peek() {
            Token::Sign("=") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            _ => {
                return Err(
                    self.expected("`=`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `not in`, `contains`, `starts_with` or `is`")
                );
            }
        };
        self.next += 1;
        Ok(comparison)
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let taken = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(taken);
        taken
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let taken = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(taken);
        taken
    }

    fn require_sign(&mut self, sign: &str) -> Result<(), PredicateError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn expected(&self, what: &str) -> PredicateError {
        self.wrong(self.at(), format!("expected {what}, found {}", self.peek()))
    }

    fn wrong(&self, at: usize, message: String) -> PredicateError {
        PredicateError { at, message }
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

fn negate_if(negated: bool, node: Node) -> Node {
    if negated { Node::Not(Box::new(node)) } else { node }
}

fn single_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 { nodes.swap_remove(0) } else { many(nodes) }
}
