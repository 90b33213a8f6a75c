//! `runner` runs batch jobs that are described in TOML or YAML. This page is the house as it stands: the
//! words, the way of a record, the rooms, and what must stay true. Read it once; then names are enough.
//!
//! # The way of a record
//!
//! ```text
//! spec text ──load──▶ JobSpec ──compile──▶ Plan ──run──▶ events ──▶ report
//!            jobspec/          plan/            exec/              report/
//!
//! source worker ─▶ Batch ─▶ bounded queue ─▶ transform workers ─▶ bounded queue ─▶ sink workers
//!    split 0..n    rows +                      (or fused into                          │
//!                  origin                       the source)                            ▼
//!                                acknowledgement per batch ──▶ split settled ──▶ `done` action
//! ```
//!
//! - A **job spec** names sources, transforms and sinks. `jobspec` turns its text into values and finds the
//!   line and column of whatever is wrong with them; `plan` compiles them into a **plan**: checked stages
//!   in **pools** of workers. `check` and `run` build the very same plan.
//! - A **split** is what can be read, finished and redone on its own: a file, a range of rows. A source
//!   lists its splits once; their numbers are the input's order.
//! - A **batch** is an Arrow `RecordBatch` plus its **origin**: split, sequence number, and for every row
//!   the record and line it was read from, kept through every filter.
//! - A **reject** is a record that cannot be processed. It is data: it goes to the reject file with its
//!   reason, file and line, is counted against `limits.rejects`, and takes no neighbours with it.
//! - A **failure** is what stops a split, a stage or the job, with the exit code that says so.
//! - An **acknowledgement** belongs to a batch. A split is settled when everything that came of it has been
//!   answered for by every sink it reaches. Only then does the source's `done` action run, in split order.
//! - A **run** may take several **attempts**: an interrupted one is resumed by the next command, under its
//!   name, from what the **ledger** says is stored. [`ledger`] tells how.
//!
//! # The rooms, in reading order
//!
//! | room | holds |
//! |---|---|
//! | [`batch`] | batch, origin, reject: pure data |
//! | [`failure`] | failures and the exit codes |
//! | [`stage`] | the traits: a shared half makes one worker half per thread; what a stage is to the engine (its properties) |
//! | [`kind`] | what a kind of stage is to the compiler |
//! | [`jobspec`] | text → values → decoded job; problems and their places |
//! | [`expr`] | SQL scalar expressions: parse, bind, evaluate on batches |
//! | [`values`] | types; text and JSON to values and back; columns under way; calendar and hex: one piece of code each |
//! | [`formats`] | one file per file format, decoding and encoding together; compression |
//! | `service` | what every client of a server shares: classes of errors, patience, timeouts, addresses, TLS, samples read back |
//! | `keyed` | what the kinds share that see a row as a key with something under it |
//! | `sqlite`, `postgres` | what the sink and the source of the same name share |
//! | [`exchange`], [`memory`] | rows that leave memory for parts on disk and come back; what stages that hold rows may hold together |
//! | [`stores`] | documents by key, in a folder or in SQLite, for the kinds that share them |
//! | [`sources`], [`transforms`], [`sinks`] | one file or folder per kind, which holds all of that kind: its keys, how they compile, the live stage |
//! | [`plan`] | compile, pools and fusion, `plan` and `graph` output, the job schema |
//! | [`exec`] | threads, queues, order, partitioning, acknowledgement, stopping; its own page shows how |
//! | [`event`] | the facts of a run |
//! | [`pulse`] | signs of life from inside long calls |
//! | [`report`] | tally, report file, summary, progress: all made of events |
//! | [`rejects`], [`lock`] | the reject file, written and read again; the lock that keeps two runs of a job apart |
//! | `replay` | the source that stands in a replay for what rejected records |
//! | [`replace`] | how a file that is written whole takes the place of an older one |
//! | [`ledger`], [`receipt`] | what of a run is done, durably; what a database answered for rows it has already |
//! | [`cli`] | one file per command |
//! | `testing` | what unit tests of kinds share |
//!
//! A new kind is one file in its folder, one line in the folder's `KINDS`, one job in `jobs/`, and its tests.
//!
//! # What must stay true
//!
//! - Data flows one way. Kinds never import `exec`, `report`, `cli` or each other; `exec` knows kinds only as
//!   the traits of `stage`; `jobspec`, `batch` and `expr` know no threads and no I/O beyond reading the spec.
//! - Only `exec` names rayon and crossbeam; only `jobspec/load` names the TOML and YAML crates; only `cli`,
//!   `report` and `main` print; only `main` ends the process.
//! - A pool is a rayon pool of its own with one loop per worker: waiting for a queue never starves another
//!   stage, and a stage's `concurrency` is exactly its pool's size. A connection belongs to one worker.
//! - Adjacent transforms are fused into the stage before them unless the spec asks for workers, a queue, a
//!   batch size or a partition of their own, or they gather rows, need them in order, or read a second input.
//! - Every worker passes on exactly one message for each it takes, also when its stage has failed. So every
//!   run ends, and stages that need input order can restore it. Sources read ahead no further than their
//!   share of `limits.memory`, and the lowest split being read is never held back.
//! - A stage that gathers (`aggregate`, `sort`, `changelog`, `quality`) puts its result out after its last row, and
//!   nothing at all when something is missing from the input. A second input (the `with` of a `join`) is
//!   taken whole before the first batch of the other; both never come from one source.
//! - What a stage emits does not depend on how much of its rows was spilled: order and values are the same bytes. A stage
//!   that gathers and spills keeps groups or keys that have a place in memory, and divides the rows of all others by key;
//!   groups that outgrow their place leave it, and what is known of them is divided in the same way, before their further
//!   rows. What comes of each part is put in order again by the number of its row in the input. Spilled rows are nobody's
//!   but the run's, and gone with it.
//! - A stage that does not gather spills, too, and its rows stay in the batch and the split that they came in, so that a
//!   run may spill and the one that resumes it need not. `dedup` with `keep = "first"` looks the keys of each batch up in
//!   those it has spilled; a `join` keeps its messages back until its left side has ended.
//! - A sink that others read lets its output go only when the rows are durable. A sink that commits splits
//!   keeps no part of a split that is not whole. Rows that it accepted may be refused when their split is committed, but
//!   only of a sink that nobody reads: nothing has gone on by then, and the split does not count as stored yet.
//! - Rows add up: for every stage, rows in + made = rows out + rejected + filtered + gathered + not stored + not
//!   confirmed, and what one stage sends its readers take. It is checked after every run; a difference is a bug, exit
//!   70. Not confirmed are rows that a target took and did not count as stored, and does not say which they are.
//! - Nothing counts as stored that was not acknowledged. Forgetting an acknowledgement, failing and
//!   panicking all leave the split unsettled.
//! - End of input drains, commits, reports. Sinks commit when every row has been judged: then it is known
//!   whether the run is whole and within its reject limit. Output that is whole or absent is absent otherwise.
//! - A sink says its [`Guarantee`](stage::Guarantee), and nothing else decides how rows are handed to it, when a split
//!   counts as stored, and what is read again. Where a row may replace an earlier one, equal keys reach the target in
//!   input order: across files, splits and workers.
//! - A process may be killed at any instant, and the same command then finishes what is left. Splits that are
//!   stored are not read again, unless a stage needs all of its input or a sink is whole or absent: then all are, and
//!   each sink knows again what it has. What a transaction holds it holds once; what is set under a key is set again,
//!   from the first split on that is not stored; what is whole or absent is the same bytes.
//! - A run is over when its ledger says so. That is said before anything goes that a later attempt would need to see
//!   whether all is still there, and an interrupted run is given up (`--fresh`) before anything of it goes.
//! - Rejects are judged in input order: which worker was faster does not show in where a job fails, nor in its reject
//!   file. `now()` is one time for all attempts at a run.
//! - A split is noted as stored when its rejects are durable, and its `done` action runs after that is durable.
//!   Where a target may lose what it took (memcached), the action waits for the end of the run, and what was lost by then
//!   is sent again by the same command.
//! - A run in which nothing has moved for `limits.stall` ends there, says who waits for whom, and does not wait for
//!   workers that never return.
//! - The first SIGINT or SIGTERM, or the deadline, stops the sources and drains; a second signal aborts.
//! - There is no async but in the clients that are built so (`postgres`, the `btrdb` source): each of their connections
//!   has a runtime of its own (`service`), which runs only while its worker waits for an answer.
//! - The hot path allocates per batch, not per record; strings are views into the block that was read. There is one
//!   `unsafe`, in `values/builder.rs`: text that was found to be UTF-8 is not checked twice.
//!
//! A test in `tests/suite/house.rs` holds what of this a machine can check.

pub mod batch;
pub mod cli;
pub mod event;
pub mod exchange;
pub mod exec;
pub mod expr;
pub mod failure;
pub mod formats;
pub mod jobspec;
mod keyed;
pub mod kind;
pub mod ledger;
pub mod lock;
pub mod memory;
pub mod plan;
mod postgres;
pub mod pulse;
pub mod receipt;
pub mod rejects;
pub mod replace;
mod replay;
pub mod report;
mod service;
pub mod sinks;
pub mod sources;
mod sqlite;
pub mod stage;
pub mod stores;
#[cfg(test)]
mod testing;
pub mod transforms;
pub mod values;
