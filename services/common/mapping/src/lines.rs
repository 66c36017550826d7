//! Physical lines of bounded length: a line that is too long is cut and skipped to its end, never held in memory.

use std::io::{self, BufRead};

#[derive(Debug)]
pub struct BoundedLines<R> {
    input: R,
    limit: usize,
    number: u64,
}

#[derive(Debug)]
pub struct RawLine {
    /// From 1.
    pub number: u64,
    /// Without the line end; cut where `too_long`.
    pub bytes: Vec<u8>,
    pub too_long: bool,
}

impl<R: BufRead> BoundedLines<R> {
    pub fn new(input: R, limit: usize) -> Self {
        Self { input, limit, number: 0 }
    }

    /// None at the end of the input.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        let mut bytes = Vec::new();
        let mut too_long = false;
        let mut any = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            let room = self.limit.saturating_sub(bytes.len());
            bytes.extend_from_slice(&part[..part.len().min(room)]);
            too_long |= part.len() > room;
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        self.number += 1;
        Ok(Some(RawLine { number: self.number, bytes, too_long }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, limit: usize, expected: &[(&str, bool)]) {
        // A buffer of three bytes, so that lines span reads.
        let mut lines = BoundedLines::new(std::io::BufReader::with_capacity(3, text.as_bytes()), limit);
        let mut read = Vec::new();
        while let Some(line) = lines.next_line().expect("reading from memory") {
            assert_eq!(line.number, read.len() as u64 + 1);
            read.push((String::from_utf8(line.bytes).expect("ASCII"), line.too_long));
        }
        let expected: Vec<_> = expected.iter().map(|(text, long)| ((*text).to_owned(), *long)).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn lines_end_in_every_usual_way() {
        check("", 10, &[]);
        check("one\ntwo\r\n\nlast", 10, &[("one", false), ("two", false), ("", false), ("last", false)]);
        check("one\n", 10, &[("one", false)]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        check("0123456789\nnext", 4, &[("0123", true), ("next", false)]);
        check("0123\nnext", 4, &[("0123", false), ("next", false)]);
    }
}
