//! Operators and predicates.

use std::sync::Arc;

use arrow_array::Int64Array;
use sqlparser::ast::{BinaryOperator, Expr as Ast, UnaryOperator, Value};

use crate::{
    batch::ColumnType,
    expr::{
        arithmetic::Operator,
        common::{common_integer, is_unsigned},
        compare::Comparison,
        like::Pattern,
        node::{Kind, Node},
        types::{self, adopt, coerce},
    },
};

use super::{Binder, Bound, intervals::interval};

/// From how many constants on a set is made of an `in` list.
const SET_FROM: usize = 5;

impl Binder<'_> {
    /// A chain of operators is as deep as it is long on its left side: that side is walked in a loop.
    pub(super) fn binary(&mut self, expr: &Ast) -> Bound {
        let mut chain = Vec::new();
        let mut leftmost = expr;
        while let Ast::BinaryOp { left, op, right } = leftmost {
            chain.push((leftmost, left, op, right));
            leftmost = left;
        }
        let mut bound = match (interval(leftmost), chain.last()) {
            // `interval '1 day' + ts` is `ts + interval '1 day'`.
            (Some(first), Some((whole, left, op @ BinaryOperator::Plus, right))) if interval(right).is_none() => {
                let time = self.bind(right);
                let shifted = self.shift(time, right, op, (first, left)).and_then(|node| self.fold(node, whole));
                chain.pop();
                shifted
            }
            _ => self.bind(leftmost),
        };
        for (whole, left, op, right) in chain.into_iter().rev() {
            if let Some(span) = interval(right) {
                bound = self.shift(bound, left, op, (span, right)).and_then(|node| self.fold(node, whole));
                continue;
            }
            let lazy = matches!(op, BinaryOperator::And | BinaryOperator::Or);
            let right_bound = if lazy { self.bind_branch(right) } else { self.bind(right) };
            bound = match (bound, right_bound) {
                (Some(l), Some(r)) => self.operate(op, (l, left), (r, right), whole),
                _ => None,
            };
            bound = bound.and_then(|node| self.fold(node, whole));
        }
        bound
    }

    fn operate(&mut self, op: &BinaryOperator, left: (Node, &Ast), right: (Node, &Ast), whole: &Ast) -> Bound {
        let comparison = |comparison| (Some(comparison), None);
        let arithmetic = |operator| (None, Some(operator));
        let found = match op {
            BinaryOperator::Eq => comparison(Comparison::Equal),
            BinaryOperator::NotEq => comparison(Comparison::NotEqual),
            BinaryOperator::Lt => comparison(Comparison::Less),
            BinaryOperator::LtEq => comparison(Comparison::LessOrEqual),
            BinaryOperator::Gt => comparison(Comparison::Greater),
            BinaryOperator::GtEq => comparison(Comparison::GreaterOrEqual),
            BinaryOperator::Plus => arithmetic(Operator::Add),
            BinaryOperator::Minus => arithmetic(Operator::Subtract),
            BinaryOperator::Multiply => arithmetic(Operator::Multiply),
            BinaryOperator::Divide => arithmetic(Operator::Divide),
            BinaryOperator::DuckIntegerDivide => arithmetic(Operator::IntegerDivide),
            BinaryOperator::Modulo => arithmetic(Operator::Modulo),
            BinaryOperator::And => return self.and_or(left, right, true),
            BinaryOperator::Or => return self.and_or(left, right, false),
            BinaryOperator::Arrow => return self.json_access("json_extract", left, right),
            BinaryOperator::LongArrow => return self.json_access("json_extract_string", left, right),
            BinaryOperator::StringConcat => return self.concat(left, right),
            other => {
                let message = format!("the operator `{other}` is not supported");
                return self.error(self.places.of(whole), message, None);
            }
        };
        match found {
            (Some(comparison), _) => self.compare(comparison, left, right, whole),
            (_, Some(operator)) => self.arithmetic(operator, left, right),
            _ => None,
        }
    }

    /// Two sides of a comparison in one type. A `uint64` and a signed integer stay as they are: no type holds both.
    fn comparands(&mut self, left: (Node, &Ast), right: (Node, &Ast), whole: &Ast) -> Option<Box<[Node; 2]>> {
        let ((left, left_expr), (right, right_expr)) = (left, right);
        for (node, expr) in [(&left, left_expr), (&right, right_expr)] {
            if matches!(node.column_type, ColumnType::List(_)) {
                self.error(self.places.of(expr), "lists cannot be compared", None)?;
            }
        }
        let is_mixed = |a: &Node, b: &Node| {
            a.column_type == ColumnType::UInt64
                && b.column_type.is_integer()
                && !is_unsigned(&b.column_type)
                && !matches!(b.kind, Kind::Null)
                && !adopt(b, &ColumnType::UInt64).is_ok_and(|adopted| adopted.is_some())
        };
        if is_mixed(&left, &right) {
            return Some(Box::new([left, coerce(right, &ColumnType::Int64)]));
        }
        if is_mixed(&right, &left) {
            return Some(Box::new([coerce(left, &ColumnType::Int64), right]));
        }
        let casts = (left.to_string(), right.to_string());
        let place = self.places.of(whole);
        let (nodes, _) = self.unify(vec![left, right], &[left_expr, right_expr], |others, this| {
            let text = if *this == ColumnType::String { &casts.1 } else { &casts.0 };
            let other = if *this == ColumnType::String { others } else { this };
            let one_is_text = *this == ColumnType::String || *others == ColumnType::String;
            // A text may have decimals where a number without them is compared with it.
            let other = if other.is_integer() { &ColumnType::Float64 } else { other };
            let help = one_is_text.then(|| format!("cast one of them: `cast({text} as {other})`"));
            (Some(place), format!("cannot compare `{others}` with `{this}`"), help)
        })?;
        <[Node; 2]>::try_from(nodes).ok().map(Box::new)
    }

    pub(super) fn compare(&mut self, op: Comparison, left: (Node, &Ast), right: (Node, &Ast), whole: &Ast) -> Bound {
        let operands = self.comparands(left, right, whole)?;
        Some(Node::new(Kind::Compare(op, operands), ColumnType::Bool))
    }

    pub(super) fn distinct(&mut self, left: &Ast, right: &Ast, negated: bool, whole: &Ast) -> Bound {
        let (left_bound, right_bound) = (self.bind(left), self.bind(right));
        let operands = self.comparands((left_bound?, left), (right_bound?, right), whole)?;
        Some(Node::new(Kind::Distinct { operands, negated }, ColumnType::Bool).nullable(false))
    }

    fn arithmetic(
        &mut self,
        op: Operator,
        (left, left_expr): (Node, &Ast),
        (right, right_expr): (Node, &Ast),
    ) -> Bound {
        let mut fits = true;
        for (node, expr) in [(&left, left_expr), (&right, right_expr)] {
            if !node.column_type.is_number() && !matches!(node.kind, Kind::Null) {
                let message = format!("`{op}` needs numbers, not `{}`", node.column_type);
                let joins = op == Operator::Add && node.column_type == ColumnType::String;
                self.error(self.places.of(expr), message, joins.then(|| "`||` joins texts".to_owned()));
                fits = false;
            }
        }
        fits.then(|| arithmetic(op, left, right))
    }

    fn and_or(&mut self, (left, left_expr): (Node, &Ast), (right, right_expr): (Node, &Ast), and: bool) -> Bound {
        let what = if and { "`and`" } else { "`or`" };
        let left = self.truth(left, left_expr, what);
        let right = self.truth(right, right_expr, what)?;
        let mut operands = match (left?, and) {
            (Node { kind: Kind::And(operands), .. }, true) | (Node { kind: Kind::Or(operands), .. }, false) => operands,
            (other, _) => vec![other],
        };
        operands.push(right);
        Some(Node::new(if and { Kind::And(operands) } else { Kind::Or(operands) }, ColumnType::Bool))
    }

    fn concat(&mut self, (left, left_expr): (Node, &Ast), (right, right_expr): (Node, &Ast)) -> Bound {
        if left.column_type == ColumnType::Bool && right.column_type == ColumnType::Bool {
            let place = self.places.of(left_expr).start..self.places.of(right_expr).end;
            return self.error(place, "`||` joins texts, and these are `bool`", Some("use `or`".to_owned()));
        }
        let left = self.part(left, left_expr, "`||`");
        let right = self.part(right, right_expr, "`||`")?;
        let mut parts = match left? {
            Node { kind: Kind::Concat { parts, skip_nulls: false }, .. } => parts,
            other => vec![other],
        };
        parts.push(right);
        Some(Node::new(Kind::Concat { parts, skip_nulls: false }, ColumnType::String))
    }

    /// A part of a concatenation, as its text.
    pub(super) fn part(&mut self, node: Node, expr: &Ast, what: &str) -> Bound {
        match &node.column_type {
            ColumnType::Binary | ColumnType::List(_) => {
                let message = format!("{what} needs strings, numbers or dates, not `{}`", node.column_type);
                self.error(self.places.of(expr), message, None)
            }
            _ => Some(coerce(node, &ColumnType::String)),
        }
    }

    pub(super) fn unary(&mut self, op: UnaryOperator, operand: &Ast, whole: &Ast) -> Bound {
        if let (UnaryOperator::Minus, Ast::Value(value)) = (op, operand)
            && let Value::Number(digits, _) = &value.value
        {
            return self.number(digits, true, whole);
        }
        if !matches!(op, UnaryOperator::Minus | UnaryOperator::Plus | UnaryOperator::Not) {
            return self.error(self.places.of(whole), format!("the operator `{op}` is not supported"), None);
        }
        let node = self.bind(operand)?;
        if op == UnaryOperator::Not {
            let operand = self.truth(node, operand, "`not`")?;
            return Some(Node::new(Kind::Not(Box::new(operand)), ColumnType::Bool));
        }
        if !node.column_type.is_number() && !matches!(node.kind, Kind::Null) {
            let message = format!("`{op}` needs a number, not `{}`", node.column_type);
            return self.error(self.places.of(operand), message, None);
        }
        if op == UnaryOperator::Plus || matches!(node.kind, Kind::Null) {
            return Some(node);
        }
        let target = if node.column_type.is_integer() { ColumnType::Int64 } else { ColumnType::Float64 };
        Some(Node::new(Kind::Negate(Box::new(coerce(node, &target))), target).failing())
    }

    pub(super) fn is_null(&mut self, operand: &Ast, negated: bool) -> Bound {
        let operand = Box::new(types::coerce_null(self.bind(operand)?));
        Some(Node::new(Kind::IsNull { operand, negated }, ColumnType::Bool).nullable(false))
    }

    pub(super) fn is_unknown(&mut self, operand: &Ast, negated: bool) -> Bound {
        let node = self.bind(operand)?;
        let operand = Box::new(self.truth(node, operand, "`is unknown`")?);
        Some(Node::new(Kind::IsNull { operand, negated }, ColumnType::Bool).nullable(false))
    }

    pub(super) fn is_truth(&mut self, operand: &Ast, truth: bool, negated: bool) -> Bound {
        let node = self.bind(operand)?;
        let operand = Box::new(self.truth(node, operand, if truth { "`is true`" } else { "`is false`" })?);
        Some(Node::new(Kind::IsTruth { operand, truth, negated }, ColumnType::Bool).nullable(false))
    }

    pub(super) fn in_list(&mut self, operand: &Ast, list: &[Ast], negated: bool) -> Bound {
        let exprs: Vec<&Ast> = std::iter::once(operand).chain(list).collect();
        let bound: Vec<Bound> = exprs.iter().map(|expr| self.bind(expr)).collect();
        let nodes: Vec<Node> = bound.into_iter().collect::<Option<_>>()?;
        if let Some(at) = nodes.iter().position(|node| matches!(node.column_type, ColumnType::List(_))) {
            let help = "`list_contains(list, value)` looks into a list".to_owned();
            return self.error(self.places.of(exprs[at]), "lists cannot be compared", Some(help));
        }
        let many = nodes.len() > SET_FROM;
        let mut nodes = if types::are_mixed(&nodes) {
            nodes.into_iter().map(types::as_it_is).collect()
        } else {
            let clash = |others: &ColumnType, this: &ColumnType| format!("cannot compare `{others}` with `{this}`");
            let (nodes, target) = self.unify(nodes, &exprs, |others, this| (None, clash(others, this), None))?;
            if many && target.is_integer() && target != ColumnType::UInt64 {
                nodes.into_iter().map(|node| coerce(node, &ColumnType::Int64)).collect()
            } else {
                nodes
            }
        };
        let list = nodes.split_off(1);
        let operand = Box::new(nodes.pop()?);
        let kind = match types::set_of(&list, &operand.column_type).filter(|_| many) {
            Some((set, has_null)) => Kind::InSet { operand, set, has_null, list, negated },
            None => Kind::InList { operand, list, negated },
        };
        Some(Node::new(kind, ColumnType::Bool))
    }

    pub(super) fn between(&mut self, operand: &Ast, low: &Ast, high: &Ast, negated: bool, whole: &Ast) -> Bound {
        let bound = [self.bind(operand), self.bind(low), self.bind(high)];
        let [Some(node), Some(low_node), Some(high_node)] = bound else { return None };
        let from = self.compare(Comparison::GreaterOrEqual, (node.clone(), operand), (low_node, low), whole);
        let to = self.compare(Comparison::LessOrEqual, (node, operand), (high_node, high), whole)?;
        let both = Node::new(Kind::And(vec![from?, to]), ColumnType::Bool);
        if !negated {
            return Some(both);
        }
        Some(Node::new(Kind::Not(Box::new(both)), ColumnType::Bool))
    }

    pub(super) fn like(
        &mut self,
        operand: &Ast,
        pattern: &Ast,
        escape: Option<&Ast>,
        negated: bool,
        any_case: bool,
    ) -> Bound {
        let word = if any_case { "`ilike`" } else { "`like`" };
        let node = self.bind(operand);
        let pattern_node = self.bind(pattern);
        let escape = match escape {
            None => None,
            Some(escape) => Some(self.escape(escape)?),
        };
        let node = self.text(node?, operand, word);
        let pattern_node = self.text(pattern_node?, pattern, word)?;
        let Some(value) = pattern_node.constant() else {
            let help = "`contains`, `starts_with` and `ends_with` take any string".to_owned();
            return self.error(
                self.places.of(pattern),
                format!("the pattern of {word} must be a constant"),
                Some(help),
            );
        };
        if pattern_node.nullable {
            return node.map(|_| Node::null_of(ColumnType::Bool));
        }
        let written = crate::expr::text::one(value, 0);
        match Pattern::compile(&written, escape, any_case) {
            Ok(compiled) => {
                let kind = Kind::Like { operand: Box::new(node?), pattern: Box::new(compiled), negated };
                Some(Node::new(kind, ColumnType::Bool))
            }
            Err(message) => self.error(self.places.of(pattern), message, None),
        }
    }

    fn escape(&mut self, escape: &Ast) -> Option<char> {
        if let Ast::Value(value) = escape
            && let Value::SingleQuotedString(text) = &value.value
        {
            let mut chars = text.chars();
            if let (Some(escape), None) = (chars.next(), chars.next()) {
                return Some(escape);
            }
        }
        self.error(self.places.of(escape), "the escape character must be a string of one character", None);
        None
    }

    fn text(&mut self, node: Node, expr: &Ast, what: &str) -> Bound {
        match (&node.kind, &node.column_type) {
            (Kind::Null, _) | (_, ColumnType::String | ColumnType::Json) => Some(coerce(node, &ColumnType::String)),
            (_, other) => {
                let message = format!("{what} needs a string, not `{other}`");
                let help = Some(format!("cast it: `cast({node} as string)`"));
                self.error(self.places.of(expr), message, help)
            }
        }
    }
}

