//! The functions: one table per subject. Adding one is one row and one function.

mod dates;
mod hashes;
mod json;
mod lists;
mod numbers;
mod strings;

use std::fmt;

use arrow_array::ArrayRef;
use arrow_buffer::NullBuffer;

use crate::batch::ColumnType;

use super::value::{Faults, Value};

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    /// Its name, in lower case.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) parameters: &'static [Parameter],
    /// How many of the last parameters may be left out.
    pub(super) optional: usize,
    /// What it gives.
    pub(super) returns: Returns,
    /// What it does.
    pub(super) body: Body,
}

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// A string, or json as its text
    Text,
    /// A string or a list
    TextOrList,
    /// A list of any type
    List,
    /// A value of the type of the list's items
    Item,
    /// Any integer; comes as `int64`
    Integer,
    /// Any number; integers come as `int64`, or as `uint64` where they are that, floats as `float64`
    Number,
    /// Any number; comes as `float64`
    Float,
    /// A date or a timestamp; comes as `timestamp`
    Time,
    /// The constant name of a part of a time: `'year'`
    DatePart,
    /// The constant name of a unit of time: `'month'`
    DateUnit,
    /// A constant path into json: a key, or `$.key[0]`; an integer is the place in an array
    JsonPath,
    /// Any scalar; comes as its text
    Scalar,
    /// Anything; comes as it is
    Any,
    /// As many more of the one before as there are
    More,
}

/// The type of a function's value.
#[derive(Clone, Debug)]
pub(super) enum Returns {
    /// Always this
    Type(ColumnType),
    /// That of the first argument, once it is converted
    First,
    /// That of the items of the first argument
    Item,
}

/// What a function does.
#[derive(Debug)]
pub(super) enum Body {
    /// Null where an argument is null; cannot fail
    Strict(Evaluator),
    /// Null where an argument is null; may fail on a row
    Checked(Evaluator),
    /// Null where an argument is null, and on other rows too; cannot fail
    Partial(Evaluator),
    /// Null where an argument is null, and on other rows too; may fail on a row
    CheckedPartial(Evaluator),
    /// Not a function of columns but a form of its own
    Form(Form),
}

/// What looks like a function and is bound to a node of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Coalesce,
    NullIf,
    Concat,
    Modulo,
    Now,
    RegexpMatches,
    RegexpReplace,
}

/// Computes a function for all rows of a batch.
pub(super) type Evaluator = fn(Call<'_, '_>) -> ArrayRef;

/// What a function is evaluated with.
pub(super) struct Call<'a, 'f> {
    /// The arguments, converted to what the parameters say.
    pub(super) arguments: &'a [Value],
    /// The type of the first argument.
    pub(super) first_type: &'a ColumnType,
    /// How many rows there are.
    pub(super) rows: usize,
    /// The rows on which any argument is null: the answer is null there.
    pub(super) nulls: Option<NullBuffer>,
    /// Where rows that fail are reported.
    pub(super) faults: &'a mut Faults<'f>,
}

impl Call<'_, '_> {
    /// Is the answer of this row to be computed?
    fn is_valid(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }
}

const TABLES: &[&[Function]] =
    &[FORMS, strings::TABLE, numbers::TABLE, lists::TABLE, dates::TABLE, json::TABLE, hashes::TABLE];

const FORMS: &[Function] = &[
    // A constant: the time at which the expression was bound, for all rows.
    Function {
        name: "now",
        parameters: &[],
        optional: 0,
        returns: Returns::Type(ColumnType::Timestamp),
        body: Body::Form(Form::Now),
    },
    Function {
        name: "coalesce",
        parameters: &[Parameter::Any, Parameter::More],
        optional: 0,
        returns: Returns::First,
        body: Body::Form(Form::Coalesce),
    },
    Function {
        name: "nullif",
        parameters: &[Parameter::Any, Parameter::Any],
        optional: 0,
        returns: Returns::First,
        body: Body::Form(Form::NullIf),
    },
    Function {
        name: "concat",
        parameters: &[Parameter::Scalar, Parameter::More],
        optional: 0,
        returns: Returns::Type(ColumnType::String),
        body: Body::Form(Form::Concat),
    },
    Function {
        name: "mod",
        parameters: &[Parameter::Number, Parameter::Number],
        optional: 0,
        returns: Returns::First,
        body: Body::Form(Form::Modulo),
    },
    Function {
        name: "regexp_matches",
        parameters: &[Parameter::Text, Parameter::Text, Parameter::Text],
        optional: 1,
        returns: Returns::Type(ColumnType::Bool),
        body: Body::Form(Form::RegexpMatches),
    },
    Function {
        name: "regexp_replace",
        parameters: &[Parameter::Text, Parameter::Text, Parameter::Text, Parameter::Text],
        optional: 1,
        returns: Returns::Type(ColumnType::String),
        body: Body::Form(Form::RegexpReplace),
    },
];

/// Other names of functions.
const ALIASES: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("pow", "power"),
    ("substring", "substr"),
    ("lcase", "lower"),
    ("ucase", "upper"),
    ("len", "length"),
    ("regexp_like", "regexp_matches"),
    ("list_has", "list_contains"),
    ("array_contains", "list_contains"),
    ("suffix", "ends_with"),
    ("prefix", "starts_with"),
    ("list_extract", "list_element"),
];

/// The function of that name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    let name = name.to_lowercase();
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, function)| function);
    TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name)
}

