//! Reading the keys of a generator's table; every mistake is recorded at its own place.

use crate::jobspec::{Path, Problem, Problems, SpecLocation, Table, Value, nearest};

/// A table whose keys are read one by one.
pub(in super::super) struct Args<'a, 'p> {
    table: &'a Table,
    /// Where it stands.
    pub(in super::super) path: Path,
    /// Where mistakes go.
    pub(in super::super) problems: &'p mut Problems,
}

/// A key's value could not be read; the mistake has been recorded.
#[derive(Debug)]
pub(in super::super) struct Bad;

/// What a key may hold.
pub(in super::super) trait Read: Sized {
    /// For people: `an integer`.
    const EXPECTED: &'static str;

    /// `None` where the value is something else.
    fn read(value: &Value) -> Option<Self>;
}

impl<'a, 'p> Args<'a, 'p> {
    /// The table at `path`, which may have only the keys in `legal`; `also` lists keys that somebody else reads.
    pub(in super::super) fn open(
        value: &'a Value,
        path: Path,
        legal: &[&str],
        also: &[&str],
        problems: &'p mut Problems,
    ) -> Result<Self, Bad> {
        let Value::Table(table) = value else {
            wrong(value, &path, "a table", problems);
            return Err(Bad);
        };
        for key in table.keys().filter(|key| !legal.contains(&key.as_str())) {
            let help = if legal.is_empty() && also.is_empty() {
                Some("this generator has no keys: write `{}`".to_owned())
            } else {
                nearest(key, legal.iter().chain(also).copied())
            };
            let place = SpecLocation::key(path.entry(key));
            problems.push(Problem::new("unknown-key", place, format!("unknown key `{key}`")).help(help));
        }
        Ok(Args { table, path, problems })
    }

    /// The value of a key that must be there.
    pub(in super::super) fn required<T: Read>(&mut self, key: &'static str) -> Result<T, Bad> {
        match self.optional(key)? {
            Some(value) => Ok(value),
            None => {
                let place = SpecLocation::key(self.path.clone());
                self.problems.push(Problem::new("missing-key", place, format!("missing key `{key}`")));
                Err(Bad)
            }
        }
    }

    /// The value of a key that may be there.
    pub(in super::super) fn optional<T: Read>(&mut self, key: &'static str) -> Result<Option<T>, Bad> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        if let Some(read) = T::read(value) {
            return Ok(Some(read));
        }
        wrong(value, &self.path.entry(key), T::EXPECTED, self.problems);
        Err(Bad)
    }

    /// The value of a key as it stands.
    pub(in super::super) fn raw(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    /// Records a mistake in the value of a key.
    pub(in super::super) fn problem(&mut self, key: &str, code: &'static str, message: impl Into<String>) -> Bad {
        self.problems.push(Problem::new(code, SpecLocation::value(self.path.entry(key)), message));
        Bad
    }
}

/// Records that a value is of the wrong type, or not known while checking.
pub(in super::super) fn wrong(value: &Value, path: &Path, expected: &str, problems: &mut Problems) {
    let place = SpecLocation::value(path.clone());
    problems.push(match value {
        Value::Unknown => {
            Problem::new("unchecked", place, "this cannot be checked before the values it depends on are known").note()
        }
        _ => Problem::new("type", place, format!("expected {expected}, found {}", value.describe())),
    });
}

impl Read for i64 {
    const EXPECTED: &'static str = "an integer of 64 bits";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => i64::try_from(*number).ok(),
            Value::Substituted(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Read for u64 {
    const EXPECTED: &'static str = "an integer that is not negative";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Substituted(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Read for f64 {
    const EXPECTED: &'static str = "a finite number";

    fn read(value: &Value) -> Option<Self> {
        let number = match value {
            Value::Int(number) => *number as f64,
            Value::Float(number) => *number,
            Value::Substituted(text) => text.parse().ok()?,
            _ => return None,
        };
        number.is_finite().then_some(number)
    }
}

impl Read for bool {
    const EXPECTED: &'static str = "a boolean";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(yes) => Some(*yes),
            Value::Substituted(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Read for String {
    const EXPECTED: &'static str = "text";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) | Value::Substituted(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Read for Vec<Value> {
    const EXPECTED: &'static str = "a list";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::List(items) => Some(items.clone()),
            _ => None,
        }
    }
}
