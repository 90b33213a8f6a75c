//! Functions of numbers. Integers stay integers where a function leaves them whole.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, ArrowPrimitiveType, PrimitiveArray,
    cast::AsArray,
    types::{Float64Type, Int64Type},
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
    if is_integer(&call.arguments[0]) {
        return checked::<Int64Type>(call, |n, _| n.checked_abs().ok_or_else(|| out_of_range("abs", n)));
    }
    checked::<Float64Type>(call, |x, _| Ok(x.abs()))
}

/// Halves are rounded away from 0. Negative digits round to tens, hundreds …
fn round(call: Call<'_, '_>) -> ArrayRef {
    let digits: Option<&Value> = call.arguments.get(1);
    let places: Option<Vec<i64>> = digits.map(|digits| {
        let numbers = digits.array().as_primitive::<Int64Type>().values();
        (0..call.rows).map(|row| numbers[digits.index(row)]).collect()
    });
    let digits = move |row: usize| places.as_ref().map_or(0, |places| places[row]);
    if is_integer(&call.arguments[0]) {
        return checked::<Int64Type>(call, |n, row| {
            round_integer(n, digits(row)).ok_or_else(|| out_of_range("round", n))
        });
    }
    checked::<Float64Type>(call, |x, row| Ok(round_float(x, digits(row))))
}

fn round_integer(n: i64, digits: i64) -> Option<i64> {
    if digits >= 0 {
        return Some(n);
    }
    let Some(unit) = u32::try_from(digits.unsigned_abs()).ok().and_then(|zeros| 10_i128.checked_pow(zeros)) else {
        return Some(0);
    };
    let n = i128::from(n);
    let rounded = (n.abs() + unit / 2) / unit * unit * n.signum();
    i64::try_from(rounded).ok()
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
    *value.array().data_type() == DataType::Int64
}

fn out_of_range(function: &str, n: i64) -> String {
    format!("`{function}({n})` is out of range for int64")
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
