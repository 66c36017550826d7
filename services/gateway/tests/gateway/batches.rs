//! Batches: one result per event, in order, all written or all to be sent again.

use serde_json::{Value, json};

use crate::fixture::{Fixture, closure, violations};

#[tokio::test]
async fn each_event_has_its_result_in_order() {
    let fixture = Fixture::new();
    let mut bad = closure(2);
    bad["data"]["lanes"] = json!("two");
    let answer = fixture.publish_batch(&json!([closure(1), bad, "no event", closure(3)])).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!((body["accepted"].as_u64(), body["refused"].as_u64()), (Some(2), Some(2)));
    let results = body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "refused", "refused", "accepted"]);
    let ids: Vec<_> = results.iter().map(|result| result["id"].as_str()).collect();
    assert_eq!(ids, [Some("event-1"), Some("event-2"), None, Some("event-3")]);
    assert_eq!(violations(&results[1]["violations"]), [("schema.type".to_owned(), "lanes".to_owned())]);
    assert_eq!(results[1]["position"]["topic"], "reject.roads");
    assert_eq!(results[3]["position"], json!({"topic": "publish.road_closure", "partition": 0, "offset": 1}));
    let topics: Vec<_> = fixture.sink.records().into_iter().map(|record| record.topic).collect();
    assert_eq!(topics, ["publish.road_closure", "reject.roads", "reject.roads", "publish.road_closure"]);
}

#[tokio::test]
async fn an_empty_batch_is_nothing() {
    let answer = Fixture::new().publish_batch(&json!([])).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"accepted": 0, "refused": 0, "results": []})));
}

#[tokio::test]
async fn an_object_is_no_batch() {
    Fixture::new().publish_batch(&closure(1)).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn a_full_publisher_takes_a_beginning_and_the_rest_is_sent_again() {
    let fixture = Fixture::new();
    fixture.sink.set_room(Some(2));
    let batch = Value::Array((1..=4).map(closure).collect());
    let answer = fixture.publish_batch(&batch).await;
    answer.is_problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    let statuses: Vec<Value> =
        answer.json()["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, ["accepted", "accepted", "failed", "failed"]);
    assert_eq!(
        fixture.metric(r#"freshet_gateway_events_total{dataset="road_closure",outcome="failed"}"#).unwrap(),
        "2"
    );

    // The same ids again: the validator drops the first two as duplicates.
    fixture.sink.set_room(None);
    assert_eq!(fixture.publish_batch(&batch).await.status, 200);
}

#[tokio::test]
async fn no_later_event_overtakes_one_that_was_not_taken() {
    let fixture = Fixture::new();
    fixture.sink.set_full_once_after(1);
    let answer = fixture.publish_batch(&Value::Array((1..=4).map(closure).collect())).await;
    answer.is_problem(503, "unavailable");
    assert_eq!(fixture.sink.records().len(), 1, "there was room for the third, but the second comes first");
}

#[tokio::test]
async fn nothing_is_said_to_be_written_before_it_is() {
    let fixture = Fixture::new();
    fixture.sink.set_fails(true);
    fixture.publish(&closure(1)).await.is_problem(503, "unavailable");
    let mut refused = closure(2);
    refused["data"]["lanes"] = json!("two");
    fixture.publish(&refused).await.is_problem(503, "unavailable");
}
