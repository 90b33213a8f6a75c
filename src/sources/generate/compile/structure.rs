//! Generators that hold or read others: lists, objects, expressions, references.

use super::{
    Call, Compiler, GENERATORS, MAX_ITEMS, Plain, Scope,
    args::{Args, Bad, Read, wrong},
    words,
};
use crate::{
    batch::{ColumnType, Schema},
    expr,
    jobspec::{Problem, SpecLocation, Table, Value, nearest},
    sources::generate::{
        node::{Bound, List, Make, Member, Node, Reference},
        pick::{Permutation, Pick},
        record::{Record, relaxed},
        rng::hash_name,
        text::quote,
        values::{Choice, Floats, Ints, Texts},
    },
};

/// Keeps the members of an object apart from each other.
const MEMBERS: u64 = 0x6d65_6d62_6572;

pub(super) fn list(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["of", "count", "min", "max"])?;
    let bounds = bounds(&mut args);
    let Some(of) = args.raw("of") else { return args.required::<Vec<Value>>("of").and(Err(Bad)) };
    let places = bounds.as_ref().ok().map(|(_, max, _)| *max);
    let of = compiler.node(of, &call.path.entry("of"), Scope { places, whole: false, ..scope });
    let refused = compiler.refuse_unique(call, "put `unique` beside the generator in `of` for items that differ");
    let ((min, max, key), of) = (bounds?, of?);
    refused?;
    if max.saturating_mul(of.most_items()) > MAX_ITEMS {
        let message = format!("a value has at most {MAX_ITEMS} items, nested lists multiplied");
        compiler.problems.push(Problem::new("range", SpecLocation::value(call.path.entry(key)), message));
        return Err(Bad);
    }
    let column_type = ColumnType::List(Box::new(of.column_type.clone()));
    Ok(Plain::new(Make::List(Box::new(List { min, max, of })), column_type))
}

/// The least and the greatest number of items, and the key that gives the latter.
fn bounds(args: &mut Args<'_, '_>) -> Result<(u64, u64, &'static str), Bad> {
    if args.raw("count").is_some() {
        for key in ["min", "max"] {
            if args.raw(key).is_none() {
                continue;
            }
            let place = SpecLocation::key(args.path.entry(key));
            let message = format!("a list has either `count` or `min` and `max`, and here are `count` and `{key}`");
            args.problems.push(Problem::new("conflict", place, message));
        }
        let count = args.required("count")?;
        return Ok((count, count, "count"));
    }
    if args.raw("min").is_none() && args.raw("max").is_none() {
        let place = SpecLocation::key(args.path.clone());
        args.problems.push(Problem::new("missing-key", place, "a list needs `count`, or `min` and `max`"));
        return Err(Bad);
    }
    let (min, max) = (args.optional("min"), args.required("max"));
    let (min, max): (u64, u64) = (min?.unwrap_or(0), max?);
    if min > max {
        return Err(args.problem("min", "range", format!("`min` is {min} and `max` is {max}")));
    }
    Ok((min, max, "max"))
}

pub(super) fn object(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let table = super::table(call.value, &call.path, compiler.problems)?;
    let mut members = Vec::with_capacity(table.len());
    for (name, value) in table {
        let Ok(node) = compiler.node(value, &call.path.entry(name), Scope { whole: false, ..scope }) else { continue };
        let mut key = String::new();
        quote(name, &mut key);
        key.push(':');
        members.push(Member { key: key.into(), salt: hash_name(MEMBERS, name), node });
    }
    compiler.refuse_unique(call, "it is made of several")?;
    if members.len() < table.len() { Err(Bad) } else { Ok(Plain::new(Make::Object(members), ColumnType::Json)) }
}

