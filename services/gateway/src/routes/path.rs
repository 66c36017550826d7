//! The dataset's id in the path.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::problem::{Kind, Problem};
use crate::state::Gateway;

/// As it was sent, percent signs resolved. What is no UTF-8 is a problem like any other; axum's own answer is plain text.
#[derive(Debug)]
pub struct DatasetId(pub String);

impl FromRequestParts<Gateway> for DatasetId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, gateway).await;
        path.map(|Path(id)| Self(id)).map_err(|error| Problem::new(Kind::Malformed, error.body_text()))
    }
}
