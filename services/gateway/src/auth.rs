//! Which department is calling: `Authorization: Bearer <token>`.

use axum::extract::FromRequestParts;
use freshet_runtime::Token;
use http::header;
use http::request::Parts;

use crate::problem::{Kind, Problem};
use crate::state::Gateway;

/// The department whose token came with the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub department: String,
}

impl FromRequestParts<Gateway> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, Problem> {
        let refuse = |detail: &str| Problem::new(Kind::Unauthenticated, detail);
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(refuse("send the department's token: Authorization: Bearer <token>"));
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| refuse("the header is not: Authorization: Bearer <token>"))?;
        let Some(credentials) = &gateway.credentials else {
            return Err(refuse("this gateway was given no credentials file and takes no token"));
        };
        let department = credentials
            .department_of(Token(token))
            .ok_or_else(|| refuse("the token is not one of any department; ask the bus's operator for a new one"))?;
        Ok(Self { department })
    }
}
