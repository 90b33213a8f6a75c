//! Syntax tree → typed tree. Columns are found, types checked, constants folded; every error is recorded with
//! its place in the text, and binding goes on beside it.

mod calls;
mod intervals;
mod operators;
mod refuse;

use std::{ops::Range, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, UInt64Array,
};
use arrow_schema::Schema as ArrowSchema;
use sqlparser::ast::{self, Expr as Ast};

use crate::{
    batch::{ColumnType, Schema},
    jobspec::nearest,
};

use super::{
    ExprError, clock, evaluate, lists,
    node::{Kind, Node},
    places::Places,
    types::{self, Reason},
};

/// Binds a syntax tree to the columns of `schema`.
///
/// # Errors
/// Everything that is wrong, in the order of the text.
pub(super) fn bind(tree: &Ast, places: &Places, schema: &Schema) -> Result<Node, Vec<ExprError>> {
    let mut binder = Binder { places, schema, errors: Vec::new(), conditional: 0, now: clock::micros() };
    let node = binder.bind(tree);
    binder.errors.sort_by_key(|error| (error.start, error.end));
    match node {
        Some(node) if binder.errors.is_empty() => Ok(types::coerce_null(node)),
        _ => Err(binder.errors),
    }
}

/// How deep a typed tree may be: it is walked by recursion, on stacks of 2 MiB. Chains of `and`, `or` and `||` are
/// flat.
const DEEPEST: usize = 200;

struct Binder<'a> {
    places: &'a Places,
    schema: &'a Schema,
    errors: Vec<ExprError>,
    /// How many branches that may not be taken we are in: a constant that fails there is no error yet.
    conditional: usize,
    /// What `now()` is, in microseconds.
    now: i64,
}

/// A bound part; none where an error has been recorded.
type Bound = Option<Node>;