/// Is `text` a path into json?
///
/// # Errors
/// The sentence that says why it is none.
pub(super) fn check_json_path(text: &str) -> Result<(), &'static str> {
    json::check_path(text)
}

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let functions = TABLES.iter().flat_map(|table| table.iter()).map(|function| function.name);
    functions.chain(ALIASES.iter().map(|(alias, _)| *alias))
}

impl Function {
    /// How many arguments it takes at least and, unless it takes any number, at most.
    pub(super) fn arity(&self) -> (usize, Option<usize>) {
        let more = self.parameters.last() == Some(&Parameter::More);
        let named = self.parameters.len() - usize::from(more);
        (named - self.optional, (!more).then_some(named))
    }

    /// What argument `i` must be.
    pub(super) fn parameter(&self, i: usize) -> Parameter {
        let named = || self.parameters.iter().filter(|parameter| **parameter != Parameter::More);
        named().nth(i).or_else(|| named().next_back()).copied().unwrap_or(Parameter::Any)
    }

    /// Can it fail on a row?
    pub(super) fn is_fallible(&self) -> bool {
        matches!(self.body, Body::Checked(_) | Body::CheckedPartial(_))
    }

    /// Can it be null where no argument is?
    pub(super) fn makes_nulls(&self) -> bool {
        matches!(self.body, Body::Partial(_) | Body::CheckedPartial(_))
    }

    /// Its value for every row.
    pub(super) fn call(&self, call: Call<'_, '_>) -> ArrayRef {
        match self.body {
            Body::Strict(evaluate)
            | Body::Checked(evaluate)
            | Body::Partial(evaluate)
            | Body::CheckedPartial(evaluate) => evaluate(call),
            Body::Form(_) => unreachable!("binding makes nodes of their own of the forms"),
        }
    }
}

impl Parameter {
    /// Does it take values of that type?
    pub(super) fn takes(self, given: &ColumnType, first: &ColumnType) -> bool {
        let is_text = matches!(given, ColumnType::String | ColumnType::Json);
        let is_list = matches!(given, ColumnType::List(_));
        match self {
            Parameter::Text | Parameter::DatePart | Parameter::DateUnit | Parameter::JsonPath => is_text,
            Parameter::Time => matches!(given, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampNs),
            Parameter::TextOrList => is_text || is_list,
            Parameter::List => is_list,
            Parameter::Item => match first {
                ColumnType::List(item) => super::common::common(item, given).is_some(),
                _ => true,
            },
            Parameter::Integer => given.is_integer(),
            Parameter::Number | Parameter::Float => given.is_number(),
            Parameter::Scalar => !is_list && *given != ColumnType::Binary,
            Parameter::Any | Parameter::More => true,
        }
    }

    /// The constants that it takes; any where it is empty.
    pub(super) fn words(self) -> Vec<&'static str> {
        match self {
            Parameter::DatePart => dates::part_names(),
            Parameter::DateUnit => dates::unit_names(),
            _ => Vec::new(),
        }
    }

    /// The type of a `null` given for it.
    pub(super) fn null_type(self, first: &ColumnType) -> ColumnType {
        match (self, first) {
            (Parameter::Integer | Parameter::Number, _) => ColumnType::Int64,
            (Parameter::Float, _) => ColumnType::Float64,
            (Parameter::Time, _) => ColumnType::Timestamp,
            (Parameter::List, _) => ColumnType::List(Box::new(ColumnType::String)),
            (Parameter::Item, ColumnType::List(item)) => item.as_ref().clone(),
            _ => ColumnType::String,
        }
    }

    /// What an argument of that type is converted to.
    pub(super) fn converts(self, given: &ColumnType, first: &ColumnType) -> ColumnType {
        match (self, given) {
            (Parameter::Time, _) => ColumnType::Timestamp,
            (Parameter::Text | Parameter::Scalar, _) | (Parameter::TextOrList, ColumnType::Json) => ColumnType::String,
            (Parameter::Integer, _) => ColumnType::Int64,
            (Parameter::Number, ColumnType::UInt64) => ColumnType::UInt64,
            (Parameter::Number, given) if given.is_integer() => ColumnType::Int64,
            (Parameter::Number | Parameter::Float, _) => ColumnType::Float64,
            (Parameter::Item, given) => match first {
                // No type holds a `uint64` and a signed integer: they are compared as they are.
                ColumnType::List(item) if item.is_integer() && *given == ColumnType::UInt64 => ColumnType::UInt64,
                ColumnType::List(item) => super::common::common(item, given).unwrap_or_else(|| given.clone()),
                _ => given.clone(),
            },
            _ => given.clone(),
        }
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Parameter::Text => "string",
            Parameter::Time => "date or timestamp",
            Parameter::DatePart => "part of a time",
            Parameter::DateUnit => "unit of time",
            Parameter::JsonPath => "path",
            Parameter::TextOrList => "string or list",
            Parameter::List => "list",
            Parameter::Item => "item of the list",
            Parameter::Integer => "integer",
            Parameter::Number | Parameter::Float => "number",
            Parameter::Scalar => "scalar",
            Parameter::Any => "any",
            Parameter::More => "…",
        })
    }
}

impl fmt::Display for Function {
    /// Its signature: `substr(string, integer[, integer])`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, _) = self.arity();
        write!(f, "{}(", self.name)?;
        for (i, parameter) in self.parameters.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let optional = i >= least && *parameter != Parameter::More;
            match optional {
                true => write!(f, "[{comma}{parameter}]")?,
                false => write!(f, "{comma}{parameter}")?,
            }
        }
        f.write_str(")")
    }
}
