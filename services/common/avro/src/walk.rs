//! The walk of a plan over one record.

use std::ops::Range;

use freshet_core::{Code, Violation, Withheld};

use crate::plan::{Op, Plan, Slot};
use crate::value::Value;
use crate::varint::{self, VarintError};
use crate::{decimal, limits};

/// After so many the rest is not listed: a header carries the list.
pub const MAX_VIOLATIONS: usize = freshet_core::MAX_VIOLATIONS;
/// Items without bytes (null, empty records) that a record may have in all. Other items are bounded by the bytes.
pub const MAX_EMPTY_ITEMS: u64 = 65_536;

const UNREACHED: u32 = u32::MAX;

/// What one walk found: where the fields stand and what is wrong. Reuse it: it keeps its buffers.
#[derive(Debug, Default)]
pub struct Walk {
    /// First byte and byte behind the last, by slot, and one unused entry.
    places: Vec<(u32, u32)>,
    violations: Vec<Violation>,
    /// The number of the current item of each array or map around the current value.
    items: Vec<u64>,
    empty_items: u64,
}

impl Walk {
    pub fn new() -> Self {
        Self::default()
    }

    /// What was wrong in the last record that was checked.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The encoded bytes of a field (with the union's index where it is nullable) in the record that was last checked;
    /// empty where the field is absent. `plan` and record are those of the check.
    pub fn raw(&self, slot: Slot) -> Range<usize> {
        match self.places.get(slot.0 as usize) {
            Some((begin, end)) if *end != UNREACHED => *begin as usize..*end as usize,
            _ => 0..0,
        }
    }

    /// Whether the field stands in the record: no record around it is null.
    pub fn is_present(&self, slot: Slot) -> bool {
        self.places.get(slot.0 as usize).is_some_and(|(_, end)| *end != UNREACHED)
    }

    /// The field's value. `plan` and `bytes` are those of the last check.
    pub fn value<'a>(&self, plan: &'a Plan, slot: Slot, bytes: &'a [u8]) -> Value<'a> {
        if !self.is_present(slot) {
            return Value::Absent;
        }
        match bytes.get(self.raw(slot)) {
            Some(raw) => Value::read(plan.type_of(slot), raw),
            None => Value::Absent,
        }
    }

    pub(crate) fn check(&mut self, plan: &Plan, bytes: &[u8]) -> bool {
        self.violations.clear();
        self.items.clear();
        self.empty_items = 0;
        self.places.clear();
        self.places.resize(plan.slot_count() + 1, (UNREACHED, UNREACHED));
        if bytes.len() >= UNREACHED as usize {
            self.violations.push(Violation::whole(Code::SchemaMalformed, "the record has 4 GiB or more"));
            return false;
        }
        let mut cursor = Cursor { plan, bytes, position: 0, walk: self };
        if cursor.run(0, plan.steps.len()).is_ok() {
            let left = bytes.len() - cursor.position;
            if left > 0 {
                let message = format!("{left} bytes are left over behind the record's last field");
                self.violations.push(Violation::whole(Code::SchemaMalformed, message));
            }
        }
        self.violations.is_empty()
    }
}

/// The bytes have no meaning any more; the violation that says why is noted.
struct Stop;

struct Cursor<'a> {
    plan: &'a Plan,
    bytes: &'a [u8],
    position: usize,
    walk: &'a mut Walk,
}

