//! From the values of a spec to compiled generators, with every mistake at its own place.

pub(super) mod args;
mod constant;
mod numbers;
mod order;
mod structure;
mod words;

use self::args::{Args, Bad};
use super::{
    node::{Make, Node},
    pick::{Permutation, Pick},
    record::Record,
    rng::hash_name,
};
use crate::{
    batch::ColumnType,
    jobspec::{Path, Problem, Problems, SpecLocation, Table, Value, nearest},
};

/// The generators, in the order in which they are listed for people: name, what it makes, an example.
pub(super) const GENERATORS: &[(&str, &str, &str)] = &[
    ("uuid", "a version 4 UUID, different in every row", "{ uuid = {} }"),
    ("sequence", "`start`, then `step` more in every row", "{ sequence = { start = 1, step = 1 } }"),
    ("int", "an integer from `min` to `max`", "{ int = { min = 0, max = 9999 } }"),
    ("float", "a number from `min` to `max`, of so many `decimals`", "{ float = { min = 0, max = 1, decimals = 2 } }"),
    ("normal", "a number of the normal distribution", "{ normal = { mean = 20, stddev = 5 } }"),
    ("zipf", "a rank from 1 to `n` with a chance of rank to the power of -`s`", "{ zipf = { n = 1000, s = 1.1 } }"),
    ("bool", "true with the chance `p`", "{ bool = { p = 0.5 } }"),
    ("choice", "one of several values", "{ choice = { values = [\"a\", \"b\"], weights = [3, 1] } }"),
    ("date", "a day", "{ date = { from = \"1970-01-01\", to = \"2024-12-31\" } }"),
    ("timestamp", "a moment", "{ timestamp = { from = \"2024-01-01\", to = \"2024-12-31T12:00:00Z\" } }"),
    ("pattern", "`#` a digit, `?` a letter, `^` a hexadecimal digit, `\\` keeps the next", "{ pattern = \"??-####\" }"),
    ("template", "text with fields and fakes in it", "{ template = \"{company}: {catch_phrase}\" }"),
    ("fake", "made-up text", "{ fake = \"name\", locale = \"en\" }"),
    ("list", "a list", "{ list = { of = { fake = \"name\" }, min = 1, max = 5 } }"),
    ("object", "a JSON object", "{ object = { city = { fake = \"city\" } } }"),
    ("expr", "an SQL expression over earlier fields", "{ expr = \"price * 2\" }"),
    ("ref", "a value of another generated source's row", "{ ref = { source = \"users\", column = \"id\" } }"),
];

/// Keys that stand beside any generator.
const BESIDE: &[&str] = &["null_rate", "unique"];

/// More items than this in one value, nested lists multiplied, are not made.
pub(super) const MAX_ITEMS: u64 = 1_000_000;

/// What all fields of a job are compiled in.
pub(super) struct Compiler<'a> {
    pub(super) seed: u64,
    pub(super) definitions: &'a Table,
    /// The job's sources as written.
    pub(super) sources: &'a Table,
    pub(super) problems: &'a mut Problems,
    /// The references that are being followed: source and column.
    pub(super) following: Vec<(String, String)>,
}

/// What a generator is compiled for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    /// The record's fields, and what is known of them so far.
    pub(super) record: &'s order::Draft<'s>,
    /// How many places there are under one seed: rows, or items of a list.
    pub(super) places: Option<u64>,
    /// Is this the field itself, and not a part of it?
    pub(super) whole: bool,
}

/// A generator before what stands beside it is added.
pub(super) struct Plain {
    pub(super) make: Make,
    pub(super) column_type: ColumnType,
    pub(super) nullable: bool,
}

impl Plain {
    pub(super) fn new(make: Make, column_type: ColumnType) -> Self {
        Plain { make, column_type, nullable: false }
    }
}

/// A generator's table, taken apart.
pub(super) struct Call<'v> {
    pub(super) name: &'static str,
    pub(super) value: &'v Value,
    pub(super) path: Path,
    pub(super) unique: bool,
    pub(super) locale: Option<&'v Value>,
    pub(super) outer: Path,
}

