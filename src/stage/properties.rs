//! What the engine must know of a stage: each says it once, as one value.

use std::path::PathBuf;

/// What the engine must know of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceProperties {
    /// What reading a split a second time gives.
    pub repeats: Repeats,
    /// Is there a `done` action for each split that is stored?
    pub has_action: bool,
}

/// What reading a split a second time gives, where nobody has changed the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// The same rows in the same order: a file, a generator, a query with a total order.
    #[default]
    InOrder,
    /// The same rows in any order: a query without a total order.
    AnyOrder,
    /// Nothing: a pipe.
    Never,
}

/// What the engine must know of a transform. The default is one that makes each row of one row alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransformProperties {
    /// It gathers rows and emits what it made of them only after the last one; others may go on at once. Its input counts
    /// as stored when the whole run is.
    pub pipeline_breaker: bool,
    /// Its result depends on the order of its input, so its one worker gets all batches in input order. Where rows
    /// are divided by key they come in input order in any case.
    pub ordered: bool,
    /// Its result for a row depends on rows that it had before, so an interrupted run is resumed from its first
    /// split, whatever is stored. So it is with every pipeline breaker and every ordered transform, too.
    pub stateful: bool,
    /// Why rejected rows cannot be replayed without the rows that were accepted; `None` where they can.
    pub not_replayable: Option<&'static str>,
}

impl TransformProperties {
    /// A transform that needs all of its input, in order, before it emits anything.
    pub const BREAKER: TransformProperties = TransformProperties {
        pipeline_breaker: true,
        ordered: true,
        stateful: true,
        not_replayable: Some("what it emits depends on all of its input"),
    };

    /// Must an interrupted run give it all of its input again?
    pub fn needs_all_input(&self) -> bool {
        self.pipeline_breaker || self.ordered || self.stateful
    }
}

/// What the engine must know of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkProperties {
    /// What it promises of the rows it is given.
    pub guarantee: Guarantee,
    /// The files that it writes as a whole, as the spec names them: nothing else in a job may write the same.
    pub files: Vec<PathBuf>,
    /// What two runs must not write at once, by path: it is locked while a run lasts. A part of something that others
    /// may write is named by a path of its own, as a table is by that of its database and its name.
    pub targets: Vec<PathBuf>,
    /// May the target lose what it has acknowledged while the run goes on, as one that keeps it in memory? Then `done`
    /// actions wait for the last [`Sink::check`](super::Sink::check): until then the input may be needed again.
    pub may_lose: bool,
}

impl SinkProperties {
    /// Of a sink that writes these files as a whole.
    pub fn of_files(guarantee: Guarantee, files: Vec<PathBuf>) -> Self {
        SinkProperties { targets: files.clone(), files, ..guarantee.into() }
    }
}

impl From<Guarantee> for SinkProperties {
    fn from(guarantee: Guarantee) -> Self {
        SinkProperties { guarantee, files: Vec::new(), targets: Vec::new(), may_lose: false }
    }
}

/// What a sink promises of the rows it is given. From this alone follows how the engine hands rows to its workers,
/// when a split counts as stored, what is read again on resume, and when `done` actions run.
///
/// | | rows come | a split is stored | resume reads again | at the end |
/// |---|---|---|---|---|
/// | `AnyOrder` | in any order, to any worker | with its last acknowledgement | splits that are not stored | `commit` |
/// | `LastWins` | equal keys to one worker, in input order | with its last acknowledgement, once every split before it is | everything from the first split that is not stored | `commit` |
/// | `ExactlyOnce` | a split to one worker, in order, or divided by key | when `commit_split` says so | splits that are not stored | `commit` |
/// | `AllOrNothing` | in input order | all together, at the end | everything | `commit` only if nothing is missing |
/// | `Stream` | in input order | all together, at the end | it cannot be resumed | `commit` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Each row stands for itself. A repeated split stores its rows again, so it is at least once.
    AnyOrder,
    /// A row takes the place of an earlier one with the same key. A repeat ends in the same state, so it is at least
    /// once, convergent. The kind names the key ([`Workers::Keyed`](crate::kind::Workers::Keyed)); one without a key
    /// gets one worker.
    LastWins,
    /// A split is stored whole or not at all, together with a receipt by which the sink knows it again
    /// ([`SinkWorker::commit_split`](super::SinkWorker::commit_split)).
    ExactlyOnce {
        /// May a row take, or keep, the place of one of another split? Then what comes after a split that could not
        /// be stored is not stored either: in the next attempt it comes after it. Rows with equal keys go to one
        /// worker: the kind names the key, or gets one worker.
        replaces: bool,
    },
    /// Its output appears whole at the end, or not at all.
    AllOrNothing,
    /// What it is given is gone at once, and nobody can look at it again: standard output, a pipe.
    Stream,
}

impl Guarantee {
    /// Does the order of rows with equal keys matter to what it stores?
    pub fn replaces(self) -> bool {
        matches!(self, Guarantee::LastWins | Guarantee::ExactlyOnce { replaces: true })
    }

    /// Is each split stored by itself, so that a stored one need not be read again? Not so where output is whole or
    /// absent.
    pub fn stores_by_split(self) -> bool {
        matches!(self, Guarantee::AnyOrder | Guarantee::LastWins | Guarantee::ExactlyOnce { .. })
    }
}
