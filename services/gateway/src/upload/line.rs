//! A line of a file to its record: attributes that follow from the line, the same each time the file is sent.

use std::sync::Arc;

use freshet_avro::Walk;
use freshet_core::Violation;
use freshet_core::text::is_hidden;
use freshet_mapping::{Line, MappedEvent, Operation};
use sha2::{Digest, Sha256};

use super::{Choices, Job};
use crate::admission::{Admission, Decision, Payload, Sent, missing_sequence, needs_sequence, payload_of_datum};
use crate::datasets::{Compiled, Dataset};
use crate::envelope::Attributes;
use crate::problem::{Kind, Problem};
use crate::state::Gateway;

impl Job {
    pub fn new(
        gateway: &Gateway,
        compiled: Arc<Compiled>,
        dataset: Arc<Dataset>,
        department: String,
        now_us: i64,
        choices: Choices,
    ) -> Result<Self, Problem> {
        let Choices { name, source, divcode, sequence_base } = choices;
        let malformed = |detail: String| Problem::new(Kind::Malformed, detail);
        for (parameter, text) in [("name", Some(&name)), ("source", source.as_ref()), ("divcode", divcode.as_ref())] {
            if text.is_some_and(|text| text.is_empty() || text.len() > 512 || text.contains(is_hidden)) {
                return Err(malformed(format!(
                    "{parameter} is empty, longer than 512 bytes, or holds signs that are not seen"
                )));
            }
        }
        let sources = compiled.catalog().departments.get(&department).map_or(&[][..], |department| &department.sources);
        let Some(source) = source.or_else(|| sources.first().cloned()) else {
            return Err(malformed(format!("{department} has no source in the catalogue; its operator adds one")));
        };
        // Milliseconds since the epoch times a million leaves room for a million lines until the next millisecond.
        let now_base = u64::try_from(now_us / 1_000).unwrap_or_default().saturating_mul(1_000_000);
        let job = Self {
            gateway: gateway.clone(),
            compiled,
            dataset,
            department,
            name,
            source,
            divcode,
            sequence_base: sequence_base.unwrap_or(now_base),
        };
        let mut violations = Vec::new();
        job.admission().check_source(&job.attributes(), &mut violations);
        if violations.is_empty() { Ok(job) } else { Err(Problem::refused(violations)) }
    }

    fn admission(&self) -> Admission<'_> {
        Admission {
            department: &self.department,
            catalog: self.compiled.catalog(),
            dataset: &self.dataset,
            pseudonym: self.gateway.pseudonym.as_ref(),
            max_event_bytes: self.gateway.config.max_event_bytes,
            // Of the line, not of the file: a large one is on its way for long.
            now_us: crate::state::now_us(),
        }
    }

    /// What all lines have in common.
    fn attributes(&self) -> Attributes<'_> {
        Attributes::new(vec![("specversion".into(), "1.0".into()), ("source".into(), self.source.as_str().into())])
    }

    pub(super) fn judge(&self, line: Line, walk: &mut Walk) -> Decision {
        let mut attributes = self.attributes();
        let judged = match line.outcome {
            Ok(event) => self.publish(&event, &mut attributes, walk),
            Err(violations) => Err(violations),
        };
        judged.unwrap_or_else(|violations| {
            let place = format!("{} line {}", self.name, line.number);
            let sent = Sent {
                attributes: &attributes,
                raw: &line.raw,
                content_type: "text/plain; charset=utf-8",
                line: Some(&place),
            };
            self.admission().refuse(violations, sent)
        })
    }

    fn publish<'a>(
        &'a self,
        event: &MappedEvent,
        attributes: &mut Attributes<'a>,
        walk: &mut Walk,
    ) -> Result<Decision, Vec<Violation>> {
        let admission = self.admission();
        let delete = event.operation == Operation::Delete;
        let verb = if delete { "deleted" } else { "changed" };
        attributes.put("type", format!("freshet.{}.{verb}", self.dataset.id()));
        if let Some(time) = &event.time {
            attributes.put("time", time.clone());
        }
        if let Some(divcode) = self.divcode.as_ref().filter(|_| delete || !self.has_division_field()) {
            attributes.put("divcode", divcode.as_str());
        }
        let sequence = match event.sequence {
            Some(sequence) => Some(sequence),
            None if needs_sequence(&admission) => Some(self.sequence_base.saturating_add(event.line)),
            // The version is a field, which a delete does not have: only the mapping can say its number.
            None if delete => return Err(vec![missing_sequence(delete)]),
            None => None,
        };
        if let Some(sequence) = sequence {
            attributes.put("sequence", format!("{sequence:020}"));
        }
        let payload = match (&event.datum, delete) {
            (Some(datum), false) => payload_of_datum(&admission, datum, walk)?,
            _ => {
                let texts = event.key.iter().map(String::as_str);
                let key = self.dataset.compiled.key_of_texts(texts, admission.pseudonym);
                Payload { key: key.map_err(|violation| vec![violation])?, value: None, division: None }
            }
        };
        attributes.put("id", self.event_id(&payload, sequence));
        let mut violations = Vec::new();
        admission.check_division(attributes.get("divcode"), &payload, &mut violations);
        admission.check_size(attributes, &payload, &mut violations);
        if violations.is_empty() {
            Ok(Decision::Publish(admission.record(attributes, payload)))
        } else {
            Err(violations)
        }
    }

    fn has_division_field(&self) -> bool {
        self.dataset.compiled.dataset.division.field.is_some()
    }

    /// The same for the same change, so that a file that is sent twice gives duplicates, which the validator drops: the
    /// first 32 hex digits of SHA-256 over source, dataset, key, and the sequence, or without one the value.
    fn event_id(&self, payload: &Payload, sequence: Option<u64>) -> String {
        let mut hash = Sha256::new();
        for part in [self.source.as_bytes(), self.dataset.id().as_bytes(), &payload.key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        match sequence {
            Some(sequence) => hash.update(sequence.to_be_bytes()),
            None => hash.update(payload.value.as_deref().unwrap_or_default()),
        }
        let digest: [u8; 32] = hash.finalize().into();
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
