//! `freshet token create DEPARTMENT`.

use freshet_runtime::credentials::hash_of;
use serde_json::json;

use crate::cli::{Globals, OutputForm, TokenAction, TokenArguments};
use crate::exit::Exit;
use crate::up::secrets::random_hex;

pub fn run(globals: &Globals, arguments: &TokenArguments) -> anyhow::Result<Exit> {
    let TokenAction::Create { department } = &arguments.action;
    let token = random_hex()?;
    let hash = hash_of(&token);
    match globals.output {
        OutputForm::Json => println!("{}", json!({ "department": department, "token": token, "sha256": hash })),
        OutputForm::Text => {
            println!("{token}");
            eprintln!("Give the token above to {department}; it is shown once. Into [tokens] of the credentials file:");
            eprintln!("{department} = [\"{hash}\"]");
        }
    }
    Ok(Exit::Done)
}
