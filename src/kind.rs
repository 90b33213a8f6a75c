//! What a kind of stage is to the compiler: a name, a schema of its keys, and a function that compiles
//! its table of the spec into a live stage. A kind's own file holds all of that kind; its folder's
//! `mod.rs` lists it.

use std::sync::Arc;

use schemars::{JsonSchema, Schema as JsonSchemaText, SchemaGenerator};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    batch::{ColumnType, Schema},
    expr::{self, Expr, ExprError},
    jobspec::{self, Definitions, Path, Problem, Problems, SpecLocation, Table, Value},
    memory::Memory,
    stage::Guarantee,
};

/// One kind of source, transform or sink: `S` is `dyn Source`, `dyn Transform` or `dyn Sink`.
pub struct Kind<S: ?Sized + 'static> {
    /// The word behind `type =`.
    pub name: &'static str,
    /// The JSON Schema of its own keys.
    pub schema: fn(&mut SchemaGenerator) -> JsonSchemaText,
    /// Checks its keys alone, where its input is not known because of an earlier problem.
    pub check: fn(&mut Context<'_>),
    /// The key that names its second input, where it has one: `with`.
    pub side: Option<&'static str>,
    /// Compiles it. `None` where there were problems, which have been recorded in the context.
    pub compile: fn(&mut Context<'_>) -> Option<Compiled<S>>,
}

impl<S: ?Sized + 'static> Kind<S> {
    /// A kind whose keys are the fields of `T`.
    pub const fn new<T: DeserializeOwned + JsonSchema>(
        name: &'static str,
        compile: fn(&mut Context<'_>) -> Option<Compiled<S>>,
    ) -> Self {
        let check = |context: &mut Context<'_>| drop(context.decode::<T>());
        Kind { name, schema: |generator| T::json_schema(generator), check, side: None, compile }
    }

    /// The same, with a second input, which `key` names.
    pub const fn with_side(mut self, key: &'static str) -> Self {
        self.side = Some(key);
        self
    }
}

/// A compiled stage.
pub struct Compiled<S: ?Sized> {
    /// The live stage.
    pub stage: Box<S>,
    /// The columns it emits; a sink without output has none.
    pub output: Option<Schema>,
    /// How many workers it gets where the spec does not say.
    pub workers: Workers,
    /// What `runner plan` says of it, in short phrases.
    pub notes: Vec<String>,
}

/// How many workers a stage wants.
#[derive(Debug)]
pub enum Workers {
    /// As many as `limits.threads`: the stage is bound by the processor.
    Threads,
    /// So many unless the spec says otherwise.
    Default(usize),
    /// So many unless the spec says otherwise; rows with equal values of the expression go to the same one, in
    /// input order.
    Keyed(Expr, usize),
    /// Never more than one, whatever the spec asks for; the phrase says why.
    One(&'static str),
}

/// In what order rows with equal keys reach the target, where a later row takes the place of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// In the order of the input, across files, splits and workers.
    #[default]
    Input,
    /// In any order, so that rows are free to go to any worker.
    Any,
}

impl Order {
    /// What a sink whose rows replace earlier ones of their key promises with it.
    pub fn guarantee(self) -> Guarantee {
        match self {
            Order::Input => Guarantee::LastWins,
            Order::Any => Guarantee::AnyOrder,
        }
    }

    /// The workers of a sink without transactions whose rows replace earlier ones of their key; `default` of them unless the
    /// spec says otherwise.
    pub fn workers(self, key: Expr, default: usize) -> Workers {
        match self {
            Order::Input => Workers::Keyed(key, default),
            Order::Any => Workers::Default(default),
        }
    }

    /// What `runner plan` says of it.
    pub fn note(self) -> &'static str {
        match self {
            Order::Input => "of rows with equal keys the last one of the input stays",
            Order::Any => "of rows with equal keys any one may stay",
        }
    }
}

/// What a kind compiles in: its table, its input, and the place to put problems.
pub struct Context<'a> {
    /// Where the stage stands: `sinks.cache`.
    pub path: Path,
    /// The stage's own keys: `type`, `input` and the keys common to all stages are taken out.
    pub table: &'a Value,
    /// The names of the common keys, so that a misspelt one is recognised.
    pub common: &'static [&'static str],
    /// The columns of its input; sources have none.
    pub input: Option<&'a Schema>,
    /// The columns of its second input, where its kind has one.
    pub side: Option<&'a Schema>,
    /// How many rows and bytes a batch may have; for sources.
    pub batch: jobspec::BatchSize,
    /// A record of more bytes than this is a reject.
    pub max_record_bytes: usize,
    /// How many bytes a stage may use for what it makes at once.
    pub memory: usize,
    /// What the job's stages that hold rows may hold together.
    pub held: Arc<Memory>,
    /// The job's seed.
    pub seed: u64,
    /// The job's generator definitions.
    pub definitions: &'a Definitions,
    /// The job's `[sources]` as written, by name: a generator may refer to another one's rows.
    pub sources: &'a Table,
    /// The job's `[sinks]` as written, by name: a transform may read what a sink keeps.
    pub sinks: &'a Table,
    /// What is wrong so far.
    pub problems: &'a mut Problems,
}

