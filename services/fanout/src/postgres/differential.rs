//! Rows in PostgreSQL's binary form against the same rows as JSON that PostgreSQL reads itself.

use fastrand::Rng;
use freshet_avro::{Plan, framing, json};
use freshet_kafka::OwnedRecord;
use serde_json::{Value, json as j};

use super::rows::text_rounds;
use super::tests::{TIMEOUTS, apply_rounds, database, layout_for, open_as, postgres_grant};
use super::*;
use crate::event::Schemas;
use crate::event::tests::record;

const AVSC: &str = r#"{"type":"record","name":"All","fields":[
    {"name":"text","type":"string"},
    {"name":"text_null","type":["null","string"]},
    {"name":"bytes","type":"bytes"},
    {"name":"fixed","type":{"type":"fixed","name":"F","size":5}},
    {"name":"status","type":{"type":"enum","name":"Status","symbols":["OPEN","CLOSED"]}},
    {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
    {"name":"int","type":"int"},
    {"name":"long","type":["long","null"]},
    {"name":"either","type":["null","int","long"]},
    {"name":"float","type":"float"},
    {"name":"double","type":["null","double"]},
    {"name":"flag","type":["null","boolean"]},
    {"name":"money","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
    {"name":"whole","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}},
    {"name":"small","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":38}},
    {"name":"middle","type":["null",{"type":"fixed","name":"D","size":12,"logicalType":"decimal","precision":27,"scale":13}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"milli","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"micro","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
    {"name":"clock","type":{"type":"int","logicalType":"time-millis"}},
    {"name":"fine_clock","type":["null",{"type":"long","logicalType":"time-micros"}]},
    {"name":"choice","type":["null","long","string","boolean"]},
    {"name":"list","type":{"type":"array","items":["null","double","string"]}},
    {"name":"table","type":{"type":"map","values":"string"}},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
        {"name":"ward","type":"int"},{"name":"note","type":"string"}]}]}]}"#;

fn text(rng: &mut Rng) -> String {
    const SIGNS: &[&str] =
        &["a", "\0", "\u{fffd}", "\\", "\\u0000", "\"", "\n", "统一", "\u{1f600}", "\u{7f}", "{", ",", "NULL"];
    (0..rng.usize(..7)).map(|_| *rng.choice(SIGNS).expect("a sign")).collect()
}

/// Of so many digits, with so many behind the point.
fn decimal(rng: &mut Rng, precision: usize, scale: usize) -> String {
    let length = rng.usize(1..=precision);
    let mut digits: String = (0..length).map(|_| *rng.choice(&['0', '0', '1', '9', '5']).expect("a digit")).collect();
    while digits.len() <= scale {
        digits.insert(0, '0');
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    format!("{}{digits}", if rng.bool() { "-" } else { "" })
}

fn float(rng: &mut Rng, value: f64) -> Value {
    match rng.u8(..8) {
        0 => j!("NaN"),
        1 => j!("Infinity"),
        2 => j!("-Infinity"),
        3 => j!(-0.0),
        _ if value.is_finite() => j!(value),
        _ => j!(0.1),
    }
}

fn moment(rng: &mut Rng, places: usize) -> String {
    let year = *rng.choice(&[1, 2, 999, 1582, 1899, 1969, 1970, 1999, 2000, 2024, 9999]).expect("a year");
    let fraction: u64 = rng.u64(..10_u64.pow(places as u32));
    let (month, day) = (rng.u8(1..=12), rng.u8(1..=28));
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:0places$}",
        rng.u8(..24),
        rng.u8(..60),
        rng.u8(..60)
    )
}

fn sometimes(rng: &mut Rng, value: Value) -> Value {
    if rng.u8(..4) == 0 { Value::Null } else { value }
}

