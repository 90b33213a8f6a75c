//! Constants, and the choice among constants.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray};
use arrow_buffer::OffsetBuffer;

use super::{
    Call, Compiler, Plain, Scope,
    args::{Args, Bad, Read, wrong},
};
use crate::{
    batch::ColumnType,
    jobspec::{Path, Problem, Problems, SpecLocation, Value},
    sources::generate::{
        node::Make,
        pick::{Alias, Pick},
        values::{Choice, Floats, Ints, Texts},
    },
};

/// Values of one type.
enum Same {
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<Box<str>>),
}

/// An array of one value.
pub(super) fn array(value: &Value, path: &Path, problems: &mut Problems) -> Result<(ArrayRef, ColumnType), Bad> {
    match value {
        Value::List(items) => {
            let (items, item_type) = match same(items, path, problems)? {
                None => (items.iter().enumerate(), None),
                Some(same) => return Ok(one_list(same.array())),
            };
            // A list of lists.
            let arrays: Vec<(ArrayRef, ColumnType)> =
                items.map(|(i, item)| array(item, &path.index(i), problems)).collect::<Result<_, Bad>>()?;
            let wanted = item_type.or_else(|| arrays.first().map(|(_, t)| t.clone()));
            if let Some(i) = arrays.iter().position(|(_, t)| Some(t) != wanted.as_ref()) {
                let message = "the items of a list are all of one type";
                problems.push(Problem::new("type", SpecLocation::value(path.index(i)), message));
                return Err(Bad);
            }
            let parts: Vec<&dyn arrow_array::Array> = arrays.iter().map(|(array, _)| array.as_ref()).collect();
            let joined = arrow_select::concat::concat(&parts).expect("arrays of one type can be joined");
            Ok(one_list((joined, wanted.expect("an empty list has been refused"))))
        }
        single => match same(std::slice::from_ref(single), path, problems)? {
            Some(same) => Ok(same.array()),
            None => Err(Bad),
        },
    }
}

fn one_list((items, item_type): (ArrayRef, ColumnType)) -> (ArrayRef, ColumnType) {
    let field = Arc::new(item_type.item_field());
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    (Arc::new(ListArray::new(field, offsets, items, None)), ColumnType::List(Box::new(item_type)))
}

/// Values of one type; integers among numbers with a point are such numbers too. `None` for lists.
fn same(values: &[Value], path: &Path, problems: &mut Problems) -> Result<Option<Same>, Bad> {
    let at =
        |i: usize| if values.len() == 1 && !matches!(values[0], Value::List(_)) { path.clone() } else { path.index(i) };
    if values.is_empty() {
        problems.push(Problem::new("empty", SpecLocation::value(path.clone()), "an empty list has no type"));
        return Err(Bad);
    }
    if let Some(i) = values.iter().position(|value| matches!(value, Value::Null | Value::Table(_) | Value::Unknown)) {
        wrong(&values[i], &at(i), "a boolean, a number or text", problems);
        return Err(Bad);
    }
    if let Some(read) = all(values).map(Same::Bools) {
        return Ok(Some(read));
    }
    let text = |value: &Value| matches!(value, Value::Text(_) | Value::Substituted(_));
    if values.iter().all(text) {
        return Ok(all::<String>(values).map(|texts| Same::Texts(texts.into_iter().map(Into::into).collect())));
    }
    let large = |value: &Value| matches!(value, Value::Int(_)) && i64::read(value).is_none();
    if let Some(i) = values.iter().position(large) {
        wrong(&values[i], &at(i), i64::EXPECTED, problems);
        return Err(Bad);
    }
    if let Some(read) = all(values).map(Same::Ints).or_else(|| all(values).map(Same::Floats)) {
        return Ok(Some(read));
    }
    if values.iter().all(|value| matches!(value, Value::List(_))) {
        return Ok(None);
    }
    let kind = std::mem::discriminant(&values[0]);
    let other = values.iter().position(|value| std::mem::discriminant(value) != kind).unwrap_or(0);
    let message = format!("{} among values that begin with {}", values[other].describe(), values[0].describe());
    problems.push(Problem::new("type", SpecLocation::value(at(other)), message));
    Err(Bad)
}