impl Context<'_> {
    /// Decodes the stage's own keys; every mistake in them is recorded.
    pub fn decode<T: DeserializeOwned>(&mut self) -> Option<T> {
        jobspec::decode(self.table, &self.path, self.common, self.problems)
    }

    /// The input's columns. Transforms and sinks are compiled only once these are known.
    pub fn input(&self) -> &Schema {
        self.input.expect("the compiler gives every stage with an input its schema")
    }

    /// Parses and binds the expression at `key` to the input's columns; what is wrong with it is underlined
    /// inside the string.
    pub fn expr(&mut self, key: &str, text: &str) -> Option<Expr> {
        let schema = self.input().clone();
        bind(&self.path, key, text, &schema, self.problems)
    }

    /// Parses and binds a part of the text at a path, which begins at byte `start` of it, to the input's columns.
    pub fn expr_at(&mut self, path: &Path, start: usize, text: &str) -> Option<Expr> {
        let compiled = expr::compile(text, self.input());
        self.or_problems(path, start, compiled)
    }

    /// What was bound, or its errors as problems with the text at a path; they count from byte `start` of it.
    pub fn or_problems<T>(&mut self, path: &Path, start: usize, bound: Result<T, Vec<ExprError>>) -> Option<T> {
        let errors = match bound {
            Ok(bound) => return Some(bound),
            Err(errors) => errors,
        };
        for error in errors {
            let place = SpecLocation::inside(path.clone(), start + error.start..start + error.end);
            self.problems.push(Problem::new("expression", place, error.message).help(error.help));
        }
        None
    }

    /// The expression at `key`, which must have one of the types. Text that is known only when the job runs is noted
    /// as unchecked.
    pub fn typed(&mut self, key: &str, text: &str, types: &[ColumnType]) -> Option<Expr> {
        if !self.is_known(&Path::default().entry(key)) {
            let place = SpecLocation::value(self.path.entry(key));
            let message = "this cannot be checked before its value is known";
            self.problems.push(Problem::new("unchecked", place, message).note());
            return None;
        }
        let expr = self.expr(key, text)?;
        if types.contains(expr.column_type()) {
            return Some(expr);
        }
        let legal: Vec<String> = types.iter().map(|legal| format!("`{legal}`")).collect();
        let message = format!("`{key}` must be {}, and this is `{}`", legal.join(" or "), expr.column_type());
        self.problem(key, "type", message);
        None
    }

    /// The expression at `key`, a string, twice: for the worker, and for the executor, which divides the rows by it.
    pub fn keyed(&mut self, key: &str, text: &str) -> Option<(Expr, Expr)> {
        let worker = self.typed(key, text, &[ColumnType::String])?;
        Some((worker.clone(), worker))
    }

    /// Does the value at `path` of the stage's table stand in the spec? Else it, or a table it stands in, is known
    /// only when the job runs.
    pub fn is_known(&self, path: &Path) -> bool {
        let steps = 0..=path.0.len();
        !steps.into_iter().any(|n| matches!(self.table.get(&Path(path.0[..n].to_vec())), Some(Value::Unknown)))
    }

    /// The same for a key, dotted where it stands in a table of the stage's.
    pub fn knows(&self, key: &str) -> bool {
        self.is_known(&key.split('.').fold(Path::default(), |path, step| path.key(step)))
    }

    /// Records what is wrong with values: each a key, dotted where it stands in a table of the stage's, and what is
    /// expected. A value that is known only when the job runs stands for something sound. Is nothing wrong?
    pub fn sound(&mut self, found: &[(&str, &str)]) -> bool {
        let known: Vec<_> = found.iter().filter(|(key, _)| self.knows(key)).collect();
        known.iter().for_each(|(key, message)| self.problem(key, "value", *message));
        known.is_empty()
    }

    /// Refuses limits of a wait that are 0, by their keys. Is there none?
    pub fn limits(&mut self, limits: &[(&str, jobspec::Duration)]) -> bool {
        let zero: Vec<_> = limits.iter().filter(|(key, wait)| wait.0.is_zero() && self.knows(key)).collect();
        for (key, _) in &zero {
            let name = key.rsplit('.').next().unwrap_or(key);
            self.problem(key, "value", format!("nothing is done within a `{name}` of 0"));
        }
        zero.is_empty()
    }

    /// Records a problem with the value at `key`.
    pub fn problem(&mut self, key: &str, code: &'static str, message: impl Into<String>) {
        self.problems.push(Problem::new(code, SpecLocation::value(self.path.key(key)), message));
    }
}

/// Parses and binds the expression at `key` of the stage at `path`; see [`Context::expr`].
pub fn bind(path: &Path, key: &str, text: &str, schema: &Schema, problems: &mut Problems) -> Option<Expr> {
    match expr::compile(text, schema) {
        Ok(bound) => Some(bound),
        Err(errors) => {
            for error in errors {
                let place = SpecLocation::inside(path.key(key), error.start..error.end);
                problems.push(Problem::new("expression", place, error.message).help(error.help));
            }
            None
        }
    }
}

#[cfg(test)]
impl<'a> Context<'a> {
    /// A context for tests of one kind: nothing but its table, its input, and room for problems. Change what
    /// a test needs otherwise.
    pub(crate) fn of(path: &str, table: &'a Value, input: Option<&'a Schema>, problems: &'a mut Problems) -> Self {
        static NONE: std::sync::LazyLock<Definitions> = std::sync::LazyLock::new(Definitions::new);
        Context {
            path: Path::default().key(path),
            table,
            common: &[],
            input,
            side: None,
            batch: jobspec::BatchSize::default(),
            max_record_bytes: 16 << 20,
            memory: 256 << 20,
            held: crate::testing::memory(256 << 20),
            seed: 0,
            definitions: &NONE,
            sources: &NONE,
            sinks: &NONE,
            problems,
        }
    }
}
