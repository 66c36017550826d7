//! The dataset's own rules: predicates over the record, each with what the clerk is told.

use freshet_catalog_model::{Rule, Title};
use freshet_core::{Code, Violation};

use crate::content::Content;

pub(crate) fn check(content: &Content<'_>, violations: &mut Vec<Violation>) {
    for (rule, predicate) in &content.schema.rules {
        if !predicate.matches(&content.schema.plan, content.walk, content.datum) {
            violations.push(violation(rule));
        }
    }
}

fn violation(rule: &Rule) -> Violation {
    Violation {
        code: Code::Rule,
        field: rule.field.clone(),
        message: format!("{} (rule {})", both(&rule.message), rule.name),
    }
}

/// What people are told in every language that the catalogue has it in.
fn both(title: &Title) -> String {
    match (&title.en, &title.zh) {
        (Some(en), Some(zh)) => format!("{en} / {zh}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => "the record breaks a rule of its dataset".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clerk_reads_every_language_that_there_is() {
        let title = |en: Option<&str>, zh: Option<&str>| Title { en: en.map(str::to_owned), zh: zh.map(str::to_owned) };
        assert_eq!(both(&title(Some("a"), Some("甲"))), "a / 甲");
        assert_eq!(both(&title(None, Some("甲"))), "甲");
    }
}
