//! Which types go together, what they become, and the names SQL has for them.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, cast::AsArray};

use crate::batch::ColumnType;

use super::{
    RowError, cast,
    common::{common, is_unsigned},
    node::{Kind, Node},
    set::SetOf,
    value::{Faults, Value},
};

/// SQL's names for types, beside those that columns are declared with.
const SQL_NAMES: &[(&str, ColumnType)] = &[
    ("boolean", ColumnType::Bool),
    ("tinyint", ColumnType::Int8),
    ("smallint", ColumnType::Int16),
    ("integer", ColumnType::Int32),
    ("int", ColumnType::Int32),
    ("bigint", ColumnType::Int64),
    ("utinyint", ColumnType::UInt8),
    ("usmallint", ColumnType::UInt16),
    ("uinteger", ColumnType::UInt32),
    ("ubigint", ColumnType::UInt64),
    ("real", ColumnType::Float32),
    ("float", ColumnType::Float32),
    ("double", ColumnType::Float64),
    ("double precision", ColumnType::Float64),
    ("varchar", ColumnType::String),
    ("text", ColumnType::String),
    ("blob", ColumnType::Binary),
    ("bytea", ColumnType::Binary),
    ("datetime", ColumnType::Timestamp),
];

/// The type that SQL calls so, in any case.
pub(super) fn named(name: &str) -> Option<ColumnType> {
    let name = name.to_lowercase();
    if let Some(item) = name.strip_suffix("[]") {
        return named(item).map(|item| ColumnType::List(Box::new(item)));
    }
    let ours = name.parse().ok().filter(|found| !matches!(found, ColumnType::List(_)));
    ours.or_else(|| SQL_NAMES.iter().find(|(sql, _)| *sql == name).map(|(_, found)| found.clone()))
}

/// The types that a cast may name.
pub(super) fn castable_names() -> impl Iterator<Item = &'static str> {
    ColumnType::names().chain(SQL_NAMES.iter().map(|(name, _)| *name))
}

/// Brings all of `nodes` to one type. Literals take the type of the columns beside them where they fit: an
/// integer column is not widened for a `5`, and a text beside a date is read as a date, on either side of it.
///
/// # Errors
/// The first node that does not go with those before it.
pub(super) fn unify(nodes: Vec<Node>) -> Result<(Vec<Node>, ColumnType), Misfit> {
    let mut target: Option<ColumnType> = None;
    let rank = |node: &Node| match node.constant() {
        None => 0,
        Some(_) if node.column_type != ColumnType::String => 1,
        Some(_) => 2,
    };
    let firmest_first = [0, 1, 2].map(|wanted| nodes.iter().enumerate().filter(move |(_, node)| rank(node) == wanted));
    for (i, node) in firmest_first.into_iter().flatten() {
        if matches!(node.kind, Kind::Null) {
            continue;
        }
        let Some(so_far) = target else {
            target = Some(node.column_type.clone());
            continue;
        };
        let adopted = adopt(node, &so_far).map_err(|message| Misfit { index: i, reason: Reason::Literal(message) })?;
        target = match adopted {
            Some(_) => Some(so_far),
            None => match common(&so_far, &node.column_type) {
                Some(wider) => Some(wider),
                None => return Err(Misfit { index: i, reason: Reason::Clash(so_far, node.column_type.clone()) }),
            },
        };
    }
    let target = target.unwrap_or(ColumnType::String);
    let unified =
        nodes.into_iter().map(|node| adopt(&node, &target).ok().flatten().unwrap_or_else(|| coerce(node, &target)));
    Ok((unified.collect(), target))
}

/// A node that cannot be brought to the type of others.
pub(super) struct Misfit {
    /// Which one.
    pub(super) index: usize,
    /// Why.
    pub(super) reason: Reason,
}

/// Why a node does not fit.
pub(super) enum Reason {
    /// A text that should be a date or a time and is none; the sentence says which
    Literal(String),
    /// The type of those before it, and its own
    Clash(ColumnType, ColumnType),
}

/// The literal `node` in type `target`, where it can stand for one exactly.
pub(super) fn adopt(node: &Node, target: &ColumnType) -> Result<Option<Node>, String> {
    use ColumnType::{Date, String, Timestamp, TimestampNs};
    let Some(value) = node.constant() else { return Ok(None) };
    if node.column_type == *target {
        return Ok(Some(node.clone()));
    }
    let is_text = node.column_type == String && matches!(target, Date | Timestamp | TimestampNs);
    if !is_text && !may_become(value, &node.column_type, target) {
        return Ok(None);
    }
    match convert(value, &node.column_type, target) {
        Ok(converted) => Ok(Some(Node::literal(converted, target.clone()))),
        Err(message) if is_text => Err(message),
        Err(_) => Ok(None),
    }
}

