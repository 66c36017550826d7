//! `freshet catalog validate|access|diff|apply DIR`, `freshet catalog export|import FILE`.

use std::path::Path;

use freshet_catalog::{Exported, Newer};
use freshet_catalog_model::access::{Acl, Principals, Roles};
use freshet_catalog_model::{Diagnostic, SourceCatalog};
use serde_json::json;

use crate::cli::{CatalogAction, CatalogArguments, Globals, OutputForm};
use crate::client;
use crate::exit::Exit;

pub fn run(globals: &Globals, arguments: &CatalogArguments) -> anyhow::Result<Exit> {
    let result = match &arguments.action {
        CatalogAction::Validate { dir } => freshet_catalog::validate(dir).map(|source| print_valid(globals, &source)),
        CatalogAction::Access { dir } => {
            let roles = client::settings(globals)?.roles();
            freshet_catalog::access(&roles, dir).map(|acls| print_access(globals, &roles, &acls))
        }
        CatalogAction::Diff { dir } => compare(globals, dir, true)?,
        CatalogAction::Apply { dir } => compare(globals, dir, false)?,
        CatalogAction::Export { file } => freshet_catalog::export(&client::connection(globals)?, file)
            .map(|exported| print_exported(globals, &exported)),
        CatalogAction::Import { file, overwrite } => {
            let newer = if *overwrite { Newer::Overwrite } else { Newer::Refuse };
            let settings = client::settings(globals)?;
            freshet_catalog::import(&settings.kafka, &settings.roles(), file, newer)
                .map(|report| print_report(globals, &report))
        }
    };
    match result {
        Ok(exit) => Ok(exit),
        Err(freshet_catalog::Error::Refused(mistakes)) => Ok(print_mistakes(globals, &mistakes)),
        Err(error) => Err(error.into()),
    }
}

fn compare(globals: &Globals, dir: &Path, dry_run: bool) -> anyhow::Result<Result<Exit, freshet_catalog::Error>> {
    let settings = client::settings(globals)?;
    let report = freshet_catalog::apply(&settings.kafka, &settings.roles(), dir, dry_run);
    Ok(report.map(|report| print_report(globals, &report)))
}

fn print_access(globals: &Globals, roles: &Roles, acls: &[Acl]) -> Exit {
    match globals.output {
        OutputForm::Json => println!("{}", json!(acls)),
        OutputForm::Text => acls.iter().for_each(|acl| println!("{acl}")),
    }
    if roles.principals == Principals::default() {
        eprintln!("note: no access.<role> is set, so only departments are listed (docs/security.md)");
    }
    Exit::Done
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

fn print_exported(globals: &Globals, exported: &Exported) -> Exit {
    match globals.output {
        OutputForm::Json => println!("{}", json!(exported)),
        OutputForm::Text => println!(
            "{}: {} departments, {} datasets, {} schemas, {} grants, {} views, as of {}",
            exported.file.display(),
            exported.departments,
            exported.datasets,
            exported.schemas,
            exported.grants,
            exported.views,
            exported.changed_at
        ),
    }
    Exit::Done
}

fn print_mistakes(globals: &Globals, mistakes: &[Diagnostic]) -> Exit {
    match globals.output {
        OutputForm::Json => println!("{}", json!({ "valid": false, "mistakes": mistakes })),
        OutputForm::Text => {
            for mistake in mistakes {
                eprintln!("{mistake}");
            }
            eprintln!("{} {}", mistakes.len(), if mistakes.len() == 1 { "mistake" } else { "mistakes" });
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
