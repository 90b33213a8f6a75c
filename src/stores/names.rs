//! File names for keys: any key has one, no two keys share one, and the key can be told from it.
//!
//! - Small ASCII letters, digits, `-` and `_` stand for themselves, every other byte as `%` and two digits, so
//!   names that differ only in case differ in a file system that knows no case, too.
//! - The empty key is `%`.
//! - A key whose name would be longer than [`LONGEST`] is `%%` and its SHA-256; the key itself stands in a
//!   second file, which ends in `.key` and is written first.
//!
//! The folder of a document is the first byte of the key's SHA-256 in two digits, from the first document on:
//! a store never has to be divided anew.

use sha2::{Digest, Sha256};

/// Bytes that an escaped key may have; file systems allow 255 for a name with its ending.
const LONGEST: usize = 200;

/// Where a key's document lies below the store's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The folder: two hexadecimal digits.
    pub(super) shard: String,
    /// The file's name without its ending.
    pub(super) stem: String,
    /// Does the name not tell the key?
    pub(super) hashed: bool,
}

/// What the stem of a file's name says of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The key.
    Key(String),
    /// The key stands in the file beside it.
    Beside,
    /// It was not made by [`name`].
    Foreign,
}

/// The name of a key's document.
pub(super) fn name(key: &str) -> Name {
    let hash = Sha256::digest(key.as_bytes());
    let shard = hex(&hash[..1]);
    let stem = escaped(key);
    if stem.len() <= LONGEST {
        return Name { shard, stem, hashed: false };
    }
    Name { shard, stem: format!("%%{}", hex(&hash)), hashed: true }
}

/// What a stem means.
pub(super) fn meaning(stem: &str) -> Meaning {
    if stem.starts_with("%%") {
        return Meaning::Beside;
    }
    match unescaped(stem) {
        Some(key) if escaped(&key) == stem && stem.len() <= LONGEST => Meaning::Key(key),
        _ => Meaning::Foreign,
    }
}

/// Is this the name of a folder that holds documents?
pub(super) fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn escaped(key: &str) -> String {
    if key.is_empty() {
        return "%".to_owned();
    }
    let mut stem = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => stem.push(char::from(byte)),
            _ => {
                stem.push('%');
                stem.push(digit(byte >> 4));
                stem.push(digit(byte & 15));
            }
        }
    }
    stem
}

fn unescaped(stem: &str) -> Option<String> {
    if stem == "%" {
        return Some(String::new());
    }
    let mut key = Vec::with_capacity(stem.len());
    let mut bytes = stem.bytes();
    while let Some(byte) = bytes.next() {
        key.push(match byte {
            b'%' => value(bytes.next()?)? << 4 | value(bytes.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(key).ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_safe_and_tell_the_key() {
        let cases = [
            ("bob", "bob"),
            ("Bob", "%42ob"),
            ("", "%"),
            ("%", "%25"),
            (".", "%2e"),
            ("..", "%2e%2e"),
            ("a/b", "a%2fb"),
            ("a\\b", "a%5cb"),
            ("nul\0", "nul%00"),
            ("two words", "two%20words"),
            ("Ünal", "%c3%9cnal"),
            ("a-b_9", "a-b_9"),
        ];
        for (key, stem) in cases {
            assert_eq!(name(key).stem, stem);
            assert_eq!(meaning(stem), Meaning::Key(key.to_owned()));
        }
    }

    #[test]
    fn no_two_keys_share_a_name_whatever_the_case() {
        let keys = ["a", "A", "%41", "%61", "a%", "", "%", "%%", "İ", "i", "ı", "I", "é", "e\u{301}"];
        let names: HashSet<String> = keys.iter().map(|key| name(key).stem.to_lowercase()).collect();
        assert_eq!(names.len(), keys.len());
    }

    #[test]
    fn long_keys_are_hashed_and_short_enough() {
        let at = "k".repeat(LONGEST);
        assert_eq!(name(&at).stem, at);
        for key in ["k".repeat(LONGEST + 1), "ü".repeat(300)] {
            let name = name(&key);
            assert!(name.hashed && name.stem.len() == 66, "{name:?}");
            assert_eq!(meaning(&name.stem), Meaning::Beside);
        }
    }

    #[test]
    fn names_that_were_not_made_here_are_foreign() {
        for stem in ["Bob", "%2E", "%61", "%4", "%zz", "a.b", "%ff", "a b"] {
            assert_eq!(meaning(stem), Meaning::Foreign, "{stem}");
        }
    }

    #[test]
    fn shards_stay() {
        // Recorded once: stores that were written with these must be found again.
        assert_eq!(["bob", "", "Ünal"].map(|key| name(key).shard), ["81", "e3", "d4"]);
        assert!(is_shard("0f") && !is_shard("0F") && !is_shard(".tmp") && !is_shard("0"));
    }
}
