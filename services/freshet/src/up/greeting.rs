//! What `freshet up` prints: where everything is, and how to publish an event by hand.

use std::path::Path;
use std::time::Duration;

use freshet_catalog_model::SourceCatalog;

use crate::client::Bus;

pub fn print(data: &Path, bus: &Bus, source: &SourceCatalog, took: Duration) {
    let Bus { kafka, gateway, catalog, fanout, admin } = bus;
    println!(
        "freshet is up after {:.1} s: {} datasets, {} departments, {} grants",
        took.as_secs_f64(),
        source.datasets.len(),
        source.departments.len(),
        source.grants.len()
    );
    println!("  Kafka            {kafka}");
    println!("  publish (HTTP)   {gateway}   (what there is: {gateway}/openapi.json)");
    println!("  pull             {fanout}");
    println!("  schema registry  {catalog}");
    println!("  probes, metrics  {admin}/ready  {admin}/metrics");
    println!("  tokens           {}/tokens/<department>", data.display());
    println!("  stop             Ctrl-C; the next start with --data {} goes on from here", data.display());
}

/// One event through the whole bus, with `curl` alone.
pub fn by_hand(data: &Path, bus: &Bus) -> String {
    let (gateway, fanout, data) = (&bus.gateway, &bus.fanout, data.display());
    format!(
        r#"
See an event arrive. In one terminal, listen as City Planning:

  curl -sN "{fanout}/v1/grants/city-planning-short-term-rentals/events?from=$(date -u +%FT%TZ)" \
    -H "Accept: text/event-stream" -H "Authorization: Bearer $(cat {data}/tokens/toronto-city-planning)"

In another, publish as the licensing department (the same id or sequence a second time has no effect):

  curl -s {gateway}/v1/datasets/short_term_rental_registration/events \
    -H "Authorization: Bearer $(cat {data}/tokens/toronto-municipal-licensing)" \
    -H "Content-Type: application/cloudevents+json" \
    -d '{{"specversion":"1.0","id":"by-hand-1","source":"urn:toronto:municipal-licensing",
         "type":"ca.toronto.short_term_rental.changed","sequence":900001,
         "data":{{"operator_registration_number":"STR-0000-BYHAND","postal_code":"M5V",
                 "property_type":"Condominium","ward_number":10,"ward_name":"Spadina-Fort York"}}}}'

Every hop of it, with times:

  freshet --data {data} trace by-hand-1
"#
    )
}
