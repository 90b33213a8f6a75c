//! Secrets: a spec says where they are, never what they are.

use std::{borrow::Cow, fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::failure::{Exit, Failure};

/// Where a secret is: `{ env = "NAME" }` or `{ file = "path" }`.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file; one line end at its end is not part of it.
    File(PathBuf),
}

/// A secret itself. It is printed as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Secret {
    /// Fetches the secret, when the run starts.
    ///
    /// # Errors
    /// The variable is not set, or the file cannot be read or is not UTF-8.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Revealed, Failure> {
        match self {
            Secret::Env(name) => env(name)
                .map(Revealed)
                .ok_or_else(|| Failure::new(Exit::Spec, format!("the environment variable `{name}` is not set"))),
            Secret::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| Failure::reading(path, &error))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Revealed(line.strip_suffix('\r').unwrap_or(line).to_owned()))
            }
        }
    }
}

impl Revealed {
    /// The secret, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A text that is about to be shown, with stars in place of each byte of the passwords in URLs: from the colon behind the
/// user's name to the last `@` of the line, as whoever forgot to encode a password may have any character in it.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split_inclusive('\n').map(masked_line).collect())
}

fn masked_line(line: &str) -> String {
    let password = || {
        let scheme = line.find("://")? + 3;
        let end = scheme + line[scheme..].rfind('@')?;
        let start = scheme + line[scheme..end].find(':')? + 1;
        Some(start..end)
    };
    match password() {
        Some(range) => format!("{}{}{}", &line[..range.start], "*".repeat(range.len()), &line[range.end..]),
        None => line.to_owned(),
    }
}

macro_rules! hidden {
    ($($trait:ident for $type:ident),*) => {$(
        impl fmt::$trait for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("***")
            }
        }
    )*};
}

hidden!(Debug for Secret, Display for Secret, Debug for Revealed, Display for Revealed);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobspec::{Path, Problems, Table, Value, decode};

    fn written(key: &str, value: &str) -> Secret {
        let table = Table::from([(key.to_owned(), Value::Text(value.to_owned()))]);
        decode(&Value::Table(table), &Path::default(), &[], &mut Problems::default()).unwrap()
    }

    #[test]
    fn a_password_in_a_url_is_shown_as_stars() {
        for password in ["tango", "p@ss#w%rd", "a/b?c", "x:y\\z", "with space", "quo\"te", "日本"] {
            let stars = "*".repeat(password.len());
            let shown = format!("url = \"postgres://u:{stars}@h:5432/d\"\nnext: line@all");
            assert_eq!(masked(&shown.replace(&stars, password)), shown);
        }
        for plain in ["postgres://u@h/d", "http://h:80/a", "no url: a@b", "", "://:@"] {
            assert_eq!(masked(plain), plain);
        }
    }

    #[test]
    fn a_secret_is_fetched_and_never_printed() {
        let env = |name: &str| (name == "KEY").then(|| "tango".to_owned());
        let secret = written("env", "KEY");
        let revealed = secret.resolve(&env).unwrap();
        assert_eq!(revealed.expose(), "tango");
        assert_eq!(format!("{secret} {secret:?} {revealed} {revealed:?}"), "*** *** *** ***");
        assert_eq!(written("env", "OTHER").resolve(&env).unwrap_err().exit, Exit::Spec);
    }

    #[test]
    fn a_secret_in_a_file_loses_its_line_end() {
        let path = std::env::temp_dir().join(format!("runner-secret-{}", std::process::id()));
        std::fs::write(&path, "tango\r\n").unwrap();
        let revealed = written("file", path.to_str().unwrap()).resolve(&|_| None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(revealed.unwrap().expose(), "tango");
        assert_eq!(written("file", "/no/such/file").resolve(&|_| None).unwrap_err().exit, Exit::InputMissing);
    }
}
