//! `freshet catalog validate|diff|apply DIR`.

use freshet_catalog_model::{Diagnostic, SourceCatalog};
use serde_json::json;

use crate::cli::{CatalogAction, CatalogArguments, Globals, OutputForm};
use crate::client;
use crate::exit::Exit;

pub fn run(globals: &Globals, arguments: &CatalogArguments) -> anyhow::Result<Exit> {
    let result = match &arguments.action {
        CatalogAction::Validate { dir } => freshet_catalog::validate(dir).map(|source| print_valid(globals, &source)),
        CatalogAction::Diff { dir } => freshet_catalog::diff(&client::connection(globals)?, dir).map(|changes| {
            match globals.output {
                OutputForm::Json => println!("{}", json!({ "changes": changes.lines() })),
                OutputForm::Text => print!("{changes}"),
            }
            if changes.is_empty() { Exit::Done } else { Exit::Findings }
        }),
        CatalogAction::Apply { dir } => {
            freshet_catalog::apply(&client::connection(globals)?, dir, false).map(|report| {
                match globals.output {
                    OutputForm::Json => println!("{}", json!(report)),
                    OutputForm::Text => print!("{report}"),
                }
                Exit::Done
            })
        }
    };
    match result {
        Ok(exit) => Ok(exit),
        Err(freshet_catalog::Error::Refused(mistakes)) => Ok(print_mistakes(globals, &mistakes)),
        Err(error) => Err(error.into()),
    }
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
