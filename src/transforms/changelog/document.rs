//! A key's document: its entries by id, and the id that the next one gets.
//!
//! ```json
//! {"next_id":3,"entries":{"1":{"title":"Dentist"},"2":{"title":"Shopping"}}}
//! ```
//!
//! Entries stand in the order of their ids. An id is never given twice, even when its entry is gone.

use std::{collections::BTreeMap, fmt::Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::patch::{self, Bad};
use crate::batch::RejectCode;

/// The largest id that there is.
const LAST: u64 = i64::MAX as u64;

/// Bytes that an entry takes besides its text, and a document besides its entries: about what the tables of
/// them need.
const ENTRY: usize = 48;
const DOCUMENT: usize = 192;

/// One key's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// More than [`LAST`] where all ids are given.
    next_id: u64,
    /// Compact JSON by id.
    entries: BTreeMap<i64, Box<str>>,
    /// Memory that the entries take, about.
    bytes: usize,
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    /// A new one, under this id or under the next.
    Insert(Option<i64>, &'a str),
    /// An entry is changed by a merge patch.
    Update(i64, &'a str),
    /// An entry goes.
    Delete(i64),
}

/// Why an operation cannot be applied.
pub(super) type Refusal = (RejectCode, String);

/// A document as it lies in the store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    next_id: u64,
    #[serde(borrow)]
    entries: BTreeMap<i64, &'a RawValue>,
}

impl Default for Document {
    fn default() -> Self {
        Document { next_id: 1, entries: BTreeMap::new(), bytes: DOCUMENT }
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// It is not JSON, or not of this shape; the sentence says why.
    pub(super) fn parse(text: &[u8]) -> Result<Document, String> {
        let text = simdutf8::basic::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let Stored { next_id, entries } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut document = Document { next_id: next_id.clamp(1, LAST + 1), ..Document::default() };
        for (id, entry) in entries {
            let entry = patch::compact(entry.get()).map_err(|bad| bad.to_string())?;
            document.set(id, entry.into());
        }
        Ok(document)
    }

    /// Applies an operation; answers with the id of its entry. One that is refused changes nothing.
    pub(super) fn apply(&mut self, operation: Operation<'_>) -> Result<i64, Refusal> {
        match operation {
            Operation::Insert(id, record) => self.insert(id, record),
            Operation::Update(id, change) => {
                let old = self.entries.get(&id).ok_or_else(|| missing(id))?;
                let new = patch::merge(old, change).map_err(refusal)?;
                self.set(id, new.into());
                Ok(id)
            }
            Operation::Delete(id) => {
                let old = self.entries.remove(&id).ok_or_else(|| missing(id))?;
                self.bytes -= ENTRY + old.len();
                Ok(id)
            }
        }
    }

    fn insert(&mut self, id: Option<i64>, record: &str) -> Result<i64, Refusal> {
        let id = match id {
            Some(id) if self.entries.contains_key(&id) => {
                return Err((RejectCode("exists"), format!("there is an entry with id {id} already")));
            }
            Some(id) => id,
            None => i64::try_from(self.next_id)
                .map_err(|_| (RejectCode("no_id"), "the last id of this key is taken".to_owned()))?,
        };
        let record = patch::compact(record).map_err(refusal)?;
        self.set(id, record.into());
        Ok(id)
    }

    fn set(&mut self, id: i64, entry: Box<str>) {
        // An id below 0 is never next.
        self.next_id = self.next_id.max(u64::try_from(id).map_or(0, |id| id + 1));
        self.bytes += ENTRY + entry.len();
        if let Some(old) = self.entries.insert(id, entry) {
            self.bytes -= ENTRY + old.len();
        }
    }

    /// The entry with this id, as compact JSON.
    pub(super) fn entry(&self, id: i64) -> Option<&str> {
        self.entries.get(&id).map(|entry| &**entry)
    }

    /// Memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the document as it lies in a store.
    pub(super) fn write(&self, out: &mut String) {
        let _ = write!(out, "{{\"next_id\":{},\"entries\":{{", self.next_id);
        for (i, (id, entry)) in self.entries.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{id}\":");
            out.push_str(entry);
        }
        out.push_str("}}");
    }
}

fn missing(id: i64) -> Refusal {
    (RejectCode("missing"), format!("there is no entry with id {id}"))
}