fn all<T: Read>(values: &[Value]) -> Option<Vec<T>> {
    // Text that was put in from the environment stays text.
    let readable = |value: &Value| {
        if matches!(value, Value::Substituted(_)) && T::EXPECTED != "text" { None } else { T::read(value) }
    };
    values.iter().map(readable).collect()
}

impl Same {
    fn array(self) -> (ArrayRef, ColumnType) {
        match self {
            Same::Bools(values) => (Arc::new(BooleanArray::from(values)), ColumnType::Bool),
            Same::Ints(values) => (Arc::new(Int64Array::from(values)), ColumnType::Int64),
            Same::Floats(values) => (Arc::new(Float64Array::from(values)), ColumnType::Float64),
            Same::Texts(values) => (Arc::new(StringViewArray::from_iter_values(values)), ColumnType::String),
        }
    }
}

/// `choice = [..]` or `choice = { values, weights }`.
pub(super) fn choice(compiler: &mut Compiler<'_>, call: &Call<'_>, scope: Scope<'_>) -> Result<Plain, Bad> {
    let (values, path, weights) = match call.value {
        Value::List(values) => (values.clone(), call.path.clone(), None),
        _ => {
            let mut args = compiler.args(call, &["values", "weights"])?;
            let (values, weights) = (args.required("values"), weights(&mut args));
            let (values, weights): (Vec<Value>, _) = (values?, weights?);
            if let Some(weights) = &weights
                && weights.len() != values.len()
            {
                let message = format!("{} weights for {} values", weights.len(), values.len());
                return Err(args.problem("weights", "weights", message));
            }
            (values, call.path.entry("values"), weights)
        }
    };
    let same = same(&values, &path, compiler.problems)?;
    let pick = match weights {
        Some(_) if call.unique => {
            return Err(compiler.not_unique(call, "weights have no meaning where every value comes at most once"));
        }
        Some(weights) => Pick::Weighted(Alias::new(&weights)),
        None => {
            if call.unique {
                distinct(compiler, &values, &path)?;
            }
            compiler.pick(call, scope, values.len() as u128)?
        }
    };
    let (make, column_type) = match same {
        Some(Same::Bools(values)) => (Make::Bool(Choice { values, pick }), ColumnType::Bool),
        Some(Same::Ints(values)) => (Make::Int(Ints::Choice(Choice { values, pick })), ColumnType::Int64),
        Some(Same::Floats(values)) => (Make::Float(Floats::Choice(Choice { values, pick })), ColumnType::Float64),
        Some(Same::Texts(values)) => (Make::Text(Texts::Choice(Choice { values, pick })), ColumnType::String),
        None => {
            wrong(&values[0], &path.index(0), "a boolean, a number or text", compiler.problems);
            return Err(Bad);
        }
    };
    Ok(Plain::new(make, column_type))
}

fn weights(args: &mut Args<'_, '_>) -> Result<Option<Vec<f64>>, Bad> {
    let Some(values) = args.optional::<Vec<Value>>("weights")? else { return Ok(None) };
    let mut weights = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        match f64::read(value) {
            Some(weight) if weight >= 0.0 => weights.push(weight),
            Some(weight) => {
                let place = SpecLocation::value(args.path.entry("weights").index(i));
                args.problems.push(Problem::new("weights", place, format!("a weight is not negative, as {weight} is")));
            }
            None => wrong(value, &args.path.entry("weights").index(i), f64::EXPECTED, args.problems),
        }
    }
    if weights.len() < values.len() {
        return Err(Bad);
    }
    let sum: f64 = weights.iter().sum();
    if !sum.is_finite() || (sum <= 0.0 && !weights.is_empty()) {
        return Err(args.problem("weights", "weights", "the sum of the weights is a number above 0"));
    }
    Ok(Some(weights))
}

/// Values that are to be unique must be different to begin with.
fn distinct(compiler: &mut Compiler<'_>, values: &[Value], path: &Path) -> Result<(), Bad> {
    for (i, value) in values.iter().enumerate() {
        if values[..i].contains(value) {
            let message = "this value stands here twice, so that values cannot be unique";
            compiler.problems.push(Problem::new("unique", SpecLocation::value(path.index(i)), message));
            return Err(Bad);
        }
    }
    Ok(())
}
