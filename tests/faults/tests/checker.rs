//! The checker finds each kind of violation that is planted, and nothing in a history without one.

use std::collections::BTreeSet;
use std::sync::Arc;

use faults::checker::{Kind, check};
use faults::history::{Acknowledged, Canonical, Dataset, Delivery, GrantHistory, History, Refused, Way, content};
use freshet_demo::filter::Filter;
use serde_json::json;

const ENDED: i64 = 100_000;

/// Keys a and b, three events each, of which the filter takes those with n < 5; the fourth of `a` leaves it.
fn history(way: Way) -> History {
    let events = [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3), ("a", 9)];
    let mut dataset = Dataset::default();
    let fields: BTreeSet<String> = ["n".to_owned()].into();
    let mut deliveries = Vec::new();
    for (number, (key, n)) in events.iter().enumerate() {
        let id = format!("{key}{n}");
        let row = json!({"n": n, "secret": "s"});
        dataset.acknowledged.push(Acknowledged { id: id.clone(), key: (*key).to_owned(), at: number as i64 });
        let is_removal = *n == 9;
        deliveries.push(Delivery {
            event: if is_removal && way == Way::Table { String::new() } else { id.clone() },
            key: (*key).to_owned(),
            is_removal,
            fields: Arc::new(if is_removal { BTreeSet::new() } else { fields.clone() }),
            content: (!is_removal && way == Way::Once).then(|| content(&row, &fields)),
            message: (way == Way::AtLeastOnce).then(|| format!("msg_{id}")),
            at: 10 + number as i64,
        });
        let sequence = Some(*n);
        let canonical =
            Canonical { id: id.clone(), published_as: id, key: (*key).to_owned(), row: Some(row), sequence };
        dataset.canonical.push(canonical);
    }
    // One that is wrong, and rightly refused.
    dataset.acknowledged.push(Acknowledged { id: "a2-again".to_owned(), key: "a".to_owned(), at: 8 });
    dataset.refused.push(Refused {
        published_as: "a2-again".to_owned(),
        code: "version.stale".to_owned(),
        key: "a".to_owned(),
        sequence: Some(2),
    });
    let grant = GrantHistory {
        grant: "g".to_owned(),
        dataset: "d".to_owned(),
        way,
        filter: Filter::read(Some("n < 5")).unwrap(),
        plain_fields: fields.clone(),
        fields,
        ended: None,
        deliveries,
    };
    History { datasets: [("d".to_owned(), dataset)].into(), grants: vec![grant] }
}

const WAYS: [Way; 3] = [Way::Once, Way::AtLeastOnce, Way::Table];

/// Plants a violation and expects to find it, and no other kind.
fn plant(way: Way, expected: &[Kind], violate: impl Fn(&mut Dataset, &mut GrantHistory)) {
    let mut history = history(way);
    let mut dataset = history.datasets.remove("d").unwrap();
    violate(&mut dataset, &mut history.grants[0]);
    history.datasets.insert("d".to_owned(), dataset);
    let found = check(&history);
    let kinds: BTreeSet<Kind> = found.iter().map(|violation| violation.kind).collect();
    assert_eq!(kinds, expected.iter().copied().collect(), "{way:?}: {found:?}");
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    for way in WAYS {
        plant(way, &[], |_, _| {});
    }
    plant(Way::AtLeastOnce, &[], |_, grant| {
        // The same again, under the same ids and up to the newest.
        grant.deliveries.extend(grant.deliveries.clone());
    });
    plant(Way::AtLeastOnce, &[], |_, grant| {
        // The same, broken off by the end of the grant.
        grant.ended = Some(ENDED);
        grant.deliveries.push(grant.deliveries[1].clone());
    });
    for way in WAYS {
        plant(way, &[], |_, grant| {
            grant.ended = Some(ENDED);
            grant.deliveries.truncate(4);
            grant.deliveries[3].at = ENDED + 4_999;
        });
    }
}

#[test]
fn one_lost_on_the_way_in() {
    plant(Way::Once, &[Kind::Lost], |dataset, _| {
        dataset.acknowledged.push(Acknowledged { id: "c1".to_owned(), key: "c".to_owned(), at: 3 });
    });
}

#[test]
fn one_lost_on_the_way_out() {
    for way in WAYS {
        plant(way, &[Kind::Lost], |_, grant| drop(grant.deliveries.remove(5)));
    }
}

/// Lost, while a later event of the same entity went on.
#[test]
fn one_skipped() {
    plant(Way::Once, &[Kind::Skipped], |dataset, grant| {
        // Of `b`: the filter takes it, and it is not the last.
        dataset.canonical.remove(3);
        grant.deliveries.remove(3);
    });
    for way in [Way::Once, Way::AtLeastOnce] {
        plant(way, &[Kind::Skipped], |_, grant| drop(grant.deliveries.remove(3)));
    }
}