pub(super) fn expr(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let Some(text) = String::read(call.value) else {
        wrong(call.value, &call.path, "an SQL expression as text", compiler.problems);
        return Err(Bad);
    };
    if !scope.whole {
        let message = "an expression is a field of its own, not a part of a list or an object";
        compiler.problems.push(Problem::new("placement", SpecLocation::key(call.path.clone()), message));
        return Err(Bad);
    }
    compiler.refuse_unique(call, "they follow from other fields")?;
    let names: Vec<&str> = scope.record.names().collect();
    let inputs: Option<Vec<usize>> =
        words_of(&text).filter(|word| names.contains(word)).map(|word| scope.record.position(word)).collect();
    let mut inputs = inputs.ok_or(Bad)?;
    inputs.sort_unstable();
    inputs.dedup();
    let schema = Schema::new(inputs.iter().map(|position| scope.record.column(*position)).collect());
    match expr::compile(&text, &schema) {
        Ok(expr) => {
            let (column_type, nullable) = (expr.column_type().clone(), expr.nullable());
            let schema = relaxed(&schema);
            Ok(Plain { make: Make::Expr(Box::new(Bound { expr, inputs, schema })), column_type, nullable })
        }
        Err(errors) => {
            for error in errors {
                let help = error.help.or_else(|| nearest(&text[error.start..error.end], names.iter().copied()));
                let place = SpecLocation::inside(call.path.clone(), error.start..error.end);
                compiler.problems.push(Problem::new("expression", place, error.message).help(help));
            }
            Err(Bad)
        }
    }
}

pub(super) fn reference(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let mut args = compiler.args(call, &["source", "column"])?;
    let (source, column) = (args.required("source"), args.required("column"));
    let (source, column): (String, String) = (source?, column?);
    let step = (source.clone(), column.clone());
    if compiler.following.contains(&step) {
        let way = compiler.following.iter().chain([&step]).map(|(source, column)| format!("{source}.{column}"));
        let message = format!("this refers to itself: {}", way.collect::<Vec<_>>().join(" ← "));
        compiler.problems.push(Problem::new("cycle", SpecLocation::value(call.path.clone()), message));
        return Err(Bad);
    }
    compiler.following.push(step);
    let parent = compiler.parent(call, &source, &column);
    compiler.following.pop();
    let (record, count) = parent?;
    let at = record.columns[0];
    let node = &record.fields[at].node;
    // A row on which an expression fails is rejected there; a reference to it finds nothing.
    let fallible = record.fields.iter().any(|field| matches!(field.node.make, Make::Expr(_)));
    let (column_type, nullable) = (node.column_type.clone(), node.nullable || fallible);
    if call.unique && !is_distinct(node) {
        let message = format!("`{column}` of `{source}` is not unique itself");
        return Err(compiler.not_unique(call, message));
    }
    let pick = match count {
        Some(0) => {
            let place = SpecLocation::value(call.path.entry("source"));
            compiler.problems.push(Problem::new("range", place, format!("`{source}` has no rows to refer to")));
            return Err(Bad);
        }
        Some(count) => compiler.pick(call, scope, u128::from(count))?,
        // The number of rows is not known while checking; what it is then is never run.
        None => Pick::Even(1),
    };
    Ok(Plain { make: Make::Ref(Box::new(Reference { record, column: at, pick })), column_type, nullable })
}

impl Compiler<'_> {
    /// The column of another source with what it depends on, and the source's number of rows.
    fn parent(&mut self, call: &Call<'_>, source: &str, column: &str) -> Result<(Record, Option<u64>), Bad> {
        let (sources, definitions) = (self.sources, self.definitions);
        let generated = |value: &Value| match value {
            Value::Table(table) => table.get("type").and_then(String::read).is_some_and(|kind| kind == "generate"),
            _ => false,
        };
        let Some(Value::Table(table)) = sources.get(source).filter(|value| generated(value)) else {
            let legal = sources.iter().filter(|(_, value)| generated(value)).map(|(name, _)| name.as_str());
            let message = format!("there is no source of type `generate` named `{source}`");
            let place = SpecLocation::value(call.path.entry("source"));
            self.problems.push(Problem::new("unknown-source", place, message).help(nearest(source, legal)));
            return Err(Bad);
        };
        // Whatever is wrong with the other source is recorded when that is compiled.
        let definition = table.get("definition").and_then(String::read).ok_or(Bad)?;
        let Some(Value::Table(definition_table)) = definitions.get(&definition) else { return Err(Bad) };
        let Some(Value::Table(fields)) = definition_table.get("fields") else { return Err(Bad) };
        let root = crate::jobspec::Path::default();
        let overrides_path = root.entry("sources").entry(source).entry("overrides");
        let overrides = match table.get("overrides") {
            Some(Value::Table(overrides)) => Some((overrides, &overrides_path)),
            _ => None,
        };
        let path = root.entry("definitions").entry(&definition).entry("fields");
        let fields = super::merge(fields, &path, overrides, self.problems);
        if !fields.iter().any(|(name, ..)| name == column) {
            let legal = fields.iter().map(|(name, ..)| name.as_str());
            let message = format!("`{source}` has no column `{column}`");
            let place = SpecLocation::value(call.path.entry("column"));
            self.problems.push(Problem::new("unknown-column", place, message).help(nearest(column, legal)));
            return Err(Bad);
        }
        let count = table.get("count").and_then(u64::read);
        self.record(source, &fields, count, Some(column)).map(|record| (record, count)).ok_or(Bad)
    }
}

