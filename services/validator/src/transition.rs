//! Which status may follow which. The rule itself, compiled: [`freshet_catalog_model::compiled::States`].

use freshet_catalog_model::compiled::CompiledTransitions;
use freshet_core::{Code, Violation};

/// `before` is the entity's last accepted status; `None` where the entity is new, or was deleted.
pub(crate) fn check(
    before: Option<u16>,
    next: u16,
    transitions: &CompiledTransitions,
    violations: &mut Vec<Violation>,
) {
    let states = &transitions.states;
    if states.may_follow(before, next) {
        return;
    }
    let (next, allowed) = (states.name(next), states.followers(before).join(", "));
    let only = if allowed.is_empty() { "nothing can".to_owned() } else { format!("only {allowed} can") };
    let message = match before {
        None => format!("{next} cannot come first; {only}"),
        Some(before) => format!("{next} cannot follow {}; {only}", states.name(before)),
    };
    violations.push(Violation::new(Code::Transition, transitions.field.clone(), message));
}
