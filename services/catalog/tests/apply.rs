//! `apply` and the service on the real broker. One test: a cluster has one catalogue.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use freshet_catalog::{Config, Error, apply, diff};
use freshet_catalog_model::access::Roles;
use freshet_catalog_model::topic::topics_of;
use freshet_kafka::{Connection, admin, catalog};
use freshet_runtime::Context;
use freshet_testkit::Broker;

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
    std::fs::write(path, text).expect("written");
}

fn dataset(partitions: i32, publish_hours: u32) -> String {
    format!(
        "title: {{en: Permits}}\nauthorities: [planning]\nkey: number\nversion: sequence\npartitions: {partitions}\n\
         retention: {{publish_hours: {publish_hours}}}\n\
         catalogue: {{summary: {{en: P}}, update_frequency: daily, share_type: unconditional, share_method: other, classification: general}}\n"
    )
}

const AVSC: &str = r#"{"type": "record", "name": "Permit", "fields": [{"name": "number", "type": "string"}]}"#;

fn good_files(dir: &Path) {
    write(dir, "departments.yaml", "planning:\n  title: {en: Planning}\n  sources: [urn:p]\n");
    write(dir, "permit/permit.avsc", AVSC);
    write(dir, "permit/dataset.yaml", &dataset(2, 24));
    write(
        dir,
        "grants/own.yaml",
        "subscriber: planning\ndataset: permit\nfields: [number]\npurpose: p\nlegal_basis: l\n\
         valid_from: 2026-01-01\nvalid_until: 2026-12-31\ndelivery: kafka\n",
    );
}

#[test]
fn a_folder_becomes_the_catalogue() {
    let connection = Connection::to(Broker::shared().bootstrap());
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    good_files(dir);

    let dry = apply(&connection, &Roles::default(), dir, true).expect("a dry run");
    assert!(dry.to_string().contains("+ dataset permit\n"), "{dry}");
    let mut topics = admin::topics(&connection).expect("topics");
    topics.retain(|name, _| !name.starts_with("__"));
    assert_eq!(topics, BTreeMap::new(), "a dry run changes nothing");

    let first = apply(&connection, &Roles::default(), dir, false).expect("applied");
    let written = catalog::read_once(&connection).expect("readable");
    assert_eq!(&written, first.changes.after());
    let topics = admin::topics(&connection).expect("topics");
    for wanted in topics_of(&written) {
        assert_eq!(topics.get(&wanted.name), Some(&wanted.partitions), "{}", wanted.name);
    }
    assert_eq!(first.created.len(), topics_of(&written).len());

    let again = apply(&connection, &Roles::default(), dir, false).expect("applied again");
    assert!(again.changes.is_empty() && again.created.is_empty() && again.altered.is_empty(), "{again}");
    assert_eq!(again.to_string(), "No changes: the bus has what the files say.\n");

    // A setting is altered, a wider dataset widens the rejections, a mistake changes nothing at all.
    write(dir, "permit/dataset.yaml", &dataset(2, 48));
    write(dir, "visit/visit.avsc", AVSC);
    write(dir, "visit/dataset.yaml", &dataset(3, 24));
    let third = apply(&connection, &Roles::default(), dir, false).expect("applied");
    assert!(third.altered.contains(&"publish.permit".to_owned()), "{:?}", third.altered);
    assert!(third.altered.contains(&"reject.planning".to_owned()), "{:?}", third.altered);
    write(dir, "permit/dataset.yaml", &dataset(5, 48));
    let Err(Error::Refused(diagnostics)) = apply(&connection, &Roles::default(), dir, false) else { panic!("applied") };
    assert_eq!(diagnostics[0].place.to_string(), "permit/dataset.yaml:5:1");
    assert_eq!(&catalog::read_once(&connection).expect("readable"), third.changes.after());

    // Removed from the files: gone from the catalogue, but the topics stay.
    std::fs::remove_dir_all(dir.join("visit")).expect("removed");
    write(dir, "permit/dataset.yaml", &dataset(2, 48));
    apply(&connection, &Roles::default(), dir, false).expect("applied");
    assert!(!catalog::read_once(&connection).expect("readable").datasets.contains_key("visit"));
    assert!(admin::topics(&connection).expect("topics").contains_key("dataset.visit"));
    assert!(diff(&connection, dir).expect("readable").is_empty());

    serves(connection);
}

fn serves(connection: Connection) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async move {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], freshet_testkit::ports::free_port().expect("a port")));
        let context = Context::new();
        let config = Config { listen, ..Config::default() };
        let service = tokio::spawn(freshet_catalog::run(config, Roles::default(), connection, context.clone()));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let client = reqwest::Client::new();
        let url = format!("http://{listen}/subjects/publish.permit-value/versions/latest");
        loop {
            assert!(tokio::time::Instant::now() < deadline, "not served in time");
            assert!(!service.is_finished(), "the service ended");
            match client.get(&url).send().await {
                Ok(response) if response.status().is_success() => {
                    let body: serde_json::Value = response.json().await.expect("JSON");
                    assert_eq!(body["schema"], AVSC);
                    break;
                }
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
        while !context.readiness.is_ready() {
            assert!(tokio::time::Instant::now() < deadline, "not ready in time");
            tokio::task::yield_now().await;
        }
        context.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), service).await.expect("stops in time");
        ended.expect("no panic").expect("no error");
    });
}
