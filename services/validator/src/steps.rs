//! The steps behind the envelope, in order. Each stands in a file of its own.

use freshet_avro::Walk;
use freshet_catalog_model::VersionRule;
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_core::{Code, InRecord, Violation, Withheld};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::content::{self, Content};
use crate::dataset::Prepared;
use crate::envelope::{self, Envelope};
use crate::stage::Setup;
use crate::state::{Entity, PartitionState, Standing};
use crate::{authority, clock, division, identifiers, rules, transition, version};

/// One record and what the envelope says of it.
pub(crate) struct Event<'a> {
    pub(crate) record: &'a InRecord<'a>,
    pub(crate) envelope: Envelope<'a>,
    pub(crate) department: Option<&'a str>,
    pub(crate) now: Timestamp,
    pub(crate) dataset: &'a Prepared,
    pub(crate) setup: &'a Setup,
}

impl Event<'_> {
    /// The day that identifiers and divisions refer to: the event's, or today where it says none.
    fn date(&self) -> Date {
        self.envelope.date.unwrap_or_else(|| self.now.to_zoned(TimeZone::UTC).date())
    }

    /// Takes every step that can run. Returns what would be remembered of the entity, where no step found anything.
    pub(crate) fn check(
        &self,
        state: &mut PartitionState,
        walk: &mut Walk,
        violations: &mut Vec<Violation>,
    ) -> Option<Entity> {
        let Self { record, envelope, department, now, dataset, setup } = self;
        let compiled = &dataset.compiled;
        let rule = &compiled.dataset.version;
        envelope::check_partition(record, compiled.dataset.partitions, violations);

        let content: Option<Content<'_>> = match record.value {
            Some(value) => content::check(value, compiled, walk, violations),
            None => None,
        };
        // A value that cannot be read is no delete: its division is unknown, not absent.
        let is_delete = record.value.is_none();
        let field = compiled.dataset.division.field.as_deref();
        let division = match &content {
            Some(content) => Some(division::of_content(content, envelope.division, field, violations)),
            None if is_delete || field.is_none() => Some(envelope.division.unwrap_or("")),
            None => None,
        };
        let is_authority = department
            .is_some_and(|department| authority::check(department, division, &compiled.authorities, violations));
        if let Some(content) = &content {
            if let Some(key) = record.key.filter(|key| !key.is_empty()) {
                content::check_key(key, content, compiled, setup.pseudonym.as_ref(), violations);
            }
            identifiers::check(content, self.date(), violations);
            rules::check(content, violations);
        }

        // What the bus has of an entity is told to its authority only.
        let before = record.key.filter(|_| is_authority).and_then(|key| state.entity(key));
        let version = match rule {
            // Where the record cannot be read, it cannot be said what stands in its field.
            VersionRule::Field(_) if !is_delete && content.is_none() => None,
            _ => version::of(record, content.as_ref(), rule).map_err(|violation| violations.push(violation)).ok(),
        };
        let is_newer = version
            .is_some_and(|version| version::check(version, before.map(|before| before.version), rule, violations));
        let status = content.as_ref().and_then(Content::status);
        // A status is compared with the one before it in the entity's life, which for a stale event is not the last.
        if let (true, true, Some(status), Some(content)) = (is_authority, is_newer, status, &content)
            && let Some(transitions) = &content.schema.transitions
        {
            transition::check(before.and_then(|before| before.standing.status()), status, transitions, violations);
        }
        match division {
            Some(division) if is_delete => {
                let living = before.filter(|before| before.standing != Standing::Deleted);
                division::check_delete(
                    division,
                    living.map(|living| state.divisions.text(living.division)),
                    violations,
                );
            }
            // Not asked of a delete: the division may have been abolished since.
            Some(division) => {
                division::check_exists(division, compiled.dataset.division.scheme, field, self.date(), violations);
            }
            None => {}
        }
        clock::check(envelope, *now, setup.clock_skew, violations);
        if !violations.is_empty() {
            withhold(compiled, violations);
            return None;
        }
        let division = state.divisions.number(division?);
        Some(Entity { version: version?, division, standing: Standing::new(is_delete, status) })
    }
}

/// Takes values out of messages where the field holds personal data. What the schema and the identifiers say has been
/// written without them.
fn withhold(dataset: &CompiledDataset, violations: &mut [Violation]) {
    let withheld = dataset.latest().plan.withheld();
    for violation in violations {
        let field = match violation.code {
            Code::DivisionMismatch => dataset.dataset.division.field.as_deref(),
            Code::Transition | Code::DivisionUnknown | Code::VersionStale => violation.field.as_deref(),
            _ => None,
        };
        if field.is_some_and(|field| withheld.covers(field)) {
            violation.message =
                format!("{} is refused: see the page of {}", Withheld::INSTEAD, violation.code.as_str());
        }
    }
}
