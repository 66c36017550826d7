//! Access on a cluster with TLS, passwords and an authorizer: a department may do on Kafka what the catalogue says, from the
//! apply that says so until the apply that takes it back, or the day on which its grant ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use freshet_catalog::{Config, Report, apply};
use freshet_catalog_model::access::Roles;
use freshet_kafka::connection::{Mechanism, Protocol, Sasl, Security, Tls};
use freshet_kafka::{Connection, acl, admin};
use freshet_runtime::Context;
use freshet_testkit::broker::{Life, Secured};
use freshet_testkit::departments::Refusal;
use freshet_testkit::{Broker, BrokerSettings};
use jiff::civil::date;

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
    fn connection(&self, user: &str, password: &str, mechanism: Mechanism, ca_file: &Path) -> Connection {
        let password_file = self.folder.join(format!("{user}.{password}"));
        std::fs::write(&password_file, format!("{password}\n")).expect("written");
        let sasl = Sasl { mechanism, username: user.to_owned(), password_file };
        let tls = Tls { ca_file: Some(ca_file.to_owned()), ..Tls::default() };
        let security = Security { protocol: Protocol::SaslTls, sasl: Some(sasl), tls: Some(tls) };
        Connection { security, ..Connection::to(self.secured.bootstrap()) }
    }

    async fn write(&self, user: &str, topic: &str) -> Result<(), Refusal> {
        self.secured.visitor(user, "PLAIN").write(topic).await
    }

    fn read(&self, user: &str, group: &str, topic: &str) -> Result<(), Refusal> {
        self.secured.visitor(user, "SCRAM-SHA-512").read(group, topic).map(drop)
    }
}

/// Waits that long for a cluster that lets nobody in.
fn reaches(connection: &Connection) -> Result<(), freshet_kafka::Error> {
    admin::is_reachable(connection, Duration::from_secs(10))
}

