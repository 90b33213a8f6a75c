//! Values as the server sends them, in its binary form, to typed columns. Statements cast every column to its
//! wire type, so that few forms are to be known: integers come as `int8`, floats as `float8`, and so on.

use arrow_array::{
    ArrayRef,
    types::{Float32Type, Float64Type},
};
use postgres_protocol::types::array_from_sql;
use tokio_postgres::{
    fallible_iterator::FallibleIterator,
    types::{FromSql, Type},
};

use crate::values::{
    ColumnType, RejectCode,
    builder::{Builder, ListStore, Side, Store, match_store},
    scalar::Scalar,
};

/// Days from 1970-01-01 to 2000-01-01, where the server's dates start.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A value that is not what its column declares: a word, and a sentence.
pub(crate) type Bad = (RejectCode, &'static str);

const NULL: Bad = (RejectCode("unexpected_null"), "there is no value");
const NUMBER: Bad = (RejectCode("bad_number"), "the number is out of range");
const DATE: Bad = (RejectCode("bad_date"), "the date is out of range");
const TIMESTAMP: Bad = (RejectCode("bad_timestamp"), "the time is out of range");
const LIST: Bad = (RejectCode("bad_list"), "the array has several dimensions");
const FORM: Bad = (RejectCode("bad_value"), "the server sent a value of another form");

/// The bytes of a value as they came.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// One column that is being filled.
pub(crate) struct Values {
    /// Are bad items of a list left out of it?
    drop_items: bool,
    nullable: bool,
    values: Builder,
    text: Side,
}

impl Values {
    /// An empty column. `drop_items`: bad items of a list are left out of it.
    pub(crate) fn new(column_type: &ColumnType, nullable: bool, drop_items: bool) -> Values {
        // A row that is refused leaves a null where it is bad, whatever the column declares.
        Values { drop_items, nullable, values: Builder::new(column_type, true), text: Side::default() }
    }

    /// Appends a value. One that is not of the column's type is not: append a null in its place.
    pub(crate) fn push(&mut self, raw: Option<&[u8]>) -> Result<(), Bad> {
        match raw {
            Some(raw) => {
                let before = self.values.values.len();
                let pushed = push(&mut self.values.values, &mut self.text, raw, self.drop_items);
                match pushed {
                    Ok(()) => self.values.end_value(),
                    Err(_) => self.values.values.truncate(before),
                }
                pushed
            }
            None if self.nullable => {
                self.push_null();
                Ok(())
            }
            None => Err(NULL),
        }
    }

    /// Appends that there is no value.
    pub(crate) fn push_null(&mut self) {
        self.values.push_null();
    }

    /// The column, which is empty again after.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        self.values.finish(&self.text.take()).expect("all views were made of these buffers")
    }
}

fn push(column: &mut Store, side: &mut Side, raw: &[u8], drop_items: bool) -> Result<(), Bad> {
    match column {
        // It comes as text, because the server's integers end before it does.
        Store::UInt64(values) => values.push(text(raw)?.parse().map_err(|_| NUMBER)?),
        Store::Float32(values) => push_float::<Float32Type>(values, raw)?,
        Store::Float64(values) => push_float::<Float64Type>(values, raw)?,
        Store::Date(values) => values.push(days(i32::from_be_bytes(bytes(raw)?))?),
        Store::Timestamp(values) => values.push(micros(i64::from_be_bytes(bytes(raw)?))?),
        Store::TimestampNs(values) => {
            let micros = micros(i64::from_be_bytes(bytes(raw)?))?;
            values.push(micros.checked_mul(1000).ok_or(TIMESTAMP)?);
        }
        column => match_store!(column,
            values: T => values.push(T::from_integer(i64::from_be_bytes(bytes(raw)?)).ok_or(NUMBER)?),
            Store::Bool(values) => values.push(u8::from_be_bytes(bytes(raw)?) != 0),
            Store::String(views) | Store::Json(views) => views.push(side.view(text(raw)?.as_bytes())),
            Store::Binary(views) => views.push(side.view(raw)),
            Store::List(list) => push_list(list, side, raw, drop_items)?,
        ),
    }
    Ok(())
}

