//! What stops a job, or a part of it, and the exit code that says so.
//!
//! A bad *record* is never a failure: it is a [`Reject`](crate::batch::Reject) and travels as data.

use std::{fmt, io, path::Path};

/// Exit codes, after `sysexits.h` where it has one. They are documented in the README and are part of
/// the interface: scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done; rejects, if any, stayed within the limit.
    Done = 0,
    /// The command line is wrong.
    Usage = 64,
    /// More rejects than `limits.rejects` allows.
    Rejects = 65,
    /// An input does not exist, or is not what the interrupted run began with.
    InputMissing = 66,
    /// A service did not answer, or refused, after all retries, or not for `limits.stall`; or a stage needs more
    /// memory than it may use.
    Unavailable = 69,
    /// A bug in this program: a panic, rows that do not add up, workers that wait for each other.
    Bug = 70,
    /// An output cannot be created.
    CantCreate = 73,
    /// Reading or writing failed.
    Io = 74,
    /// Try again later: locked by another run, interrupted or out of time with work left.
    TryAgain = 75,
    /// A service or the file system refused the permission.
    NoPermission = 77,
    /// The job spec is invalid, or has changed since the interrupted run.
    Spec = 78,
    /// Aborted by a second SIGINT.
    Interrupted = 130,
    /// Aborted by a second SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The code the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// One thing that went wrong for good: what kind it is (its exit code) and a sentence for people.
///
/// The message is lower case, without a full stop, and names the file, server or stage concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code this failure leads to.
    pub exit: Exit,
    /// What happened, for people.
    pub message: String,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }

    /// An I/O error on reading `path`: missing input, refused permission, or anything else.
    pub fn reading(path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::InputMissing,
            io::ErrorKind::PermissionDenied => Exit::NoPermission,
            _ => Exit::Io,
        };
        Failure::new(exit, format!("cannot read `{}`: {error}", path.display()))
    }

    /// An I/O error on writing to `path`, once it exists.
    pub fn writing(path: &Path, error: &io::Error) -> Self {
        Failure::new(Exit::Io, format!("cannot write `{}`: {error}", path.display()))
    }

    /// An I/O error on creating `path`.
    pub fn creating(path: &Path, error: &io::Error) -> Self {
        Failure::new(Exit::CantCreate, format!("cannot create `{}`: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
