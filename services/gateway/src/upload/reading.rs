//! From the body's parts to mapped lines, on a thread of the blocking pool.

use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use freshet_mapping::{FileError, Format, Line};
use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::body::BodyError;
use crate::datasets::Dataset;
use crate::problem::{Kind, Problem};

/// Lines that were mapped and wait to be published.
const AHEAD: usize = 256;
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub format: Format,
    pub gzip: bool,
    /// After decompression.
    pub max_bytes: u64,
}

pub(super) enum Read {
    Line(Line),
    End,
    Broken(String),
}

impl Reading {
    /// Returns when the file's beginning was read and fits.
    pub(super) async fn start(
        self,
        dataset: Arc<Dataset>,
        parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<mpsc::Receiver<Read>, Problem> {
        let (lines, receiver) = mpsc::channel(AHEAD);
        let (began, begun) = oneshot::channel();
        let reader = SyncIoBridge::new(StreamReader::new(Box::pin(parts)));
        tokio::task::spawn_blocking(move || self.read(&dataset, reader, began, &lines));
        match begun.await {
            Ok(Ok(())) => Ok(receiver),
            Ok(Err(error)) => Err(problem_of(&error)),
            Err(_) => Err(Problem::unavailable("the reader of the file ended unexpectedly")),
        }
    }

    fn read(
        self,
        dataset: &Dataset,
        reader: impl io::Read,
        began: oneshot::Sender<Result<(), FileError>>,
        lines: &mpsc::Sender<Read>,
    ) {
        let input: Box<dyn BufRead + '_> = if self.gzip {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, Limited::new(MultiGzDecoder::new(reader), self.max_bytes)))
        } else {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, reader))
        };
        // The route was not taken without a mapper.
        let Ok(mapper) = &dataset.mapper else { return };
        let rows = match mapper.rows(self.format, input) {
            Ok(rows) => {
                let _ = began.send(Ok(()));
                rows
            }
            Err(error) => return drop(began.send(Err(error))),
        };
        for row in rows {
            let read = match row {
                Ok(line) => Read::Line(line),
                Err(error) => {
                    let _ = lines.blocking_send(Read::Broken(error.to_string()));
                    return;
                }
            };
            if lines.blocking_send(read).is_err() {
                return;
            }
        }
        let _ = lines.blocking_send(Read::End);
    }
}

fn problem_of(error: &FileError) -> Problem {
    match error {
        FileError::Read(reason) => {
            let body = reason.get_ref().and_then(|inner| inner.downcast_ref::<BodyError>());
            let kind = body.map_or(Kind::Malformed, BodyError::kind);
            Problem::new(kind, format!("the file cannot be read: {reason}"))
        }
        FileError::Kind(_) | FileError::Header(_) => {
            Problem::new(Kind::Refused, error.to_string()).with_violations(error.violations())
        }
    }
}

/// A reader that ends in an error after so many bytes: what a small compressed file may become.
struct Limited<R> {
    inner: io::Take<R>,
    max_bytes: u64,
}

impl<R: io::Read> Limited<R> {
    fn new(inner: R, max_bytes: u64) -> Self {
        Self { inner: inner.take(max_bytes + 1), max_bytes }
    }
}

impl<R: io::Read> io::Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read > 0 && self.inner.limit() == 0 {
            return Err(BodyError::TooLargeDecompressed(self.max_bytes).into());
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_limit_that_is_met_exactly_is_not_passed() {
        let mut text = String::new();
        assert!(Limited::new(&b"12345"[..], 5).read_to_string(&mut text).is_ok());
        assert_eq!(text, "12345");
        assert!(Limited::new(&b"123456"[..], 5).read_to_string(&mut String::new()).is_err());
    }
}
