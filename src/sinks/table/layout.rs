//! Which columns of the input are written where, by what rows are told apart, and what comes back; checked offline.

use std::collections::HashSet;

use super::{Create, Keys, RECEIPTS, ReceiptsKey, Returning, WriteMode};
use crate::{
    batch::{Column, ColumnType, Schema},
    jobspec::{Problem, SpecLocation, nearest},
    kind::{Context, Order},
    stage::Guarantee,
};

/// What a kind of database says of its names and types.
pub(in crate::sinks) trait Dialect {
    /// What people call it.
    const NAME: &'static str;
    /// Are names that differ only in upper and lower case one name?
    const FOLDS_CASE: bool;
    /// The types of the keys that a new table makes itself, for people.
    const KEYS: &'static str;

    /// Has a database schemas?
    const SCHEMAS: bool;

    /// A name in quotes, or why there can be no such name.
    fn quote(name: &str) -> Result<String, String>;

    /// Can a new table make keys of this type itself?
    fn makes_key(column_type: &ColumnType) -> bool;

    /// Can a column come back as this type? Else, why not.
    fn gives(_column_type: &ColumnType) -> Result<(), String> {
        Ok(())
    }

    /// May a column that is written, and comes back as its own type, be null then?
    fn comes_back_null(written: &Column) -> bool;
}

/// What is written where.
#[derive(Debug)]
pub(in crate::sinks) struct Layout {
    /// The table, as the spec names it.
    pub(in crate::sinks) table: String,
    pub(in crate::sinks) create: Create,
    pub(in crate::sinks) mode: WriteMode,
    pub(in crate::sinks) columns: Vec<Written>,
    /// The columns by which a row is found to be there already: places among `columns`.
    pub(in crate::sinks) conflict: Vec<usize>,
    pub(in crate::sinks) returned: Vec<Returned>,
    /// Does the order matter in which rows with equal keys are written?
    pub(in crate::sinks) ordered: bool,
    /// The schema and the table that receipts are kept in, quoted; `None` where none are.
    pub(in crate::sinks) receipts: Option<(Option<String>, String)>,
    /// Statements that are run once before the first row.
    pub(in crate::sinks) before: Vec<String>,
    /// Statements that are run when everything is stored.
    pub(in crate::sinks) after: Vec<String>,
    pub(in crate::sinks) input: Schema,
    pub(in crate::sinks) output: Schema,
}

/// A column that is written.
#[derive(Debug)]
pub(in crate::sinks) struct Written {
    /// Its place in the input.
    pub(in crate::sinks) place: usize,
    pub(in crate::sinks) column: Column,
    pub(in crate::sinks) quoted: String,
}

/// A column that comes back.
#[derive(Debug)]
pub(in crate::sinks) struct Returned {
    pub(in crate::sinks) column: Column,
    pub(in crate::sinks) quoted: String,
    /// The database makes it: it is not among the columns that are written.
    pub(in crate::sinks) made: bool,
    /// The place in the input of a column of that name and type.
    pub(in crate::sinks) place: Option<usize>,
}

impl Layout {
    /// Compiles the keys; every mistake in them is recorded.
    pub(in crate::sinks) fn new<D: Dialect>(keys: Keys, context: &mut Context<'_>) -> Layout {
        let columns = columns::<D>(&keys, context);
        let names: Vec<&str> = columns.iter().map(|written| written.column.name.as_str()).collect();
        let conflict = match &keys.conflict {
            Some(list) => places(list, &names, "conflict", "nothing is written to a column", context),
            None => Vec::new(),
        };
        let returned = returned::<D>(&keys, &columns, context);
        check_mode(&keys, context);
        let receipts = receipts::<D>(keys.receipts.as_ref(), context);
        let input = context.input().clone();
        let output = returned.iter().fold(input.clone(), |schema, returned| schema.with(returned.column.clone()));
        let ordered = keys.mode != WriteMode::Insert && keys.order != Some(Order::Any);
        for (key, statements) in [("before", &keys.before), ("after", &keys.after)] {
            check_statements(key, statements, context);
        }
        let Keys { table, create, mode, before, after, .. } = keys;
        let layout = Layout {
            table,
            create,
            mode,
            columns,
            conflict,
            returned,
            ordered,
            receipts,
            before,
            after,
            input,
            output,
        };
        layout.check_new_table::<D>(keys.columns.is_some(), context);
        layout
    }