/// Arithmetic on numbers: `int64`, `uint64` where neither side can be negative and one is that wide, or `float64`.
pub(super) fn arithmetic(op: Operator, left: Node, right: Node) -> Node {
    let type_of = |node: &Node, other: &Node| match node.kind {
        Kind::Null => other.column_type.clone(),
        _ => node.column_type.clone(),
    };
    let (a, b) = (type_of(&left, &right), type_of(&right, &left));
    let integers = a.is_integer() && b.is_integer();
    let wide = |node: &Node, own: &ColumnType| {
        is_unsigned(own) || adopt(node, &ColumnType::UInt64).is_ok_and(|adopted| adopted.is_some())
    };
    let target = if op == Operator::Divide || !integers {
        ColumnType::Float64
    } else if (a == ColumnType::UInt64 || b == ColumnType::UInt64) && wide(&left, &a) && wide(&right, &b) {
        ColumnType::UInt64
    } else {
        match common_integer(&a, &b) {
            ColumnType::UInt64 => ColumnType::UInt64,
            _ => ColumnType::Int64,
        }
    };
    let operands = Box::new([coerce(left, &target), coerce(right, &target)]);
    let exact = target == ColumnType::Float64 && !op.divides();
    let node = Node::new(Kind::Arithmetic(op, operands), target);
    if exact { node } else { node.failing() }
}

/// An integer as a literal.
pub(super) fn integer(number: i64) -> Node {
    Node::literal(Arc::new(Int64Array::from(vec![number])), ColumnType::Int64)
}
