//! The typed tree that binding makes and evaluation walks; its canonical text.

use std::{collections::BTreeSet, fmt};

use arrow_array::{Array, ArrayRef, cast::AsArray, new_null_array};

use crate::batch::{ColumnType, Family};

use super::{
    arithmetic::Operator, compare::Comparison, functions::Function, like::Pattern, quoted::Quoted, regexp::Regexp,
    set::SetOf, text,
};

/// A typed part of an expression.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) column_type: ColumnType,
    /// Can it be null on a row where it does not fail?
    pub(super) nullable: bool,
    /// Can it fail on a row? What cannot is evaluated without a mask.
    pub(super) fallible: bool,
    /// How many parts lie within one another here.
    pub(super) depth: usize,
}

/// What a part does.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The input's column of that place and name
    Column(usize, String),
    /// One value: an array of length 1
    Literal(ArrayRef),
    /// The word `null`, whose type the context decides
    Null,
    Compare(Comparison, Box<[Node; 2]>),
    /// `is distinct from`
    Distinct {
        operands: Box<[Node; 2]>,
        negated: bool,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    IsNull {
        operand: Box<Node>,
        negated: bool,
    },
    /// `is true`, `is not false`
    IsTruth {
        operand: Box<Node>,
        truth: bool,
        negated: bool,
    },
    /// `in` a list that holds more than constants, or few of them
    InList {
        operand: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    /// `in` many constants; the list is kept for its text
    InSet {
        operand: Box<Node>,
        set: SetOf,
        has_null: bool,
        list: Vec<Node>,
        negated: bool,
    },
    Like {
        operand: Box<Node>,
        pattern: Box<Pattern>,
        negated: bool,
    },
    /// A regular expression, found anywhere in the text
    Regexp {
        operand: Box<Node>,
        pattern: Box<Regexp>,
    },
    /// What it finds, put in other words
    RegexpReplace {
        operand: Box<Node>,
        pattern: Box<Regexp>,
        replacement: String,
    },
    Arithmetic(Operator, Box<[Node; 2]>),
    Negate(Box<Node>),
    /// `a || b || c`: null where a part is; `concat(…)` skips nulls instead
    Concat {
        parts: Vec<Node>,
        skip_nulls: bool,
    },
    Case {
        branches: Vec<(Node, Node)>,
        otherwise: Box<Node>,
    },
    Coalesce(Vec<Node>),
    /// `nullif(a, b)`: the condition is `a = b`
    NullIf {
        condition: Box<Node>,
        value: Box<Node>,
    },
    Cast {
        operand: Box<Node>,
        lenient: bool,
    },
    Call(&'static Function, Vec<Node>),
    /// `[a, b]`
    List(Vec<Node>),
}

impl Node {
    /// A part whose nullability and fallibility follow from its operands: null where one of them is.
    pub(super) fn new(kind: Kind, column_type: ColumnType) -> Node {
        let mut nullable = false;
        let mut fallible = false;
        let mut depth = 0;
        kind.each_operand(&mut |operand| {
            nullable |= operand.nullable;
            fallible |= operand.fallible;
            depth = depth.max(operand.depth);
        });
        Node { kind, column_type, nullable, fallible, depth: depth + 1 }
    }

    /// The same, knowing better whether it can be null.
    pub(super) fn nullable(self, nullable: bool) -> Node {
        Node { nullable, ..self }
    }

    /// The same, failing on some rows by itself.
    pub(super) fn failing(self) -> Node {
        Node { fallible: true, ..self }
    }

    /// One value.
    pub(super) fn literal(value: ArrayRef, column_type: ColumnType) -> Node {
        let nullable = value.is_null(0);
        Node { kind: Kind::Literal(value), column_type, nullable, fallible: false, depth: 1 }
    }

    /// The null of a type.
    pub(super) fn null_of(column_type: ColumnType) -> Node {
        Node::literal(new_null_array(&column_type.to_arrow(), 1), column_type)
    }

    /// The word `null`.
    pub(super) fn untyped_null() -> Node {
        Node { kind: Kind::Null, column_type: ColumnType::String, nullable: true, fallible: false, depth: 1 }
    }

    /// The value of a literal.
    pub(super) fn constant(&self) -> Option<&ArrayRef> {
        match &self.kind {
            Kind::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// Is it made of constants alone?
    pub(super) fn is_constant(&self) -> bool {
        let mut constant = !matches!(self.kind, Kind::Column(..));
        self.kind.each_operand(&mut |operand| constant = constant && operand.is_constant());
        constant
    }

    /// The columns that it reads, ascending.
    pub(super) fn columns(&self) -> Vec<usize> {
        let mut columns = BTreeSet::new();
        self.add_columns(&mut columns);
        columns.into_iter().collect()
    }

    fn add_columns(&self, columns: &mut BTreeSet<usize>) {
        if let Kind::Column(place, _) = self.kind {
            columns.insert(place);
        }
        self.kind.each_operand(&mut |operand| operand.add_columns(columns));
    }

    /// Does its text need brackets inside another's?
    fn is_compound(&self) -> bool {
        match &self.kind {
            Kind::Concat { skip_nulls, .. } => !skip_nulls,
            Kind::Literal(_) | Kind::Column(..) | Kind::Null | Kind::Case { .. } | Kind::Coalesce(_) => false,
            Kind::NullIf { .. } | Kind::Cast { .. } | Kind::Call(..) | Kind::List(_) => false,
            Kind::Regexp { .. } | Kind::RegexpReplace { .. } => false,
            _ => true,
        }
    }
}

impl Kind {
    fn each_operand(&self, f: &mut dyn FnMut(&Node)) {
        match self {
            Kind::Column(..) | Kind::Literal(_) | Kind::Null => {}
            Kind::Compare(_, operands) | Kind::Distinct { operands, .. } | Kind::Arithmetic(_, operands) => {
                operands.iter().for_each(f);
            }
            Kind::And(operands) | Kind::Or(operands) | Kind::Coalesce(operands) | Kind::Call(_, operands) => {
                operands.iter().for_each(f);
            }
            Kind::Concat { parts, .. } | Kind::List(parts) => parts.iter().for_each(f),
            Kind::Not(operand) | Kind::Negate(operand) | Kind::IsNull { operand, .. } => f(operand),
            Kind::IsTruth { operand, .. } | Kind::Like { operand, .. } | Kind::Cast { operand, .. } => f(operand),
            Kind::Regexp { operand, .. } | Kind::RegexpReplace { operand, .. } => f(operand),
            Kind::InList { operand, list, .. } | Kind::InSet { operand, list, .. } => {
                f(operand);
                list.iter().for_each(f);
            }
            Kind::Case { branches, otherwise } => {
                for (condition, value) in branches {
                    f(condition);
                    f(value);
                }
                f(otherwise);
            }
            Kind::NullIf { condition, value } => {
                f(condition);
                f(value);
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Column(_, name) => write_name(f, name),
            Kind::Null => f.write_str("null"),
            Kind::Literal(value) => write_literal(f, value, &self.column_type),
            Kind::Compare(comparison, operands) => chain(f, operands.as_slice(), &format!(" {comparison} ")),
            Kind::Distinct { operands, negated } => {
                let not = if *negated { "not " } else { "" };
                chain(f, operands.as_slice(), &format!(" is {not}distinct from "))
            }
            Kind::And(operands) => chain(f, operands, " and "),
            Kind::Or(operands) => chain(f, operands, " or "),
            Kind::Not(operand) => write!(f, "not {}", Bracketed(operand)),
            Kind::Negate(operand) => write!(f, "-{}", Bracketed(operand)),
            Kind::IsNull { operand, negated } => {
                write!(f, "{} is {}null", Bracketed(operand), if *negated { "not " } else { "" })
            }
            Kind::IsTruth { operand, truth, negated } => {
                write!(f, "{} is {}{truth}", Bracketed(operand), if *negated { "not " } else { "" })
            }
            Kind::InList { operand, list, negated } | Kind::InSet { operand, list, negated, .. } => {
                write!(f, "{} {}in (", Bracketed(operand), if *negated { "not " } else { "" })?;
                commas(f, list)?;
                f.write_str(")")
            }
            Kind::Like { operand, pattern, negated } => {
                write!(f, "{} {}{pattern}", Bracketed(operand), if *negated { "not " } else { "" })
            }
            Kind::Regexp { operand, pattern } => {
                write!(f, "regexp_matches({operand}, {}{})", Quoted(&pattern.written), pattern.options())
            }
            Kind::RegexpReplace { operand, pattern, replacement } => {
                let (pattern, options) = (Quoted(&pattern.written), pattern.options());
                write!(f, "regexp_replace({operand}, {pattern}, {}{options})", Quoted(replacement))
            }
            Kind::Arithmetic(operator, operands) => chain(f, operands.as_slice(), &format!(" {operator} ")),
            Kind::Concat { parts, skip_nulls: false } => chain(f, parts, " || "),
            Kind::Concat { parts, skip_nulls: true } => call(f, "concat", parts),
            Kind::Case { branches, otherwise } => {
                f.write_str("case")?;
                for (condition, value) in branches {
                    write!(f, " when {condition} then {value}")?;
                }
                write!(f, " else {otherwise} end")
            }
            Kind::Coalesce(operands) => call(f, "coalesce", operands),
            Kind::NullIf { condition, value } => write!(f, "case when {condition} then null else {value} end"),
            Kind::Cast { operand, lenient } => {
                write!(f, "{}cast({operand} as {})", if *lenient { "try_" } else { "" }, Sql(&self.column_type))
            }
            Kind::Call(function, arguments) => call(f, function.name, arguments),
            Kind::List(items) => {
                f.write_str("[")?;
                commas(f, items)?;
                f.write_str("]")
            }
        }
    }
}

struct Bracketed<'a>(&'a Node);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_compound() { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

fn chain(f: &mut fmt::Formatter<'_>, operands: &[Node], between: &str) -> fmt::Result {
    for (i, operand) in operands.iter().enumerate() {
        write!(f, "{}{}", if i == 0 { "" } else { between }, Bracketed(operand))?;
    }
    Ok(())
}

fn commas(f: &mut fmt::Formatter<'_>, nodes: &[Node]) -> fmt::Result {
    for (i, node) in nodes.iter().enumerate() {
        write!(f, "{}{node}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}

fn call(f: &mut fmt::Formatter<'_>, name: &str, arguments: &[Node]) -> fmt::Result {
    write!(f, "{name}(")?;
    commas(f, arguments)?;
    f.write_str(")")
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let plain = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { f.write_str(name) } else { write!(f, "\"{}\"", name.replace('"', "\"\"")) }
}

fn write_literal(f: &mut fmt::Formatter<'_>, value: &ArrayRef, column_type: &ColumnType) -> fmt::Result {
    if value.is_null(0) {
        return write!(f, "cast(null as {})", Sql(column_type));
    }
    if let ColumnType::List(item) = column_type {
        let items = value.as_list::<i32>().value(0);
        f.write_str("cast([")?;
        for at in 0..items.len() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            write_literal(f, &items.slice(at, 1), item)?;
        }
        return write!(f, "] as {})", Sql(column_type));
    }
    let shown = text::one(value, 0);
    match column_type.family() {
        Family::Text => write!(f, "{}", Quoted(&shown)),
        Family::Time if matches!(column_type, ColumnType::Date | ColumnType::Timestamp) => {
            write!(f, "{column_type} {}", Quoted(&shown)) // SQL has literals of these
        }
        Family::Float if shown.ends_with(['n', 'f']) => {
            write!(f, "cast('{shown}' as {column_type})") // nan and inf
        }
        Family::Json | Family::Bytes | Family::Time => write!(f, "cast({} as {column_type})", Quoted(&shown)),
        Family::Truth | Family::Integer | Family::Float | Family::List(_) => f.write_str(&shown),
    }
}

/// A type as SQL names it.
struct Sql<'a>(&'a ColumnType);

impl fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ColumnType::List(item) => write!(f, "{}[]", Sql(item)),
            other => other.fmt(f),
        }
    }
}
