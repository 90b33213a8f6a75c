//! What an error of the server, or on the way to it, means.

use std::{error, io};

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::service::{ErrorClass, ServiceError};

impl ServiceError {
    /// Was somebody else faster in making a table? What the server says then depends on how far the other one was:
    /// the table is there, its type is there, or its name is taken in a catalogue.
    pub(crate) fn is_there_already(&self) -> bool {
        matches!(self.code.as_deref(), Some("42P07" | "42710" | "23505"))
    }

    /// Does it concern a row that was sent? Row security speaks with the code of a refused permission.
    pub(crate) fn concerns_row(&self) -> bool {
        self.class == ErrorClass::Refused || self.code.as_deref() == Some("42501")
    }
}

impl From<tokio_postgres::Error> for ServiceError {
    fn from(error: tokio_postgres::Error) -> ServiceError {
        if let Some(db) = error.as_db_error() {
            let answered = db.parsed_severity() == Some(Severity::Error);
            let code = db.code().code().to_owned();
            return ServiceError { class: class(db.code(), answered), message: words(db), code: Some(code), answered };
        }
        let message = chain(&error);
        let lost = error.is_closed() || sources(&error).any(|cause| cause.downcast_ref::<io::Error>().is_some());
        // The client has no other way to tell these apart: its kinds of errors are not public.
        let text = error.to_string();
        let class = match text.as_str() {
            "invalid configuration" | "authentication error" => ErrorClass::Denied,
            _ if lost || text.starts_with("error connecting") || text.starts_with("timeout") => ErrorClass::Reconnect,
            _ => ErrorClass::Permanent,
        };
        ServiceError::silent(class, message)
    }
}

/// What a server's code means. Where it does not answer the request, but ends the connection, the request's outcome
/// is not known.
fn class(state: &SqlState, answered: bool) -> ErrorClass {
    let passes = if answered { ErrorClass::Retry } else { ErrorClass::Reconnect };
    match state.code() {
        // No room on its disk: nothing that waiting a moment heals.
        "53100" => ErrorClass::Permanent,
        // An index row too large, too many columns: it is the values.
        "54000" => ErrorClass::Refused,
        // Starting, stopping, cancelled by a timeout, a lock not to be had.
        "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "55P03" | "25P03" => passes,
        "42501" => ErrorClass::Denied,
        // A transaction where there should be none, none where there should be one, or one that has failed before.
        "25001" | "25P01" | "25P02" => ErrorClass::Ours,
        code => match code.get(..2) {
            Some("21" | "22" | "23" | "44" | "P0") => ErrorClass::Refused,
            Some("08" | "40" | "53") => passes,
            Some("28") => ErrorClass::Denied,
            Some("3D" | "3F" | "42") => ErrorClass::Missing,
            _ => ErrorClass::Permanent,
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
            ("23505", ErrorClass::Refused),
            ("22P02", ErrorClass::Refused),
            ("21000", ErrorClass::Refused),
            ("P0001", ErrorClass::Refused),
            ("54000", ErrorClass::Refused),
            ("40001", ErrorClass::Retry),
            ("40P01", ErrorClass::Retry),
            ("57P03", ErrorClass::Retry),
            ("57014", ErrorClass::Retry),
            ("53300", ErrorClass::Retry),
            ("08006", ErrorClass::Retry),
            ("28P01", ErrorClass::Denied),
            ("42501", ErrorClass::Denied),
            ("3D000", ErrorClass::Missing),
            ("42P01", ErrorClass::Missing),
            ("53100", ErrorClass::Permanent),
            ("25P02", ErrorClass::Ours),
            ("XX000", ErrorClass::Permanent),
        ];
        for (code, expected) in cases {
            assert_eq!(class(&SqlState::from_code(code), true), expected, "{code}");
        }
        assert_eq!(class(&SqlState::ADMIN_SHUTDOWN, false), ErrorClass::Reconnect);
    }

    #[test]
    fn a_table_that_somebody_else_makes_now_is_there_already() {
        // 42710 is seldom: only a kill at that moment, RUNNER_SEED=1795311705053781281 of the kill tests, showed it.
        for (code, there) in [("42P07", true), ("42710", true), ("23505", true), ("42P01", false), ("40P01", false)] {
            let class = class(&SqlState::from_code(code), true);
            let error = ServiceError { code: Some(code.to_owned()), ..ServiceError::answer(class, "") };
            assert_eq!(error.is_there_already(), there, "{code}");
        }
    }
}
