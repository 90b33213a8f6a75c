//! The arguments of all commands.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::jobspec::Duration;

const EXIT_CODES: &str = "\
Exit codes:
    0  done; rejects, if any, within the limit
   64  the command line is wrong
   65  more rejects than the job allows
   66  an input is missing, or is not what the interrupted run began with
   69  a service did not answer after all retries or for `limits.stall`, or `limits.memory` does not suffice
   70  a bug in runner
   73  an output cannot be created
   74  reading or writing failed
   75  try again: locked by another run, or stopped with work left
   77  permission denied
   78  the job spec is invalid, or it or a target has changed since the interrupted run
  130  aborted by a second SIGINT
  143  aborted by a second SIGTERM";

/// Runs batch jobs that are described in TOML or YAML.
#[derive(Debug, Parser)]
#[command(name = "runner", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// The state directory, whatever the spec says: locks, ledgers, reports. RUNNER_STATE names it, too
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) state: Option<PathBuf>,
    #[command(flatten)]
    pub(super) run: Run,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs jobs, one after the other; the first that fails stops the rest
    Run(Run),
    /// Gives a job the records of a reject file again; what is still bad is rejected anew
    Replay(Replay),
    /// Checks specs: files, or all specs in folders; works offline
    Check(Check),
    /// Prints the plan of a job: stages, workers, queues, columns, splits
    Plan(Plan),
    /// Draws the plan of a job
    Graph(Graph),
    /// Shows the first rows that come to a stage; writes nothing
    Preview(Preview),
    /// Prints the JSON Schema of job specs or of reports
    Schema(Schema),
    /// Prints the document that a job's store keeps for a key
    Get(Get),
    /// Lists the keys of a job's store
    Keys(Keys),
    /// Says how far the last run of a job has come
    Status(Status),
    /// Lists what the `generate` source can make, with examples
    Generators,
    /// Prints a completion script for a shell
    Completions(Completions),
}

/// `runner SPEC…`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Run {
    /// Job specs
    #[arg(value_name = "SPEC")]
    pub(super) specs: Vec<PathBuf>,
    /// Read so many rows of every source, in order; run no `done` action
    #[arg(long, value_name = "ROWS")]
    pub(super) limit: Option<u64>,
    /// Start over, even where a run was interrupted; what that has stored stays where it is
    #[arg(long)]
    pub(super) fresh: bool,
    /// Resume a run that only a database knows of, as the state directory was lost or is another host's; what still
    /// writes for it is stopped at its next commit
    #[arg(long, conflicts_with_all = ["fresh", "no_ledger"])]
    pub(super) adopt: bool,
    /// Do not record progress: an interrupted run cannot be resumed. What is recorded of one is left alone
    #[arg(long, conflicts_with = "fresh")]
    pub(super) no_ledger: bool,
    #[command(flatten)]
    pub(super) how: How,
}

/// `runner replay SPEC REJECTS`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Replay {
    /// The job spec; `limits.rejects` does not count here
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// The reject file. It is not changed: new rejects go to the job's reject file or, where that is this one, to
    /// another beside it. `files` sinks write beside their files
    #[arg(value_name = "REJECTS")]
    pub(super) rejects: PathBuf,
    #[command(flatten)]
    pub(super) run: How,
}

/// How a job is run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct How {
    /// Do everything but write, and show a sample of what would be written
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Where another run of the job is under way, wait for its end, so long at most: `30s`, `5m`
    #[arg(long, value_name = "TIME", conflicts_with = "dry_run")]
    pub(super) wait: Option<Duration>,
    /// Set a key, for example `limits.rejects=5`, or `memc:limits.rejects=5` for one job of several
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(super) quiet: bool,
    /// Print the report to standard output; where there is no run, why
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<ReportFormat>,
    /// How to tell on standard error what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Write the report to this file instead of the state directory
    #[arg(long, value_name = "PATH")]
    pub(super) report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people: on a terminal lines that are drawn again and again, elsewhere sentences with their time
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormat> for crate::report::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => crate::report::LogFormat::Text,
            LogFormat::Json => crate::report::LogFormat::Json,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// One JSON object a job
    Json,
}

/// `runner check PATH…`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Check {
    /// Specs, or folders of them
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// Set a key of every spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// How to print what is wrong
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: CheckFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckFormat {
    /// The line and the place in it, for people
    Text,
    /// One JSON object a problem
    Json,
    /// Annotations of a GitHub workflow
    Github,
}

/// `runner plan SPEC`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Plan {
    /// The job spec
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// `runner preview SPEC [STAGE]`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Preview {
    /// The job spec
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// A source or transform, whose output is shown, or a sink, whose input is; without it, the first sink
    #[arg(value_name = "STAGE")]
    pub(super) stage: Option<String>,
    /// How many rows to show; the input is read until there are so many
    #[arg(long, value_name = "ROWS", default_value = "20")]
    pub(super) rows: NonZeroUsize,
    /// Read no more than so many rows of every source, though fewer be shown
    #[arg(long, value_name = "ROWS")]
    pub(super) limit: Option<u64>,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// `runner graph SPEC`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Graph {
    /// The job spec
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The drawing's language
    #[arg(long, value_name = "FORMAT", default_value = "mermaid")]
    pub(super) format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// For Markdown
    Mermaid,
    /// For Graphviz
    Dot,
}

/// `runner schema WHAT`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Schema {
    /// Of what
    pub(super) what: SchemaOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Job specs
    Job,
    /// Reports
    Report,
}

/// `runner get SPEC KEY`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Get {
    /// The job spec; with several `kv` sinks in it, one is named behind a colon
    #[arg(value_name = "SPEC[:SINK]")]
    pub(super) spec: String,
    /// The key
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// `runner keys SPEC`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Keys {
    /// The job spec; with several `kv` sinks in it, one is named behind a colon
    #[arg(value_name = "SPEC[:SINK]")]
    pub(super) spec: String,
    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) prefix: String,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

/// `runner status SPEC`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Status {
    /// The job spec
    #[arg(value_name = "SPEC")]
    pub(super) spec: PathBuf,
    /// Set a key of the spec
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: StatusFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StatusFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// `runner completions SHELL`
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}
