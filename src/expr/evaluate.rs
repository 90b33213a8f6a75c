//! Walks a typed tree once per batch; every step works on whole columns.

use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, not, or_kleene};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, cast::AsArray, make_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::nullif::nullif;

use crate::batch::ColumnType;

use super::{
    RowError, arithmetic, cast,
    choose::{Choice, truths},
    compare,
    functions::Call,
    lists,
    node::{Kind, Node},
    text::{self, Strings},
    value::{Faults, Value, common_nulls, without},
};

/// The value of `node` for every row of `records`. Rows that fail are null, and listed in `errors` by row.
pub(super) fn evaluate(node: &Node, records: &RecordBatch, errors: &mut Vec<RowError>) -> ArrayRef {
    let rows = records.num_rows();
    let mut run = Run { records, rows, errors: Vec::new() };
    let answer = run.value(node, None).into_column(rows);
    if run.errors.is_empty() {
        return answer;
    }
    run.errors.sort_by_key(|error| error.row);
    run.errors.dedup_by_key(|error| error.row);
    let failed: Vec<usize> = run.errors.iter().map(|error| error.row as usize).collect();
    errors.append(&mut run.errors);
    with_nulls(&answer, without(answer.nulls().cloned(), &failed, rows))
}

/// The same values under other nulls.
fn with_nulls(array: &ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let builder = array.to_data().into_builder().nulls(nulls);
    builder.build().map_or_else(|_| Arc::clone(array), make_array)
}

struct Run<'a> {
    records: &'a RecordBatch,
    rows: usize,
    errors: Vec<RowError>,
}

/// The rows that count; all of them where it is absent.
type Active<'a> = Option<&'a BooleanBuffer>;

