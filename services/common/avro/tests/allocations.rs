//! A good record costs no allocation: neither its check, nor its values, nor the check of an identifier, nor a condition,
//! nor a view into a buffer that is large enough.
// A counting allocator is the only way to see an allocation, and `GlobalAlloc` is an unsafe trait. It forwards to the
// system's allocator and touches no memory itself.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use freshet_avro::predicate::Predicate;
use freshet_avro::projection::{MaskKind, Projection};
use freshet_avro::{Plan, Walk, json};
use freshet_core::identifiers::uscc;

struct Counting;

thread_local! {
    // Of this thread only: the test harness allocates in others.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Fails only while the thread ends.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

const AVSC: &str = r#"{"type":"record","name":"r","fields":[
    {"name":"id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"name","type":["null","string"]},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
    {"name":"from","type":{"type":"int","logicalType":"date"}},
    {"name":"tags","type":{"type":"array","items":{"type":"map","values":["int","string","null"]}}},
    {"name":"labels","type":{"type":"array","items":"string"}},
    {"name":"place","type":["null",{"type":"record","name":"P","fields":[{"name":"street","type":"string"}]}]}]}"#;

#[test]
fn good_records_cost_no_allocation() {
    let plan = Plan::compile(AVSC).expect("a plan");
    let record = serde_json::json!({"id": "123e4567-e89b-12d3-a456-426614174000", "name": "王小明", "price": "1.50",
        "from": "2024-02-29", "tags": [{"a": 1, "b": "c", "d": null}], "labels": ["x", "y"], "place": {"street": "King"}});
    let bytes = json::encode(&plan, &record).expect("a record");
    let text = "from >= '2024-01-01' and labels contains 'y' and place.street starts_with 'K' and name contains '小'
        and price in (1, 1.5) and not name is null";
    let predicate = Predicate::compile(text, &plan).expect("a condition");
    let fields = ["name", "tags", "place.street"].map(str::to_owned);
    let masks = BTreeMap::from([("name".to_owned(), MaskKind::FirstCharacter)]);
    let projection = Projection::compile(&plan, &fields, &masks).expect("a projection");
    let mut walk = Walk::new();
    let mut out = Vec::with_capacity(1024);

    assert!(allocations(|| drop(vec![1u8])) > 0, "the counter counts");
    assert!(plan.check(&bytes, &mut walk), "{:?}", walk.violations());
    let count = allocations(|| {
        assert!(plan.check(&bytes, &mut walk));
        assert!(predicate.matches(&plan, &walk, &bytes));
        for (_, slot, _) in plan.fields() {
            let _ = walk.value(&plan, slot, &bytes);
        }
        projection.project(&plan, &walk, &bytes, &mut out);
        assert!(uscc::check("91350100M000100Y43").is_ok());
    });
    assert_eq!(count, 0);
    assert!(!out.is_empty());
}
