//! What a split is, as text that keeps all of it: also names of files that are not UTF-8.

use std::{
    ffi::OsString,
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::stage::Detail;

/// The same as [`Detail`], for JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Frozen {
    File {
        path: Name,
        size: u64,
        /// Nanoseconds since 1970; before that, less than 0.
        modified: Option<i128>,
        range: Option<(u64, u64)>,
    },
    Stream,
    Rows(u64, u64),
    Keys(i64, i64),
    Whole,
    Part(Option<String>, Option<String>),
}

/// A path.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

/// The text of a split's detail.
pub(super) fn text(detail: &Detail) -> String {
    let frozen = match detail {
        Detail::File { path, size, modified, range } => Frozen::File {
            path: name(path),
            size: *size,
            modified: modified.map(nanos),
            range: range.as_ref().map(|range| (range.start, range.end)),
        },
        Detail::Stream => Frozen::Stream,
        Detail::Rows { start, end } => Frozen::Rows(*start, *end),
        Detail::Keys { start, end } => Frozen::Keys(*start, *end),
        Detail::Whole => Frozen::Whole,
        Detail::Part { from, to } => Frozen::Part(from.clone(), to.clone()),
    };
    // Numbers and strings: nothing here cannot be written.
    serde_json::to_string(&frozen).unwrap_or_default()
}

/// The detail that a text says; `None` where it was not made by [`text`].
pub(super) fn detail(text: &str) -> Option<Detail> {
    Some(match serde_json::from_str(text).ok()? {
        Frozen::File { path, size, modified, range } => Detail::File {
            path: path_of(path),
            size,
            modified: modified.map(time),
            range: range.map(|(start, end)| Range { start, end }),
        },
        Frozen::Stream => Detail::Stream,
        Frozen::Rows(start, end) => Detail::Rows { start, end },
        Frozen::Keys(start, end) => Detail::Keys { start, end },
        Frozen::Whole => Detail::Whole,
        Frozen::Part(from, to) => Detail::Part { from, to },
    })
}

fn name(path: &Path) -> Name {
    match path.to_str() {
        Some(text) => Name::Text(text.to_owned()),
        None => Name::Bytes(path.as_os_str().as_bytes().to_vec()),
    }
}

fn path_of(name: Name) -> PathBuf {
    match name {
        Name::Text(text) => PathBuf::from(text),
        Name::Bytes(bytes) => PathBuf::from(OsString::from_vec(bytes)),
    }
}

fn nanos(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

fn time(nanos: i128) -> SystemTime {
    const SECOND: u128 = 1_000_000_000;
    let size = nanos.unsigned_abs();
    let duration = Duration::new((size / SECOND) as u64, (size % SECOND) as u32);
    if nanos < 0 { SystemTime::UNIX_EPOCH - duration } else { SystemTime::UNIX_EPOCH + duration }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detail_comes_back_as_it_was() {
        let odd = PathBuf::from(OsString::from_vec(vec![b'a', 0xff, b'/', b'"']));
        let before = SystemTime::UNIX_EPOCH - Duration::new(3, 5);
        let after = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        let cases = [
            Detail::File { path: "in/ä \"b\".gz".into(), size: u64::MAX, modified: Some(after), range: None },
            Detail::File { path: odd, size: 0, modified: Some(before), range: Some(4..9) },
            Detail::File { path: "x".into(), size: 1, modified: None, range: None },
            Detail::Stream,
            Detail::Rows { start: 0, end: 7 },
            Detail::Keys { start: i64::MIN, end: i64::MAX },
            Detail::Whole,
            Detail::Part { from: None, to: Some("k".into()) },
        ];
        for case in cases {
            assert_eq!(detail(&text(&case)), Some(case.clone()), "{}", text(&case));
        }
        assert_eq!(detail("{"), None);
    }
}