    /// What the sink promises where it keeps receipts.
    pub(in crate::sinks) fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce { replaces: self.ordered }
    }

    /// Where the written columns lie in the input.
    pub(in crate::sinks) fn places(&self) -> Vec<usize> {
        self.columns.iter().map(|written| written.place).collect()
    }

    /// The columns by which rows are told apart.
    pub(in crate::sinks) fn conflicting(&self) -> impl Iterator<Item = &Written> {
        self.conflict.iter().map(|&at| &self.columns[at])
    }

    /// Is a column, by its place among those written, one by which rows are told apart?
    pub(in crate::sinks) fn is_conflict(&self, at: usize) -> bool {
        self.conflict.contains(&at)
    }

    /// The column that a new table makes keys for.
    pub(in crate::sinks) fn made_by_database(&self) -> Option<&Returned> {
        self.returned.iter().find(|returned| returned.made)
    }

    /// The columns that come back, as a schema.
    pub(in crate::sinks) fn returned_schema(&self) -> Schema {
        Schema::new(self.returned.iter().map(|returned| returned.column.clone()).collect())
    }

    /// What a table that the sink makes itself cannot be.
    fn check_new_table<D: Dialect>(&self, named: bool, context: &mut Context<'_>) {
        if self.create == Create::Never {
            return;
        }
        let made: Vec<&Column> = self.returned.iter().filter(|r| r.made).map(|r| &r.column).collect();
        let mut seen = HashSet::new();
        let written = self.columns.iter().map(|written| &written.column);
        for column in written.chain(made.first().copied()).filter(|_| D::FOLDS_CASE) {
            if !seen.insert(column.name.to_ascii_lowercase()) {
                let (name, database) = (&column.name, D::NAME);
                let message = format!("column `{name}` is there twice: {database} takes `A` and `a` for one name");
                context.problem(if named { "columns" } else { "table" }, "columns", message);
            }
        }
        if let [_, _, ..] = made[..] {
            let names = super::notes::ticked(made.iter().map(|column| column.name.as_str()));
            context.problem("returning", "columns", format!("a new table can make one column itself, not {names}"));
        } else if let Some(column) = made.iter().find(|column| !D::makes_key(&column.column_type)) {
            let (keys, name, column_type) = (D::KEYS, &column.name, &column.column_type);
            let message = format!("a new table makes keys of type {keys}; `{name}` is a {column_type}");
            context.problem("returning", "columns", message);
        }
    }
}

/// The columns that are written.
fn columns<D: Dialect>(keys: &Keys, context: &mut Context<'_>) -> Vec<Written> {
    let input = context.input().clone();
    let all: Vec<&str> = input.columns().iter().map(|column| column.name.as_str()).collect();
    let places = match &keys.columns {
        Some(names) => places(names, &all, "columns", "the input has no column", context),
        None => (0..all.len()).collect(),
    };
    let mut written = Vec::new();
    for place in places {
        let column = input.columns()[place].clone();
        match D::quote(&column.name) {
            Ok(quoted) => written.push(Written { place, column, quoted }),
            Err(message) => {
                context.problem(if keys.columns.is_some() { "columns" } else { "input" }, "columns", message)
            }
        }
    }
    written
}

/// The places of names among others; what is missing, double or nothing at all is recorded.
fn places(names: &[String], among: &[&str], key: &str, missing: &str, context: &mut Context<'_>) -> Vec<usize> {
    if names.is_empty() {
        context.problem(key, "columns", format!("`{key}` names no column"));
    }
    let mut found = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let at = SpecLocation::value(context.path.key(key).index(i));
        if names[..i].contains(name) {
            context.problems.push(Problem::new("columns", at, format!("column `{name}` is named twice")));
            continue;
        }
        match among.iter().position(|other| other == name) {
            Some(place) => found.push(place),
            None => {
                let help = nearest(name, among.iter().copied());
                context.problems.push(Problem::new("columns", at, format!("{missing} `{name}`")).help(help));
            }
        }
    }
    found
}

