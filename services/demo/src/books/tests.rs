use serde_json::json;

use super::*;

fn accepted(id: &str, key: &str, sequence: u64, row: Option<serde_json::Value>) -> Accepted {
    Accepted { id: id.to_owned(), published_as: id.to_owned(), key: key.to_owned(), row, sequence: Some(sequence) }
}

/// Six events of two entities: `k1` enters the filter, leaves it, comes back and is deleted; `k2` never enters.
fn pages() -> DatasetPages {
    let row = |ward: &str| Some(json!({"ward": ward}));
    DatasetPages {
        published: ["e1", "e2", "e3", "e4", "e5", "bad"].map(str::to_owned).into(),
        accepted: vec![
            accepted("e1", "k1", 1, row("9")),
            accepted("e2", "k2", 1, row("4")),
            accepted("e3", "k1", 2, row("4")),
            accepted("e4", "k1", 3, row("9")),
            accepted("e5", "k1", 4, None),
        ],
        rejected: vec![Rejected {
            published_as: "bad".to_owned(),
            reason: ("mapping.value".to_owned(), "two points".to_owned()),
        }],
    }
}

fn arrival(id: &str, is_removal: bool) -> Arrival {
    Arrival { id: id.to_owned(), key: "k1".to_owned(), is_removal }
}

fn good_arrivals() -> Vec<Arrival> {
    vec![arrival("e1", false), arrival("e3", true), arrival("e4", false), arrival("e5", true)]
}

fn grant(received: Received) -> GrantPages {
    GrantPages {
        grant: "g".to_owned(),
        subscriber: "s".to_owned(),
        way: "kafka".to_owned(),
        dataset: "d".to_owned(),
        filter: Filter::read(Some("ward = '9'")).unwrap(),
        granted_fields: BTreeSet::from(["ward".to_owned()]),
        seen_fields: BTreeSet::from(["ward".to_owned()]),
        received,
    }
}

fn events(arrivals: Vec<Arrival>) -> Received {
    Received::Events { arrivals, may_repeat: false }
}

fn closed(pages: DatasetPages, grants: &[GrantPages]) -> Books {
    close(&BTreeMap::from([("d".to_owned(), pages)]), grants)
}

/// The one problem that the books name, without its example.
fn problem(books: &Books) -> String {
    let datasets = books.datasets.values().flat_map(|line| &line.problems);
    let all: Vec<&String> = datasets.chain(books.grants.iter().flat_map(|line| &line.problems)).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(!books.balance());
    all[0].split(", e.g.").next().unwrap_or_default().to_owned()
}

#[test]
fn good_books_balance() {
    let books = closed(pages(), &[grant(events(good_arrivals())), grant(Received::Table(HashMap::new()))]);
    assert!(books.balance(), "{books:?}");
    let line = &books.datasets["d"];
    assert_eq!((line.published, line.accepted, line.rejected), (6, 5, 1));
    assert_eq!((books.grants[0].due, books.grants[0].delivered), (4, 4));
    assert_eq!(books.reasons[&("d".to_owned(), "mapping.value".to_owned())], (1, "two points".to_owned()));

    let mut again = pages();
    again.rejected.push(again.rejected[0].clone());
    let books = closed(again, &[]);
    assert!(books.balance());
    assert_eq!(books.datasets["d"].rejected, books.reasons.values().map(|(count, _)| count).sum::<usize>());
}

#[test]
fn a_mistake_of_the_bus_is_found_in_the_dataset() {
    let planted = |change: &dyn Fn(&mut DatasetPages), expected: &str| {
        let mut pages = pages();
        change(&mut pages);
        assert_eq!(problem(&closed(pages, &[])), expected);
    };
    planted(&|pages| drop(pages.accepted.remove(1)), "1 lost (neither accepted nor rejected)");
    planted(&|pages| drop(pages.rejected.pop()), "1 lost (neither accepted nor rejected)");
    planted(&|pages| pages.published.retain(|id| id != "e2"), "1 never published");
    planted(&|pages| pages.published.retain(|id| id != "bad"), "1 never published");
    planted(&|pages| pages.accepted.push(accepted("bad", "k3", 1, None)), "1 both accepted and rejected");
    planted(&|pages| pages.accepted.push(accepted("e5", "k1", 5, None)), "1 accepted twice");
    planted(&|pages| pages.accepted.swap(2, 3), "1 stepped back behind an event of its key");
}

#[test]
fn a_mistake_of_the_bus_is_found_at_the_subscriber() {
    let planted = |change: &dyn Fn(&mut Vec<Arrival>), expected: &str| {
        let mut arrivals = good_arrivals();
        change(&mut arrivals);
        assert_eq!(problem(&closed(pages(), &[grant(events(arrivals))])), expected);
    };
    planted(&|all| drop(all.remove(1)), "1 due, but not delivered");
    planted(&|all| all.push(arrival("e5", true)), "1 delivered twice");
    planted(
        &|all| all.push(Arrival { id: "e2".into(), key: "k2".into(), is_removal: false }),
        "1 delivered, but not due",
    );
    planted(&|all| all[1].is_removal = false, "1 delivered as something else");
    planted(&|all| all.swap(0, 1), "1 out of order for its key");

    // A webhook may repeat; nothing else is forgiven.
    let mut again = good_arrivals();
    again.push(arrival("e1", false));
    assert!(closed(pages(), &[grant(Received::Events { arrivals: again, may_repeat: true })]).balance());

    let mut leak = grant(events(good_arrivals()));
    leak.seen_fields.insert("home_address".to_owned());
    assert_eq!(problem(&closed(pages(), &[leak])), "1 more than granted");
}

#[test]
fn a_mistake_in_a_table_is_found() {
    let mut pages = pages();
    pages.published.remove("e5");
    pages.accepted.pop();
    let planted = |rows: &[(&str, &str)], expected: &str| {
        let rows = rows.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned())).collect();
        assert_eq!(problem(&closed(pages.clone(), &[grant(Received::Table(rows))])), expected);
    };
    planted(&[], "1 no row in the table");
    planted(&[("k1", "e1")], "1 the row is not of the newest event");
    planted(&[("k1", "e4"), ("k2", "e2")], "1 a row that should not be there");
    let good = HashMap::from([("k1".to_owned(), "e4".to_owned())]);
    assert!(closed(pages.clone(), &[grant(Received::Table(good))]).balance());
}

#[test]
fn a_grant_of_every_row_is_due_every_deletion() {
    let events = [accepted("e1", "k1", 1, None), accepted("e2", "k2", 1, Some(json!({"ward": "9"})))];
    let ids = |filter: Option<&str>| -> Vec<String> {
        due(&Filter::read(filter).unwrap(), &events).into_iter().map(|arrival| arrival.id).collect()
    };
    assert_eq!(ids(None), ["e1", "e2"]);
    assert_eq!(ids(Some("ward = '9'")), ["e2"]);
}
