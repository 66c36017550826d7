//! Which status may follow which, by number.

use std::collections::BTreeSet;
use std::sync::Arc;

use freshet_avro::{FieldType, Plan, Slot, Value, Walk};

use crate::entry::Transitions;

/// Every status of a dataset has one number over all versions of its schema, so that a state that was kept under an
/// older version compares with a record of a newer one.
#[derive(Debug)]
pub struct States {
    /// By number.
    names: Vec<String>,
    /// By number; empty: any may come first.
    initial: Vec<bool>,
    /// `from * names.len() + to`.
    allowed: Vec<bool>,
}

impl States {
    pub(super) fn new(rule: &Transitions) -> Self {
        let names: BTreeSet<&String> =
            rule.initial.iter().chain(rule.allowed.keys()).chain(rule.allowed.values().flatten()).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let initial = match rule.initial.is_empty() {
            true => Vec::new(),
            false => names.iter().map(|name| rule.initial.contains(name)).collect(),
        };
        let may = |from: &String, to: &String| rule.allowed.get(from).is_some_and(|next| next.contains(to));
        let allowed = names.iter().flat_map(|from| names.iter().map(move |to| may(from, to))).collect();
        Self { names, initial, allowed }
    }

    /// Whether an entity may go from `from` (`None`: it is new) to `to`.
    pub fn may_follow(&self, from: Option<u16>, to: u16) -> bool {
        let to = usize::from(to);
        match from {
            None => self.initial.is_empty() || self.initial.get(to).copied().unwrap_or(false),
            Some(from) if to < self.names.len() => {
                self.allowed.get(usize::from(from) * self.names.len() + to).copied().unwrap_or(false)
            }
            Some(_) => false,
        }
    }

    /// What may follow, for the message to the clerk.
    pub fn followers(&self, from: Option<u16>) -> Vec<&str> {
        let numbered = (0u16..).zip(&self.names);
        numbered.filter(|(to, _)| self.may_follow(from, *to)).map(|(_, name)| name.as_str()).collect()
    }

    pub fn name(&self, state: u16) -> &str {
        self.names.get(usize::from(state)).map_or("(a status outside of the rule)", String::as_str)
    }
}

/// The transitions of one version of a schema.
#[derive(Debug)]
pub struct CompiledTransitions {
    /// Dotted path of the enum.
    pub field: String,
    pub slot: Slot,
    pub states: Arc<States>,
    /// By the enum's index. A symbol that the rule does not name has a number behind all names: nothing leads to it.
    numbers: Vec<u16>,
}

impl CompiledTransitions {
    pub(super) fn new(field: &str, plan: &Plan, states: &Arc<States>) -> Option<Self> {
        let slot = plan.slot(field)?;
        let FieldType::Enum(symbols) = plan.type_of(slot) else { return None };
        let outside = states.names.len();
        let number = |symbol: &String| states.names.iter().position(|name| name == symbol).unwrap_or(outside) as u16;
        let numbers = symbols.symbols.iter().map(number).collect();
        Some(Self { field: field.to_owned(), slot, states: Arc::clone(states), numbers })
    }

    /// The record's status as a number of [`States`].
    pub fn state_of(&self, plan: &Plan, walk: &Walk, datum: &[u8]) -> Option<u16> {
        match walk.value(plan, self.slot, datum) {
            Value::Enum { index, .. } => self.numbers.get(index).copied(),
            _ => None,
        }
    }
}
