//! Thrift's compact protocol, as far as it takes to find one's way in footers and headers of pages.
//!
//! Nothing is made of what is read but numbers. Every answer is `None` where the bytes end early or make no sense.

/// Structs and lists may lie so deep in each other.
pub(super) const MAX_DEPTH: usize = 100;

/// A place in some bytes.
pub(super) struct Thrift<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// The kinds of values, as the protocol numbers them.
pub(super) const I32: u8 = 5;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Is a value of this kind a whole number?
pub(super) fn is_whole(kind: u8) -> bool {
    (4..=6).contains(&kind)
}

impl<'a> Thrift<'a> {
    /// The beginning of some bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Thrift { bytes, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A whole number that may be negative.
    pub(super) fn whole(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The number and kind of the next field; a kind of 0 is the end of the struct.
    pub(super) fn field(&mut self, id: &mut i64) -> Option<(i64, u8)> {
        let head = self.byte()?;
        if head & 0x0F == 0 {
            return Some((0, 0));
        }
        *id = match head >> 4 {
            0 => self.whole().filter(|id| i16::try_from(*id).is_ok())?,
            more => id.checked_add(i64::from(more))?,
        };
        Some((*id, head & 0x0F))
    }

    /// The length of a list and the kind of its items.
    pub(super) fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((count, head & 0x0F))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        self.skip_in(kind, false, 0)
    }

    fn skip_in(&mut self, kind: u8, item: bool, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            // A truth value is all in the kind of its field, but a byte in a list.
            1 | 2 if !item => {}
            1..=3 => _ = self.byte()?,
            4..=6 => _ = self.varint()?,
            7 => self.at = self.at.checked_add(8)?,
            BINARY => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.at = self.at.checked_add(len)?;
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    self.skip_in(kind, true, depth + 1)?;
                    self.bytes.get(self.at - 1)?;
                }
            }
            11 => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                for _ in 0..count {
                    self.skip_in(kinds >> 4, true, depth + 1)?;
                    self.skip_in(kinds & 0x0F, true, depth + 1)?;
                    self.bytes.get(self.at - 1)?;
                }
            }
            STRUCT => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        (_, 0) => break,
                        (_, kind) => self.skip_in(kind, false, depth + 1)?,
                    }
                }
            }
            13 => self.at = self.at.checked_add(16)?,
            _ => return None,
        }
        Some(())
    }
}
