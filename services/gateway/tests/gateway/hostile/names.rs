//! Names that somebody else chooses: of a file, of a dataset, of an event. None of them is a path, a line or a command.

use serde_json::{Value, json};

use crate::fixture::{EVENTS, Fixture, PARKS, ROADS, UPLOADS, closure, get, header, post};

const CSV: &str = "closure_id,street,lanes,status\n";

#[tokio::test]
async fn a_file_name_is_quoted_and_never_opened() {
    let fixture = Fixture::new();
    for name in ["../../etc/passwd", "/etc/passwd", "..%5c..%5cwin.ini", "a;rm%20-rf%20x", "%24%28id%29.csv", "C:con"] {
        let before = fixture.sink.records().len();
        let request =
            post(&format!("{UPLOADS}?format=csv&name={name}"), ROADS, "text/csv", format!("{CSV}RC,Bay,x,over\n"));
        let answer = fixture.send(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains("root:"), "{}", answer.text);
        let record = fixture.sink.records().pop().unwrap();
        assert_eq!(fixture.sink.records().len(), before + 1);
        assert!(header(&record, "freshet_line").unwrap().ends_with(" line 2"));
    }
}

/// What moves a cursor, begins a line or turns the direction of a text never gets as far as a header, a log or a terminal.
#[tokio::test]
async fn signs_that_act_are_refused_in_names() {
    let fixture = Fixture::new();
    for sign in ["%00", "%0A", "%0D%0A", "%1B[2J", "%7F", "%C2%9B", "%E2%80%AE", "%E2%80%A8", "%EF%BB%BF"] {
        for parameter in ["name", "source", "divcode"] {
            let path = format!("{UPLOADS}?format=csv&{parameter}=urn:example:roads{sign}");
            fixture.send(post(&path, ROADS, "text/csv", CSV)).await.is_problem(400, "malformed");
        }
    }
    for text in ["a\u{0}", "a\r\nSet-Cookie: b", "a\u{1b}[2J", "a\u{85}"] {
        for attribute in ["id", "type", "subject", "source", "time", "mine"] {
            let mut event = closure(1);
            event[attribute] = json!(text);
            let answer = fixture.publish(&event).await;
            assert!(matches!(answer.status, 403 | 422), "{attribute}: {}", answer.text);
            assert!(!answer.text.chars().any(char::is_control), "{}", answer.text);
        }
    }
    let topics: Vec<_> = fixture.sink.records().into_iter().map(|record| record.topic).collect();
    assert!(topics.iter().all(|topic| topic == "reject.roads"), "{topics:?}");
}

#[tokio::test]
async fn a_dataset_is_looked_up_and_never_made_a_topic() {
    let fixture = Fixture::new();
    for name in [
        "..",
        "%2e%2e",
        "..%2f..%2fadmin",
        "road_closure%00",
        "road_closure%2fevents",
        "freshet.catalog",
        "ROAD_CLOSURE",
        "%E2%80%AE",
    ] {
        let path = format!("/v1/datasets/{name}/events");
        let answer = fixture.send(post(&path, ROADS, "application/cloudevents+json", closure(1).to_string())).await;
        answer.is_problem(404, "not-found");
        assert!(!answer.text.chars().any(char::is_control), "{}", answer.text);
    }
    assert!(fixture.sink.records().is_empty());
}

/// A text that a spreadsheet would run is data: it is passed on as it is. Nothing of the bus writes CSV.
#[tokio::test]
async fn a_formula_is_a_text() {
    let fixture = Fixture::new();
    for formula in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1+1"] {
        let mut event = closure(1);
        event["data"]["street"] = json!(formula);
        assert_eq!(fixture.publish(&event).await.status, 202, "{formula}");
        let value = fixture.sink.records().pop().unwrap().value.unwrap();
        assert!(value.windows(formula.len()).any(|part| part == formula.as_bytes()), "{formula} is unchanged");
    }
}

#[tokio::test]
async fn what_is_another_departments_is_not_told() {
    let fixture = Fixture::new();
    let listed: Value = fixture.send(get("/v1/datasets", PARKS)).await.json();
    assert!(!listed.to_string().contains("road_closure"), "{listed}");
    fixture
        .send(post(EVENTS, PARKS, "application/cloudevents+json", closure(1).to_string()))
        .await
        .is_problem(403, "forbidden");
}
