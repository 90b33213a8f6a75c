//! The commands. One file per command; what they share, reading a spec and building its plan, is here.

mod args;
mod check;
mod completions;
mod generators;
mod get;
mod graph;
mod keys;
mod plan;
mod preview;
mod replay;
mod reports;
mod run;
mod schema;
mod status;
mod table;

use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use clap::{CommandFactory, Parser};

use self::args::{Args, Command};
use crate::{
    failure::{Exit, Failure},
    jobspec::{self, Document, Mode, Problems},
    plan::Plan,
    report::printable,
};

/// Names the state directory where `--state` does not.
const STATE_VARIABLE: &str = "RUNNER_STATE";

/// The state directory of this process's jobs, where the command line or the environment names one.
static STATE: OnceLock<PathBuf> = OnceLock::new();

/// Runs the command that the arguments ask for.
pub fn main(args: impl Iterator<Item = OsString>) -> Exit {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and the version are answers, not mistakes. A closed pipe is nobody's fault.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let named =
        args.state.or_else(|| std::env::var_os(STATE_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from));
    if let Some(state) = named {
        let _ = STATE.set(state);
    }
    match args.command {
        Some(Command::Run(run)) => run::run(&run),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Check(check)) => check::check(&check),
        Some(Command::Plan(plan)) => plan::plan(&plan),
        Some(Command::Preview(args)) => preview::preview(&args),
        Some(Command::Graph(graph)) => graph::graph(&graph),
        Some(Command::Schema(schema)) => schema::schema(&schema),
        Some(Command::Get(get)) => get::get(&get),
        Some(Command::Keys(keys)) => keys::keys(&keys),
        Some(Command::Status(args)) => status::status(&args),
        Some(Command::Generators) => generators::generators(),
        Some(Command::Completions(completions)) => completions::completions(&completions),
        None if args.run.specs.is_empty() => {
            let _ = Args::command().print_help();
            Exit::Usage
        }
        None => match not_a_command(&args.run.specs[0]) {
            Some(failure) => told(failure),
            None => run::run(&args.run),
        },
    }
}

/// What commands are called elsewhere.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("run", &["exec", "execute", "start", "apply", "launch", "do"]),
    ("check", &["validate", "lint", "verify", "test", "vet"]),
    ("plan", &["explain", "show", "describe", "inspect"]),
    ("preview", &["head", "peek", "sample", "cat"]),
    ("status", &["state", "history", "log", "logs", "ls", "list"]),
    ("replay", &["retry", "redo", "reprocess"]),
    ("graph", &["draw", "dot", "dag"]),
];

/// Where the first argument is not a file and does not look like one, it was meant for a command.
fn not_a_command(first: &Path) -> Option<Failure> {
    let word = first.to_str().filter(|word| !word.contains(['.', '/']))?;
    if first.exists() {
        return None;
    }
    let elsewhere = ELSEWHERE.iter().find(|(_, words)| words.contains(&word)).map(|(command, _)| *command);
    let command = Args::command();
    let known = command.get_subcommands().map(clap::Command::get_name);
    let help = elsewhere.map(|command| format!("did you mean `{command}`?")).or_else(|| jobspec::nearest(word, known));
    let help = help.unwrap_or_default();
    Some(Failure::new(Exit::Usage, format!("there is no command `{word}`, and no file of that name; {help}")))
}

/// A spec that was read and compiled, or not.
struct Compiled {
    document: Document,
    problems: Problems,
    plan: Option<Plan>,
}

/// Reads a spec, applies `--set`, puts the environment in, and compiles it.
fn compile(path: &Path, sets: &[String], mode: Mode) -> Result<Compiled, Failure> {
    let mut problems = Problems::default();
    let document = read(path, sets, mode, &mut problems)?;
    let mut plan = crate::plan::compile(&document, &mut problems).filter(|_| !problems.any_error());
    if let (Some(plan), Some(state)) = (&mut plan, STATE.get()) {
        plan.state.clone_from(state);
    }
    Ok(Compiled { document, problems, plan })
}

/// Reads a spec, applies `--set` and puts the environment in.
fn read(path: &Path, sets: &[String], mode: Mode, problems: &mut Problems) -> Result<Document, Failure> {
    let mut document = jobspec::load(path, problems)?;
    for set in sets {
        let malformed = |why| Failure::new(Exit::Usage, format!("--set {set}: {why}"));
        if document.has_place_of(set).map_err(malformed)? {
            document.set(set).map_err(malformed)?;
        }
    }
    document.interpolate(mode, &|name| std::env::var(name).ok(), problems);
    Ok(document)
}

/// Is every `--set` meant for one of these specs? A misspelt stage must not pass for another spec's.
fn check_sets(specs: &[PathBuf], sets: &[String]) -> Result<(), Failure> {
    for set in sets {
        let malformed = |why| Failure::new(Exit::Usage, format!("--set {set}: {why}"));
        let mut found = false;
        for path in specs {
            // What is wrong with the text is said when the spec is compiled.
            found |= jobspec::load(path, &mut Problems::default())?.has_place_of(set).map_err(malformed)?;
        }
        if !found {
            return Err(Failure::new(Exit::Usage, format!("--set {set}: there is no such job, stage or definition")));
        }
    }
    Ok(())
}

/// The plan of a spec, for commands that can do nothing without; what is wrong is printed.
fn plan_of(path: &Path, sets: &[String], mode: Mode) -> Result<Plan, Exit> {
    let compiled = compile(path, sets, mode).map_err(told)?;
    if compiled.problems.any_error() {
        show(&compiled);
    }
    compiled.plan.ok_or(Exit::Spec)
}

/// Prints a failure for people; its exit code is the answer.
fn told(failure: Failure) -> Exit {
    complain(&failure);
    failure.exit
}

/// Prints the problems of a spec for people.
fn show(compiled: &Compiled) {
    err(&jobspec::render(&compiled.document, &compiled.problems, colors()));
}

/// Prints a failure for people.
fn complain(failure: &Failure) {
    err(&format!("error: {}\n", printable(&failure.to_string())));
}

/// Prints data. Whoever closed the pipe has seen enough; what could not be written otherwise is told.
fn out(text: &str) -> Exit {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            told(Failure::new(Exit::Io, format!("cannot write to standard output: {error}")))
        }
        _ => Exit::Done,
    }
}

/// Prints an object for machines, on a line of its own.
fn out_json(object: &impl serde::Serialize) -> Exit {
    out(&(serde_json::to_string(object).unwrap_or_default() + "\n"))
}

/// Prints for people.
fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Are people reading at a terminal that can show colors? <https://no-color.org>
fn colors() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
