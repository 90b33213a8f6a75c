//! All that it takes to resume a run, as bytes that a target can keep beside its receipts.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Entry, Run, frozen, millis};
use crate::stage::Split;

/// zstd level 1, the fastest standard level.
const LEVEL: i32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    ledger: String,
    run: String,
    /// Milliseconds since 1970.
    started: i64,
    parts: BTreeMap<String, String>,
    /// Source, name and detail of each split.
    splits: Vec<(String, String, String)>,
}

impl Run {
    /// The run as it was when it began.
    pub fn record(&self) -> Vec<u8> {
        let split =
            |Entry { source, split, .. }: &Entry| (source.clone(), split.name.clone(), frozen::text(&split.detail));
        let record = Record {
            ledger: self.ledger.clone(),
            run: self.id.clone(),
            started: millis(self.started),
            parts: self.parts.clone(),
            splits: self.splits.iter().map(split).collect(),
        };
        // Text and numbers, written to memory: nothing here fails.
        let text = serde_json::to_vec(&record).unwrap_or_default();
        zstd::bulk::compress(&text, LEVEL).unwrap_or_default()
    }

    /// The run that a record tells of, with nothing of it read; `None` where it is not one of this version.
    pub fn of_record(record: &[u8]) -> Option<Run> {
        let text = zstd::decode_all(record).ok()?;
        let Record { ledger, run, started, parts, splits } = serde_json::from_slice(&text).ok()?;
        let entry = |(source, name, detail): (String, String, String)| {
            Some(Entry::new(source, Split { name, detail: frozen::detail(&detail)? }))
        };
        let splits = splits.into_iter().map(entry).collect::<Option<_>>()?;
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(started.unsigned_abs());
        Some(Run { id: run, ledger, started, attempts: 0, parts, targets: BTreeMap::new(), splits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Detail;

    #[test]
    fn a_run_is_known_again_by_its_record() {
        let parts = BTreeMap::from([("seed".to_owned(), "1".to_owned())]);
        let split = |i| Split { name: format!("rows {i}"), detail: Detail::Rows { start: i, end: i + 1 } };
        let run = Run::new("l", SystemTime::now(), parts, (0..1000).map(|i| ("rows".to_owned(), split(i))));
        let record = run.record();
        assert!(record.len() < 10_000, "{}", record.len());
        let again = Run::of_record(&record).expect("a record");
        assert_eq!(
            (&again.id, &again.ledger, &again.parts, &again.splits),
            (&run.id, &run.ledger, &run.parts, &run.splits)
        );
        assert_eq!(millis(again.started), millis(run.started));
        assert!(Run::of_record(&record[1..]).is_none() && Run::of_record(b"").is_none());
    }
}