fn push_float<T: Scalar>(values: &mut Vec<T::Native>, raw: &[u8]) -> Result<(), Bad> {
    values.push(T::from_float(f64::from_be_bytes(bytes(raw)?)).ok_or(NUMBER)?);
    Ok(())
}

/// Appends the items of an array in its binary form. Where one is bad, those before it are there: the caller takes
/// them back.
fn push_list(list: &mut ListStore, side: &mut Side, raw: &[u8], drop_items: bool) -> Result<(), Bad> {
    let array = array_from_sql(raw).map_err(|_| FORM)?;
    if array.dimensions().count().map_err(|_| FORM)? > 1 {
        return Err(LIST);
    }
    let mut items = array.values();
    while let Some(item) = items.next().map_err(|_| FORM)? {
        match item {
            None => list.push_null_item(),
            // The server's arrays do not nest: an item that is a list is bad as a whole.
            Some(raw) => match push(&mut list.items, side, raw, false) {
                Err(bad) if !drop_items => return Err(bad),
                _ => {}
            },
        }
    }
    list.close();
    Ok(())
}

fn bytes<const N: usize>(raw: &[u8]) -> Result<[u8; N], Bad> {
    raw.try_into().map_err(|_| FORM)
}

fn text(raw: &[u8]) -> Result<&str, Bad> {
    std::str::from_utf8(raw).map_err(|_| FORM)
}

/// The server's days since 2000 to days since 1970; its infinities are none.
fn days(days: i32) -> Result<i32, Bad> {
    if days == i32::MIN { Err(DATE) } else { days.checked_add(EPOCH_DAYS).ok_or(DATE) }
}

