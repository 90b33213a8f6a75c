//! Functions, casts, `case`, items of lists.

use std::{ops::Range, sync::Arc};

use arrow_array::TimestampMicrosecondArray;
use sqlparser::ast::{
    AccessExpr, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField, Expr as Ast, Function as Call, FunctionArg,
    FunctionArgExpr, FunctionArguments, Subscript, TrimWhereField,
};

use crate::{
    batch::ColumnType,
    expr::{
        arithmetic::Operator,
        cast,
        compare::Comparison,
        elsewhere,
        functions::{self, Body, Form, Function, Parameter, Returns},
        node::{Kind, Node},
        regexp::{Regexp, RegexpError},
        text,
        types::{self, adopt, coerce},
    },
    jobspec::nearest,
};

use super::{Binder, Bound, operators::arithmetic, string};

impl Binder<'_> {
    pub(super) fn function(&mut self, call: &Call, whole: &Ast) -> Bound {
        let name_place = self.places.name(&call.name);
        let place = self.places.of(whole);
        let plain = call.over.is_none()
            && call.filter.is_none()
            && call.within_group.is_empty()
            && call.null_treatment.is_none()
            && matches!(call.parameters, FunctionArguments::None);
        let FunctionArguments::List(list) = &call.args else {
            let help = elsewhere::function(&call.name.to_string()).map(str::to_owned);
            return self.error(place, "functions need their arguments in brackets", help);
        };
        if !plain || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
            let message = "only plain function calls are allowed here: no `over`, `filter`, `distinct` or `order by`";
            return self.error(place, message, None);
        }
        let mut arguments = Vec::new();
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => arguments.push(argument),
                FunctionArg::Unnamed(_) => return self.error(place, "`*` is not allowed here", None),
                _ => return self.error(place, "arguments with names are not supported", None),
            }
        }
        self.call(&call.name.to_string(), name_place, place, &arguments)
    }

    /// `extract(year from d)` is `date_part('year', d)`.
    pub(super) fn extract(&mut self, field: &DateTimeField, operand: &Ast, whole: &Ast) -> Bound {
        let node = self.bind(operand);
        let function = functions::find(if matches!(field, DateTimeField::Epoch) { "epoch" } else { "date_part" })?;
        let mut nodes = vec![node?];
        let mut exprs = vec![operand];
        if function.parameters.len() > 1 {
            let name = field.to_string().to_lowercase();
            nodes.insert(0, string(&name));
            exprs.insert(0, whole);
        }
        let arguments = self.arguments(function, nodes, &exprs)?;
        Some(applied(function, arguments))
    }

    /// What the parser knows by a syntax of its own is a function like any other.
    pub(super) fn special_call<'e>(&self, expr: &'e Ast) -> Option<(&'static str, Vec<&'e Ast>)> {
        let plain = |field: &CeilFloorKind| matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime));
        match expr {
            Ast::Ceil { expr, field } if plain(field) => Some(("ceil", vec![expr])),
            Ast::Floor { expr, field } if plain(field) => Some(("floor", vec![expr])),
            Ast::Position { expr, r#in } => Some(("position", vec![r#in, expr])),
            Ast::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let arguments = [Some(expr), Some(from), substring_for.as_ref()];
                Some(("substr", arguments.into_iter().flatten().map(Box::as_ref).collect()))
            }
            Ast::Substring { expr, .. } => Some(("substr", vec![expr])),
            Ast::Trim { expr, trim_where, trim_what, trim_characters } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "trim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let characters = trim_characters.iter().flatten().chain(trim_what.as_deref());
                Some((name, std::iter::once(expr.as_ref()).chain(characters).collect()))
            }
            _ => None,
        }
    }

    pub(super) fn call(&mut self, name: &str, name_place: Range<usize>, place: Range<usize>, exprs: &[&Ast]) -> Bound {
        let found = functions::find(name);
        let is_lazy = found.is_some_and(|found| matches!(found.body, Body::Form(Form::Coalesce)));
        let bound: Vec<Bound> = exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| if is_lazy && i > 0 { self.bind_branch(expr) } else { self.bind(expr) })
            .collect();
        let Some(function) = found else {
            let help = elsewhere::function(name).map(str::to_owned).or_else(|| nearest_function(name));
            return self.error(name_place, format!("there is no function `{name}`"), help);
        };
        let (least, most) = function.arity();
        if exprs.len() < least || most.is_some_and(|most| exprs.len() > most) {
            let message = format!("`{name}` takes {}, not {}", count(least, most), exprs.len());
            return self.error(place, message, Some(format!("it is `{function}`")));
        }
        let nodes: Vec<Node> = bound.into_iter().collect::<Option<_>>()?;
        match function.body {
            Body::Form(form) => self.form(form, function, nodes, exprs),
            _ => {
                let arguments = self.arguments(function, nodes, exprs)?;
                Some(applied(function, arguments))
            }
        }
    }

    /// Checks and converts the arguments.
    fn arguments(&mut self, function: &Function, nodes: Vec<Node>, exprs: &[&Ast]) -> Option<Vec<Node>> {
        let first = nodes.first().map_or(ColumnType::String, |node| node.column_type.clone());
        let mut arguments = Vec::with_capacity(nodes.len());
        let mut failed = false;
        for (i, node) in nodes.into_iter().enumerate() {
            let parameter = function.parameter(i);
            let node = if parameter == Parameter::JsonPath { self.json_path(node, exprs[i]) } else { Some(node) };
            let Some(node) = node else {
                failed = true;
                continue;
            };
            let is_null = matches!(node.kind, Kind::Null);
            let words = parameter.words();
            if !words.is_empty() && !self.is_word(&node, &words, exprs[i]) {
                failed = true;
            } else if let Some(adopted) = adopt_item(parameter, &node, &first) {
                arguments.push(adopted);
            } else if is_null {
                arguments.push(Node::null_of(parameter.null_type(&first)));
            } else if parameter.takes(&node.column_type, &first) {
                let target = parameter.converts(&node.column_type, &first);
                arguments.push(coerce(node, &target));
            } else {
                let message = format!(
                    "argument {} of `{}` must be: {parameter}; this is `{}`",
                    i + 1,
                    function.name,
                    node.column_type
                );
                self.error(self.places.of(exprs[i]), message, Some(format!("it is `{function}`")));
                failed = true;
            }
        }
        (!failed).then_some(arguments)
    }

    /// A constant path into json, where it is one. An integer is a place in an array.
    fn json_path(&mut self, node: Node, expr: &Ast) -> Bound {
        let written = node.constant().filter(|_| !node.nullable).map(|value| text::one(value, 0));
        let path = match (written, &node.column_type) {
            (Some(place), ColumnType::Int64) => Some(format!("$[{place}]")),
            (Some(path), ColumnType::String) => Some(path),
            _ => None,
        };
        let checked = path.as_deref().map_or(Err("this is not a constant path into json"), functions::check_json_path);
        match (checked, path) {
            (Ok(()), Some(path)) => Some(string(&path)),
            (checked, _) => {
                let message = checked.err().unwrap_or_default();
                let help = Some("legal are `'key'`, `'$.key[0].\"any key\"'`, `'/key/0'` and `0`".into());
                self.error(self.places.of(expr), message, help)
            }
        }
    }

    /// `json -> path` and `json ->> path`
    pub(super) fn json_access(&mut self, name: &str, left: (Node, &Ast), right: (Node, &Ast)) -> Bound {
        let function = functions::find(name)?;
        let arguments = self.arguments(function, vec![left.0, right.0], &[left.1, right.1])?;
        Some(applied(function, arguments))
    }

    /// Is it one of the constants that a parameter takes?
    fn is_word(&mut self, node: &Node, words: &[&'static str], expr: &Ast) -> bool {
        let is_text = node.column_type == ColumnType::String && !node.nullable;
        let written = node.constant().filter(|_| is_text).map(|value| text::one(value, 0));
        let legal = written.as_ref().is_some_and(|written| words.iter().any(|word| word.eq_ignore_ascii_case(written)));
        if !legal {
            let written = written.unwrap_or_else(|| node.to_string());
            let help = nearest(&written, words.iter().copied());
            self.error(self.places.of(expr), format!("`{written}` is not part of a time"), help);
        }
        legal
    }

    fn form(&mut self, form: Form, function: &Function, nodes: Vec<Node>, exprs: &[&Ast]) -> Bound {
        match form {
            Form::Coalesce => {
                let (nodes, target) = self.unify(nodes, exprs, |others, this| {
                    (None, format!("`coalesce` needs values of one type: `{this}` does not go with `{others}`"), None)
                })?;
                let nullable = nodes.iter().all(|node| node.nullable);
                Some(Node::new(Kind::Coalesce(nodes), target).nullable(nullable))
            }
            Form::NullIf => {
                let value = types::coerce_null(nodes.first()?.clone());
                let (left, right) = (exprs[0], exprs[1]);
                let mut nodes = nodes.into_iter();
                let (a, b) = (nodes.next()?, nodes.next()?);
                let condition = self.equality((a, left), (b, right), right)?;
                let column_type = value.column_type.clone();
                let kind = Kind::NullIf { condition: Box::new(condition), value: Box::new(value) };
                Some(Node::new(kind, column_type).nullable(true))
            }
            Form::Concat => {
                let parts: Vec<Bound> =
                    nodes.into_iter().zip(exprs).map(|(node, expr)| self.part(node, expr, "`concat`")).collect();
                let parts = parts.into_iter().collect::<Option<_>>()?;
                Some(Node::new(Kind::Concat { parts, skip_nulls: true }, ColumnType::String).nullable(false))
            }
            Form::Now => {
                let now = TimestampMicrosecondArray::from(vec![self.now]);
                Some(Node::literal(Arc::new(now), ColumnType::Timestamp))
            }
            Form::RegexpMatches | Form::RegexpReplace => self.regexp(form, function, nodes, exprs),
            Form::Modulo => {
                let [left, right] = <[Node; 2]>::try_from(self.numbers(function, nodes, exprs)?).ok()?;
                Some(arithmetic(Operator::Modulo, left, right))
            }
        }
    }

    /// `regexp_matches(text, pattern[, options])` and `regexp_replace(text, pattern, replacement[, options])`
    fn regexp(&mut self, form: Form, function: &Function, nodes: Vec<Node>, exprs: &[&Ast]) -> Bound {
        let replaces = form == Form::RegexpReplace;
        let arguments = self.arguments(function, nodes, exprs)?;
        let mut constants = Vec::new();
        for (i, argument) in arguments.iter().enumerate().skip(1) {
            match argument.constant().filter(|_| !argument.nullable) {
                Some(value) => constants.push(text::one(value, 0)),
                None => {
                    let what = ["", "pattern", if replaces { "replacement" } else { "options" }, "options"][i];
                    let message = format!("the {what} of `{}` must be a constant string", function.name);
                    return self.error(self.places.of(exprs[i]), message, None);
                }
            }
        }
        let (options_at, legal) = if replaces { (2, "gi") } else { (1, "i") };
        let options = constants.get(options_at).map_or("", String::as_str);
        let pattern = match Regexp::compile(constants.first()?, options, legal) {
            Ok(pattern) => Box::new(pattern),
            Err(RegexpError::Option(option)) => {
                let message = format!("`{option}` is not an option of a regular expression");
                let all = if replaces { "`g` (all matches), " } else { "" };
                let help = Some(format!("legal here: {all}`i` (any case)"));
                return self.error(self.places.of(exprs[options_at + 1]), message, help);
            }
            Err(RegexpError::Pattern(message)) => return self.error(self.places.of(exprs[1]), message, None),
        };
        let operand = Box::new(arguments.into_iter().next()?);
        if !replaces {
            return Some(Node::new(Kind::Regexp { operand, pattern }, ColumnType::Bool));
        }
        let replacement = constants.swap_remove(1);
        if let Err(message) = pattern.check_replacement(&replacement) {
            return self.error(self.places.of(exprs[2]), message, None);
        }
        Some(Node::new(Kind::RegexpReplace { operand, pattern, replacement }, ColumnType::String))
    }

    /// The arguments as they are, if they are numbers.
    fn numbers(&mut self, function: &Function, nodes: Vec<Node>, exprs: &[&Ast]) -> Option<Vec<Node>> {
        self.arguments(function, nodes.clone(), exprs).map(|_| nodes)
    }

    fn equality(&mut self, left: (Node, &Ast), right: (Node, &Ast), place: &Ast) -> Bound {
        self.compare(Comparison::Equal, left, right, place)
    }

    /// `case` in both forms.
    pub(super) fn case(&mut self, operand: Option<&Ast>, branches: &[CaseWhen], otherwise: Option<&Ast>) -> Bound {
        let subject = match operand {
            Some(operand) => Some((self.bind(operand)?, operand)),
            None => None,
        };
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for branch in branches {
            let condition = self.bind_branch(&branch.condition);
            conditions.push(match (&subject, condition) {
                (_, None) => None,
                (None, Some(node)) => self.truth(node, &branch.condition, "`when`"),
                (Some((subject, operand)), Some(node)) => {
                    self.equality((subject.clone(), operand), (node, &branch.condition), &branch.condition)
                }
            });
            values.push(self.bind_branch(&branch.result));
        }
        let mut exprs: Vec<&Ast> = branches.iter().map(|branch| &branch.result).collect();
        values.push(match otherwise {
            Some(otherwise) => {
                exprs.push(otherwise);
                self.bind_branch(otherwise)
            }
            None => Some(Node::untyped_null()),
        });
        let conditions: Vec<Node> = conditions.into_iter().collect::<Option<_>>()?;
        let values: Vec<Node> = values.into_iter().collect::<Option<_>>()?;
        let (mut values, target) = self.unify(values, &exprs, |others, this| {
            (None, format!("the branches of `case` need one type: `{this}` does not go with `{others}`"), None)
        })?;
        let nullable = values.iter().any(|value| value.nullable);
        let otherwise = Box::new(values.pop()?);
        let branches = conditions.into_iter().zip(values).collect();
        Some(Node::new(Kind::Case { branches, otherwise }, target).nullable(nullable))
    }

    pub(super) fn cast(&mut self, kind: &CastKind, operand: &Ast, data_type: &DataType, whole: &Ast) -> Bound {
        let node = self.bind(operand);
        let type_place = self.places.cast_type(kind, operand, whole);
        let name = data_type.to_string();
        let Some(target) = types::named(&name) else { return self.unknown_type(&name, type_place) };
        let node = node?;
        if matches!(node.kind, Kind::Null) {
            return Some(Node::null_of(target));
        }
        if node.column_type == target {
            return Some(node);
        }
        if !cast::allowed(&node.column_type, &target) {
            let message = format!("`{}` cannot be cast to `{target}`", node.column_type);
            let help = format!("take a value out of it first: `cast({operand} ->> '$.key' as {target})`");
            let help = (node.column_type == ColumnType::Json).then_some(help);
            return self.error(self.places.of(whole), message, help);
        }
        let lenient = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
        let can_fail = cast::can_fail(&node.column_type, &target);
        let nullable = node.nullable || (lenient && can_fail);
        let cast = Node::new(Kind::Cast { operand: Box::new(node), lenient }, target).nullable(nullable);
        Some(if can_fail && !lenient { cast.failing() } else { cast })
    }

    pub(super) fn unknown_type(&mut self, name: &str, place: Range<usize>) -> Bound {
        let name = name.to_lowercase();
        let message = match name.parse::<ColumnType>() {
            Ok(_) => format!("casts to `{name}` are not supported"),
            Err(_) => format!("there is no type `{name}` to cast to"),
        };
        let item = name.trim_end_matches("[]");
        self.error(place, message, nearest(item, types::castable_names()))
    }

    /// `list[1]`
    pub(super) fn element(&mut self, root: &Ast, chain: &[AccessExpr], whole: &Ast) -> Bound {
        let mut node = self.bind(root);
        for access in chain {
            let place = match access {
                AccessExpr::Subscript(Subscript::Index { index }) => index,
                AccessExpr::Subscript(Subscript::Slice { .. }) => {
                    return self.error(self.places.of(whole), "slices of lists are not supported", None);
                }
                AccessExpr::Dot(_) => {
                    return self.error(self.places.of(whole), "fields of structures are not supported", None);
                }
            };
            let bound = self.bind(place);
            let list = node?;
            if !matches!(list.column_type, ColumnType::List(_)) {
                let message = format!("`[…]` takes an item of a list, and this is `{}`", list.column_type);
                return self.error(self.places.of(whole), message, None);
            }
            let function = functions::find("list_element")?;
            let arguments = self.arguments(function, vec![list, bound?], &[root, place])?;
            node = Some(applied(function, arguments));
        }
        node
    }
}

