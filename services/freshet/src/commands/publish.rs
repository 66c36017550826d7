//! `freshet publish DATASET FILE`.

use std::path::Path;

use anyhow::{Context as _, bail};
use freshet_testkit::departments::{RefusedLine, Upload, UploadSummary};
use serde_json::json;
use tokio_util::io::ReaderStream;

use crate::cli::{Globals, OutputForm, PublishArguments};
use crate::client;
use crate::exit::Exit;

pub fn run(globals: &Globals, arguments: PublishArguments) -> anyhow::Result<Exit> {
    let gateway = client::gateway(globals, arguments.gateway.as_deref())?;
    let token = match &arguments.token_file {
        Some(file) => client::token(globals, Some(file), None)?,
        None => client::token(globals, None, Some(&publisher(globals, &arguments)?))?,
    };
    let name = file_name(&arguments.file)?;
    let upload = Upload { gateway, token, dataset: arguments.dataset.clone(), name, source: arguments.source.clone() };
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    let summary = runtime.block_on(async {
        let file = tokio::fs::File::open(&arguments.file)
            .await
            .with_context(|| format!("opening {}", arguments.file.display()))?;
        let body = reqwest::Body::wrap_stream(ReaderStream::new(file));
        Ok::<_, anyhow::Error>(upload.send(body, |refused| print_refused(globals, &upload, refused)).await?)
    })?;
    print_summary(globals, &upload, &summary);
    Ok(match (summary.complete, summary.refused) {
        (false, _) => Exit::Failed,
        (true, 0) => Exit::Done,
        (true, _) => Exit::Findings,
    })
}

/// The department that may publish the dataset, by the bus's catalogue.
fn publisher(globals: &Globals, arguments: &PublishArguments) -> anyhow::Result<String> {
    if let Some(department) = &arguments.department {
        return Ok(department.clone());
    }
    let catalog = freshet_kafka::catalog::read_once(&client::connection(globals)?)?;
    let Some(dataset) = catalog.datasets.get(&arguments.dataset) else {
        let known: Vec<&str> = catalog.datasets.keys().map(String::as_str).collect();
        bail!("there is no dataset {}; there are: {}", arguments.dataset, known.join(", "));
    };
    match &dataset.authorities[..] {
        [one] => Ok(one.department.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|authority| authority.department.as_str()).collect();
            bail!("several departments publish {}: give --department, one of {}", dataset.id, names.join(", "))
        }
    }
}

fn file_name(path: &Path) -> anyhow::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| format!("{} has no file name", path.display()))
}

/// `contract_award line 812, field award_amount: "3501.872.63" is not an amount: two decimal points`
fn print_refused(globals: &Globals, upload: &Upload, refused: RefusedLine) {
    match globals.output {
        OutputForm::Json => println!("{}", json!(refused)),
        OutputForm::Text => {
            for violation in refused.violations {
                println!("{} line {}, {violation}", upload.dataset, refused.line);
            }
        }
    }
}

fn print_summary(globals: &Globals, upload: &Upload, summary: &UploadSummary) {
    if globals.output == OutputForm::Json {
        println!("{}", json!({ "summary": summary }));
        return;
    }
    println!("{}: {} lines, {} published, {} refused", upload.name, summary.lines, summary.accepted, summary.refused);
    for (code, count) in &summary.by_reason {
        println!("  {count:>7} {code}");
    }
    if summary.refused > summary.listed {
        println!("  only the first {} are listed above; all of them: freshet rejects list", summary.listed);
    }
    if !summary.complete {
        eprintln!("freshet: not complete: {}", summary.reason.as_deref().unwrap_or("no reason given"));
    }
}
