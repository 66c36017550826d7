//! Request bodies, bounded in size and in time.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};

use crate::problem::{Kind, Problem};

/// What a body can be too much or too little of.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("no more of the body came for {0} s")]
    Idle(u64),
    #[error("the body has more than the {0} bytes that are taken")]
    TooLarge(u64),
    #[error("the body was cut off: {0}")]
    Cut(String),
}

/// The body's parts, until one of the limits is met.
pub fn parts(body: Body, max_bytes: u64, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>> {
    let stream = body.into_data_stream();
    futures::stream::try_unfold((stream, 0_u64), move |(mut stream, mut bytes)| async move {
        match tokio::time::timeout(idle, stream.next()).await {
            Err(_) => Err(BodyError::Idle(idle.as_secs())),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(BodyError::Cut(error.to_string())),
            Ok(Some(Ok(part))) => {
                bytes += part.len() as u64;
                if bytes > max_bytes {
                    return Err(BodyError::TooLarge(max_bytes));
                }
                Ok(Some((part, (stream, bytes))))
            }
        }
    })
}

/// A body that fits into memory.
pub async fn whole(headers: &HeaderMap, body: Body, max_bytes: usize, idle: Duration) -> Result<Bytes, Problem> {
    check_length(headers, max_bytes as u64)?;
    let mut whole = BytesMut::new();
    let mut parts = std::pin::pin!(parts(body, max_bytes as u64, idle));
    while let Some(part) = parts.next().await {
        whole.extend_from_slice(&part?);
    }
    Ok(whole.freeze())
}

/// Refuses what announces itself as too large before any of it is read.
pub fn check_length(headers: &HeaderMap, max_bytes: u64) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > max_bytes => Err(BodyError::TooLarge(max_bytes).into()),
        _ => Ok(()),
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Idle(_) => Kind::Timeout,
            BodyError::TooLarge(_) => Kind::TooLarge,
            BodyError::Cut(_) => Kind::Malformed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        Self::other(error)
    }
}
