//! Arithmetic on whole columns. Overflow and division by zero fail on their row.

use std::{fmt, sync::Arc};

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, UInt64Type},
};
use arrow_schema::DataType;

use super::value::{Faults, Value, common_nulls, without};

/// A binary operator on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    /// `/`: always on `float64`
    Divide,
    /// `//`: rounds towards zero
    IntegerDivide,
    /// `%`: has the sign of the dividend
    Modulo,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::IntegerDivide => "//",
            Operator::Modulo => "%",
        })
    }
}

impl Operator {
    /// Does it fail where its right side is 0?
    pub(super) fn divides(self) -> bool {
        matches!(self, Operator::Divide | Operator::IntegerDivide | Operator::Modulo)
    }
}

/// `left op right`. Both are `int64`, `uint64` or `float64`, as binding has cast them.
pub(super) fn arithmetic(op: Operator, left: &Value, right: &Value, rows: usize, faults: &mut Faults<'_>) -> ArrayRef {
    match left.array().data_type() {
        DataType::Int64 => match op {
            Operator::Add => checked::<Int64Type>(op, left, right, rows, faults, i64::overflowing_add),
            Operator::Subtract => checked::<Int64Type>(op, left, right, rows, faults, i64::overflowing_sub),
            Operator::Multiply => checked::<Int64Type>(op, left, right, rows, faults, i64::overflowing_mul),
            Operator::Divide | Operator::IntegerDivide => {
                checked::<Int64Type>(op, left, right, rows, faults, |a, b| a.checked_div(b).map_or((0, true), done))
            }
            Operator::Modulo => checked::<Int64Type>(op, left, right, rows, faults, |a, b| {
                if b == 0 { (0, true) } else { (a.wrapping_rem(b), false) }
            }),
        },
        DataType::UInt64 => match op {
            Operator::Add => checked::<UInt64Type>(op, left, right, rows, faults, u64::overflowing_add),
            Operator::Subtract => checked::<UInt64Type>(op, left, right, rows, faults, u64::overflowing_sub),
            Operator::Multiply => checked::<UInt64Type>(op, left, right, rows, faults, u64::overflowing_mul),
            Operator::Divide | Operator::IntegerDivide => {
                checked::<UInt64Type>(op, left, right, rows, faults, |a, b| a.checked_div(b).map_or((0, true), done))
            }
            Operator::Modulo => {
                checked::<UInt64Type>(op, left, right, rows, faults, |a, b| a.checked_rem(b).map_or((0, true), done))
            }
        },
        _ => match op {
            Operator::Add => checked::<Float64Type>(op, left, right, rows, faults, |a, b| (a + b, false)),
            Operator::Subtract => checked::<Float64Type>(op, left, right, rows, faults, |a, b| (a - b, false)),
            Operator::Multiply => checked::<Float64Type>(op, left, right, rows, faults, |a, b| (a * b, false)),
            Operator::Divide => checked::<Float64Type>(op, left, right, rows, faults, |a, b| (a / b, b == 0.0)),
            Operator::IntegerDivide => {
                checked::<Float64Type>(op, left, right, rows, faults, |a, b| ((a / b).trunc(), b == 0.0))
            }
            Operator::Modulo => checked::<Float64Type>(op, left, right, rows, faults, |a, b| (a % b, b == 0.0)),
        },
    }
}

fn done<N>(number: N) -> (N, bool) {
    (number, false)
}

/// `f` of all rows, null or not; only where it fails anywhere are the rows looked at one by one.
fn checked<T: ArrowPrimitiveType>(
    op: Operator,
    left: &Value,
    right: &Value,
    rows: usize,
    faults: &mut Faults<'_>,
    f: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> ArrayRef
where
    T::Native: PartialEq + fmt::Display,
{
    let a = left.array().as_primitive::<T>().values();
    let b = right.array().as_primitive::<T>().values();
    let mut any_failed = false;
    let mut one = |a, b| {
        let (value, failed) = f(a, b);
        any_failed |= failed;
        value
    };
    let values: Vec<T::Native> = match (left.is_constant(), right.is_constant()) {
        (false, false) => a.iter().zip(b.iter()).map(|(&a, &b)| one(a, b)).collect(),
        (false, true) => a.iter().map(|&a| one(a, b[0])).collect(),
        (true, false) => b.iter().map(|&b| one(a[0], b)).collect(),
        (true, true) => vec![one(a[0], b[0]); rows],
    };
    let nulls = common_nulls([left, right], rows);
    if !any_failed {
        return Arc::new(PrimitiveArray::<T>::new(values.into(), nulls));
    }
    let mut failed_rows = Vec::new();
    for row in 0..rows {
        let (x, y) = (a[left.index(row)], b[right.index(row)]);
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) && f(x, y).1 {
            failed_rows.push(row);
            faults.report(row, || reason::<T>(op, x, y));
        }
    }
    Arc::new(PrimitiveArray::<T>::new(values.into(), without(nulls, &failed_rows, rows)))
}

fn reason<T: ArrowPrimitiveType>(op: Operator, a: T::Native, b: T::Native) -> String
where
    T::Native: PartialEq + fmt::Display,
{
    if op.divides() && b == T::Native::default() {
        return format!("division by zero: `{a} {op} {b}`");
    }
    format!("`{a} {op} {b}` is out of range for {}", if T::DATA_TYPE == DataType::UInt64 { "uint64" } else { "int64" })
}

/// `-operand`, of `int64` or `float64`.
pub(super) fn negate(operand: &Value, rows: usize, faults: &mut Faults<'_>) -> ArrayRef {
    match operand.array().data_type() {
        DataType::Int64 => {
            let zero = Value::Constant(Arc::new(PrimitiveArray::<Int64Type>::from(vec![0])));
            arithmetic(Operator::Subtract, &zero, operand, rows, faults)
        }
        _ => {
            let numbers = operand.array().as_primitive::<Float64Type>();
            let negated = Arc::new(numbers.unary::<_, Float64Type>(|x| -x));
            if operand.is_constant() { Value::Constant(negated).into_column(rows) } else { negated }
        }
    }
}