/// A call whose arguments are what they must be.
pub(super) fn applied(function: &'static Function, arguments: Vec<Node>) -> Node {
    let first = arguments.first().map_or(ColumnType::String, |first| first.column_type.clone());
    let column_type = match (&function.returns, first) {
        (Returns::Type(column_type), _) => column_type.clone(),
        (Returns::Item, ColumnType::List(item)) => *item,
        (Returns::First | Returns::Item, first) => first,
    };
    let node = Node::new(Kind::Call(function, arguments), column_type);
    let nullable = node.nullable || function.makes_nulls();
    let node = node.nullable(nullable);
    if function.is_fallible() { node.failing() } else { node }
}

/// A constant looked for in a list, in the type of the list's items.
fn adopt_item(parameter: Parameter, node: &Node, first: &ColumnType) -> Option<Node> {
    match (parameter, first) {
        (Parameter::Item, ColumnType::List(item)) => adopt(node, item).ok().flatten(),
        _ => None,
    }
}

/// The functions are too many to list where none is near.
fn nearest_function(name: &str) -> Option<String> {
    nearest(name, functions::names()).filter(|help| help.starts_with("did you mean"))
}

fn count(least: usize, most: Option<usize>) -> String {
    let plural = |n: usize| if n == 1 { "1 argument".to_owned() } else { format!("{n} arguments") };
    match most {
        None => format!("at least {}", plural(least)),
        Some(most) if most == least => plural(least),
        Some(most) => format!("{least} to {}", plural(most)),
    }
}
