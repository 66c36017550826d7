use std::io::Write;

use serde::Deserialize;

use super::*;
use crate::Secret;

const DEFAULTS: &str = r#"
[gateway]
listen = "127.0.0.1:8080"
max_batch_events = 1000
origins = []

[kafka]
bootstrap_servers = "127.0.0.1:9092"
password = ""
"#;

#[derive(Debug, Deserialize)]
struct Settings {
    gateway: Gateway,
    kafka: Kafka,
}

#[derive(Debug, Deserialize)]
struct Gateway {
    listen: std::net::SocketAddr,
    max_batch_events: usize,
    origins: Vec<String>,
    credentials_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kafka {
    bootstrap_servers: String,
    password: Secret,
    #[serde(default)]
    security: Security,
    #[serde(default)]
    extra: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Security {
    #[default]
    Plaintext,
    Ssl,
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_with(
    file: Option<&Path>,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded<Settings>, String> {
    load_from(DEFAULTS, file, ("FRESHET", &pairs(environment)), &pairs(flags)).map_err(|error| error.to_string())
}

#[test]
fn each_layer_goes_over_the_one_before_and_is_remembered() {
    let file = file("[gateway]\nmax_batch_events = 10\nlisten = \"127.0.0.1:1\"\norigins = [\"x\"]\n");
    let loaded = load_with(
        Some(file.path()),
        &[("FRESHET__GATEWAY__LISTEN", "127.0.0.1:2"), ("FRESHET__GATEWAY__ORIGINS", "a, b"), ("PATH", "/bin")],
        &[("gateway.listen", "127.0.0.1:3"), ("kafka.security", "ssl")],
    )
    .unwrap();
    assert_eq!(loaded.value.gateway.listen.port(), 3);
    assert_eq!(loaded.value.gateway.max_batch_events, 10);
    assert_eq!(loaded.value.gateway.origins, ["a", "b"]);
    assert_eq!(loaded.value.gateway.credentials_file, None);
    assert_eq!(loaded.value.kafka.security, Security::Ssl);
    assert_eq!(loaded.value.kafka.bootstrap_servers, "127.0.0.1:9092");
    let source = |key: &str| loaded.sources[key].1.to_string();
    assert_eq!(source("gateway.listen"), "flag gateway.listen");
    assert_eq!(source("gateway.origins"), "environment FRESHET__GATEWAY__ORIGINS");
    assert_eq!(source("gateway.max_batch_events"), format!("file {}", file.path().display()));
    assert_eq!(source("kafka.bootstrap_servers"), "default");
    assert_eq!(loaded.sources["gateway.listen"].0, "127.0.0.1:3");
}

#[test]
fn every_unknown_key_is_refused_with_its_layer_and_the_nearest_known() {
    let file = file("[gateway]\nmax_batch_event = 10\n[kafka]\nwhatever = 1\n");
    let error = load_with(Some(file.path()), &[("FRESHET__GATWAY__LISTEN", "x")], &[]).unwrap_err();
    let lines: Vec<_> = error.lines().collect();
    let path = file.path().display();
    assert_eq!(
        lines,
        [
            "unknown setting gatway (environment FRESHET__GATWAY__LISTEN); did you mean gateway?".to_owned(),
            format!("unknown setting gateway.max_batch_event (file {path}); did you mean gateway.max_batch_events?"),
            format!(
                "unknown setting kafka.whatever (file {path}); known here: bootstrap_servers, password, security, extra"
            ),
        ]
    );
}

#[test]
fn a_wrong_value_names_its_key_and_layer() {
    for (variable, text, expected) in [
        ("FRESHET__GATEWAY__MAX_BATCH_EVENTS", "many", "`many` is not a whole number"),
        ("FRESHET__GATEWAY__LISTEN", "nowhere", "invalid socket address"),
        ("FRESHET__KAFKA__SECURITY", "tls", "unknown variant `tls`"),
        ("FRESHET__KAFKA", "x", "invalid type"),
    ] {
        let error = load_with(None, &[(variable, text)], &[]).unwrap_err();
        assert!(error.contains(&format!("(environment {variable})")) && error.contains(expected), "{error}");
    }
    let missing = load_from::<Settings>("", None, ("FRESHET", &[]), &[]).unwrap_err().to_string();
    assert!(missing.contains("missing field `gateway`"), "{missing}");
}

#[test]
fn a_name_with_dots_stands_in_quotes() {
    let file = file("[kafka.extra]\n\"linger.ms\" = \"1\"\n\"fetch.wait.max.ms\" = \"2\"\n\"client.rack\" = \"3\"\n");
    let variable = "FRESHET__KAFKA__EXTRA__FETCH.WAIT.MAX.MS";
    let flag = r#"kafka.extra."client.rack""#;
    let loaded = load_with(Some(file.path()), &[(variable, "4")], &[(flag, "5")]).unwrap();
    let extra = [("client.rack", "5"), ("fetch.wait.max.ms", "4"), ("linger.ms", "1")];
    assert_eq!(loaded.value.kafka.extra, pairs(&extra).into_iter().collect());
    assert_eq!(loaded.sources["kafka.extra.client.rack"].1.to_string(), format!("flag {flag}"));
    let error = load_with(None, &[], &[("kafka.extra.linger.ms", "1")]).unwrap_err();
    assert!(error.contains("kafka.extra.linger") && error.contains("stands in quotes"), "{error}");
    for wrong in ["", "kafka..extra", "kafka.", "kafka extra"] {
        let error = load_with(None, &[], &[(wrong, "1")]).unwrap_err();
        assert!(error.starts_with(&format!("unknown setting {wrong} (flag {wrong}); not a name")), "{error}");
    }
    let error = load_with(None, &[("FRESHET__KAFKA____X", "1")], &[]).unwrap_err();
    assert!(error.contains("a part of its name is empty"), "{error}");
}

/// The config crate's own conversions take these for what they are not.
#[test]
fn what_a_file_gives_has_its_type() {
    for wrong in ["max_batch_events = \"10\"", "max_batch_events = 1.5", "max_batch_events = true", "listen = 1"] {
        let file = file(&format!("[gateway]\n{wrong}\n"));
        let error = load_with(Some(file.path()), &[], &[]).unwrap_err();
        assert!(error.contains("invalid type") && error.contains(&file.path().display().to_string()), "{error}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let loaded = load_with(None, &[("FRESHET__KAFKA__PASSWORD", "12345")], &[]).unwrap();
    assert_eq!(loaded.value.kafka.password.expose(), "12345");
    assert_eq!(loaded.sources["kafka.password"].0, "[redacted]");
    assert!(!format!("{loaded:?}").contains("12345"));

    let secret = file("s3cret\n");
    let path = secret.path().display().to_string();
    let loaded = load_with(None, &[("FRESHET__KAFKA__PASSWORD_FILE", &path)], &[]).unwrap();
    assert_eq!(loaded.value.kafka.password.expose(), "s3cret");
    assert_eq!(loaded.sources["kafka.password"].0, "[redacted]");
    assert_eq!(
        loaded.sources["kafka.password"].1.to_string(),
        format!("file {path}, named by environment FRESHET__KAFKA__PASSWORD_FILE")
    );

    let both = [("FRESHET__KAFKA__PASSWORD_FILE", path.as_str()), ("FRESHET__KAFKA__PASSWORD", "hunter2")];
    let error = load_with(None, &both, &[]).unwrap_err();
    assert!(error.contains("give one of them") && !error.contains("hunter2"), "{error}");
    let error = load_with(None, &[("FRESHET__KAFKA__PASSWORD_FILE", "/nowhere")], &[]).unwrap_err();
    assert!(error.contains("kafka.password_file") && error.contains("/nowhere"), "{error}");
}

#[test]
fn a_secret_that_everybody_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let file = file("hunter2");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.path().to_string_lossy();
    let error = load_with(None, &[("FRESHET__KAFKA__PASSWORD_FILE", &path)], &[]).unwrap_err();
    assert!(error.contains("kafka.password_file") && error.contains("everybody on this machine"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_real_setting_that_ends_in_file_is_no_indirection() {
    let loaded = load_with(None, &[("FRESHET__GATEWAY__CREDENTIALS_FILE", "/etc/tokens.toml")], &[]).unwrap();
    assert_eq!(loaded.value.gateway.credentials_file.as_deref(), Some("/etc/tokens.toml"));
}

#[test]
fn a_file_that_is_no_toml_or_absent_is_named() {
    let file = file("[gateway\n");
    let error = load_with(Some(file.path()), &[], &[]).unwrap_err();
    assert!(error.contains("not TOML") && error.contains("line 1"), "{error}");
    let error = load_with(Some(Path::new("/nowhere.toml")), &[], &[]).unwrap_err();
    assert!(error.contains("/nowhere.toml"), "{error}");
}

#[test]
fn a_section_serves_as_a_default() {
    let gateway: Gateway =
        section("[gateway]\nlisten = \"127.0.0.1:1\"\nmax_batch_events = 1\norigins = []", "gateway").unwrap();
    assert_eq!(gateway.listen.port(), 1);
    assert!(section::<Gateway>("", "gateway").is_err());
    assert!(section::<Gateway>("[gateway]\nlistem = \"127.0.0.1:1\"", "gateway").is_err());
}
