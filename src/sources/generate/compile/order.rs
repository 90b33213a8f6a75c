//! The fields of a record, each compiled after those it reads.

use super::{Compiler, Scope, args::Bad, structure};
use crate::{
    batch::Column,
    jobspec::{Path, Problem, SpecLocation, Value},
    sources::generate::record::{Field, Record},
};

/// Fields that read fields that read fields, and so on, to this depth.
const MAX_DEPTH: usize = 100;

/// A record while its fields are being compiled.
pub(in super::super) struct Draft<'f> {
    fields: &'f [(String, &'f Value, Path)],
    state: Vec<State>,
    /// Compiled fields, in the order in which they must be made.
    done: Vec<Field>,
    /// The fields that are being compiled, each because the one before reads it.
    way: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Failed,
    Done(usize),
}

impl Draft<'_> {
    /// Is there a field of that name?
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, ..)| field == name)
    }

    /// The names of all fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, ..)| name.as_str())
    }

    /// The place of a field among those that are made, where it has been compiled.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let i = self.fields.iter().position(|(field, ..)| field == name)?;
        match self.state[i] {
            State::Done(position) => Some(position),
            _ => None,
        }
    }

    /// A compiled field as a column.
    pub(super) fn column(&self, position: usize) -> Column {
        let Field { name, node, .. } = &self.done[position];
        Column { name: name.clone(), column_type: node.column_type.clone(), nullable: node.nullable }
    }
}

/// See [`Compiler::record`].
pub(super) fn record(
    compiler: &mut Compiler<'_>,
    source: &str,
    fields: &[(String, &Value, Path)],
    count: Option<u64>,
    wanted: Option<&str>,
) -> Option<Record> {
    let mut draft = Draft { fields, state: vec![State::New; fields.len()], done: Vec::new(), way: Vec::new() };
    let mut columns = Vec::new();
    let mut complete = true;
    for (i, _) in fields.iter().enumerate().filter(|(_, (name, ..))| wanted.is_none_or(|wanted| wanted == name)) {
        match visit(compiler, &mut draft, source, count, i) {
            Ok(position) => columns.push(position),
            Err(Bad) => complete = false,
        }
    }
    complete.then_some(Record { fields: draft.done, columns })
}

/// Compiles field `i` after those it reads; its place among those that are made.
fn visit(
    compiler: &mut Compiler<'_>,
    draft: &mut Draft<'_>,
    source: &str,
    count: Option<u64>,
    i: usize,
) -> Result<usize, Bad> {
    match draft.state[i] {
        State::Done(position) => return Ok(position),
        State::Failed => return Err(Bad),
        State::Open => return Err(cycle(compiler, draft, i)),
        State::New => {}
    }
    let (name, value, path) = &draft.fields[i];
    if draft.way.len() == MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} fields read one another in a row");
        compiler.problems.push(Problem::new("nesting", SpecLocation::value(path.clone()), message));
        return Err(Bad);
    }
    draft.state[i] = State::Open;
    draft.way.push(i);
    let names: Vec<&str> = draft.fields.iter().map(|(name, ..)| name.as_str()).collect();
    for read in structure::reads(value, &names) {
        // What is wrong with a field that this one reads has been recorded; this one may have more.
        let _ = visit(compiler, draft, source, count, read);
    }
    draft.way.pop();
    let scope = Scope { record: draft, places: count, whole: true };
    let node = compiler.node(value, path, scope);
    draft.state[i] = State::Failed;
    let field = Field { name: name.clone(), seed: compiler.column_seed(source, name), node: node? };
    draft.state[i] = State::Done(draft.done.len());
    draft.done.push(field);
    Ok(draft.done.len() - 1)
}

fn cycle(compiler: &mut Compiler<'_>, draft: &Draft<'_>, i: usize) -> Bad {
    let from = draft.way.iter().position(|open| *open == i).unwrap_or(0);
    let way: Vec<&str> = draft.way[from..].iter().chain([&i]).map(|field| draft.fields[*field].0.as_str()).collect();
    let message = format!("`{}` depends on itself: {}", draft.fields[i].0, way.join(" ← "));
    compiler.problems.push(Problem::new("cycle", SpecLocation::value(draft.fields[i].2.clone()), message));
    Bad
}