impl Run<'_> {
    fn value(&mut self, node: &Node, active: Active<'_>) -> Value {
        let column = match &node.kind {
            Kind::Column(place, _) => Arc::clone(self.records.column(*place)),
            Kind::Literal(value) => return Value::Constant(Arc::clone(value)),
            Kind::Null => return Value::null(&node.column_type.to_arrow()),
            Kind::Compare(comparison, operands) => {
                let [left, right] = self.pair(operands, active);
                Arc::new(compare::compare(*comparison, &left, &right, self.rows))
            }
            Kind::Distinct { operands, negated } => {
                let [left, right] = self.pair(operands, active);
                Arc::new(negate_if(*negated, BooleanArray::from(compare::distinct(&left, &right, self.rows))))
            }
            Kind::And(operands) => Arc::new(self.and(operands, active)),
            Kind::Or(operands) => Arc::new(self.or(operands, active)),
            Kind::Not(operand) => Arc::new(negate_if(true, self.truth(operand, active))),
            Kind::IsNull { operand, negated } => {
                let nulls = self.value(operand, active).nulls(self.rows);
                let valid = nulls.map_or_else(|| BooleanBuffer::new_set(self.rows), NullBuffer::into_inner);
                Arc::new(negate_if(!negated, BooleanArray::from(valid)))
            }
            Kind::IsTruth { operand, truth, negated } => Arc::new(self.is_truth(operand, *truth, *negated, active)),
            Kind::InList { operand, list, negated } => Arc::new(self.in_list(operand, list, *negated, active)),
            Kind::InSet { operand, set, has_null, negated, .. } => {
                let operand = self.value(operand, active);
                Arc::new(negate_if(*negated, set.contains(&operand, *has_null, self.rows)))
            }
            Kind::Like { operand, pattern, negated } => {
                let operand = self.value(operand, active);
                let strings = Strings::of(&operand);
                let mut matches = pattern.matcher();
                let bits = BooleanBuffer::collect_bool(self.rows, |row| matches(strings.get(row)) != *negated);
                Arc::new(BooleanArray::new(bits, operand.nulls(self.rows)))
            }
            Kind::Regexp { operand, pattern } => {
                let operand = self.value(operand, active);
                let strings = Strings::of(&operand);
                let bits = BooleanBuffer::collect_bool(self.rows, |row| pattern.matches(strings.get(row)));
                Arc::new(BooleanArray::new(bits, operand.nulls(self.rows)))
            }
            Kind::RegexpReplace { operand, pattern, replacement } => {
                let operand = self.value(operand, active);
                let strings = Strings::of(&operand);
                let nulls = operand.nulls(self.rows);
                Arc::new(text::build(self.rows, strings.bytes(self.rows), nulls.as_ref(), |row, out| {
                    pattern.replace(strings.get(row), replacement, out);
                }))
            }
            Kind::Arithmetic(operator, operands) => {
                let [left, right] = self.pair(operands, active);
                arithmetic::arithmetic(*operator, &left, &right, self.rows, &mut self.faults(active))
            }
            Kind::Negate(operand) => {
                let operand = self.value(operand, active);
                arithmetic::negate(&operand, self.rows, &mut self.faults(active))
            }
            Kind::Concat { parts, skip_nulls } => {
                let parts = self.values(parts, active);
                Arc::new(text::concat(&parts, *skip_nulls, self.rows))
            }
            Kind::Case { branches, otherwise } => self.case(branches, otherwise, active),
            Kind::Coalesce(operands) => self.coalesce(operands, active),
            Kind::NullIf { condition, value } => {
                let equal = self.truth(condition, active);
                let value = self.value(value, active).into_column(self.rows);
                nullif(&value, &equal).expect("both have as many rows as the batch")
            }
            Kind::Cast { operand, lenient } => {
                let value = self.value(operand, active);
                let (from, to) = (&operand.column_type, &node.column_type);
                return cast::cast(&value, from, to, *lenient, self.rows, &mut self.faults(active));
            }
            Kind::Call(function, arguments) => {
                let Some(first) = arguments.first() else { return Value::null(&node.column_type.to_arrow()) };
                let arguments = self.values(arguments, active);
                let nulls = common_nulls(&arguments, self.rows);
                let (rows, first_type) = (self.rows, &first.column_type);
                function.call(Call { arguments: &arguments, first_type, rows, nulls, faults: &mut self.faults(active) })
            }
            Kind::List(items) => {
                let items = self.values(items, active);
                let ColumnType::List(item) = &node.column_type else {
                    return Value::null(&node.column_type.to_arrow());
                };
                lists::list(&items, item, self.rows, &mut self.faults(active))
            }
        };
        Value::Column(column)
    }

    fn faults<'f>(&'f mut self, active: Active<'f>) -> Faults<'f> {
        Faults::new(&mut self.errors, active)
    }

    fn values(&mut self, nodes: &[Node], active: Active<'_>) -> Vec<Value> {
        nodes.iter().map(|node| self.value(node, active)).collect()
    }

    fn pair(&mut self, [left, right]: &[Node; 2], active: Active<'_>) -> [Value; 2] {
        [self.value(left, active), self.value(right, active)]
    }

    fn truth(&mut self, node: &Node, active: Active<'_>) -> BooleanArray {
        self.value(node, active).into_column(self.rows).as_boolean().clone()
    }

    /// From left to right; an operand that can fail is only asked about rows that are not false yet.
    fn and(&mut self, operands: &[Node], active: Active<'_>) -> BooleanArray {
        self.chain(operands, active, and_kleene, |so_far| !&truths(&negate_if(true, so_far.clone())))
    }

    /// From left to right; an operand that can fail is only asked about rows that are not true yet.
    fn or(&mut self, operands: &[Node], active: Active<'_>) -> BooleanArray {
        self.chain(operands, active, or_kleene, |so_far| !&truths(so_far))
    }

    fn chain(
        &mut self,
        operands: &[Node],
        active: Active<'_>,
        combine: impl Fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, arrow_schema::ArrowError>,
        undecided: impl Fn(&BooleanArray) -> BooleanBuffer,
    ) -> BooleanArray {
        let mut so_far: Option<BooleanArray> = None;
        for operand in operands {
            so_far = Some(match so_far {
                None => self.truth(operand, active),
                Some(left) => {
                    let right = if operand.fallible {
                        self.truth(operand, Some(&within(active, undecided(&left))))
                    } else {
                        self.truth(operand, active)
                    };
                    combine(&left, &right).expect("both have as many rows as the batch")
                }
            });
        }
        so_far.unwrap_or_else(|| BooleanArray::from(BooleanBuffer::new_set(self.rows)))
    }

    fn is_truth(&mut self, operand: &Node, truth: bool, negated: bool, active: Active<'_>) -> BooleanArray {
        let operand = self.truth(operand, active);
        let hits = truths(&negate_if(!truth, operand));
        negate_if(negated, BooleanArray::from(hits))
    }

    fn in_list(&mut self, operand: &Node, list: &[Node], negated: bool, active: Active<'_>) -> BooleanArray {
        let operand = self.value(operand, active);
        let mut found: Option<BooleanArray> = None;
        for member in list {
            let member = self.value(member, active);
            let equal = compare::compare(compare::Comparison::Equal, &operand, &member, self.rows);
            found = Some(match found {
                None => equal,
                Some(found) => or_kleene(&found, &equal).expect("both have as many rows as the batch"),
            });
        }
        let none = || BooleanArray::from(BooleanBuffer::new_unset(self.rows));
        negate_if(negated, found.unwrap_or_else(none))
    }

    fn case(&mut self, branches: &[(Node, Node)], otherwise: &Node, active: Active<'_>) -> ArrayRef {
        let mut choice = Choice::new(self.rows);
        for (condition, value) in branches {
            let left = within(active, choice.left().clone());
            let chosen = &truths(&self.truth(condition, Some(&left))) & choice.left();
            let value = self.value(value, Some(&within(active, chosen.clone())));
            choice.take(&chosen, value);
        }
        let left = within(active, choice.left().clone());
        let last = self.value(otherwise, Some(&left));
        choice.finish(last)
    }

    fn coalesce(&mut self, operands: &[Node], active: Active<'_>) -> ArrayRef {
        let mut choice = Choice::new(self.rows);
        for operand in operands {
            let left = within(active, choice.left().clone());
            let value = self.value(operand, Some(&left));
            let Some(valid) = value.nulls(self.rows) else { return choice.finish(value) };
            choice.take(valid.inner(), value);
        }
        let data_type = operands.first().map_or(arrow_schema::DataType::Utf8View, |first| first.column_type.to_arrow());
        choice.finish(Value::null(&data_type))
    }
}

fn within(active: Active<'_>, rows: BooleanBuffer) -> BooleanBuffer {
    match active {
        Some(active) => active & &rows,
        None => rows,
    }
}

fn negate_if(negated: bool, truth: BooleanArray) -> BooleanArray {
    if negated { not(&truth).expect("negation has no failing case") } else { truth }
}
