//! Two registers of nothing but a text: one with large texts and many subscribers, one with many partitions.

use std::path::Path;

use serde_json::json;

/// Of the large register: each with a row filter of its own, none of which holds anything back.
pub const VIEWS: usize = 5;
/// Of the large register. Each way out in turn.
pub const SUBSCRIBERS: usize = 30;
pub const WIDE: &str = "wide";
pub const LARGE: &str = "large";
pub const SOURCE: &str = "urn:example:register";

/// Which way out a subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Webhook,
    Pull,
    Postgres,
}

pub fn way(number: usize) -> Way {
    [Way::Webhook, Way::Pull, Way::Postgres][number % 3]
}

pub fn id(dataset: &str, number: usize) -> String {
    format!("{dataset}-{number}")
}

/// In the schema `public`.
pub fn table(grant: &str) -> String {
    grant.replace('-', "_")
}

pub fn departments() -> Vec<String> {
    let large = (0..SUBSCRIBERS).map(|number| id(LARGE, number));
    let wide = (0..3).map(|number| id(WIDE, number));
    std::iter::once("register".to_owned()).chain(large).chain(wide).collect()
}

/// Department, token.
pub fn token(department: &str) -> String {
    crate::bus::token(department)
}

pub fn write(folder: &Path, partitions: usize, webhook_port: u16) -> anyhow::Result<()> {
    let departments: String = departments()
        .iter()
        .map(|id| {
            let sources = if id == "register" { format!("\n  sources: [{SOURCE}]") } else { String::new() };
            format!("{id}:\n  title: {{en: {id}}}{sources}\n")
        })
        .collect();
    std::fs::create_dir_all(folder.join("grants"))?;
    std::fs::write(folder.join("departments.yaml"), departments)?;
    dataset(folder, LARGE, 6)?;
    dataset(folder, WIDE, partitions)?;
    for number in 0..SUBSCRIBERS {
        grant(folder, (LARGE, number), &format!("number != 'none-{}'", number % VIEWS), webhook_port)?;
    }
    for number in 0..3 {
        grant(folder, (WIDE, number), "number != 'none'", webhook_port)?;
    }
    Ok(())
}

fn dataset(folder: &Path, id: &str, partitions: usize) -> anyhow::Result<()> {
    let schema = json!({"type": "record", "name": id, "fields": [
        {"name": "number", "type": "string"}, {"name": "text", "type": "string"}]});
    let dataset = format!(
        "title: {{en: {id}}}\nauthorities: [register]\nkey: number\nversion: sequence\npartitions: {partitions}\n\
         catalogue:\n  summary: {{en: A register of a test}}\n  update_frequency: realtime\n  share_type: unconditional\n  \
         share_method: service_interface\n  classification: general\n"
    );
    std::fs::create_dir_all(folder.join(id))?;
    std::fs::write(folder.join(format!("{id}/{id}.avsc")), schema.to_string())?;
    std::fs::write(folder.join(format!("{id}/dataset.yaml")), dataset)?;
    Ok(())
}

fn grant(folder: &Path, (dataset, number): (&str, usize), rows: &str, webhook_port: u16) -> anyhow::Result<()> {
    let id = id(dataset, number);
    let delivery = match way(number) {
        Way::Webhook => format!("{{webhook: {{url: \"http://127.0.0.1:{webhook_port}/{id}\", secret: hook}}}}"),
        Way::Pull => "pull".to_owned(),
        Way::Postgres => format!("{{postgres: {{connection: database, table: public.{}}}}}", table(&id)),
    };
    let text = format!(
        "subscriber: {id}\ndataset: {dataset}\nfields: [number, text]\nrows: \"{rows}\"\npurpose: test\nlegal_basis: test\n\
         valid_from: 2020-01-01\nvalid_until: 2099-12-31\ndelivery: {delivery}\n"
    );
    std::fs::write(folder.join(format!("grants/{id}.yaml")), text)?;
    Ok(())
}
