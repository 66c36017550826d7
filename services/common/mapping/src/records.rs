//! CSV records of bounded length, each with its bytes as they stand in the file.

use std::io::{self, BufRead};

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

/// Columns of a file. Of a record with more, one more is kept, which no header has.
pub const MAX_COLUMNS: usize = crate::json::MAX_MEMBERS;

#[derive(Debug)]
pub struct Records<R> {
    input: R,
    reader: Reader,
    limit: usize,
    /// Physical lines that were ended so far: by a line feed, a carriage return, or both.
    lines: u64,
    /// The last byte was a carriage return, so that a line feed ends no further line.
    behind_return: bool,
    at_start: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct RawRecord {
    /// The physical line on which it begins, from 1.
    pub line: u64,
    /// Without the line end; cut where `too_long`.
    pub raw: Vec<u8>,
    pub fields: Vec<Vec<u8>>,
    pub too_long: bool,
}

impl<R: BufRead> Records<R> {
    pub fn new(input: R, delimiter: u8, limit: usize) -> Self {
        let reader = ReaderBuilder::new().delimiter(delimiter).build();
        Self { input, reader, limit, lines: 0, behind_return: false, at_start: true }
    }

    /// None at the end of the input. Blank lines are passed over.
    pub fn next_record(&mut self) -> io::Result<Option<RawRecord>> {
        let mut record = RawRecord { line: 0, raw: Vec::new(), fields: Vec::new(), too_long: false };
        let mut field = Vec::new();
        let mut output = [0; 4096];
        if self.at_start {
            self.at_start = false;
            self.skip_byte_order_mark()?;
        }
        self.skip_line_ends()?;
        record.line = self.lines + 1;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (result, used, written) = self.reader.read_field(available, &mut output);
            count_lines(&available[..used], &mut self.lines, &mut self.behind_return);
            // Room for the line end, which is no part of the record.
            keep(&mut record.raw, &available[..used], self.limit + 2, &mut record.too_long);
            keep(&mut field, &output[..written], self.limit, &mut record.too_long);
            self.input.consume(used);
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => {
                    // A record of too many fields is too long as well: none is kept beyond the limit of bytes.
                    if !record.too_long && record.fields.len() <= MAX_COLUMNS {
                        record.fields.push(std::mem::take(&mut field));
                    }
                    field.clear();
                    if record_end {
                        // What is cut does not end at its line's end.
                        if !record.too_long {
                            trim_line_end(&mut record.raw);
                        }
                        record.too_long |= record.raw.len() > self.limit;
                        record.raw.truncate(self.limit);
                        return Ok(Some(record));
                    }
                }
                ReadFieldResult::End => return Ok(None),
            }
        }
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        if self.input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            self.input.consume(3);
        }
        Ok(())
    }

    /// So that a record begins with its first byte: the reader itself would count blank lines to the next record.
    fn skip_line_ends(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            let ends = available.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if ends == 0 {
                return Ok(());
            }
            count_lines(&available[..ends], &mut self.lines, &mut self.behind_return);
            self.input.consume(ends);
        }
    }
}

/// Rows that share a line number would share the sequence that is made of it, and the second would pass for a duplicate.
fn count_lines(bytes: &[u8], lines: &mut u64, behind_return: &mut bool) {
    for byte in bytes {
        *lines += u64::from(*byte == b'\r' || *byte == b'\n' && !*behind_return);
        *behind_return = *byte == b'\r';
    }
}

fn keep(kept: &mut Vec<u8>, part: &[u8], limit: usize, too_long: &mut bool) {
    let room = limit.saturating_sub(kept.len());
    kept.extend_from_slice(&part[..part.len().min(room)]);
    *too_long |= part.len() > room;
}

fn trim_line_end(raw: &mut Vec<u8>) {
    while matches!(raw.last(), Some(b'\r' | b'\n')) {
        raw.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, limit: usize) -> Vec<(u64, String, Vec<String>, bool)> {
        // A buffer of four bytes, so that fields span reads.
        let input = io::BufReader::with_capacity(4, text.as_bytes());
        let mut records = Records::new(input, b',', limit);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let mut read = Vec::new();
        while let Some(record) = records.next_record().expect("reading from memory") {
            let fields = record.fields.into_iter().map(text).collect();
            read.push((record.line, text(record.raw), fields, record.too_long));
        }
        read
    }

    #[track_caller]
    fn check(text: &str, expected: &[(u64, &str, &[&str])]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, raw, fields)| {
                (*line, (*raw).to_owned(), fields.iter().map(|field| (*field).to_owned()).collect(), false)
            })
            .collect::<Vec<(u64, String, Vec<String>, bool)>>();
        assert_eq!(all(text, 1000), expected);
    }

    #[test]
    fn what_is_cut_has_as_many_bytes_as_it_may_also_where_it_ends_in_line_ends() {
        let read = all("\"a\n\n\n\n\n\n\n\n\n\",b\nc,d\n", 4);
        let raw: Vec<_> = read.iter().map(|(_, raw, _, too_long)| (raw.as_str(), *too_long)).collect();
        assert_eq!(raw, [("\"a\n\n", true), ("c,d", false)]);
    }

    #[test]
    fn records_know_their_line_and_their_bytes() {
        check("", &[]);
        check("\u{feff}a,b\n1,2\n", &[(1, "a,b", &["a", "b"]), (2, "1,2", &["1", "2"])]);
        check("a\r\n\r\n\r\nb", &[(1, "a", &["a"]), (4, "b", &["b"])]);
        check("a\rb\r\rc\n\rd", &[(1, "a", &["a"]), (2, "b", &["b"]), (4, "c", &["c"]), (6, "d", &["d"])]);
        check(
            "\"x\"\"y\",\"1\n2\"\nlast,\"\"\n",
            &[(1, "\"x\"\"y\",\"1\n2\"", &["x\"y", "1\n2"]), (3, "last,\"\"", &["last", ""])],
        );
        check("5\" pipe,x\nnext,y", &[(1, "5\" pipe,x", &["5\" pipe", "x"]), (2, "next,y", &["next", "y"])]);
    }

    #[test]
    fn a_long_record_is_cut_and_the_next_is_whole() {
        let read = all("0123456789,x\nnext,y\n", 6);
        assert_eq!(read[0].1, "012345");
        assert!(read[0].3);
        assert_eq!(read[1], (2, "next,y".to_owned(), vec!["next".to_owned(), "y".to_owned()], false));
    }
}
