//! Functions of numbers. Integers stay integers where a function leaves them whole.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, UInt64Type},
};
use arrow_schema::DataType;

use super::{Body, Call, Function, Parameter, Returns};
use crate::{
    batch::ColumnType,
    expr::value::{Value, without},
};

use Parameter::{Float, Integer, Number};

const FLOAT: Returns = Returns::Type(ColumnType::Float64);

/// The table.
pub(super) const TABLE: &[Function] = &[
    Function { name: "abs", parameters: &[Number], optional: 0, returns: Returns::First, body: Body::Checked(abs) },
    Function {
        name: "round",
        parameters: &[Number, Integer],
        optional: 1,
        returns: Returns::First,
        body: Body::Checked(round),
    },
    Function { name: "floor", parameters: &[Number], optional: 0, returns: Returns::First, body: Body::Strict(floor) },
    Function { name: "ceil", parameters: &[Number], optional: 0, returns: Returns::First, body: Body::Strict(ceil) },
    Function { name: "power", parameters: &[Float, Float], optional: 0, returns: FLOAT, body: Body::Strict(power) },
    Function { name: "sqrt", parameters: &[Float], optional: 0, returns: FLOAT, body: Body::Checked(sqrt) },
];

fn abs(call: Call<'_, '_>) -> ArrayRef {
    match call.arguments[0].array().data_type() {
        DataType::Int64 => {
            checked::<Int64Type>(call, |n, _| n.checked_abs().ok_or_else(|| out_of_range("abs", n, "int64")))
        }
        DataType::UInt64 => call.arguments[0].clone().into_column(call.rows),
        _ => checked::<Float64Type>(call, |x, _| Ok(x.abs())),
    }
}

/// Halves are rounded away from 0. Negative digits round to tens, hundreds …
fn round(call: Call<'_, '_>) -> ArrayRef {
    let digits: Option<&Value> = call.arguments.get(1);
    let places: Option<Vec<i64>> = digits.map(|digits| {
        let numbers = digits.array().as_primitive::<Int64Type>().values();
        (0..call.rows).map(|row| numbers[digits.index(row)]).collect()
    });
    let digits = move |row: usize| places.as_ref().map_or(0, |places| places[row]);
    match call.arguments[0].array().data_type() {
        DataType::Int64 => checked::<Int64Type>(call, |n, row| rounded(n, digits(row), "int64")),
        DataType::UInt64 => checked::<UInt64Type>(call, |n, row| rounded(n, digits(row), "uint64")),
        _ => checked::<Float64Type>(call, |x, row| Ok(round_float(x, digits(row)))),
    }
}

/// An integer rounded to tens, hundreds …, where that still fits its type.
fn rounded<N: Copy + Into<i128> + TryFrom<i128> + std::fmt::Display>(
    n: N,
    digits: i64,
    column_type: &str,
) -> Result<N, String> {
    N::try_from(round_integer(n.into(), digits)).map_err(|_| out_of_range("round", n, column_type))
}

fn round_integer(n: i128, digits: i64) -> i128 {
    if digits >= 0 {
        return n;
    }
    let Some(unit) = u32::try_from(digits.unsigned_abs()).ok().and_then(|zeros| 10_i128.checked_pow(zeros)) else {
        return 0;
    };
    (n.abs() + unit / 2) / unit * unit * n.signum()
}

fn round_float(x: f64, digits: i64) -> f64 {
    if digits == 0 || !x.is_finite() {
        return x.round();
    }
    let unit = 10_f64.powi(digits.clamp(-400, 400) as i32);
    let rounded = if digits > 0 {
        (x * unit).round() / unit
    } else {
        (x / 10_f64.powi(-digits.clamp(-400, 400) as i32)).round() / unit
    };
    match rounded.is_finite() {
        true => rounded,
        false if digits > 0 => x,
        false => 0.0,
    }
}

fn floor(call: Call<'_, '_>) -> ArrayRef {
    whole(call, f64::floor)
}

fn ceil(call: Call<'_, '_>) -> ArrayRef {
    whole(call, f64::ceil)
}

/// Integers are whole already.
fn whole(call: Call<'_, '_>, f: fn(f64) -> f64) -> ArrayRef {
    if is_integer(&call.arguments[0]) {
        return call.arguments[0].clone().into_column(call.rows);
    }
    checked::<Float64Type>(call, |x, _| Ok(f(x)))
}

fn power(call: Call<'_, '_>) -> ArrayRef {
    let exponent = &call.arguments[1];
    let exponents = exponent.array().as_primitive::<Float64Type>().values().clone();
    checked::<Float64Type>(call, |x, row| Ok(x.powf(exponents[exponent.index(row)])))
}

fn sqrt(call: Call<'_, '_>) -> ArrayRef {
    checked::<Float64Type>(
        call,
        |x, _| if x < 0.0 { Err(format!("sqrt of the negative number `{x}`")) } else { Ok(x.sqrt()) },
    )
}

fn is_integer(value: &Value) -> bool {
    matches!(value.array().data_type(), DataType::Int64 | DataType::UInt64)
}

fn out_of_range(function: &str, n: impl std::fmt::Display, column_type: &str) -> String {
    format!("`{function}({n})` is out of range for {column_type}")
}

/// `f` of the first argument, on every row that is not null.
fn checked<T: ArrowPrimitiveType>(
    call: Call<'_, '_>,
    f: impl Fn(T::Native, usize) -> Result<T::Native, String>,
) -> ArrayRef {
    let value = &call.arguments[0];
    let numbers = value.array().as_primitive::<T>().values();
    let mut failed = Vec::new();
    let mut answers = vec![T::Native::default(); call.rows];
    for (row, answer) in answers.iter_mut().enumerate() {
        if !call.is_valid(row) {
            continue;
        }
        match f(numbers[value.index(row)], row) {
            Ok(number) => *answer = number,
            Err(message) => {
                failed.push(row);
                call.faults.report(row, || message);
            }
        }
    }
    Arc::new(PrimitiveArray::<T>::new(answers.into(), without(call.nulls, &failed, call.rows)))
}