#[test]
fn one_duplicated() {
    plant(Way::Once, &[Kind::Duplicated], |_, grant| grant.deliveries.insert(3, grant.deliveries[2].clone()));
    plant(Way::Table, &[Kind::Duplicated], |_, grant| grant.deliveries.insert(4, grant.deliveries[3].clone()));
    plant(Way::Once, &[Kind::Duplicated], |dataset, _| dataset.canonical.push(dataset.canonical[6].clone()));
}

#[test]
fn two_swapped_of_one_key() {
    for way in WAYS {
        plant(way, &[Kind::Reordered], |_, grant| grant.deliveries.swap(0, 2));
    }
    // Of two keys that is no mistake.
    plant(Way::Once, &[], |_, grant| grant.deliveries.swap(0, 1));
}

#[test]
fn one_stale_over_new() {
    plant(Way::Once, &[Kind::StaleOverNew], |dataset, _| {
        let mut old = dataset.canonical[1].clone();
        (old.id, old.published_as, old.key) = ("c".to_owned(), "c".to_owned(), "c".to_owned());
        old.row = Some(json!({"n": 7}));
        let mut older = old.clone();
        (older.id, older.sequence) = ("c-older".to_owned(), Some(0));
        dataset.canonical.extend([old, older]);
    });
    plant(Way::AtLeastOnce, &[Kind::StaleOverNew], |_, grant| {
        // Sent again after the newest, which is not sent again.
        grant.deliveries.push(grant.deliveries[1].clone());
    });
    plant(Way::Table, &[Kind::StaleOverNew, Kind::Reordered], |_, grant| grant.deliveries.swap(3, 5));
}

#[test]
fn one_field_too_many() {
    for way in WAYS {
        plant(way, &[Kind::FieldOutsideGrant], |_, grant| {
            grant.deliveries[1].fields = Arc::new(["n".to_owned(), "secret".to_owned()].into());
        });
    }
}

#[test]
fn one_row_outside_the_grant() {
    for way in WAYS {
        plant(way, &[Kind::RowOutsideGrant], |dataset, grant| {
            let mut event = dataset.canonical[1].clone();
            (event.id, event.published_as, event.key) = ("c".to_owned(), "c".to_owned(), "c".to_owned());
            event.row = Some(json!({"n": 7}));
            dataset.canonical.push(event);
            let mut delivery = grant.deliveries[1].clone();
            (delivery.event, delivery.key) = ("c".to_owned(), "c".to_owned());
            delivery.message = delivery.message.map(|_| "msg_c".to_owned());
            grant.deliveries.push(delivery);
        });
    }
}

#[test]
fn one_delivery_more_than_five_seconds_after_the_end() {
    for way in WAYS {
        plant(way, &[Kind::AfterEnd], |_, grant| {
            grant.ended = Some(ENDED);
            grant.deliveries[6].at = ENDED + 5_001;
        });
    }
}

#[test]
fn a_second_id_for_the_same_event() {
    plant(Way::AtLeastOnce, &[Kind::SecondId], |_, grant| {
        let mut again = grant.deliveries[5].clone();
        again.message = Some("msg_other".to_owned());
        grant.deliveries.push(again);
    });
}

#[test]
fn one_id_for_two_events() {
    plant(Way::AtLeastOnce, &[Kind::ReusedId], |_, grant| {
        grant.deliveries[4].message = grant.deliveries[2].message.clone();
    });
}

#[test]
fn one_altered() {
    plant(Way::Once, &[Kind::Altered], |_, grant| grant.deliveries[1].content = Some(7));
    plant(Way::AtLeastOnce, &[Kind::Altered], |_, grant| grant.deliveries[1].is_removal = true);
    plant(Way::Once, &[Kind::Altered], |_, grant| {
        let mut made_up = grant.deliveries[1].clone();
        made_up.event = "x".to_owned();
        grant.deliveries.push(made_up);
    });
}

#[test]
fn one_wrongly_refused() {
    plant(Way::Once, &[Kind::WronglyRefused], |dataset, _| {
        dataset.acknowledged.push(Acknowledged { id: "b7".to_owned(), key: "b".to_owned(), at: 9 });
        let mut refused = dataset.refused[0].clone();
        (refused.published_as, refused.key, refused.sequence) = ("b7".to_owned(), "b".to_owned(), Some(7));
        dataset.refused.push(refused);
    });
    plant(Way::Once, &[Kind::WronglyRefused], |dataset, _| {
        let mut refused = dataset.refused[0].clone();
        refused.published_as = "a2".to_owned();
        dataset.refused.push(refused);
    });
}