impl Binder<'_> {
    fn bind(&mut self, expr: &Ast) -> Bound {
        let node = match expr {
            Ast::Nested(inner) => return self.bind(inner),
            Ast::Identifier(name) => self.column(name),
            Ast::Value(value) => self.literal(&value.value, expr),
            Ast::TypedString(typed) => self.typed_string(typed, expr),
            Ast::BinaryOp { .. } => return self.binary(expr),
            Ast::UnaryOp { op, expr: operand } => self.unary(*op, operand, expr),
            Ast::IsNull(operand) => self.is_null(operand, false),
            Ast::IsNotNull(operand) => self.is_null(operand, true),
            Ast::IsUnknown(operand) => self.is_unknown(operand, false),
            Ast::IsNotUnknown(operand) => self.is_unknown(operand, true),
            Ast::IsTrue(operand) => self.is_truth(operand, true, false),
            Ast::IsNotTrue(operand) => self.is_truth(operand, true, true),
            Ast::IsFalse(operand) => self.is_truth(operand, false, false),
            Ast::IsNotFalse(operand) => self.is_truth(operand, false, true),
            Ast::IsDistinctFrom(left, right) => self.distinct(left, right, false, expr),
            Ast::IsNotDistinctFrom(left, right) => self.distinct(left, right, true, expr),
            Ast::InList { expr: operand, list, negated } => self.in_list(operand, list, *negated),
            Ast::Between { expr: operand, negated, low, high } => self.between(operand, low, high, *negated, expr),
            Ast::Like { negated, any: false, expr: operand, pattern, escape_char } => {
                self.like(operand, pattern, escape_char.as_deref(), *negated, false)
            }
            Ast::ILike { negated, any: false, expr: operand, pattern, escape_char } => {
                self.like(operand, pattern, escape_char.as_deref(), *negated, true)
            }
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Ast::Cast { kind, expr: operand, data_type, format: None } => self.cast(kind, operand, data_type, expr),
            Ast::Extract { field, expr: operand, .. } => self.extract(field, operand, expr),
            Ast::Function(function) => self.function(function, expr),
            Ast::Array(array) => self.list(&array.elem, expr),
            Ast::CompoundFieldAccess { root, access_chain } => self.element(root, access_chain, expr),
            other => match self.special_call(other) {
                Some((name, arguments)) => self.call(name, self.places.of(other), self.places.of(other), &arguments),
                None => self.refuse(other),
            },
        }?;
        self.fold(node, expr)
    }

    /// Computes a part that is made of constants now. One that fails is an error now, unless its branch may never
    /// be taken.
    fn fold(&mut self, node: Node, expr: &Ast) -> Bound {
        if node.depth > DEEPEST {
            let message = format!("the expression is nested deeper than {DEEPEST} levels");
            return self.error(self.places.of(expr), message, None);
        }
        if matches!(node.kind, Kind::Literal(_) | Kind::Null) || !node.is_constant() {
            return Some(node);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = Arc::new(ArrowSchema::empty());
        let Ok(one_row) = RecordBatch::try_new_with_options(none, Vec::new(), &options) else { return Some(node) };
        let mut errors = Vec::new();
        let value = evaluate::evaluate(&node, &one_row, &mut errors);
        match errors.pop() {
            None if lists::leaves(&value) > lists::MOST_ITEMS => self.too_long(expr),
            None => Some(Node::literal(value, node.column_type)),
            Some(_) if self.conditional > 0 => Some(node),
            Some(error) => self.error(self.places.of(expr), error.message, None),
        }
    }

    /// `[a, b]`: its items are brought to one type.
    fn list(&mut self, exprs: &[Ast], whole: &Ast) -> Bound {
        let items: Vec<Bound> = exprs.iter().map(|item| self.bind(item)).collect();
        if exprs.len() > lists::MOST_ITEMS {
            return self.too_long(whole);
        }
        let items: Vec<Node> = items.into_iter().collect::<Option<_>>()?;
        let exprs: Vec<&Ast> = exprs.iter().collect();
        let (items, item) = self.unify(items, &exprs, |others, this| {
            (None, format!("the items of a list need one type: `{this}` does not go with `{others}`"), None)
        })?;
        Some(Node::new(Kind::List(items), ColumnType::List(Box::new(item))).nullable(false))
    }

    fn too_long(&mut self, expr: &Ast) -> Bound {
        let message = format!("a list that is written down has at most {} items", lists::MOST_ITEMS);
        self.error(self.places.of(expr), message, None)
    }

    /// Records an error.
    fn error(&mut self, place: Range<usize>, message: impl Into<String>, help: Option<String>) -> Bound {
        self.errors.push(ExprError::new(place, message, help));
        None
    }

    /// A column by its exact name, or by its name in any case where only one has it.
    fn column(&mut self, name: &ast::Ident) -> Bound {
        let wanted = name.value.as_str();
        let columns = self.schema.columns();
        let alike = || columns.iter().enumerate().filter(|(_, c)| c.name.to_lowercase() == wanted.to_lowercase());
        let found = self.schema.find(wanted).or_else(|| alike().next().filter(|_| alike().count() == 1));
        if let Some((place, column)) = found {
            let kind = Kind::Column(place, column.name.clone());
            return Some(Node::new(kind, column.column_type.clone()).nullable(column.nullable));
        }
        let place = self.places.ident(name);
        if alike().next().is_some() {
            let names: Vec<String> = alike().map(|(_, column)| format!("`{}`", column.name)).collect();
            let message = format!("`{wanted}` could be any of {}", names.join(", "));
            return self.error(place, message, Some("write it as it is declared".into()));
        }
        let help = nearest(wanted, columns.iter().map(|column| column.name.as_str()));
        // Elsewhere text may stand in double quotes.
        let is_text = name.quote_style.is_some() && help.as_ref().is_none_or(|help| !help.starts_with("did you mean"));
        let text = || format!("text goes in single quotes: `'{}'`", wanted.replace('\'', "''"));
        let help = if is_text { Some(text()) } else { help };
        self.error(place, format!("there is no column `{wanted}`"), help)
    }

    fn literal(&mut self, value: &ast::Value, expr: &Ast) -> Bound {
        match value {
            ast::Value::Number(digits, _) => self.number(digits, false, expr),
            ast::Value::SingleQuotedString(text) => Some(string(text)),
            ast::Value::DollarQuotedString(text) => Some(string(&text.value)),
            ast::Value::EscapedStringLiteral(text) => Some(string(text)),
            ast::Value::Boolean(truth) => {
                Some(Node::literal(Arc::new(BooleanArray::from(vec![*truth])), ColumnType::Bool))
            }
            ast::Value::Null => Some(Node::untyped_null()),
            ast::Value::Placeholder(name) => {
                self.error(self.places.of(expr), format!("placeholders like `{name}` are not allowed here"), None)
            }
            other => self.error(self.places.of(expr), format!("the literal `{other}` is not supported"), None),
        }
    }

    /// Integers are `int64`, or `uint64` where they are too large for that; what has a point is `float64`.
    fn number(&mut self, digits: &str, negative: bool, expr: &Ast) -> Bound {
        let text = format!("{}{}", if negative { "-" } else { "" }, digits.replace('_', ""));
        let literal = |value: ArrayRef, column_type| Some(Node::literal(value, column_type));
        if let Ok(number) = text.parse::<i64>() {
            return literal(Arc::new(Int64Array::from(vec![number])), ColumnType::Int64);
        }
        if let Ok(number) = text.parse::<u64>() {
            return literal(Arc::new(UInt64Array::from(vec![number])), ColumnType::UInt64);
        }
        let is_integer = text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && !is_integer => {
                literal(Arc::new(Float64Array::from(vec![number])), ColumnType::Float64)
            }
            _ => {
                let message = format!("the number `{text}` is too large");
                self.error(self.places.of(expr), message, Some("write it as a float: `1e20`".into()))
            }
        }
    }

    /// `date '2020-01-01'`
    fn typed_string(&mut self, typed: &ast::TypedString, expr: &Ast) -> Bound {
        let name = typed.data_type.to_string();
        let ast::Value::SingleQuotedString(text) = &typed.value.value else { return self.refuse(expr) };
        let Some(column_type) = types::named(&name).filter(|found| super::cast::allowed(&ColumnType::String, found))
        else {
            return self.unknown_type(&name, self.places.of(expr));
        };
        match types::convert_literal(&string(text), &column_type) {
            Ok(node) => Some(node),
            Err(message) => self.error(self.places.of(expr), message, None),
        }
    }

    /// Brings parts to one type; `describe` says what is wrong where they have none.
    fn unify(
        &mut self,
        nodes: Vec<Node>,
        exprs: &[&Ast],
        describe: impl FnOnce(&ColumnType, &ColumnType) -> (Option<Range<usize>>, String, Option<String>),
    ) -> Option<(Vec<Node>, ColumnType)> {
        let misfit = match types::unify(nodes) {
            Ok(unified) => return Some(unified),
            Err(misfit) => misfit,
        };
        let own = exprs.get(misfit.index).map_or(0..0, |expr| self.places.of(expr));
        match misfit.reason {
            Reason::Literal(message) => self.error(own, message, None),
            Reason::Clash(others, this) => {
                let (place, message, help) = describe(&others, &this);
                self.error(place.unwrap_or(own), message, help)
            }
        };
        None
    }

    /// A boolean; `what` needs it.
    fn truth(&mut self, node: Node, expr: &Ast, what: &str) -> Bound {
        match (&node.kind, &node.column_type) {
            (Kind::Null, _) => Some(Node::null_of(ColumnType::Bool)),
            (_, ColumnType::Bool) => Some(node),
            (_, other) => {
                let message = format!("{what} needs a boolean, not `{other}`");
                self.error(self.places.of(expr), message, Some("compare it with something".into()))
            }
        }
    }

    /// Binds a part that may not be reached on every row.
    fn bind_branch(&mut self, expr: &Ast) -> Bound {
        self.conditional += 1;
        let node = self.bind(expr);
        self.conditional -= 1;
        node
    }
}

fn string(text: &str) -> Node {
    Node::literal(Arc::new(StringViewArray::from(vec![text])), ColumnType::String)
}
