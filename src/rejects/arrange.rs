//! Puts a reject file in input order once the run has ended: which worker was faster does not show in it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{RejectFile, beside};
use crate::{
    batch::{RejectCode, SplitId},
    event::StageId,
    failure::Failure,
};

/// A record in input order: its split, and its number there.
pub type RecordKey = (SplitId, u64);

/// Places of lines kept in memory: 64 MiB of them. A file of more lines stays as it was written.
const MOST: usize = 1 << 20;

/// Where each line of the file is.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: Vec<Place>,
    /// Bytes of all lines.
    end: u64,
    unsorted: bool,
    /// There are too many lines, or one could not be written: the file stays as it is.
    unknown: bool,
}

#[derive(Debug)]
struct Place {
    record: RecordKey,
    /// The stage that refused it and the reason; unknown of lines of an earlier attempt.
    by: Option<(StageId, RejectCode)>,
    offset: u64,
    len: usize,
}

impl Index {
    /// The next line.
    pub(super) fn add(&mut self, record: RecordKey, by: Option<(StageId, RejectCode)>, len: usize) {
        let offset = self.end;
        self.end += len as u64;
        if self.lines.len() == MOST {
            self.give_up();
        }
        if self.unknown {
            return;
        }
        let place = Place { record, by, offset, len };
        self.unsorted |= self.lines.last().is_some_and(|last| last.key() > place.key());
        self.lines.push(place);
    }
}

impl Index {
    /// Keeps no places any more.
    pub(super) fn give_up(&mut self) {
        *self = Index { unknown: true, ..Index::default() };
    }
}

impl Place {
    /// The same record may be refused by several stages.
    fn key(&self) -> (RecordKey, Option<StageId>) {
        (self.record, self.by.map(|(stage, _)| stage))
    }
}

impl RejectFile {
    /// Puts the lines in input order, and drops those of records behind `last`. Answers with how many of these there
    /// were, by the stage that refused them and the reason. A device or a pipe is left as it is.
    ///
    /// # Errors
    /// The file cannot be written again; then it stays as it was.
    pub fn arrange(&mut self, last: Option<RecordKey>) -> Result<Vec<(StageId, RejectCode, u64)>, Failure> {
        let Index { lines, unsorted, .. } = &mut self.index;
        let behind = |place: &Place| last.is_some_and(|last| place.record > last);
        let mut dropped: BTreeMap<(StageId, RejectCode), u64> = BTreeMap::new();
        for by in lines.iter().filter(|place| behind(place)).filter_map(|place| place.by) {
            *dropped.entry(by).or_default() += 1;
        }
        if *unsorted || lines.iter().any(behind) {
            let (mut stay, mut go): (Vec<Place>, Vec<Place>) =
                std::mem::take(lines).into_iter().partition(|place| !behind(place));
            stay.sort_by_key(Place::key);
            go.sort_by_key(Place::key);
            self.rewrite(&stay, &go).map_err(|error| Failure::writing(&self.path, &error))?;
        }
        Ok(dropped.into_iter().map(|((stage, code), count)| (stage, code, count)).collect())
    }

    /// Lines that go are kept beside, durably, before they are missing here.
    fn rewrite(&mut self, stay: &[Place], go: &[Place]) -> io::Result<()> {
        self.out.flush()?;
        if !fs::metadata(&self.path)?.is_file() {
            return Ok(());
        }
        let lines = File::open(&self.path)?;
        if let Some(path) = self.behind.as_ref().filter(|_| !go.is_empty()) {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            copy(&lines, go, path)?;
        }
        let temporary = beside(&self.path, self.run.as_deref().unwrap_or("arranged"));
        let file = copy(&lines, stay, &temporary)?;
        fs::rename(&temporary, &self.path)?;
        self.out = BufWriter::new(file);
        Ok(())
    }
}

/// Copies these lines to a file.
fn copy(from: &File, lines: &[Place], path: &Path) -> io::Result<File> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut line = Vec::new();
    for Place { offset, len, .. } in lines {
        line.resize(*len, 0);
        from.read_exact_at(&mut line, *offset)?;
        out.write_all(&line)?;
    }
    let file = out.into_inner()?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        batch::{Position, Reject},
        rejects::Kept,
    };

    fn reject(split: u32, record: u64) -> Reject {
        let position = Position { record, line: 0 };
        Reject::unread(RejectCode("bad"), "no", SplitId(split), position, Vec::new())
    }

    fn numbers(text: &str) -> Vec<(u64, u64, String)> {
        let line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            let stage = line["stage"].as_str().expect("a name").to_owned();
            (line["split"].as_u64().expect("a number"), line["number"].as_u64().expect("a number"), stage)
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn lines_end_in_input_order_up_to_the_last_that_counts() {
        let folder = crate::testing::Folder::new("rejects-arranged");
        let path = folder.path("r.ndjson");
        for (last, left) in [(None, 5), (Some((SplitId(1), 1)), 4), (Some((SplitId(0), 0)), 0)] {
            let mut file = RejectFile::create(&path, "job", None).expect("made");
            for (split, record, stage) in [(1, 1, 1), (0, 2, 0), (1, 2, 0), (0, 1, 0), (1, 1, 0)] {
                file.write((stage, ["a", "b"][stage]), None, "f", &reject(split, record)).expect("written");
            }
            let dropped: u64 = file.arrange(last).expect("arranged").iter().map(|(.., count)| count).sum();
            assert_eq!(dropped, 5 - left as u64);
            let all = [(0, 1, "a"), (0, 2, "a"), (1, 1, "a"), (1, 1, "b"), (1, 2, "a")];
            let all = all.map(|(split, number, stage)| (split, number, stage.to_owned()));
            assert_eq!(numbers(&fs::read_to_string(&path).expect("there")), all[..left]);
            assert_eq!(folder.names(), ["r.ndjson"]);
        }
    }

    #[test]
    fn what_lies_behind_is_there_again_in_the_next_attempt() {
        let folder = crate::testing::Folder::new("rejects-behind");
        let (path, behind) = (folder.path("r.ndjson"), folder.path("state/behind"));
        let mut file = RejectFile::create(&path, "job", Some("a")).expect("made").keep_behind(behind.clone());
        for (split, record) in [(2, 1), (0, 3), (1, 1)] {
            file.write((0, "s"), None, "f", &reject(split, record)).expect("written");
        }
        file.arrange(Some((SplitId(0), 3))).expect("arranged");
        let left = |path: &Path| numbers(&fs::read_to_string(path).expect("there")).len();
        assert_eq!((left(&path), left(&behind)), (1, 2));
        // Of these splits two are stored.
        let kept = Kept { run: "a", behind: &behind, stored: &|split| split != 1 };
        let mut file = RejectFile::go_on(&path, "job", &kept).expect("resumed");
        file.write((0, "s"), None, "f", &reject(1, 1)).expect("written");
        file.arrange(None).expect("arranged");
        let found: Vec<u64> = numbers(&fs::read_to_string(&path).expect("there")).iter().map(|line| line.0).collect();
        assert_eq!(found, [0, 1, 2]);
    }
}