/// The server's microseconds since 2000 to microseconds since 1970; its infinities are none.
fn micros(micros: i64) -> Result<i64, Bad> {
    if micros == i64::MIN { Err(TIMESTAMP) } else { micros.checked_add(EPOCH_MICROS).ok_or(TIMESTAMP) }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, RecordBatch};
    use bytes::{BufMut, BytesMut};
    use postgres_protocol::{
        IsNull,
        types::{ArrayDimension, array_to_sql},
    };

    use super::*;
    use crate::{
        batch::{Column, Schema},
        values::json,
    };

    /// What a column of this type becomes of these values, as JSON, and how the bad ones are bad.
    fn read(name: &str, drop_items: bool, raws: &[Option<&[u8]>]) -> (Vec<String>, Vec<&'static str>) {
        let column_type: ColumnType = name.parse().unwrap();
        let mut values = Values::new(&column_type, true, drop_items);
        let mut bad = Vec::new();
        for raw in raws {
            if let Err((code, _)) = values.push(*raw) {
                bad.push(code.0);
                values.push_null();
            }
        }
        let schema = Schema::new(vec![Column { name: "c".to_owned(), column_type, nullable: true }]);
        let records = RecordBatch::try_new(schema.arrow(), vec![values.finish()]).unwrap();
        assert_eq!(values.finish().len(), 0);
        ((0..records.num_rows()).map(|row| json::row(&records, row)).collect(), bad)
    }

    #[test]
    fn values_are_read_and_bad_ones_told() {
        let int = |value: i64| value.to_be_bytes();
        let cases: &[(&str, &[u8], Result<&str, &str>)] = &[
            ("int8", &int(-128), Ok("-128")),
            ("int8", &int(128), Err("bad_number")),
            ("uint32", &int(-1), Err("bad_number")),
            ("int64", &int(i64::MIN), Ok("-9223372036854775808")),
            ("int64", &[0; 3], Err("bad_value")),
            ("uint64", b"18446744073709551615", Ok("18446744073709551615")),
            ("uint64", b"1.5", Err("bad_number")),
            ("float64", &f64::NAN.to_be_bytes(), Ok("\"NaN\"")),
            ("float32", &1.5_f64.to_be_bytes(), Ok("1.5")),
            ("float32", &1e300_f64.to_be_bytes(), Err("bad_number")),
            ("float32", &f64::INFINITY.to_be_bytes(), Ok("\"inf\"")),
            ("bool", &[1], Ok("true")),
            ("string", "Ж".as_bytes(), Ok("\"Ж\"")),
            ("string", b"\xff", Err("bad_value")),
            ("json", b"{\"a\": 1}", Ok("{\"a\": 1}")),
            ("binary", b"\xff\x00", Ok("\"/wA=\"")),
            ("date", &0_i32.to_be_bytes(), Ok("\"2000-01-01\"")),
            ("date", &i32::MAX.to_be_bytes(), Err("bad_date")),
            ("date", &i32::MIN.to_be_bytes(), Err("bad_date")),
            ("timestamp", &int(1), Ok("\"2000-01-01T00:00:00.000001Z\"")),
            ("timestamp", &int(i64::MAX), Err("bad_timestamp")),
            ("timestamp_ns", &int(i64::MAX / 2), Err("bad_timestamp")),
        ];
        for (name, raw, expected) in cases {
            let (shown, bad) = read(name, false, &[Some(raw), None]);
            let null = "{\"c\":null}".to_owned();
            match expected {
                Ok(value) => assert_eq!((shown, bad), (vec![format!("{{\"c\":{value}}}"), null], vec![]), "{name}"),
                Err(code) => assert_eq!((shown, bad), (vec![null.clone(), null], vec![*code]), "{name}"),
            }
        }
    }

    /// An array as the server sends it, of so many items in each dimension.
    fn array(lens: &[i32], items: &[Option<i64>]) -> Vec<u8> {
        let mut raw = BytesMut::new();
        let dimensions = lens.iter().map(|&len| ArrayDimension { len, lower_bound: 1 });
        let write = |item: &Option<i64>, out: &mut BytesMut| {
            item.iter().for_each(|item| out.put_i64(*item));
            Ok(if item.is_some() { IsNull::No } else { IsNull::Yes })
        };
        array_to_sql(dimensions, Type::INT8.oid(), items, write, &mut raw).unwrap();
        raw.to_vec()
    }

    #[test]
    fn lists_lose_bad_items_only_where_that_is_asked_for() {
        let (good, bad) = (array(&[2], &[Some(1), None]), array(&[3], &[Some(7), Some(300), Some(8)]));
        let empty = array(&[], &[]);
        let raws: Vec<Option<&[u8]>> = vec![Some(&good), Some(&bad), Some(&empty), None];
        let null = "{\"c\":null}";
        let (shown, codes) = read("list<int8>", false, &raws);
        assert_eq!(
            (shown, codes),
            ((["{\"c\":[1,null]}", null, "{\"c\":[]}", null].map(String::from)).to_vec(), vec!["bad_number"])
        );
        let (shown, codes) = read("list<int8>", true, &raws);
        assert_eq!((shown[1].as_str(), codes), ("{\"c\":[7,8]}", vec![]));
    }

    #[test]
    fn arrays_of_another_form_are_bad() {
        let (square, good) = (array(&[2, 2], &[Some(1); 4]), array(&[2], &[Some(1), None]));
        assert_eq!(read("list<int8>", true, &[Some(&square)]).1, ["bad_list"]);
        // Wherever it is cut off, what was read of it before does not stay.
        for end in 0..good.len() {
            let (shown, codes) = read("list<int8>", true, &[Some(&good[..end]), Some(&good)]);
            assert_eq!((codes, shown[1].as_str()), (vec!["bad_value"], "{\"c\":[1,null]}"), "{end}");
        }
        let negative = [-1_i32, 0, 20].map(i32::to_be_bytes).concat();
        let huge = [1_i32, 0, 20, i32::MAX, 1].map(i32::to_be_bytes).concat();
        let longer = [&good[..], &[0]].concat();
        for raw in [&negative, &huge, &longer] {
            assert_eq!(read("list<int8>", true, &[Some(raw)]).1, ["bad_value"], "{raw:?}");
        }
    }
}
