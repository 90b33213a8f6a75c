//! What the `postgres` source and sink share: where the server is, one connection, what its errors mean, and
//! values as they come back.

mod errors;
mod session;
mod types;
mod url;
mod values;

use std::time::Duration;

pub(crate) use self::{
    session::{Param, Server, Session},
    types::{declared, gives, takes, wire_type},
    url::Url,
    values::{Raw, Values},
};
use crate::jobspec;

/// Limit of one statement unless the spec says otherwise.
pub(crate) const STATEMENT_TIMEOUT: jobspec::Duration = jobspec::Duration(Duration::from_secs(60));

/// An identifier longer than this is cut by the server, silently.
const LONGEST_NAME: usize = 63;

/// A table by name, perhaps with its schema: `t`, `public.t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    /// As it was written.
    pub(crate) written: String,
    /// Quoted, for statements.
    pub(crate) quoted: String,
}

impl TableName {
    /// The table that `text` names.
    pub(crate) fn parse(text: &str) -> Result<TableName, String> {
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() > 2 {
            return Err(format!("`{text}` is not a table: expected `table` or `schema.table`"));
        }
        let quoted: Vec<String> = parts.iter().map(|part| quoted(part)).collect::<Result<_, _>>()?;
        Ok(TableName { written: text.to_owned(), quoted: quoted.join(".") })
    }
}

/// An identifier in quotes.
pub(crate) fn quoted(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("an identifier is empty".to_owned());
    }
    if name.contains('\0') {
        return Err(format!("`{}` has a zero byte in it", name.escape_debug()));
    }
    if name.len() > LONGEST_NAME {
        return Err(format!("`{name}` has {} bytes; PostgreSQL's names have at most {LONGEST_NAME}", name.len()));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_quoted() {
        let long = "x".repeat(64);
        let cases = [
            ("t", Ok("\"t\"")),
            ("public.t", Ok("\"public\".\"t\"")),
            ("a\"; drop table b; --", Ok("\"a\"\"; drop table b; --\"")),
            ("", Err("empty")),
            ("a.", Err("empty")),
            ("a.b.c", Err("expected `table`")),
            ("a\0", Err("zero byte")),
            (long.as_str(), Err("at most 63")),
        ];
        for (text, expected) in cases {
            let found = TableName::parse(text).map(|name| name.quoted);
            match expected {
                Ok(quoted) => assert_eq!(found.as_deref(), Ok(quoted)),
                Err(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{text}: {found:?}"),
            }
        }
    }
}
