//! The departments' side by itself: a private database, and a webhook receiver that believes no wrong signature.

use freshet_testkit::departments::Receiver;
use freshet_testkit::postgres::{PostgresError, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_private_database_survives_a_kill() {
    let mut server = match Server::start_private() {
        Ok(server) => server,
        Err(error @ (PostgresError::NotInstalled | PostgresError::NoSetpriv)) => {
            eprintln!("not tested: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    query(&server.url(), "create table kept as select 1 as n").await;
    server.kill();
    server.restart().unwrap();
    query(&server.url(), "insert into kept select n + 1 from kept").await;
}

async fn query(url: &str, text: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let running = tokio::spawn(connection);
    client.batch_execute(text).await.unwrap();
    drop(client);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_webhook_without_the_right_signature_is_refused() {
    let (receiver, mut deliveries) = Receiver::start(0).await.unwrap();
    receiver.expect("tax", "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0");
    let webhook = standardwebhooks::Webhook::new("whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let signature = webhook.sign("msg_1", now, b"{}").unwrap();
    let client = reqwest::Client::new();
    let send = |path: &str, signature: &str| {
        client
            .post(receiver.url(path))
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", now)
            .header("webhook-signature", signature)
            .body("{}")
            .send()
    };
    assert_eq!(send("tax", "v1,AAAA").await.unwrap().status(), 401);
    assert_eq!(send("other", &signature).await.unwrap().status(), 401);
    assert_eq!(send("tax", &signature).await.unwrap().status(), 200);
    assert_eq!(receiver.unsigned(), 2);
    let delivery = deliveries.recv().await.unwrap();
    assert_eq!((delivery.path.as_str(), delivery.id.as_str()), ("tax", "msg_1"));
    receiver.answer(503);
    assert_eq!(send("tax", &signature).await.unwrap().status(), 503);
}