impl<'a> Cursor<'a> {
    fn run(&mut self, from: usize, to: usize) -> Result<(), Stop> {
        let plan = self.plan;
        let mut at = from;
        while at < to {
            let step = &plan.steps[at];
            self.walk.places[step.begin as usize].0 = self.position as u32;
            let mut next = at + 1;
            match step.op {
                Op::Mark => {}
                Op::Boolean => {
                    let byte = self.take(1, at)?[0];
                    if byte > 1 {
                        self.malformed(at, format!("the byte {byte} is neither false (0) nor true (1)"))?;
                    }
                }
                Op::Int => {
                    self.int(at)?;
                }
                Op::Long => {
                    self.long(at)?;
                }
                Op::Skip(size) => {
                    self.take(size as usize, at)?;
                }
                Op::Bytes => {
                    self.sized(at)?;
                }
                Op::String => self.string(at)?,
                Op::Uuid => {
                    let text = self.sized(at)?;
                    if !limits::is_uuid(text) {
                        self.wrong(at, "not a UUID of the form 8-4-4-4-12 hexadecimal digits".to_owned())?;
                    }
                }
                Op::Date => {
                    if let Some(days) = self.int(at)?
                        && !limits::is_date(days)
                    {
                        let date = self.shown(at, format_args!("{days} days from 1970-01-01"));
                        self.wrong(at, format!("{date} is not a date of the years 1 to 9999"))?;
                    }
                }
                Op::Time { units_a_second, long } => {
                    let time = if long { Some(self.long(at)?) } else { self.int(at)?.map(i64::from) };
                    if let Some(time) = time
                        && !limits::is_time(time, i64::from(units_a_second))
                    {
                        let time = self.shown(at, format_args!("{time}"));
                        self.wrong(at, format!("{time} is not a time of day: it is not within 24 hours"))?;
                    }
                }
                Op::Timestamp { units_a_second } => {
                    let time = self.long(at)?;
                    if !limits::is_timestamp(time, i64::from(units_a_second)) {
                        let time = self.shown(at, format_args!("the time stamp {time}"));
                        self.wrong(at, format!("{time} is not in the years 1 to 9999"))?;
                    }
                }
                Op::DecimalBytes { precision } => {
                    let digits = self.sized(at)?;
                    self.decimal(digits, precision, at)?;
                }
                Op::DecimalFixed { precision, size } => {
                    let digits = self.take(size as usize, at)?;
                    self.decimal(digits, precision, at)?;
                }
                Op::Enum { symbols } => {
                    if let Some(index) = self.int(at)?
                        && !u32::try_from(index).is_ok_and(|index| index < symbols)
                    {
                        self.malformed(at, format!("symbol number {index}, but the enum has {symbols} symbols"))?;
                    }
                }
                Op::Nullable { null, to } => {
                    let index = self.union_index(at, 2)?;
                    if index == usize::from(null) {
                        next = to as usize;
                    }
                }
                Op::Union { first, count, to } => {
                    let index = self.union_index(at, count)?;
                    let (from, end) = plan.branches[first as usize + index];
                    self.run(from as usize, end as usize)?;
                    next = to as usize;
                }
                Op::Array { to, min_width } => {
                    self.blocks(at, to as usize, min_width, Keyed::No)?;
                    next = to as usize;
                }
                Op::Map { to, min_width } => {
                    self.blocks(at, to as usize, min_width, Keyed::Yes)?;
                    next = to as usize;
                }
            }
            self.walk.places[step.end as usize].1 = self.position as u32;
            at = next;
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, length: usize, at: usize) -> Result<&'a [u8], Stop> {
        let begin = self.position;
        match self.bytes[begin..].get(..length) {
            Some(taken) => {
                self.position = begin + length;
                Ok(taken)
            }
            None => Err(self.cut_off(length as u64, at)),
        }
    }

