//! The Confluent Schema Registry API as a client sees it: what an Avro serialiser asks for, once per schema.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use apache_avro::Schema;
use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("asking the schema registry for {path}: {source}")]
    Http { path: String, source: reqwest::Error },
    #[error("the schema registry answers {status} to {path}: {body}")]
    Status { path: String, status: u16, body: String },
    #[error("the schema of {path} is not Avro: {reason}")]
    Schema { path: String, reason: String },
}

#[derive(Debug, Clone)]
pub struct Registry {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
    by_id: Arc<Mutex<HashMap<u32, Arc<Schema>>>>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: Option<u32>,
    schema: String,
}

impl Registry {
    /// `base`: `http://host:port`, with the path prefix where there is one.
    pub fn new(base: impl Into<String>, token: Option<String>) -> Self {
        Self { base: base.into(), token, client: reqwest::Client::new(), by_id: Arc::default() }
    }

    /// The newest schema of a subject (`<topic>-value`), with its id.
    pub async fn latest(&self, subject: &str) -> Result<(u32, Arc<Schema>), RegistryError> {
        let path = format!("/subjects/{subject}/versions/latest");
        let answer = self.get(&path).await?;
        let Some(id) = answer.id else { return Err(RegistryError::Schema { path, reason: "no id".to_owned() }) };
        let schema = Arc::new(parse(&path, &answer.schema)?);
        Ok((id, schema))
    }

    /// The schema of a wire-format id, remembered.
    pub async fn schema(&self, id: u32) -> Result<Arc<Schema>, RegistryError> {
        let known = |all: &Mutex<HashMap<u32, Arc<Schema>>>| {
            all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&id).cloned()
        };
        if let Some(schema) = known(&self.by_id) {
            return Ok(schema);
        }
        let path = format!("/schemas/ids/{id}");
        let schema = Arc::new(parse(&path, &self.get(&path).await?.schema)?);
        self.by_id.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, schema.clone());
        Ok(schema)
    }

    async fn get(&self, path: &str) -> Result<Answer, RegistryError> {
        let http = |source| RegistryError::Http { path: path.to_owned(), source };
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(http)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.text().await.unwrap_or_default();
            return Err(RegistryError::Status { path: path.to_owned(), status: status.as_u16(), body });
        }
        response.json().await.map_err(http)
    }
}

fn parse(path: &str, text: &str) -> Result<Schema, RegistryError> {
    Schema::parse_str(text).map_err(|error| RegistryError::Schema { path: path.to_owned(), reason: error.to_string() })
}