/// Refused by the authorizer, and not for another reason.
fn refused(outcome: Result<(), Refusal>, what: &str) {
    let refusal = outcome.expect_err(what).to_string();
    assert!(refusal.contains("Authorization") || refusal.contains("authorization"), "{what}: {refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn departments_may_do_what_the_catalogue_says_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_owned();
    std::fs::create_dir_all(folder.join("other")).expect("a folder");
    let secured = Secured::make(&folder, &USERS).expect("certificates");
    let other = Secured::make(&folder.join("other"), &[]).expect("certificates");
    let settings = BrokerSettings {
        life: Life::Throwaway,
        secured: Some(secured.clone()),
        ..BrokerSettings::new(folder.join("kafka"))
    };
    let _broker = tokio::task::spawn_blocking(|| Broker::start(settings)).await.expect("no panic").expect("a broker");
    let cluster = Cluster { secured, folder: folder.clone() };
    let ca = cluster.secured.ca_file.clone();

    // Who cannot log on is told why, whichever way it is.
    let (right, wrong) = ("pw-bus", "wrong");
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        reaches(&cluster.connection("bus", right, mechanism, &ca)).expect("the right password");
    }
    // Each writes the password's file anew, so all are made before any is read.
    let mechanisms = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
    let attempts = mechanisms.map(|mechanism| (mechanism, cluster.connection("bus", wrong, mechanism, &ca)));
    std::thread::scope(|scope| {
        for (mechanism, connection) in attempts {
            scope.spawn(move || {
                let error = reaches(&connection).expect_err("a wrong password").to_string();
                assert!(error.contains("Authentication failed"), "{mechanism:?}: {error}");
            });
        }
        let error = reaches(&cluster.connection("bus", right, Mechanism::Plain, &other.ca_file));
        let error = error.expect_err("a certificate that nobody trusts").to_string();
        assert!(error.contains("certificate verify failed"), "{error}");
    });

    let bus = cluster.connection("bus", "pw-bus", Mechanism::ScramSha512, &ca);
    let files_folder = folder.join("catalogue");
    let make = |status: &str| -> Report {
        files(&files_folder, status);
        apply(&bus, &Roles::default(), &files_folder, false).unwrap_or_else(|error| panic!("{error}"))
    };
    let first = make("active");
    let view = format!("view.{}", first.changes.after().grants["tax"].view);
    let access = first.access.as_ref().expect("an authorizer");
    assert_eq!((access.add.len(), access.remove.len()), (6, 0), "{access:?}");
    assert!(first.to_string().contains(&format!("+ access: User:tax reads topic {view}\n")), "{first}");
    assert_eq!(make("active").to_string(), "No changes: the bus has what the files say.\n");

    cluster.write("bus", &view).await.expect("the bus writes views");
    cluster.write("bus", "dataset.permit").await.expect("the bus writes datasets");
    cluster.write("bus", "reject.clerk").await.expect("the bus writes rejections");
    cluster.write("clerk", "publish.permit").await.expect("the authority publishes");
    refused(cluster.write("tax", "publish.permit").await, "tax is no authority");
    refused(cluster.write("clerk", &view).await, "an authority writes no view");
    cluster.read("tax", "tax.audit", &view).expect("tax has a grant over Kafka");
    cluster.read("tax", "tax", &view).expect("in the group of the grant's name");
    refused(cluster.read("tax", "audit", &view), "a group that is not its own");
    refused(cluster.read("tax", "tax.audit-2", "dataset.permit"), "more than granted");
    refused(cluster.read("water", "water.x", &view), "water has a grant over pull");
    cluster.read("clerk", "clerk.x", "reject.clerk").expect("whoever publishes reads its rejections");
    for rejections in ["reject.clerk", "reject.unassigned"] {
        refused(cluster.read("tax", "tax.audit-3", rejections), "who publishes nothing has no rejections");
    }

    let taken = make("suspended");
    let access = taken.access.as_ref().expect("an authorizer");
    assert_eq!((access.add.len(), access.remove.len()), (0, 3), "{access:?}");
    refused(cluster.read("tax", "tax.audit-4", &view), "suspended");

    make("active");
    cluster.read("tax", "tax.audit-5", &view).expect("active again");
    a_grant_ends_by_its_dates(&cluster, &bus, &view).await;
}

/// Midnight comes, and nobody applies anything.
async fn a_grant_ends_by_its_dates(cluster: &Cluster, bus: &Connection, view: &str) {
    let today = Arc::new(Mutex::new(date(2099, 12, 31)));
    let clock = {
        let today = Arc::clone(&today);
        Arc::new(move || *today.lock().expect("no panic"))
    };
    let context = Context::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let config = Config { listen: free, ..Config::default() };
    let service = freshet_catalog::run_at(config, Roles::default(), bus.clone(), context.clone(), clock);
    let service = tokio::spawn(service);
    // A reader that goes on all the time, as a department's does.
    let reader = cluster.secured.visitor("tax", "SCRAM-SHA-256").consumer("tax.always", &[view]).expect("a consumer");
    let ended = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut midnight = None;
        while begun.elapsed() < LIMIT {
            match reader.next(Duration::from_millis(100)) {
                Ok(Some(_)) => {
                    *today.lock().expect("no panic") = date(2100, 1, 1);
                    midnight = Some(Instant::now());
                }
                Ok(None) => {}
                Err(error) => return midnight.map(|midnight| (midnight.elapsed(), error.to_string())),
            }
        }
        None
    });
    let (after, refusal) =
        ended.await.expect("no panic").expect("the reader is refused after midnight, and not before");
    assert!(refusal.contains("TopicAuthorizationFailed"), "{refusal}");
    assert!(after < Duration::from_secs(5), "refused {after:?} after midnight");
    println!("a grant that ended at midnight was not read any more after {after:?}");
    let left = acl::describe(bus).expect("the ACLs").expect("an authorizer");
    assert!(left.iter().all(|acl| acl.principal != "User:tax"), "{left:?}");
    context.stop.cancel();
    service.await.expect("no panic").expect("stopped");
}