/// May a literal, if it fits, take a type without being asked? A list may if its items may; an empty one, any.
fn may_become(value: &ArrayRef, from: &ColumnType, target: &ColumnType) -> bool {
    match (from, target) {
        (from, to) if from == to => true,
        (ColumnType::List(from), ColumnType::List(to)) => {
            let items = value.as_list::<i32>().value(0);
            items.len() == items.null_count() && cast::allowed(from, to) || may_become(&items, from, to)
        }
        (from, to) => {
            (from.is_integer() && to.is_number()) || (*from == ColumnType::Float64 && *to == ColumnType::Float32)
        }
    }
}

/// `node` in type `target`; literals are converted here and now.
pub(super) fn coerce(node: Node, target: &ColumnType) -> Node {
    if matches!(node.kind, Kind::Null) {
        return Node::null_of(target.clone());
    }
    if node.column_type == *target {
        return node;
    }
    if let Some(value) = node.constant()
        && let Ok(converted) = convert(value, &node.column_type, target)
    {
        return Node::literal(converted, target.clone());
    }
    let fallible = cast::can_fail(&node.column_type, target);
    let cast = Node::new(Kind::Cast { operand: Box::new(node), lenient: false }, target.clone());
    if fallible { cast.failing() } else { cast }
}

/// One value in another type.
fn convert(value: &ArrayRef, from: &ColumnType, to: &ColumnType) -> Result<ArrayRef, String> {
    let mut errors: Vec<RowError> = Vec::new();
    let cast = cast::cast(&Value::Constant(Arc::clone(value)), from, to, false, 1, &mut Faults::new(&mut errors, None));
    match errors.pop() {
        Some(error) => Err(error.message),
        None => Ok(cast.into_column(1)),
    }
}

/// The constants in `list` as a set in which values of type `of` are looked up, and whether a null is among them; none
/// where that type has no sets here, or where one of them is not a constant.
pub(super) fn set_of(list: &[Node], of: &ColumnType) -> Option<(SetOf, bool)> {
    let values: Vec<&ArrayRef> = list.iter().map(Node::constant).collect::<Option<_>>()?;
    let has_null = values.iter().any(|value| value.is_null(0));
    Some((SetOf::new(values.into_iter().filter(|value| value.is_valid(0)), of)?, has_null))
}

/// Is a `uint64` among signed integers? No type holds both; comparisons take them as they are.
pub(super) fn are_mixed(nodes: &[Node]) -> bool {
    let is_signed = |node: &Node| !is_unsigned(&node.column_type) && as_unsigned(node).is_none();
    nodes.iter().all(|node| node.column_type.is_integer() || matches!(node.kind, Kind::Null))
        && nodes.iter().any(|node| node.column_type == ColumnType::UInt64)
        && nodes.iter().any(is_signed)
}

/// One of mixed integers as `uint64` where it cannot be negative, else as `int64`.
pub(super) fn as_it_is(node: Node) -> Node {
    match as_unsigned(&node) {
        Some(adopted) => adopted,
        None if is_unsigned(&node.column_type) => coerce(node, &ColumnType::UInt64),
        None => coerce(node, &ColumnType::Int64),
    }
}

/// A constant, or the word `null`, as `uint64` where it is not negative.
fn as_unsigned(node: &Node) -> Option<Node> {
    match node.kind {
        Kind::Null => Some(Node::null_of(ColumnType::UInt64)),
        _ => adopt(node, &ColumnType::UInt64).ok().flatten(),
    }
}

/// A `null` that nothing gave a type to is a string.
pub(super) fn coerce_null(node: Node) -> Node {
    if matches!(node.kind, Kind::Null) { Node::null_of(ColumnType::String) } else { node }
}

/// A literal cast to `target`.
///
/// # Errors
/// It has no like there.
pub(super) fn convert_literal(node: &Node, target: &ColumnType) -> Result<Node, String> {
    match node.constant() {
        Some(value) => Ok(Node::literal(convert(value, &node.column_type, target)?, target.clone())),
        None => Ok(coerce(node.clone(), target)),
    }
}
