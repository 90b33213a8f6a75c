//! What an error of the server, or on the way to it, means: is it the row, will it heal, or what exit code.

use std::{error, io};

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::failure::{Exit, Failure};

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// The server takes no such value or row.
    Row,
    /// It may be gone when tried again.
    Heals,
    /// The server refuses the user or the permission.
    Denied,
    /// A database, schema, table, column or conversion is not there.
    Missing,
    /// Anything else: no room, a statement that cannot be run.
    Broken,
}

/// One error, classified.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What kind it is.
    pub(crate) nature: Nature,
    /// For people: the server's own words where they are its.
    pub(crate) message: String,
    /// The server's five-letter code, where it answered at all.
    pub(crate) code: Option<String>,
    /// The server said it and the connection goes on: what it did not do is known.
    pub(crate) answered: bool,
}

impl Trouble {
    /// Trouble that the server did not tell of.
    pub(super) fn silent(nature: Nature, message: impl Into<String>) -> Trouble {
        Trouble { nature, message: message.into(), code: None, answered: false }
    }

    /// The failure that it leads to; `missing` is the code for what is not there.
    pub(crate) fn failure(&self, missing: Exit, what: &str) -> Failure {
        let exit = match self.nature {
            Nature::Row | Nature::Broken => Exit::Io,
            Nature::Heals => Exit::Unavailable,
            Nature::Denied => Exit::NoPermission,
            Nature::Missing => missing,
        };
        Failure::new(exit, format!("{what}: {}", self.message))
    }

    /// Was somebody else faster in making a table? What the server says then depends on how far the other one was:
    /// the table is there, its type is there, or its name is taken in a catalogue.
    pub(crate) fn is_there_already(&self) -> bool {
        matches!(self.code.as_deref(), Some("42P07" | "42710" | "23505"))
    }

    /// Does it concern a row that was sent? Row security speaks with the code of a refused permission.
    pub(crate) fn concerns_row(&self) -> bool {
        self.nature == Nature::Row || self.code.as_deref() == Some("42501")
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Trouble {
        if let Some(db) = error.as_db_error() {
            let answered = db.parsed_severity() == Some(Severity::Error);
            let code = db.code().code().to_owned();
            return Trouble { nature: nature(db.code()), message: words(db), code: Some(code), answered };
        }
        let message = chain(&error);
        let lost = error.is_closed() || sources(&error).any(|cause| cause.downcast_ref::<io::Error>().is_some());
        // The client has no other way to tell these apart: its kinds of errors are not public.
        let text = error.to_string();
        let nature = match text.as_str() {
            "invalid configuration" | "authentication error" => Nature::Denied,
            _ if lost || text.starts_with("error connecting") || text.starts_with("timeout") => Nature::Heals,
            _ => Nature::Broken,
        };
        Trouble::silent(nature, message)
    }
}

/// What a server's code means.
fn nature(state: &SqlState) -> Nature {
    match state.code() {
        // No room on its disk: nothing that waiting a moment heals.
        "53100" => Nature::Broken,
        // An index row too large, too many columns: it is the values.
        "54000" => Nature::Row,
        // Starting, stopping, cancelled by a timeout, a lock not to be had.
        "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "55P03" | "25P03" => Nature::Heals,
        "42501" => Nature::Denied,
        code => match code.get(..2) {
            Some("21" | "22" | "23" | "44" | "P0") => Nature::Row,
            Some("08" | "40" | "53") => Nature::Heals,
            Some("28") => Nature::Denied,
            Some("3D" | "3F" | "42") => Nature::Missing,
            _ => Nature::Broken,
        },
    }
}

/// The server's words, on one line.
fn words(error: &DbError) -> String {
    let detail = error.detail().map(|detail| format!(": {detail}"));
    let text = format!("{}{}", error.message(), detail.unwrap_or_default());
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

fn sources(error: &dyn error::Error) -> impl Iterator<Item = &(dyn error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// An error and what caused it.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    for cause in sources(error) {
        text = format!("{text}: {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let cases = [
            ("23505", Nature::Row),
            ("22P02", Nature::Row),
            ("21000", Nature::Row),
            ("P0001", Nature::Row),
            ("54000", Nature::Row),
            ("40001", Nature::Heals),
            ("40P01", Nature::Heals),
            ("57P03", Nature::Heals),
            ("57014", Nature::Heals),
            ("53300", Nature::Heals),
            ("08006", Nature::Heals),
            ("28P01", Nature::Denied),
            ("42501", Nature::Denied),
            ("3D000", Nature::Missing),
            ("42P01", Nature::Missing),
            ("53100", Nature::Broken),
            ("XX000", Nature::Broken),
        ];
        for (code, expected) in cases {
            assert_eq!(nature(&SqlState::from_code(code)), expected, "{code}");
        }
    }

    #[test]
    fn a_table_that_somebody_else_makes_now_is_there_already() {
        // 42710 is seldom: only a kill at that moment, RUNNER_SEED=1795311705053781281 of the kill tests, showed it.
        for (code, there) in [("42P07", true), ("42710", true), ("23505", true), ("42P01", false), ("40P01", false)] {
            let (nature, message) = (nature(&SqlState::from_code(code)), String::new());
            let trouble = Trouble { nature, message, code: Some(code.to_owned()), answered: true };
            assert_eq!(trouble.is_there_already(), there, "{code}");
        }
    }

    #[test]
    fn trouble_becomes_the_exit_code_of_its_kind() {
        let cases = [
            (Nature::Heals, Exit::Unavailable),
            (Nature::Denied, Exit::NoPermission),
            (Nature::Missing, Exit::CantCreate),
            (Nature::Broken, Exit::Io),
            (Nature::Row, Exit::Io),
        ];
        for (nature, exit) in cases {
            let failure = Trouble::silent(nature, "why").failure(Exit::CantCreate, "what");
            assert_eq!((failure.exit, failure.message.as_str()), (exit, "what: why"));
        }
    }
}
