//! A look at a footer beside the crate's.
//!
//! It is given only what reading asks for. It takes the value of a field that it knows for what the format's latest
//! version says it is, whatever the file says of its kind, and loses its way where a writer used a number before it had
//! that meaning; other readers pass over such a field.
//!
//! Before it takes the schema apart: it goes down into groups by calling itself, and makes room for as many children
//! as a group says it has. So how deep groups lie and how many children they have is checked first. Nothing else is:
//! what is not a footer at all is left to the crate. After it found pages to be damaged: they may be encrypted, which
//! the crate does not look for.
//!
//! The footer is a struct in Thrift's compact protocol. Its second field is the list of the schema's elements, of
//! which the fifth field is the number of children; they follow their group in the list. Its eighth field says how
//! columns are encrypted, where some are.

use super::thrift::{BINARY, I32, LIST, MAX_DEPTH, STRUCT, Thrift, is_whole};

/// The fields of a struct that are kept: their numbers, and what they must be.
type Kept = &'static [(i64, Kind)];

/// What a field must be.
#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Binary,
    List,
    Struct(Kept),
    /// A list of structs.
    Each(Kept),
}

/// Of a file: its version, schema, number of rows, and row groups.
const FILE: Kept = &[(1, Kind::Whole), (2, Kind::List), (3, Kind::Whole), (4, Kind::Each(GROUP))];
/// Of a row group: its columns, bytes and rows.
const GROUP: Kept = &[(1, Kind::Each(CHUNK)), (2, Kind::Whole), (3, Kind::Whole)];
/// Of a column of it: in which file it is, where its footer was, and what that says.
const CHUNK: Kept = &[(1, Kind::Binary), (2, Kind::Whole), (3, Kind::Struct(COLUMN))];
/// Of that: the type, encodings, codec, number of values, size unpacked and as it lies there, and where its first page
/// is and its dictionary. No statistics: files of writers that get them wrong are read, too.
const COLUMN: Kept = &[
    (1, Kind::Whole),
    (2, Kind::List),
    (4, Kind::Whole),
    (5, Kind::Whole),
    (6, Kind::Whole),
    (7, Kind::Whole),
    (9, Kind::Whole),
    (11, Kind::Whole),
];

/// The footer with those fields alone that reading asks for, where they are what they must be; `None` where it makes no
/// sense.
pub fn sifted(footer: &[u8]) -> Option<Vec<u8>> {
    let mut into = Vec::with_capacity(footer.len());
    Thrift::new(footer).sift(FILE, &mut into)?;
    Some(into)
}

/// Can the crate take this footer's schema apart?
///
/// # Errors
/// It would go too deep, or make room for what is not there.
pub fn check_depth(footer: &[u8]) -> Result<(), String> {
    let mut thrift = Thrift::new(footer);
    // Where it ends or makes no sense early, the crate says so.
    thrift.schema().unwrap_or(Ok(()))
}

/// Does it say that columns are encrypted?
pub fn is_encrypted(footer: &[u8]) -> bool {
    Thrift::new(footer).has(8, STRUCT).unwrap_or(false)
}

impl Kind {
    /// Is a value of that kind such a field?
    fn is(self, kind: u8) -> bool {
        match self {
            Kind::Whole => is_whole(kind),
            Kind::Binary => kind == BINARY,
            Kind::List | Kind::Each(_) => kind == LIST,
            Kind::Struct(_) => kind == STRUCT,
        }
    }
}

impl Thrift<'_> {
    /// Copies the struct that begins here with these fields alone.
    fn sift(&mut self, kept: Kept, into: &mut Vec<u8>) -> Option<()> {
        let (mut id, mut last) = (0, 0);
        loop {
            let (number, kind) = self.field(&mut id)?;
            if kind == 0 {
                into.push(0);
                return Some(());
            }
            let wanted = kept.iter().find(|(wanted, of)| *wanted == number && of.is(kind));
            let Some((_, of)) = wanted else {
                self.skip(kind)?;
                continue;
            };
            // Numbers are small, so each is told by how much larger it is than the last one, or by itself.
            match u8::try_from(number - last) {
                Ok(more @ 1..=15) => into.push(more << 4 | kind),
                _ => into.extend([kind, (number << 1) as u8]),
            }
            last = number;
            let start = self.at;
            match of {
                Kind::Struct(kept) => self.sift(kept, into)?,
                Kind::Each(kept) => {
                    let (count, item) = self.list()?;
                    if count > 0 && item != STRUCT {
                        return None;
                    }
                    into.extend_from_slice(self.bytes.get(start..self.at)?);
                    for _ in 0..count {
                        self.sift(kept, into)?;
                    }
                }
                Kind::Whole | Kind::Binary | Kind::List => {
                    self.skip(kind)?;
                    into.extend_from_slice(self.bytes.get(start..self.at)?);
                }
            }
        }
    }

    fn schema(&mut self) -> Option<Result<(), String>> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                (2, LIST) => break,
                (_, 0) => return None,
                (_, kind) => self.skip(kind)?,
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
                (_, kind) => self.skip(kind)?,
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
                (_, kind) => self.skip(kind)?,
            }
        }
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
