//! How a run ended, and the one place that turns it into an exit code.

use crate::{
    event::StopReason,
    failure::{Exit, Failure},
};

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What went wrong for good, in the order it happened: of stages, of splits, of rows not stored.
    pub failures: Vec<Failure>,
    /// More rejects than the job allows.
    pub too_many_rejects: bool,
    /// Told to stop before the end of input.
    pub stopped: Option<StopReason>,
    /// Splits that are not wholly stored, of all.
    pub unfinished: usize,
    /// Splits in all.
    pub splits: usize,
    /// The run was ended at once: by a second signal, or because nothing moved any more.
    pub aborted: Option<Exit>,
    /// The run, where it can be resumed.
    pub run: Option<Resumed>,
    /// What targets have lost of that which they had acknowledged. It counts as not stored, and its input is there:
    /// another attempt sends it again.
    pub lost: Vec<Failure>,
    /// Nothing of it is left to do: once everybody has been told, [`close`](super::close) says so to its ledger.
    pub complete: bool,
}

/// A run that can be resumed, and what earlier attempts have done of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// The run's name.
    pub id: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Splits that earlier attempts have stored.
    pub kept: usize,
    /// Records that were read of those.
    pub read: u64,
    /// Records that were rejected of those.
    pub rejected: u64,
}

impl Outcome {
    /// Is all well but for what targets have lost?
    pub fn has_only_losses(&self) -> bool {
        let ended = self.aborted.is_none() && self.stopped.is_none();
        ended && self.failures.is_empty() && !self.too_many_rejects && !self.lost.is_empty()
    }

    /// There is no other attempt: what was lost is a failure.
    pub fn give_up_what_is_lost(&mut self) {
        for Failure { exit, message } in self.lost.drain(..) {
            let failure = Failure::new(exit, format!("{message}; the same command sends it again"));
            tracing::error!("{failure}");
            self.failures.push(failure);
        }
    }

    /// The exit code: a bug before all else, then an abort, the first failure, too many rejects, work left.
    pub fn exit(&self) -> Exit {
        if self.failures.iter().any(|failure| failure.exit == Exit::Bug) {
            return Exit::Bug;
        }
        if let Some(exit) = self.aborted {
            return exit;
        }
        if let Some(failure) = self.failures.first().or(self.lost.first()) {
            return failure.exit;
        }
        if self.too_many_rejects {
            return Exit::Rejects;
        }
        match self.stopped {
            Some(_) if self.unfinished > 0 => Exit::TryAgain,
            _ => Exit::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_reason_decides() {
        let stopped = Outcome { stopped: Some(StopReason::Interrupt), unfinished: 1, splits: 2, ..Outcome::default() };
        let rejects = Outcome { too_many_rejects: true, ..stopped.clone() };
        let io = Failure::new(Exit::Io, "disk");
        let failed =
            Outcome { failures: vec![io.clone(), Failure::new(Exit::Unavailable, "server")], ..rejects.clone() };
        let aborted = Outcome { aborted: Some(Exit::Terminated), ..failed.clone() };
        let bug = Outcome { failures: vec![io, Failure::new(Exit::Bug, "panic")], ..aborted.clone() };
        let exits = [Outcome::default(), stopped, rejects, failed, aborted, bug].map(|outcome| outcome.exit());
        assert_eq!(exits, [Exit::Done, Exit::TryAgain, Exit::Rejects, Exit::Io, Exit::Terminated, Exit::Bug]);
    }

    #[test]
    fn a_signal_after_the_last_record_changes_nothing() {
        let outcome = Outcome { stopped: Some(StopReason::Terminate), ..Outcome::default() };
        assert_eq!(outcome.exit(), Exit::Done);
    }
}
