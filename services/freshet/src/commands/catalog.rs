//! `freshet catalog validate|diff|apply DIR`.

use freshet_catalog_model::{Diagnostic, SourceCatalog};
use serde_json::json;

use crate::cli::{CatalogAction, CatalogArguments, Globals, OutputForm};
use crate::client;
use crate::exit::Exit;

pub fn run(globals: &Globals, arguments: &CatalogArguments) -> anyhow::Result<Exit> {
    let result = match &arguments.action {
        CatalogAction::Validate { dir } => freshet_catalog::validate(dir).map(|source| print_valid(globals, &source)),
        CatalogAction::Diff { dir } => freshet_catalog::apply(&client::connection(globals)?, dir, true)
            .map(|report| print_report(globals, &report)),
        CatalogAction::Apply { dir } => freshet_catalog::apply(&client::connection(globals)?, dir, false)
            .map(|report| print_report(globals, &report)),
    };
    match result {
        Ok(exit) => Ok(exit),
        Err(freshet_catalog::Error::Refused(mistakes)) => Ok(print_mistakes(globals, &mistakes)),
        Err(error) => Err(error.into()),
    }
}

/// Exit 3 where a dry run finds differences.
fn print_report(globals: &Globals, report: &freshet_catalog::Report) -> Exit {
    match globals.output {
        OutputForm::Json => println!("{}", json!(report)),
        OutputForm::Text => print!("{report}"),
    }
    if report.access.is_none() {
        eprintln!(
            "note: the cluster has no authorizer, so no access is set: whoever reaches it may read and write every topic"
        );
    }
    let is_same = report.changes.is_empty() && report.access.as_ref().is_none_or(|access| access.is_empty());
    if report.dry_run && !is_same { Exit::Findings } else { Exit::Done }
}

fn print_mistakes(globals: &Globals, mistakes: &[Diagnostic]) -> Exit {
    match globals.output {
        OutputForm::Json => println!("{}", json!({ "valid": false, "mistakes": mistakes })),
        OutputForm::Text => {
            for mistake in mistakes {
                eprintln!("{mistake}");
            }
            eprintln!("{} mistake(s)", mistakes.len());
        }
    }
    Exit::Findings
}

fn print_valid(globals: &Globals, source: &SourceCatalog) -> Exit {
    let (departments, datasets, grants) = (source.departments.len(), source.datasets.len(), source.grants.len());
    match globals.output {
        OutputForm::Json => {
            println!("{}", json!({ "valid": true, "departments": departments, "datasets": datasets, "grants": grants }))
        }
        OutputForm::Text => println!("valid: {departments} departments, {datasets} datasets, {grants} grants"),
    }
    Exit::Done
}