impl Compiler<'_> {
    /// Compiles the fields `wanted` of a definition's `fields` with `overrides` over them; all where `wanted`
    /// is `None`. The seed of a column follows from the source's and its own name.
    pub(super) fn record(
        &mut self,
        source: &str,
        fields: &[(String, &Value, Path)],
        count: Option<u64>,
        wanted: Option<&str>,
    ) -> Option<Record> {
        order::record(self, source, fields, count, wanted)
    }

    pub(super) fn column_seed(&self, source: &str, column: &str) -> u64 {
        hash_name(hash_name(self.seed, source), column)
    }

    /// Compiles one value: a constant, or a generator with what stands beside it.
    pub(super) fn node(&mut self, value: &Value, path: &Path, scope: Scope<'_>) -> Result<Node, Bad> {
        let Value::Table(table) = value else {
            let (array, column_type) = constant::array(value, path, self.problems)?;
            return Ok(Node { make: Make::Constant(array), nulls: 0, column_type, nullable: false });
        };
        let beside = self.beside(table, path);
        let call = self.call(table, path);
        let (nulls, call) = (beside?, call?);
        let Plain { make, column_type, nullable } = self.generator(&call, scope)?;
        Ok(Node { make, nulls, column_type, nullable: nullable || nulls > 0 })
    }

    /// The chance of a null as a threshold for 64 random bits.
    fn beside(&mut self, table: &Table, path: &Path) -> Result<u64, Bad> {
        let Some(value) = table.get("null_rate") else { return Ok(0) };
        let path = path.entry("null_rate");
        match <f64 as args::Read>::read(value) {
            Some(rate) if (0.0..=1.0).contains(&rate) => Ok(chance(rate)),
            Some(rate) => {
                let message = format!("a rate lies between 0 and 1, not at {rate}");
                self.problems.push(Problem::new("range", SpecLocation::value(path), message));
                Err(Bad)
            }
            None => {
                args::wrong(value, &path, "a number from 0 to 1", self.problems);
                Err(Bad)
            }
        }
    }

    /// Finds the generator among the keys of a table.
    fn call<'v>(&mut self, table: &'v Table, path: &Path) -> Result<Call<'v>, Bad> {
        let mut found = table.iter().filter_map(|(key, value)| Some((generator_named(key)?, value)));
        let first = found.next();
        for (second, _) in found {
            let message = format!("a field has one generator, and `{second}` is a second one");
            self.problems.push(Problem::new("two-generators", SpecLocation::key(path.entry(second)), message));
        }
        self.check_keys(table, path, first.map(|(name, _)| name));
        let (name, value) = first.ok_or(Bad)?;
        let unique = match table.get("unique") {
            None => false,
            Some(value) => <bool as args::Read>::read(value).ok_or_else(|| {
                args::wrong(value, &path.entry("unique"), "a boolean", self.problems);
                Bad
            })?,
        };
        Ok(Call { name, value, path: path.entry(name), unique, locale: table.get("locale"), outer: path.clone() })
    }

    /// Refuses keys that are neither a generator nor may stand beside the one that was found.
    fn check_keys(&mut self, table: &Table, path: &Path, generator: Option<&str>) {
        let locale = matches!(generator, Some("fake" | "template")).then_some("locale");
        let beside = || BESIDE.iter().copied().chain(locale);
        let names = || GENERATORS.iter().map(|(name, ..)| *name);
        let others = table.keys().filter(|key| generator_named(key).is_none() && beside().all(|legal| legal != *key));
        for key in others {
            let (code, message, help) = match generator {
                None => ("unknown-generator", format!("there is no generator `{key}`"), nearest(key, names())),
                Some(_) => ("unknown-key", format!("unknown key `{key}`"), nearest(key, beside())),
            };
            self.problems.push(Problem::new(code, SpecLocation::key(path.entry(key)), message).help(help));
        }
        if generator.is_none() && table.keys().all(|key| beside().any(|legal| legal == key)) {
            let names: Vec<String> = names().map(|name| format!("`{name}`")).collect();
            let help = Some(format!("generators: {}", names.join(", ")));
            let place = SpecLocation::value(path.clone());
            self.problems.push(Problem::new("unknown-generator", place, "this names no generator").help(help));
        }
    }

    fn generator(&mut self, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
        match call.name {
            "uuid" => words::uuid(self, call),
            "sequence" => numbers::sequence(self, call, scope),
            "int" => numbers::int(self, call, scope),
            "float" => numbers::float(self, call, scope),
            "normal" => numbers::normal(self, call),
            "zipf" => numbers::zipf(self, call),
            "bool" => numbers::chance(self, call),
            "choice" => constant::choice(self, call, scope),
            "date" => numbers::date(self, call, scope),
            "timestamp" => numbers::timestamp(self, call, scope),
            "pattern" => words::pattern(self, call, scope),
            "template" => words::template(self, call, scope),
            "fake" => words::fake(self, call),
            "list" => structure::list(self, call, scope),
            "object" => structure::object(self, call, scope),
            "expr" => structure::expr(self, call, scope),
            _ => structure::reference(self, call, scope),
        }
    }

    /// The table of a generator's own keys.
    fn args<'c, 'v>(&'c mut self, call: &Call<'v>, legal: &[&str]) -> Result<Args<'v, 'c>, Bad> {
        Args::open(call.value, call.path.clone(), legal, &[], self.problems)
    }

    /// Picks evenly among `domain` values; each at most once where the call asks for it and there are enough.
    fn pick(&mut self, call: &Call<'_>, scope: Scope<'_>, domain: u128) -> Result<Pick, Bad> {
        if !call.unique {
            return Ok(Pick::Even(u64::try_from(domain).unwrap_or(0)));
        }
        self.enough(call, scope, domain)?;
        Ok(Pick::Distinct(Permutation::new(u64::try_from(domain).unwrap_or(u64::MAX))))
    }

    /// Checks that a domain has a value for each place.
    fn enough(&mut self, call: &Call<'_>, scope: Scope<'_>, domain: u128) -> Result<(), Bad> {
        let domain = domain.min(u128::from(Permutation::MAX));
        match scope.places {
            Some(places) if u128::from(places) > domain => {
                let message = format!("{places} different values are wanted and there are only {domain}");
                self.not_unique(call, message);
                Err(Bad)
            }
            _ => Ok(()),
        }
    }

    fn not_unique(&mut self, call: &Call<'_>, message: impl Into<String>) -> Bad {
        self.problems.push(Problem::new("unique", SpecLocation::value(call.outer.entry("unique")), message));
        Bad
    }

    /// Refuses `unique` for a generator whose values cannot be counted through.
    fn refuse_unique(&mut self, call: &Call<'_>, why: &str) -> Result<(), Bad> {
        if !call.unique {
            return Ok(());
        }
        let help = "`uuid` and `sequence` are unique by themselves; `int`, `pattern`, `choice`, `date`, `timestamp` \
                    and `float` with `decimals` can be";
        let message = format!("values of `{}` cannot be made unique: {why}", call.name);
        let place = SpecLocation::value(call.outer.entry("unique"));
        self.problems.push(Problem::new("unique", place, message).help(Some(help.to_owned())));
        Err(Bad)
    }
}

