//! Step 5: identifiers with check digits and code tables. The rules themselves, one file each, with their standards:
//! [`freshet_core::identifiers`].

use freshet_catalog_model::IdentifierKind;
use freshet_core::identifiers::{IdentifierError, gb2260, licence, resident_number, uscc};
use freshet_core::{Code, Violation, Withheld};
use jiff::civil::Date;

use crate::content::Content;

/// `on` is the event's date: the day for which a division must exist and before which a person must be born.
pub(crate) fn check(content: &Content<'_>, on: Date, violations: &mut Vec<Violation>) {
    for (path, slot, kind) in &content.schema.identifiers {
        let Some(text) = content.text(*slot) else { continue };
        if let Err(error) = check_one(*kind, text, on) {
            let shown = (!content.schema.plan.withheld().covers(path)).then_some(text);
            violations.push(Violation::new(Code::Identifier, path.clone(), message(*kind, shown, error)));
        }
    }
}

fn check_one(kind: IdentifierKind, text: &str, on: Date) -> Result<(), IdentifierError> {
    match kind {
        IdentifierKind::Uscc => uscc::check(text),
        IdentifierKind::ResidentNumber => resident_number::check(text, on),
        IdentifierKind::Licence => licence::check(text),
        IdentifierKind::Gb2260 => gb2260::check(text, on),
    }
}

/// The name of the identifier in both languages, its value where it identifies no person (`None`: not to be shown), and
/// what is wrong.
fn message(kind: IdentifierKind, text: Option<&str>, error: IdentifierError) -> String {
    let text = text.map_or_else(|| Withheld::INSTEAD.to_owned(), |text| format!("{text:?}"));
    match kind {
        // Never the number itself: rejections, logs and the trail must not carry it.
        IdentifierKind::ResidentNumber => format!("not a resident number (公民身份号码): {error}"),
        IdentifierKind::Uscc => format!("{text} is not a unified social credit code (统一社会信用代码): {error}"),
        IdentifierKind::Licence => format!("{text} is not a licence identifier (证照标识): {error}"),
        IdentifierKind::Gb2260 => format!("{text} is not a division (行政区划代码): {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resident_number_is_never_in_the_message() {
        let number = "360426199101010072";
        let error = check_one(IdentifierKind::ResidentNumber, number, Date::constant(2026, 1, 1)).expect_err("bad");
        let message = message(IdentifierKind::ResidentNumber, Some(number), error);
        assert!(!message.contains(number) && message.contains("position 18 must be 1"), "{message}");
    }

    #[test]
    fn others_show_the_value_and_what_was_expected() {
        let code = "91110000600037341N";
        let error = check_one(IdentifierKind::Uscc, code, Date::constant(2026, 1, 1)).expect_err("bad");
        let shown = message(IdentifierKind::Uscc, Some(code), error);
        assert!(shown.contains(code) && shown.contains("must be L"), "{shown}");
        let withheld = message(IdentifierKind::Uscc, None, error);
        assert!(!withheld.contains(code) && withheld.contains("not shown: personal data"), "{withheld}");
    }
}
