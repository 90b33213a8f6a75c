//! One attempt at a run, as stages know it, and what a target has of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use crate::batch::SplitId;

/// One attempt at a run that can be resumed.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The name of the ledger that the run began in: 16 hexadecimal digits.
    pub ledger: String,
    /// The run's name, the same in all its attempts: 16 hexadecimal digits.
    pub run: String,
    /// This attempt's own: who has another one must not write any more.
    pub token: String,
    /// The job's name.
    pub job: String,
    /// The plan's digest.
    pub plan: String,
    /// The stage's name.
    pub stage: String,
    /// Has there been an attempt before this one?
    pub again: bool,
    /// Is anything stored that earlier attempts have read?
    pub stored: bool,
    /// When the run began.
    pub started: SystemTime,
    /// A folder of the job's own, where a stage may keep what it needs after a kill. It is not there until a
    /// stage makes it, and goes when the run is over.
    pub folder: PathBuf,
    /// Are the rows divided among the stage's workers by a key? Then no split belongs to one worker. The number of
    /// workers is the same in all attempts.
    pub divided: bool,
    /// How many workers the stage has.
    pub workers: u32,
    /// Do the rows of a split that come to one worker come in the same order in every attempt, whatever the sizes of
    /// batches and the numbers of workers before it are then?
    pub in_order: bool,
    /// The run's splits.
    pub splits: Arc<Splits>,
    /// All that it takes to resume the run where its ledger is lost: kept beside the receipts, and given back as it is.
    pub record: Arc<[u8]>,
}

impl Attempt {
    /// By what a split is known in every attempt, whatever its number is.
    pub fn key(&self, split: SplitId) -> String {
        let Splits { listed } = &*self.splits;
        match listed.get(split.0 as usize) {
            Some((_, _, key)) => key.clone(),
            // What a stage made at the end; it is made again in the same order.
            None => format!("made-{}", split.0 as usize - listed.len()),
        }
    }

    /// A split as people call it.
    pub fn name(&self, split: SplitId) -> String {
        match self.splits.listed.get(split.0 as usize) {
            Some((source, name, _)) => format!("split `{name}` of `{source}`"),
            None => "what a stage made of its input".to_owned(),
        }
    }
}

#[cfg(test)]
impl Attempt {
    /// The first attempt at a run without splits; for tests of one kind.
    pub(crate) fn of(run: &str, stage: &str, folder: PathBuf) -> Attempt {
        let text = |text: &str| text.to_owned();
        Attempt {
            ledger: text("a ledger"),
            run: text(run),
            token: text("a token"),
            job: text("job"),
            plan: text("a plan"),
            stage: text(stage),
            again: false,
            stored: false,
            started: SystemTime::now(),
            folder,
            divided: false,
            workers: 1,
            in_order: true,
            splits: Arc::default(),
            record: Arc::new([]),
        }
    }
}

/// The splits of a run, by number.
#[derive(Debug, Default)]
pub struct Splits {
    /// Source, name, and key of each.
    listed: Vec<(Arc<str>, String, String)>,
}

impl Splits {
    /// Of each split, in order: its source, its name, and all that it is, as text.
    pub fn new<'a>(splits: impl Iterator<Item = (&'a str, &'a str, String)>) -> Splits {
        let mut listed: Vec<(Arc<str>, String, String)> = Vec::new();
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (source, name, detail) in splits {
            let source = match listed.last() {
                Some((last, ..)) if **last == *source => Arc::clone(last),
                _ => Arc::from(source),
            };
            let mut key = digest(&[&source, name, &detail]);
            let before = seen.entry(key.clone()).or_default();
            if *before > 0 {
                let _ = write!(key, "-{before}");
            }
            *before += 1;
            listed.push((source, name.to_owned(), key));
        }
        Splits { listed }
    }

    /// Numbers by key.
    pub fn numbers(&self) -> BTreeMap<&str, SplitId> {
        self.listed.iter().enumerate().map(|(i, (_, _, key))| (key.as_str(), SplitId(i as u32))).collect()
    }
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What a target has of a run, and of others of the same job.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What tells the target from all others: server and database, or the real path of a file. `None` where the sink
    /// cannot tell.
    pub target: Option<String>,
    /// What it keeps of this run; `None` where it keeps nothing, or never does.
    pub run: Option<Kept>,
    /// Runs of this job that are not over, other than this one.
    pub others: Vec<OtherRun>,
    /// Is it known that nothing of this run is there, though the target cannot be told from others?
    pub untouched: bool,
}

/// What a target keeps of the run.
#[derive(Debug, Default)]
pub struct Kept {
    /// Splits that are wholly stored there.
    pub stored: BTreeSet<SplitId>,
    /// Rows that the target took.
    pub rows: u64,
    /// Why the rows cannot be there any more, where that is so.
    pub lost: Option<String>,
}

/// A run of the job that a target has receipts of, and that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherRun {
    /// The name of its ledger.
    pub ledger: String,
    /// Its name.
    pub run: String,
    /// Splits that are stored.
    pub splits: u64,
    /// How long ago its process was last heard of, by the target's own clock.
    pub silent: Duration,
    /// What it takes to resume it: the [`Attempt::record`] of its attempts; empty where another version of this program
    /// wrote it.
    pub record: Vec<u8>,
}

impl OtherRun {
    /// A process that was not heard of for so long is dead.
    pub const DEAD_AFTER: Duration = Duration::from_secs(60);

    /// Runs that an earlier version of this program has not ended, by the path of their ledger, name, and number of
    /// splits: those of the job of that name.
    pub fn of_old_version(found: Vec<(String, String, i64)>, job: &str) -> Vec<OtherRun> {
        let of_job = |path: &str| path.ends_with(&format!("/{job}.ledger"));
        let other = |(ledger, run, splits): (String, String, i64)| OtherRun {
            ledger,
            run,
            splits: splits.unsigned_abs(),
            silent: OtherRun::DEAD_AFTER,
            record: Vec::new(),
        };
        found.into_iter().filter(|(path, ..)| of_job(path)).map(other).collect()
    }

    /// May the process still be there?
    pub fn is_alive(&self) -> bool {
        self.silent < OtherRun::DEAD_AFTER
    }
}