/// The generator of that name, as a name that lives as long as the program.
fn generator_named(key: &str) -> Option<&'static str> {
    GENERATORS.iter().map(|(name, ..)| *name).find(|name| *name == key)
}

/// A chance from 0 to 1 as a threshold for 64 random bits; `u64::MAX` stands for always.
pub(super) fn chance(p: f64) -> u64 {
    // The cast stays within bounds by itself.
    (p * 18_446_744_073_709_551_616.0) as u64
}

/// The fields of a definition with overrides merged over them: name, value, and where the value stands.
pub(super) fn merge<'v>(
    fields: &'v Table,
    path: &Path,
    overrides: Option<(&'v Table, &Path)>,
    problems: &mut Problems,
) -> Vec<(String, &'v Value, Path)> {
    let over = |name: &str| overrides.and_then(|(table, path)| Some((table.get(name)?, path.entry(name))));
    if let Some((table, at)) = overrides {
        for name in table.keys().filter(|name| !fields.contains_key(*name)) {
            let message = format!("the definition has no field `{name}` to override");
            let help = nearest(name, fields.keys().map(String::as_str));
            problems.push(Problem::new("unknown-field", SpecLocation::key(at.entry(name)), message).help(help));
        }
    }
    let field = |(name, value): (&'v String, &'v Value)| {
        let (value, path) = over(name).unwrap_or_else(|| (value, path.entry(name)));
        (name.clone(), value, path)
    };
    fields.iter().map(field).collect()
}

/// A table, or a problem that says what stands there instead.
pub(super) fn table<'v>(value: &'v Value, path: &Path, problems: &mut Problems) -> Result<&'v Table, Bad> {
    match value {
        Value::Table(table) => Ok(table),
        other => {
            args::wrong(other, path, "a table", problems);
            Err(Bad)
        }
    }
}
