//! Calls of aggregates: one function around a scalar expression, `sum(price * 2)`.

use sqlparser::ast::{DuplicateTreatment, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Expr, ExprError, bind, parse, places::Places};
use crate::{
    batch::{ColumnType, Family, Schema},
    jobspec::nearest,
};

/// What makes one value of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`: all rows
    CountRows,
    /// `count(x)`: those where it is not null
    Count,
    /// `count_distinct(x)`, `count(distinct x)`: its different values, null excepted
    CountDistinct,
    /// The sum of what is not null
    Sum,
    /// The least value
    Min,
    /// The greatest value
    Max,
    /// The mean
    Avg,
    /// The standard deviation of a sample
    Stddev,
    /// The value of the first row, null or not
    First,
    /// The value of the last row, null or not
    Last,
    /// All values as a list, nulls among them
    ArrayAgg,
}

/// A bound call of an aggregate.
#[derive(Debug)]
pub struct AggregateCall {
    /// The function.
    pub function: Aggregate,
    /// What it is applied to; `count(*)` has nothing.
    pub argument: Option<Expr>,
}

/// The aggregates with an argument, by name.
const NAMES: &[(&str, Aggregate)] = &[
    ("count", Aggregate::Count),
    ("sum", Aggregate::Sum),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("avg", Aggregate::Avg),
    ("stddev", Aggregate::Stddev),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("array_agg", Aggregate::ArrayAgg),
    ("count_distinct", Aggregate::CountDistinct),
];

/// Parses a call of an aggregate and binds its argument to `schema`.
///
/// # Errors
/// As [`compile`](super::compile); also where the text is anything else than such a call.
pub fn compile_aggregate(text: &str, schema: &Schema) -> Result<AggregateCall, Vec<ExprError>> {
    let (tree, places) = parse::parse(text).map_err(|error| vec![*error])?;
    let (function, argument) = call(&tree, &places).map_err(|error| vec![*error])?;
    let Some(argument) = argument else { return Ok(AggregateCall { function, argument: None }) };
    let node = bind::bind(argument, &places, schema)?;
    if let Some(needs) = function.refuses(&node.column_type) {
        let message = format!("{needs}, this is a {}", node.column_type);
        return Err(vec![ExprError::new(places.of(argument), message, None)]);
    }
    Ok(AggregateCall { function, argument: Some(Expr::new(node)) })
}

/// The function and its argument.
fn call<'a>(tree: &'a Ast, places: &Places) -> Result<(Aggregate, Option<&'a Ast>), Box<ExprError>> {
    let refuse =
        |message: &str, help: Option<&str>| Err(ExprError::boxed(places.of(tree), message, help.map(str::to_owned)));
    let Ast::Function(call) = tree else {
        let help = "compute with aggregates in a `select` behind this stage";
        return refuse("expected one aggregate, such as `sum(price)`", Some(help));
    };
    let name = call.name.to_string().to_lowercase();
    let Some((_, function)) = NAMES.iter().find(|(known, _)| *known == name) else {
        let help = nearest(&name, NAMES.iter().map(|(name, _)| *name));
        return Err(ExprError::boxed(places.name(&call.name), format!("there is no aggregate `{name}`"), help));
    };
    let FunctionArguments::List(list) = &call.args else {
        return refuse("an aggregate needs its argument in brackets", None);
    };
    let plain = call.over.is_none()
        && call.filter.is_none()
        && call.within_group.is_empty()
        && call.null_treatment.is_none()
        && list.clauses.is_empty();
    if !plain {
        return refuse("`over`, `filter` and `order by` are not supported here", None);
    }
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    match (&list.args[..], function) {
        ([FunctionArg::Unnamed(FunctionArgExpr::Wildcard)], Aggregate::Count) if !distinct => {
            Ok((Aggregate::CountRows, None))
        }
        ([], Aggregate::Count) if !distinct => Ok((Aggregate::CountRows, None)),
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))], Aggregate::Count) if distinct => {
            Ok((Aggregate::CountDistinct, Some(argument)))
        }
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(_))], _) if distinct => {
            refuse("`distinct` is for `count` alone", None)
        }
        ([FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))], _) => Ok((*function, Some(argument))),
        _ => refuse(&format!("`{name}` takes one argument"), None),
    }
}

impl AggregateCall {
    /// The type of its value.
    pub fn column_type(&self) -> ColumnType {
        let own = || self.argument.as_ref().map_or(ColumnType::Int64, |argument| argument.column_type().clone());
        match self.function {
            Aggregate::CountRows | Aggregate::Count | Aggregate::CountDistinct => ColumnType::Int64,
            Aggregate::Sum if own().is_integer() => ColumnType::Int64,
            Aggregate::Sum | Aggregate::Avg | Aggregate::Stddev => ColumnType::Float64,
            Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => own(),
            Aggregate::ArrayAgg => ColumnType::List(Box::new(own())),
        }
    }

    /// Can its value be null? Counts cannot.
    pub fn nullable(&self) -> bool {
        !matches!(self.function, Aggregate::CountRows | Aggregate::Count | Aggregate::CountDistinct)
    }
}

impl Aggregate {
    /// The names of all aggregates with an argument.
    #[cfg(test)]
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// What it needs, where it cannot be applied to values of this type.
    fn refuses(self, column_type: &ColumnType) -> Option<&'static str> {
        let ordered = match column_type.family() {
            Family::Truth | Family::Integer | Family::Float | Family::Time | Family::Text | Family::Bytes => true,
            Family::Json | Family::List(_) => false,
        };
        match self {
            Aggregate::Sum | Aggregate::Avg | Aggregate::Stddev => {
                (!column_type.is_number()).then_some("`sum`, `avg` and `stddev` need a number")
            }
            Aggregate::Min | Aggregate::Max => (!ordered).then_some("`min` and `max` need values that have an order"),
            _ => None,
        }
    }
}