/// Has every row another value, by the way it is made?
fn is_distinct(node: &Node) -> bool {
    let picked = |pick: &Pick| matches!(pick, Pick::Distinct(Permutation { .. }));
    match &node.make {
        Make::Int(Ints::Sequence { step, .. }) => *step != 0,
        Make::Int(Ints::Range { pick, .. }) | Make::Date(Ints::Range { pick, .. }) => picked(pick),
        Make::Timestamp(Ints::Range { pick, .. }) | Make::Float(Floats::Grid { pick, .. }) => picked(pick),
        Make::Int(Ints::Choice(Choice { pick, .. })) | Make::Bool(Choice { pick, .. }) => picked(pick),
        Make::Float(Floats::Choice(Choice { pick, .. })) | Make::Text(Texts::Choice(Choice { pick, .. })) => {
            picked(pick)
        }
        Make::Text(Texts::Pattern(pattern)) => pattern.distinct.is_some(),
        Make::Ref(reference) => picked(&reference.pick),
        make => matches!(make, Make::Text(Texts::Uuid)),
    }
}

/// The fields, by their place in `names`, that a value reads: in its templates and its expression.
pub(super) fn reads(value: &Value, names: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    collect_reads(value, &mut |name| {
        if let Some(i) = names.iter().position(|field| *field == name)
            && !found.contains(&i)
        {
            found.push(i);
        }
    });
    found
}

fn collect_reads(value: &Value, each: &mut impl FnMut(&str)) {
    let Value::Table(table) = value else { return };
    let generator = table.iter().find(|(key, _)| GENERATORS.iter().any(|(name, ..)| name == key));
    match generator.map(|(key, value)| (key.as_str(), value)) {
        Some(("template", value)) => {
            let text = String::read(value).unwrap_or_default();
            words::pieces(&text).unwrap_or_default().iter().filter_map(words::Part::name).for_each(each);
        }
        Some(("expr", value)) => words_of(&String::read(value).unwrap_or_default()).for_each(each),
        Some(("list", Value::Table(list))) => list.get("of").into_iter().for_each(|of| collect_reads(of, each)),
        Some(("object", Value::Table(members))) => members_of(members, each),
        _ => {}
    }
}

fn members_of(members: &Table, each: &mut impl FnMut(&str)) {
    members.values().for_each(|member| collect_reads(member, each));
}

/// The words of an SQL text outside its string literals; a quoted name is one word.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    let mut words = Vec::new();
    for (i, outside) in text.split('\'').enumerate().filter(|(i, _)| i % 2 == 0) {
        let _ = i;
        for (i, part) in outside.split('"').enumerate() {
            if i % 2 == 1 {
                words.push(part);
            } else {
                words.extend(part.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')));
            }
        }
    }
    words.into_iter().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_outside_of_literals() {
        let words: Vec<&str> = words_of(r#"a + b_1 * length('c d') || "e f" || 'it''s g' || h"#).collect();
        assert_eq!(words, ["a", "b_1", "length", "e f", "h"]);
    }
}