    #[inline]
    fn long(&mut self, at: usize) -> Result<i64, Stop> {
        match varint::read(self.bytes, &mut self.position) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.no_number(error, at)),
        }
    }

    /// None: an integer that is out of range, noted.
    #[inline]
    fn int(&mut self, at: usize) -> Result<Option<i32>, Stop> {
        let begin = self.position;
        let value = self.long(at)?;
        match i32::try_from(value) {
            // Java's decoder reads no more than 5 bytes for an int, however many of them are padding.
            Ok(value) if self.position - begin <= 5 => Ok(Some(value)),
            _ => {
                let value = self.shown(at, format_args!("the number {value}"));
                self.malformed(at, format!("{value} is not in the range and form of an int (32 bits)"))?;
                Ok(None)
            }
        }
    }

    #[inline]
    fn sized(&mut self, at: usize) -> Result<&'a [u8], Stop> {
        let length = self.long(at)?;
        match usize::try_from(length) {
            Ok(length) => self.take(length, at),
            Err(_) => {
                self.malformed(at, format!("the length {length} is negative"))?;
                Err(Stop)
            }
        }
    }

    #[inline]
    fn string(&mut self, at: usize) -> Result<(), Stop> {
        let text = self.sized(at)?;
        if !limits::is_utf8(text) {
            self.wrong(at, "the text is not UTF-8".to_owned())?;
        }
        Ok(())
    }

    fn decimal(&mut self, digits: &[u8], precision: u32, at: usize) -> Result<(), Stop> {
        match decimal::from_bytes(digits) {
            Some(unscaled) if decimal::fits(unscaled, precision) => Ok(()),
            None if digits.is_empty() => self.wrong(at, "a decimal of no bytes".to_owned()),
            _ => self.wrong(at, format!("the decimal has more than {precision} digits")),
        }
    }

    #[inline]
    fn union_index(&mut self, at: usize, count: u32) -> Result<usize, Stop> {
        let begin = self.position;
        let index = self.long(at)?;
        match u32::try_from(index) {
            Ok(index) if index < count && self.position - begin <= 5 => Ok(index as usize),
            _ => {
                self.malformed(at, format!("branch number {index}, but the union has {count} branches"))?;
                Err(Stop)
            }
        }
    }

    /// The blocks of an array or map whose items' steps are `at + 1` up to `to`.
    fn blocks(&mut self, at: usize, to: usize, min_width: u32, keyed: Keyed) -> Result<(), Stop> {
        self.walk.items.push(0);
        loop {
            let (count, size) = match self.long(at)? {
                0 => break,
                count @ 1.. => (count.unsigned_abs(), None),
                count => (count.unsigned_abs(), Some(self.long(at)?)),
            };
            let left = (self.bytes.len() - self.position) as u64;
            if count.saturating_mul(u64::from(min_width)) > left {
                self.malformed(at, format!("{count} items are announced, but only {left} bytes are left"))?;
                return Err(Stop);
            }
            if min_width == 0 {
                self.walk.empty_items = self.walk.empty_items.saturating_add(count);
                if self.walk.empty_items > MAX_EMPTY_ITEMS {
                    self.malformed(at, format!("more than {MAX_EMPTY_ITEMS} items without content"))?;
                    return Err(Stop);
                }
            }
            let begin = self.position;
            for _ in 0..count {
                if keyed == Keyed::Yes {
                    self.key(at)?;
                }
                self.run(at + 1, to)?;
                if let Some(item) = self.walk.items.last_mut() {
                    *item += 1;
                }
            }
            if let Some(size) = size {
                let used = self.position - begin;
                if i64::try_from(used) != Ok(size) {
                    self.malformed(at, format!("a block of items says that it has {size} bytes, but has {used}"))?;
                }
            }
        }
        self.walk.items.pop();
        Ok(())
    }

    fn key(&mut self, at: usize) -> Result<(), Stop> {
        let key = self.sized(at)?;
        if !limits::is_utf8(key) {
            self.wrong(at, "a key of the map is not UTF-8".to_owned())?;
        }
        Ok(())
    }

    #[cold]
    fn no_number(&mut self, error: VarintError, at: usize) -> Stop {
        match error {
            VarintError::Cut => self.cut_off(1, at),
            VarintError::TooLong => {
                let _ = self.note(at, Code::SchemaMalformed, "a number of more than 64 bits".to_owned());
                Stop
            }
        }
    }

    #[cold]
    fn cut_off(&mut self, wanted: u64, at: usize) -> Stop {
        let (length, left) = (self.bytes.len(), self.bytes.len() - self.position);
        let message =
            format!("the record of {length} bytes is cut off here: {wanted} more are needed, {left} are left");
        let _ = self.note(at, Code::SchemaMalformed, message);
        Stop
    }

    /// A value as a message shows it: not at all where the plan withholds it.
    #[cold]
    fn shown(&self, at: usize, value: std::fmt::Arguments<'_>) -> String {
        let path = &self.plan.paths[self.plan.steps[at].path as usize];
        if self.plan.withheld().covers(path) { Withheld::INSTEAD.to_owned() } else { value.to_string() }
    }

    /// Notes that the bytes are not Avro of the type. The walk goes on where the value's bounds are known.
    #[cold]
    fn malformed(&mut self, at: usize, message: String) -> Result<(), Stop> {
        self.note(at, Code::SchemaMalformed, message)
    }

    /// Notes that the value is not of its logical type.
    #[cold]
    fn wrong(&mut self, at: usize, message: String) -> Result<(), Stop> {
        self.note(at, Code::SchemaType, message)
    }

    #[cold]
    fn note(&mut self, at: usize, code: Code, message: String) -> Result<(), Stop> {
        let mut template = self.plan.paths[self.plan.steps[at].path as usize].split("[]");
        let mut field = template.next().unwrap_or_default().to_owned();
        for (part, item) in template.zip(&self.walk.items) {
            field.push_str(&format!("[{item}]{part}"));
        }
        self.walk.violations.push(Violation::new(code, field, message));
        if self.walk.violations.len() < MAX_VIOLATIONS {
            return Ok(());
        }
        let message = format!("{MAX_VIOLATIONS} faults are listed; the rest of the record was not read");
        self.walk.violations.push(Violation::whole(Code::SchemaMalformed, message));
        Err(Stop)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Keyed {
    Yes,
    No,
}
