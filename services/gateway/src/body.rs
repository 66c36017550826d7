//! Request bodies, bounded in size, in time, and in what all of them together take.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderMap, header};
use tokio::time::Instant;

use crate::config::Config;
use crate::limits::{Held, Shares, Taken};
use crate::problem::{Kind, Problem};

/// What a byte of a body is counted as while its request is in work: the body, its tree, its records and its answer.
const WORK_PER_BYTE: usize = 8;

/// What a body can be too much or too little of.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("no more of the body came for {0} s")]
    Idle(u64),
    #[error("the body came slower than {0} bytes a second")]
    Slow(u64),
    #[error("the body has more than the {0} bytes that are taken")]
    TooLarge(u64),
    #[error("it has more than the {0} bytes that are taken, decompressed")]
    TooLargeDecompressed(u64),
    #[error("the body was cut off: {0}")]
    Cut(String),
}

/// How slowly a body may come.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two parts; and what a body has in all before its rate counts.
    pub idle: Duration,
    pub min_bytes_per_second: u64,
}

impl Patience {
    pub fn of(config: &Config) -> Self {
        let idle = Duration::from_secs(config.body_idle_timeout_seconds);
        Self { idle, min_bytes_per_second: config.min_body_bytes_per_second }
    }

    /// How long a sender of so many bytes may have been waited for.
    fn in_all(self, bytes: u64) -> Duration {
        self.idle + Duration::from_secs(bytes / self.min_bytes_per_second.max(1))
    }
}

/// The body's parts, until one of the limits is met. Only the time in which the sender is waited for counts: a body that
/// the gateway itself reads slowly is not a slow one.
pub fn parts(body: Body, max_bytes: u64, patience: Patience) -> impl Stream<Item = Result<Bytes, BodyError>> {
    let begin = (body.into_data_stream(), 0_u64, Duration::ZERO);
    futures::stream::try_unfold(begin, move |(mut stream, mut bytes, mut waited)| async move {
        let left = patience.in_all(bytes).saturating_sub(waited);
        let begun = Instant::now();
        match tokio::time::timeout(left.min(patience.idle), stream.next()).await {
            Err(_) if left < patience.idle => Err(BodyError::Slow(patience.min_bytes_per_second)),
            Err(_) => Err(BodyError::Idle(patience.idle.as_secs())),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(BodyError::Cut(error.to_string())),
            Ok(Some(Ok(part))) => {
                waited += begun.elapsed();
                bytes += part.len() as u64;
                if bytes > max_bytes {
                    return Err(BodyError::TooLarge(max_bytes));
                }
                Ok(Some((part, (stream, bytes, waited))))
            }
        }
    })
}

/// A body in memory, with the place that it takes there.
#[derive(Debug)]
pub struct Whole {
    pub bytes: Bytes,
    _room: Option<Held>,
}

/// A body that fits into memory. Its room is taken as it comes, so that a length that is only announced takes nothing.
pub async fn whole(
    headers: &HeaderMap,
    body: Body,
    config: &Config,
    (room, department): (&Shares, &str),
) -> Result<Whole, Problem> {
    let max_bytes = config.max_body_bytes as u64;
    let announced = check_length(headers, max_bytes)?;
    let mut whole = BytesMut::new();
    let mut held: Option<Held> = None;
    let mut parts = std::pin::pin!(parts(body, max_bytes, Patience::of(config)));
    while let Some(part) = parts.next().await {
        let part = part?;
        let more = room.take(department, part.len() * WORK_PER_BYTE).map_err(no_room)?;
        match &mut held {
            Some(held) => held.join(more),
            None => {
                // Within the room that the first part has taken.
                whole.reserve(announced.min(part.len() * WORK_PER_BYTE));
                held = Some(more);
            }
        }
        whole.extend_from_slice(&part);
    }
    Ok(Whole { bytes: whole.freeze(), _room: held })
}

fn no_room(taken: Taken) -> Problem {
    match taken {
        Taken::ByItself => {
            let detail = "this department's requests in work hold too many bytes; send fewer at a time";
            Problem::new(Kind::TooManyRequests, detail).retry_after(1)
        }
        Taken::ByAll => Problem::unavailable("the requests in work hold too many bytes; try again"),
    }
}

/// Refuses what announces itself as too large before any of it is read. The bytes that are announced, 0 where none are.
pub fn check_length(headers: &HeaderMap, max_bytes: u64) -> Result<usize, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > max_bytes => Err(BodyError::TooLarge(max_bytes).into()),
        length => Ok(length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0)),
    }
}

impl BodyError {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Idle(_) | Self::Slow(_) => Kind::Timeout,
            Self::TooLarge(_) | Self::TooLargeDecompressed(_) => Kind::TooLarge,
            Self::Cut(_) => Kind::Malformed,
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl From<BodyError> for io::Error {
    fn from(error: BodyError) -> Self {
        Self::other(error)
    }
}
