//! The commands that the documents show, held against the program: each is understood, and those that need no bus say
//! what the documents say and exit as `docs/cli.md` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn freshet(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_freshet"))
        .args(arguments)
        .current_dir(root())
        .env("HOME", folder.path())
        .output()
        .expect("freshet")
}

fn code(arguments: &[&str]) -> i32 {
    freshet(arguments).status.code().expect("a code")
}

fn stdout(arguments: &[&str]) -> String {
    String::from_utf8(freshet(arguments).stdout).expect("UTF-8")
}

fn documents() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md"), root().join("README.zh-CN.md"), root().join("CONTRIBUTING.md")];
    let folders = ["docs", "docs/errors", "docs/alerts", "docs/decisions", "schemas"];
    for folder in folders {
        let entries = std::fs::read_dir(root().join(folder)).expect(folder);
        paths.extend(entries.flatten().map(|entry| entry.path()));
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read_to_string(&path).expect("a document"));
    paths.into_iter().map(read).collect()
}

/// The arguments of `freshet` in a line of code, up to the shell's signs. Alternatives (`validate\|diff`) become several.
fn arguments(code: &str) -> Vec<Vec<String>> {
    let code = code.trim().trim_start_matches("$ ");
    let Some(rest) = code.strip_prefix("freshet ").or_else(|| code.strip_prefix("cargo run --release -- ")) else {
        return Vec::new();
    };
    let mut found: Vec<Vec<String>> = vec![Vec::new()];
    for word in rest.split_whitespace().take_while(|word| !["#", ">", "&", "|", "&&"].contains(word)) {
        let word = match word {
            "ROLE" => "gateway",
            "SHELL" => "bash",
            "COMMAND" => "up",
            "HOST:PORT" => "localhost:9092",
            "KEY=VALUE" => "gateway.listen=127.0.0.1:8080",
            word => word,
        };
        let ways: Vec<&str> = word.split("\\|").collect();
        found = found
            .into_iter()
            .flat_map(|before| ways.iter().map(move |way| [before.clone(), vec![(*way).to_owned()]].concat()))
            .collect();
    }
    found
}

/// Lines of code blocks, and what stands between backticks.
fn code_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let mut checked = std::collections::BTreeSet::new();
    for (document, text) in documents() {
        for arguments in code_of(&text).iter().flat_map(|code| arguments(code)) {
            if arguments.iter().any(|word| word.contains('…')) || !checked.insert(arguments.clone()) {
                continue;
            }
            // Behind all others, so that an argument that is not known is found before help is given.
            let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            if words[0] != "help" {
                words.push("--help");
            }
            let output = freshet(&words);
            let problem = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{document}: freshet {}\n{problem}", arguments.join(" "));
        }
    }
    for known in [vec!["up", "--demo"], vec!["catalog", "diff", "DIR"], vec!["bench", "--quick"]] {
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        assert!(checked.contains(&known), "{known:?} was not found in the documents");
    }
}

/// The commands of console blocks that need no bus, with the output that stands below them.
#[test]
fn the_documents_show_what_the_program_prints() {
    let mut compared = 0;
    for (document, text) in documents() {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(arguments) = line.strip_prefix("$ freshet catalog validate ") else { continue };
            let mut expected = String::new();
            while let Some(next) = lines.next_if(|next| !next.starts_with("$ ") && !next.starts_with("```")) {
                expected.push_str(next);
                expected.push('\n');
            }
            assert_eq!(stdout(&["catalog", "validate", arguments.trim()]), expected, "{document}: {line}");
            compared += 1;
        }
    }
    assert!(compared > 0);
}

#[test]
fn exit_codes_are_those_of_the_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("bus").display().to_string();
    let data = |more: &[&str]| code(&[&["--data", &nowhere], more].concat());
    assert_eq!(code(&["catalog", "validate", "schemas"]), 0);
    assert_eq!(code(&["token", "create", "tax"]), 0);
    for role in ["gateway", "validator", "router", "fanout", "catalog", "observer"] {
        assert_eq!(code(&["check-config", role]), 0, "{role}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(stdout(&["completions", shell]).contains("check-config"), "{shell}");
    }
    // Something could not be done.
    assert_eq!(data(&["publish", "permit", "/nowhere/permit.csv"]), 1);
    // Arguments or settings are wrong.
    assert_eq!(code(&["up", "--once"]), 2);
    assert_eq!(code(&["up", "--port-base", "65530"]), 2);
    assert_eq!(code(&["nonsense"]), 2);
    assert_eq!(code(&["check-config", "gateway", "--set", "gateway.lisen=127.0.0.1:1"]), 2);
    assert_eq!(code(&["check-config", "gateway", "--config", "/nowhere.toml"]), 2);
    // Something to mend.
    std::fs::write(folder.path().join("departments.yaml"), "tax:\n  titel: {en: Tax}\n").expect("written");
    assert_eq!(code(&["catalog", "validate", &folder.path().display().to_string()]), 3);
}

#[test]
fn programs_read_json() {
    let json = |arguments: &[&str]| -> serde_json::Value {
        let text = stdout(&[&["--output", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{text}"))
    };
    assert_eq!(json(&["catalog", "validate", "schemas"])["valid"], true);
    assert!(json(&["token", "create", "tax"]).is_object());
    assert!(json(&["check-config", "gateway"]).to_string().contains("gateway.listen"));
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for arguments in [&["completions", "bash"][..], &["check-config", "validator"], &["catalog", "validate", "schemas"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_freshet"))
            .args(arguments)
            .current_dir(root())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.is_empty(), "{arguments:?}: {:?} {said}", ended.status);
    }
}