/// The columns that come back. Without a type, a column that is written has its own, and one that the database makes
/// is an `int64`.
fn returned<D: Dialect>(keys: &Keys, columns: &[Written], context: &mut Context<'_>) -> Vec<Returned> {
    let Some(returning) = &keys.returning else { return Vec::new() };
    if returning.is_empty() {
        context.problem("returning", "columns", "`returning` names no column");
    }
    let mut found: Vec<Returned> = Vec::new();
    for (i, returning) in returning.iter().enumerate() {
        let name = &returning.name;
        let wrong = match name.is_empty() {
            true if !context.knows("returning") => continue,
            true => "no column is named".to_owned(),
            false if found.iter().any(|other| other.column.name == *name) => format!("column `{name}` is named twice"),
            false => match one_returned::<D>(returning, columns, context.input()) {
                Ok(returned) => {
                    found.push(returned);
                    continue;
                }
                Err(message) => message,
            },
        };
        let at = SpecLocation::value(context.path.key("returning").index(i));
        context.problems.push(Problem::new("columns", at, wrong));
    }
    found
}

fn one_returned<D: Dialect>(returning: &Returning, columns: &[Written], input: &Schema) -> Result<Returned, String> {
    let Returning { name, column_type: named } = returning;
    let written = columns.iter().find(|written| written.column.name == *name).map(|written| &written.column);
    // What the database has under a type of its own may be anything; a key that it makes is there.
    let (column_type, nullable) = match (named, written) {
        (Some(named), _) => (named.clone(), true),
        (None, Some(column)) => (column.column_type.clone(), D::comes_back_null(column)),
        (None, None) => (ColumnType::Int64, false),
    };
    D::gives(&column_type)?;
    let place = input.find(name).filter(|(_, column)| column.column_type == column_type).map(|(place, _)| place);
    let (quoted, made) = (D::quote(name)?, written.is_none());
    Ok(Returned { column: Column { name: name.clone(), column_type, nullable }, quoted, made, place })
}

/// Where receipts are kept.
fn receipts<D: Dialect>(key: Option<&ReceiptsKey>, context: &mut Context<'_>) -> Option<(Option<String>, String)> {
    let (schema, table) = match key {
        Some(ReceiptsKey::None) => return None,
        Some(ReceiptsKey::In { schema, table }) => (schema.as_deref(), table.as_deref()),
        None => (None, None),
    };
    if schema.is_some() && !D::SCHEMAS {
        context.problem("receipts", "receipts", format!("{} has no schemas", D::NAME));
    }
    let mut quote = |name: &str| match D::quote(name) {
        Ok(quoted) => quoted,
        Err(message) => {
            context.problem("receipts", "receipts", message);
            String::new()
        }
    };
    Some((schema.map(&mut quote), quote(table.unwrap_or(RECEIPTS))))
}

/// Records statements that say nothing.
fn check_statements(key: &str, statements: &[String], context: &mut Context<'_>) {
    if !context.knows(key) {
        return;
    }
    for (i, statement) in statements.iter().enumerate() {
        let wrong = match statement.trim().trim_matches(';') {
            "" => "the statement is empty",
            text if text.contains('\0') => "the statement holds a NUL",
            _ => continue,
        };
        let at = SpecLocation::value(context.path.key(key).index(i));
        context.problems.push(Problem::new("statements", at, wrong));
    }
}

/// Records keys that do not go together.
fn check_mode(keys: &Keys, context: &mut Context<'_>) {
    match (keys.mode, &keys.conflict) {
        (WriteMode::Upsert, None) => {
            let message = "an upsert needs `conflict`: the columns by which a row is found to be there already";
            context.problem("mode", "conflict", message);
        }
        (WriteMode::Ignore, None) if keys.returning.is_some() => {
            let message = "to give back rows that were there already, `conflict` must name the columns that find them";
            context.problem("mode", "conflict", message);
        }
        (WriteMode::Insert, Some(_)) if keys.create == Create::Never => {
            context.problem("conflict", "conflict", "`conflict` has no effect: rows are only inserted");
        }
        _ => {}
    }
    if keys.mode == WriteMode::Insert && keys.order.is_some() {
        context.problem("order", "order", "`order` has no effect: rows are only inserted, and none replaces another");
    }
}
