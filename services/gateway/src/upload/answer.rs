//! The lines of the answer.

use std::collections::BTreeMap;

use freshet_core::Violation;
use serde::Serialize;
use utoipa::ToSchema;

use super::Job;
use crate::problem::ViolationBody;

/// One line of the answer to an upload.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum UploadAnswerLine {
    Refused(RefusedLine),
    Summary(SummaryLine),
}

/// A line that was not published. It stands in the reject topic before this is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedLine {
    /// From 1.
    line: u64,
    /// `refused`.
    status: &'static str,
    #[schema(value_type = Vec<ViolationBody>)]
    violations: Vec<Violation>,
}

/// The last line of every answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SummaryLine {
    summary: Summary,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Summary {
    pub file: String,
    pub dataset: String,
    /// Lines that hold a row and were read.
    pub lines: u64,
    /// Acknowledged by the broker.
    pub accepted: u64,
    /// In the reject topic.
    pub refused: u64,
    /// Not known to be written.
    pub failed: u64,
    /// Refused lines per reason code; a line with several codes counts for each.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// How many refused lines this answer lists.
    pub listed: u64,
    /// Every line of the file is accepted or refused. If false, send the file again.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RefusedLine {
    pub fn new(line: u64, violations: Vec<Violation>) -> Self {
        Self { line, status: "refused", violations }
    }
}

impl Summary {
    pub fn new(job: &Job) -> Self {
        Self {
            file: job.name.clone(),
            dataset: job.dataset.id().to_owned(),
            lines: 0,
            accepted: 0,
            refused: 0,
            failed: 0,
            by_reason: BTreeMap::new(),
            listed: 0,
            complete: false,
            reason: None,
        }
    }

    pub fn refuse(&mut self, violations: &[Violation]) {
        self.refused += 1;
        let mut codes: Vec<&str> = violations.iter().map(|violation| violation.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        for violation in violations {
            let code = violation.code.as_str();
            if let Ok(index) = codes.binary_search(&code) {
                codes.remove(index);
                *self.by_reason.entry(code).or_default() += 1;
            }
        }
    }

    pub fn end(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => {
                self.complete = true;
                debug_assert_eq!(self.lines, self.accepted + self.refused, "P1: every line has its outcome");
            }
            Err(reason) => self.reason = Some(format!("{reason}; send the file again")),
        }
    }

    pub fn line(&self) -> SummaryLine {
        SummaryLine { summary: self.clone() }
    }
}
