//! `freshet check-config ROLE`: every setting, its value and where it comes from.

use serde_json::json;

use crate::cli::{Globals, OutputForm, RoleArguments};
use crate::exit::Exit;
use crate::{roles, settings};

const SHARED: [&str; 3] = ["kafka.", "admin.", "log."];

pub fn run(globals: &Globals, arguments: &RoleArguments) -> anyhow::Result<Exit> {
    let loaded = settings::load(globals, &[])?;
    let own = format!("{}.", arguments.role.name());
    let shown: Vec<(&String, String, String)> = loaded
        .sources
        .iter()
        .filter(|(key, _)| key.starts_with(&own) || SHARED.iter().any(|shared| key.starts_with(shared)))
        .map(|(key, (value, source))| (key, value.clone(), source.to_string()))
        .collect();
    let problems = roles::check(arguments.role, &loaded.value);
    match globals.output {
        OutputForm::Json => {
            let settings: serde_json::Map<String, serde_json::Value> = shown
                .iter()
                .map(|(key, value, source)| ((*key).clone(), json!({ "value": value, "source": source })))
                .collect();
            println!("{}", json!({ "settings": settings, "problems": problems }));
        }
        OutputForm::Text => {
            let width = shown.iter().map(|(key, value, _)| key.len() + value.len() + 3).max().unwrap_or(0).min(70);
            for (key, value, source) in &shown {
                println!("{:width$}  # {source}", format!("{key} = {value}"));
            }
            for problem in &problems {
                eprintln!("freshet: {problem}");
            }
        }
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Usage })
}
