//! A look at a footer beside the crate's.
//!
//! Before it takes the schema apart: it goes down into groups by calling itself, and makes room for as many children
//! as a group says it has. So how deep groups lie and how many children they have is checked first. Nothing else is:
//! what is not a footer at all is left to the crate. After it found pages to be damaged: they may be encrypted, which
//! the crate does not look for.
//!
//! The footer is a struct in Thrift's compact protocol. Its second field is the list of the schema's elements, of
//! which the fifth field is the number of children; they follow their group in the list. Its eighth field says how
//! columns are encrypted, where some are.

/// Groups may lie so deep in each other.
const MAX_DEPTH: usize = 100;

/// Can the crate take this footer's schema apart?
///
/// # Errors
/// It would go too deep, or make room for what is not there.
pub fn check_depth(footer: &[u8]) -> Result<(), String> {
    let mut thrift = Thrift { bytes: footer, at: 0 };
    // Where it ends or makes no sense early, the crate says so.
    thrift.schema().unwrap_or(Ok(()))
}

/// Does it say that columns are encrypted?
pub fn is_encrypted(footer: &[u8]) -> bool {
    Thrift { bytes: footer, at: 0 }.has(8, STRUCT).unwrap_or(false)
}

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

const BINARY: u8 = 8;
const LIST: u8 = 9;
const I32: u8 = 5;
const STRUCT: u8 = 12;

impl Thrift<'_> {
    fn schema(&mut self) -> Option<Result<(), String>> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                (2, LIST) => break,
                (_, 0) => return None,
                (_, kind) => self.skip(kind, false, 0)?,
            }
        }
        let (count, _) = self.list()?;
        // For each group around the current element, how many of its children are still to come.
        let mut groups: Vec<u64> = Vec::new();
        for element in 0..count {
            let children = self.children()?;
            if children > count - element {
                return Some(Err(format!("a group has {children} children, more than there are fields")));
            }
            if let Some(left) = groups.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                groups.push(children);
            }
            while groups.last() == Some(&0) {
                groups.pop();
            }
            if groups.len() > MAX_DEPTH {
                return Some(Err(format!("its fields are nested deeper than {MAX_DEPTH} levels")));
            }
        }
        Some(Ok(()))
    }

    /// Has the struct that begins here a field of this number and kind?
    fn has(&mut self, wanted: i64, of: u8) -> Option<bool> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                (_, 0) => return Some(false),
                found if found == (wanted, of) => return Some(true),
                (_, kind) => self.skip(kind, false, 0)?,
            }
        }
    }

    /// How many children the element has that begins here.
    fn children(&mut self) -> Option<u64> {
        let (mut id, mut children) = (0, 0);
        loop {
            match self.field(&mut id)? {
                (_, 0) => return Some(children),
                // Whole numbers are zigzag: even ones are not negative.
                (5, I32) => children = Some(self.varint()?).filter(|number| number % 2 == 0).unwrap_or(0) / 2,
                (_, kind) => self.skip(kind, false, 0)?,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        self.at += 1;
        self.bytes.get(self.at - 1).copied()
    }

    fn varint(&mut self) -> Option<u64> {
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

    /// The number and kind of the next field; a kind of 0 is the end of the struct.
    fn field(&mut self, id: &mut i64) -> Option<(i64, u8)> {
        let head = self.byte()?;
        if head == 0 {
            return Some((0, 0));
        }
        *id = match head >> 4 {
            0 => (self.varint()? >> 1) as i64,
            more => id.checked_add(i64::from(more))?,
        };
        Some((*id, head & 0x0F))
    }

    /// The length of a list and the kind of its items.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Some((count, head & 0x0F))
    }

    fn skip(&mut self, kind: u8, item: bool, depth: usize) -> Option<()> {
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
                    self.skip(kind, true, depth + 1)?;
                    self.bytes.get(self.at - 1)?;
                }
            }
            STRUCT => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        (_, 0) => break,
                        (_, kind) => self.skip(kind, false, depth + 1)?,
                    }
                }
            }
            // Maps and what is newer do not come before the schema or in it.
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer whose schema has these groups, each with so many children in zigzag.
    fn footer(children: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
        let elements: Vec<Vec<u8>> =
            children.map(|count| [&[0x35, 0x02, 0x18, 0x01, b'a', 0x15][..], &count, &[0]].concat()).collect();
        let mut count = Vec::new();
        let mut left = elements.len();
        while left >= 0x80 {
            count.push(left as u8 | 0x80);
            left >>= 7;
        }
        count.push(left as u8);
        [&[0x15, 0x02, 0x19, 0xFC][..], &count, &elements.concat()].concat()
    }

    #[test]
    fn groups_that_are_too_deep_or_too_large_are_refused() {
        let nested = |depth: usize| footer((0..depth).map(|_| vec![2]).chain([vec![0]]));
        assert_eq!(check_depth(&nested(100)), Ok(()));
        assert_eq!(check_depth(&nested(101)), Err("its fields are nested deeper than 100 levels".to_owned()));
        assert_eq!(check_depth(&nested(200_000)), Err("its fields are nested deeper than 100 levels".to_owned()));
        // Many groups beside each other are not deep.
        let wide = footer([vec![0xD0, 0x0F]].into_iter().chain((0..1000).flat_map(|_| [vec![2], vec![0]])));
        assert_eq!(check_depth(&wide), Ok(()));
        let huge = footer([vec![0xFE, 0xFF, 0xFF, 0xFF, 0x0F], vec![0]].into_iter());
        assert_eq!(check_depth(&huge), Err("a group has 2147483647 children, more than there are fields".to_owned()));
    }

    #[test]
    fn what_is_no_footer_is_left_to_others() {
        for bytes in [&b""[..], b"\0", b"\x15", b"abcdefghijklmnop", &[0xFF; 100], &[0x19; 100], &[0x1C; 1000]] {
            assert_eq!(check_depth(bytes), Ok(()), "{bytes:?}");
        }
        let good = footer([vec![2], vec![0]].into_iter());
        for len in 0..good.len() {
            assert_eq!(check_depth(&good[..len]), Ok(()));
        }
    }

    #[test]
    fn encrypted_columns_are_told_by_the_eighth_field() {
        // Fields 1 and 2 as above, the fourth an empty list, and then, or not, a struct with an empty one in it.
        let plain = [&footer([vec![0]].into_iter())[..], &[0x29, 0x0C, 0x00]].concat();
        let encrypted = [&plain[..plain.len() - 1], &[0x4C, 0x1C, 0x00, 0x00, 0x00]].concat();
        assert!(is_encrypted(&encrypted));
        for bytes in [&plain[..], b"", &[0x4C; 40], &encrypted[..plain.len() - 1]] {
            assert!(!is_encrypted(bytes), "{bytes:?}");
        }
    }
}