fn datum(rng: &mut Rng) -> Value {
    let long = *rng.choice(&[0, -1, i64::MIN, i64::MAX, 9_007_199_254_740_993]).expect("a number");
    let single = f32::from_bits(rng.u32(..));
    let single = float(rng, single.to_string().parse().expect("a number"));
    let double = f64::from_bits(rng.u64(..));
    let double = float(rng, double);
    let day = moment(rng, 1)[..10].to_owned();
    let clock = moment(rng, 3)[11..].to_owned();
    let fine_clock = moment(rng, 6)[11..].to_owned();
    let choice = match rng.u8(..4) {
        0 => Value::Null,
        1 => j!(long),
        2 => j!(text(rng)),
        _ => j!(rng.bool()),
    };
    let list: Vec<Value> = (0..rng.usize(..4))
        .map(|_| {
            let value = if rng.bool() { j!(rng.f64() * 1e9) } else { j!(text(rng)) };
            sometimes(rng, value)
        })
        .collect();
    let table: serde_json::Map<String, Value> = (0..rng.usize(..4)).map(|_| (text(rng), j!(text(rng)))).collect();
    let mut maybe = |value: Value| sometimes(rng, value);
    let (fine_clock, day, double) = (maybe(j!(fine_clock)), maybe(j!(day)), maybe(double));
    let whole = decimal(rng, 38, 0);
    j!({
        "text": text(rng), "text_null": text(rng), "bytes": "AP/+", "fixed": "AAECAwQ=",
        "status": if rng.bool() { "OPEN" } else { "CLOSED" },
        "uuid": "01890A5d-ac96-774b-bcce-b302099a8057", "int": rng.i32(..), "long": long,
        "either": sometimes(rng, j!(long)), "float": single, "double": double, "flag": sometimes(rng, j!(true)),
        "money": decimal(rng, 10, 2), "whole": whole, "small": decimal(rng, 38, 38),
        "middle": decimal(rng, 27, 13), "day": day,
        "milli": moment(rng, 3) + "Z", "micro": moment(rng, 6) + "Z", "local": moment(rng, 6),
        "clock": clock, "fine_clock": fine_clock, "choice": choice, "list": list, "table": table,
        "place": if rng.bool() { Value::Null } else { j!({"ward": rng.i32(..), "note": text(rng)}) },
    })
}

fn records(count: i64) -> Vec<OwnedRecord> {
    let (plan, mut rng) = (Plan::compile(AVSC).expect("a plan"), Rng::with_seed(20_261_128));
    let one = |offset| {
        let datum = datum(&mut rng);
        let bytes = json::encode(&plan, &datum).unwrap_or_else(|wrong| panic!("{wrong:?}: {datum}"));
        let mut one = record(offset, false);
        one.key = Some(format!("{offset:05}").into_bytes());
        let mut value = Vec::new();
        framing::write(7, &bytes, &mut value);
        one.value = Some(value);
        // Also halves of a microsecond, which are rounded.
        let places = if rng.bool() { 7 } else { 9 };
        one.headers.push(freshet_core::headers::TIME, (moment(&mut rng, places) + "Z").as_bytes());
        one
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn every_value_arrives_as_postgresql_reads_it_from_json() {
    let (url, client) = database("differential").await;
    let schemas = Arc::new(Schemas::new(|id| (id == 7).then(|| AVSC.to_owned())));
    let records = records(1_000);
    let mut tables = Vec::new();
    for form in ["binary", "json"] {
        let mut grant = postgres_grant();
        grant.id = form.to_owned();
        let layout = layout_for(&grant, &format!("own.{form}"), AVSC);
        let names: Vec<String> = layout.columns().iter().map(|column| sql::quote(&column.name)).collect();
        let mut rows = RowMaker::new(layout.columns().to_vec(), Arc::clone(&schemas));
        let rounds = match form {
            "binary" => rows.rounds(&records).expect("rows"),
            _ => text_rounds(&records, &schemas),
        };
        assert_eq!(rounds.rounds[0].texts.is_empty(), form == "binary", "each by its own way");
        let mut sink = open_as(&url, layout, TIMEOUTS).await.expect("a sink");
        apply_rounds(&mut sink, rounds).await.expect("applied");
        let columns =
            ["freshet_key", "freshet_event_id", "freshet_source", "freshet_event_time", "freshet_published_at"];
        let columns = columns.iter().map(|name| (*name).to_owned()).chain(names);
        let sql = format!(
            "SELECT {} FROM own.{form} ORDER BY freshet_key",
            columns.map(|name| format!("{name}::text")).collect::<Vec<_>>().join(", ")
        );
        tables.push(client.query(&sql, &[]).await.expect("rows"));
    }
    let [binary, text] = &tables[..] else { panic!("two tables") };
    assert_eq!((binary.len(), text.len()), (records.len(), records.len()));
    for (binary, text) in binary.iter().zip(text) {
        for (index, column) in binary.columns().iter().enumerate() {
            let (binary, text): (Option<&str>, Option<&str>) = (binary.get(index), text.get(index));
            assert_eq!(binary, text, "{}", column.name());
        }
    }
}