fn refusal(bad: Bad) -> Refusal {
    let code = match bad {
        Bad::Json(_) => "bad_json",
        Bad::Deep => "too_deep",
    };
    (RejectCode(code), bad.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &Document) -> String {
        let mut text = String::new();
        document.write(&mut text);
        text
    }

    /// Applies operations; the codes of those that were refused, and the document.
    fn after(start: &str, operations: &[Operation<'_>]) -> (Vec<&'static str>, String) {
        let mut document = Document::parse(start.as_bytes()).expect("a document");
        let refused = operations.iter().filter_map(|operation| document.apply(*operation).err());
        (refused.map(|(RejectCode(code), _)| code).collect(), text(&document))
    }

    #[test]
    fn operations_apply_in_order_and_refused_ones_change_nothing() {
        use Operation::{Delete, Insert, Update};
        const EMPTY: &str = r#"{"next_id":1,"entries":{}}"#;
        const ONE: &str = r#"{"next_id":2,"entries":{"1":{"t":"a"}}}"#;
        const FULL: &str = r#"{"next_id":9223372036854775808,"entries":{"9223372036854775807":1}}"#;
        let cases: &[(&str, &[Operation<'_>], &[&str], &str)] = &[
            (EMPTY, &[Insert(None, r#"{ "t": "a" }"#)], &[], ONE),
            (ONE, &[Insert(Some(1), "{}")], &["exists"], ONE),
            (ONE, &[Insert(None, "{")], &["bad_json"], ONE),
            (ONE, &[Update(2, "{}"), Delete(2)], &["missing", "missing"], ONE),
            (ONE, &[Update(1, "nil")], &["bad_json"], ONE),
            (ONE, &[Update(1, r#"{"t":null,"u":1}"#)], &[], r#"{"next_id":2,"entries":{"1":{"u":1}}}"#),
            (ONE, &[Delete(1)], &[], r#"{"next_id":2,"entries":{}}"#),
            (ONE, &[Delete(1), Insert(None, "2")], &[], r#"{"next_id":3,"entries":{"2":2}}"#),
            (
                ONE,
                &[Insert(Some(7), "0"), Insert(None, "1")],
                &[],
                r#"{"next_id":9,"entries":{"1":{"t":"a"},"7":0,"8":1}}"#,
            ),
            (EMPTY, &[Insert(Some(-5), "0"), Insert(None, "1")], &[], r#"{"next_id":2,"entries":{"-5":0,"1":1}}"#),
            (EMPTY, &[Insert(Some(i64::MAX), "1"), Insert(None, "2")], &["no_id"], FULL),
            (FULL, &[Insert(None, "2")], &["no_id"], FULL),
        ];
        for (start, operations, refused, expected) in cases {
            assert_eq!(after(start, operations), (refused.to_vec(), (*expected).to_owned()), "{start} {operations:?}");
        }
    }

    #[test]
    fn documents_that_people_touched_are_read() {
        let by_hand = "{\n \"entries\": { \"10\": { \"t\": 1 }, \"9\": 2 },\n \"next_id\": 0 }\n";
        let document = Document::parse(by_hand.as_bytes()).expect("a document");
        assert_eq!(text(&document), r#"{"next_id":11,"entries":{"9":2,"10":{"t":1}}}"#);
    }

    #[test]
    fn what_is_no_document_is_told() {
        let cases: &[&[u8]] = &[
            b"",
            b"{",
            b"[]",
            b"{}",
            b"{\"next_id\":1}",
            b"{\"next_id\":1,\"entries\":{\"a\":1}}",
            b"{\"next_id\":1,\"entries\":{\"01\":1}}",
            b"{\"next_id\":1,\"entries\":{},\"x\":1}",
            b"{\"next_id\":-1,\"entries\":{}}",
            b"\xff",
        ];
        for case in cases {
            assert!(Document::parse(case).is_err(), "{}", String::from_utf8_lossy(case));
        }
    }

    #[test]
    fn memory_is_counted_and_given_back() {
        let mut document = Document::default();
        for round in 0..3 {
            assert_eq!(document.apply(Operation::Insert(Some(1), "[1, 2]")), Ok(1));
            assert_eq!(document.bytes(), DOCUMENT + ENTRY + "[1,2]".len());
            assert_eq!(document.apply(Operation::Update(1, &round.to_string())), Ok(1));
            assert_eq!(document.bytes(), DOCUMENT + ENTRY + 1);
            assert_eq!(document.apply(Operation::Delete(1)), Ok(1));
            assert_eq!(document.bytes(), DOCUMENT);
        }
    }
}
