//! Access on a cluster with TLS, passwords and an authorizer: a department may do on Kafka what the catalogue says, from the
//! apply that says so until the apply that takes it back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use freshet_catalog::{Report, apply};
use freshet_kafka::connection::{Mechanism, Protocol, Sasl, Security, Tls};
use freshet_kafka::{Connection, admin};
use freshet_testkit::broker::Secured;
use freshet_testkit::departments::{Consumer, Producer};
use freshet_testkit::{Broker, BrokerSettings};

const USERS: [(&str, &str); 4] = [("bus", "pw-bus"), ("clerk", "pw-clerk"), ("tax", "pw-tax"), ("water", "pw-water")];
const LIMIT: Duration = Duration::from_secs(120);

fn files(folder: &Path, status: &str) {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
        std::fs::write(path, text).expect("written");
    };
    write(
        "departments.yaml",
        "clerk:\n  title: {en: Clerk}\n  sources: [urn:c]\ntax:\n  title: {en: Tax}\nwater:\n  title: {en: Water}\n",
    );
    write(
        "permit/permit.avsc",
        r#"{"type": "record", "name": "Permit", "fields": [{"name": "number", "type": "string"}]}"#,
    );
    write(
        "permit/dataset.yaml",
        "title: {en: Permits}\nauthorities: [clerk]\nkey: number\nversion: sequence\npartitions: 1\ncatalogue: \
         {summary: {en: P}, update_frequency: daily, share_type: unconditional, share_method: other, classification: general}\n",
    );
    for (grant, delivery, status) in [("tax", "kafka", status), ("water", "pull", "active")] {
        let text = format!(
            "subscriber: {grant}\ndataset: permit\nfields: [number]\npurpose: p\nlegal_basis: l\nvalid_from: 2020-01-01\n\
             valid_until: 2099-12-31\nstatus: {status}\ndelivery: {delivery}\n"
        );
        write(&format!("grants/{grant}.yaml"), &text);
    }
}

struct Cluster {
    secured: Secured,
    folder: PathBuf,
}

impl Cluster {
    fn connection(&self, user: &str, password: &str, ca_file: &Path) -> Connection {
        let password_file = self.folder.join(format!("{user}.password"));
        std::fs::write(&password_file, format!("{password}\n")).expect("written");
        let sasl = Sasl { mechanism: Mechanism::Plain, username: user.to_owned(), password_file };
        let tls = Tls { ca_file: Some(ca_file.to_owned()), ..Tls::default() };
        let security = Security { protocol: Protocol::SaslTls, sasl: Some(sasl), tls: Some(tls) };
        Connection { security, ..Connection::to(self.secured.bootstrap()) }
    }

    /// librdkafka's settings, as a department's own client has them.
    fn settings<'a>(&'a self, user: &'a str) -> Vec<(&'static str, &'a str)> {
        let password = USERS.iter().find(|(name, _)| *name == user).expect("a user").1;
        vec![
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
            ("ssl.ca.location", self.secured.ca_file.to_str().expect("UTF-8")),
        ]
    }

    async fn write(&self, user: &str, topic: &str) -> Result<(), String> {
        let producer = Producer::new(&self.secured.bootstrap(), &self.settings(user)).expect("a producer");
        let sent = producer.send(topic, b"k", Some(b"v"), &[]).await.map_err(|error| error.to_string())?;
        sent.await.expect("an answer").map(drop).map_err(|(error, _)| error.to_string())
    }

    /// The first thing that comes: a record, or the refusal.
    fn read(&self, user: &str, group: &str, topic: &str) -> Result<(), String> {
        let consumer =
            Consumer::with(&self.secured.bootstrap(), group, &[topic], &self.settings(user)).expect("a consumer");
        let deadline = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < deadline, "{user} neither reads {topic} nor is refused");
            match consumer.next(Duration::from_millis(200)) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn departments_may_do_what_the_catalogue_says_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_owned();
    std::fs::create_dir_all(folder.join("other")).expect("a folder");
    let secured = Secured::make(&folder, &USERS).expect("certificates");
    let other = Secured::make(&folder.join("other"), &[]).expect("certificates");
    let settings =
        BrokerSettings { throwaway: true, secured: Some(secured.clone()), ..BrokerSettings::new(folder.join("kafka")) };
    let _broker = tokio::task::spawn_blocking(|| Broker::start(settings)).await.expect("no panic").expect("a broker");
    let cluster = Cluster { secured, folder: folder.clone() };
    let ca = cluster.secured.ca_file.clone();

    // Who cannot log on is told why.
    let wait = Duration::from_secs(10);
    let wrong = admin::is_reachable(&cluster.connection("bus", "wrong", &ca), wait).expect_err("a wrong password");
    assert!(wrong.to_string().contains("Authentication failed"), "{wrong}");
    let stranger = admin::is_reachable(&cluster.connection("bus", "pw-bus", &other.ca_file), wait);
    let stranger = stranger.expect_err("a certificate that nobody trusts");
    assert!(stranger.to_string().contains("certificate verify failed"), "{stranger}");

    let bus = cluster.connection("bus", "pw-bus", &ca);
    let files_folder = folder.join("catalogue");
    let make = |status: &str| -> Report {
        files(&files_folder, status);
        apply(&bus, &files_folder, false).unwrap_or_else(|error| panic!("{error}"))
    };
    let first = make("active");
    let view = format!("view.{}", first.changes.after().grants["tax"].view);
    let access = first.access.as_ref().expect("an authorizer");
    assert_eq!((access.add.len(), access.remove.len()), (5, 0), "{access:?}");
    assert!(first.to_string().contains(&format!("+ access: User:tax reads topic {view}\n")), "{first}");
    assert_eq!(make("active").to_string(), "No changes: the bus has what the files say.\n");

    cluster.write("bus", &view).await.expect("the bus writes views");
    cluster.write("bus", "dataset.permit").await.expect("the bus writes datasets");
    cluster.write("clerk", "publish.permit").await.expect("the authority publishes");
    cluster.write("tax", "publish.permit").await.expect_err("tax is no authority");
    cluster.write("clerk", &view).await.expect_err("an authority writes no view");
    cluster.read("tax", "tax.audit", &view).expect("tax has a grant over Kafka");
    cluster.read("tax", "audit", &view).expect_err("a group that is not its own");
    cluster.read("tax", "tax.audit-2", "dataset.permit").expect_err("more than granted");
    cluster.read("water", "water.x", &view).expect_err("water has a grant over pull");

    let taken = make("suspended");
    let access = taken.access.as_ref().expect("an authorizer");
    assert_eq!((access.add.len(), access.remove.len()), (0, 2), "{access:?}");
    cluster.read("tax", "tax.audit-3", &view).expect_err("suspended");
}
