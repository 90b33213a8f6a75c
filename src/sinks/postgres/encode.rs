//! Rows to the text that the server reads: every value in the form that its type's own input takes. So a column
//! may be of any type of the server's, and it is the server that says what is wrong with a value.
//!
//! A batch is encoded once; parts of it are then put together as COPY lines or as arrays.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::values::{
    cell::{Cell, CellStyle, Unfit, as_it_is},
    hex,
    json::write::{JsonCells, Rule},
};

/// The values of some columns of a batch, as text.
pub(super) struct Encoded {
    columns: Vec<Column>,
    /// Rows with a value that has no text, and why; ascending.
    pub(super) unfit: Vec<(u32, String)>,
}

struct Column {
    text: Vec<u8>,
    /// Where each row's value lies; `None` where there is none.
    spans: Vec<Option<Range<usize>>>,
}

impl Encoded {
    /// Encodes the columns at these places.
    pub(super) fn new(records: &RecordBatch, places: &[usize]) -> Encoded {
        let schema = records.schema();
        let mut unfit = Vec::new();
        let columns = places.iter().map(|&at| column(schema.field(at), records.column(at), &mut unfit)).collect();
        unfit.sort_by_key(|(row, _)| *row);
        unfit.dedup_by_key(|(row, _)| *row);
        Encoded { columns, unfit }
    }

    /// Is there no value in a row of a column?
    pub(super) fn is_null(&self, column: usize, row: u32) -> bool {
        self.columns[column].spans[row as usize].is_none()
    }

    /// The lines that COPY reads.
    pub(super) fn lines(&self, rows: &[u32]) -> Bytes {
        let mut out = Vec::new();
        for &row in rows {
            for (i, column) in self.columns.iter().enumerate() {
                if i > 0 {
                    out.push(b'\t');
                }
                match column.value(row) {
                    Some(text) => escape(text, &mut out),
                    None => out.extend_from_slice(b"\\N"),
                }
            }
            out.push(b'\n');
        }
        out.into()
    }

    /// One column as an array of texts.
    pub(super) fn array(&self, column: usize, rows: &[u32]) -> Vec<Option<ServerText<'_>>> {
        rows.iter().map(|&row| self.columns[column].value(row).map(ServerText)).collect()
    }

    /// Bytes of text in these rows.
    pub(super) fn bytes(&self, rows: &[u32]) -> u64 {
        let of = |row: u32| self.columns.iter().filter_map(move |c| c.value(row)).map(|text| text.len() as u64);
        rows.iter().flat_map(|&row| of(row)).sum()
    }
}

impl Column {
    fn value(&self, row: u32) -> Option<&[u8]> {
        self.spans[row as usize].clone().map(|span| &self.text[span])
    }
}

/// A value as the text that the server reads; it is the server that says whether it is UTF-8.
#[derive(Debug)]
pub(super) struct ServerText<'a>(&'a [u8]);

impl ToSql for ServerText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(to: &Type) -> bool {
        *to == Type::TEXT
    }

    to_sql_checked!();
}

fn column(field: &Field, values: &ArrayRef, unfit: &mut Vec<(u32, String)>) -> Column {
    let (cell, nested) = (Cell::new(values), JsonCells::new(field, values));
    let writer = Writer { style: CellStyle::PLAIN };
    let mut column = Column { text: Vec::new(), spans: Vec::with_capacity(values.len()) };
    let mut scratch = Vec::new();
    for row in 0..values.len() {
        let start = column.text.len();
        let written = (!values.is_null(row)).then(|| match values.data_type() {
            DataType::List(item) if matches!(item.data_type(), DataType::List(_)) => {
                nested.write(row, Rule::Exact, &mut column.text)
            }
            _ => writer.value(&cell, row, &mut column.text, &mut scratch),
        });
        if let Some(Err(why)) = written {
            unfit.push((row as u32, format!("column `{}`: {why}", field.name())));
        }
        column.spans.push(written.map(|_| start..column.text.len()));
    }
    column
}

struct Writer {
    style: CellStyle,
}

impl Writer {
    /// Appends a value that is there.
    fn value(&self, cell: &Cell<'_>, row: usize, out: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Result<(), Unfit> {
        match cell {
            Cell::Binary(values) => {
                out.extend_from_slice(b"\\x");
                hex::push(values.value(row), out);
                Ok(())
            }
            Cell::List(lists, items) => {
                let offsets = lists.value_offsets();
                out.push(b'{');
                for item in offsets[row]..offsets[row + 1] {
                    if item > offsets[row] {
                        out.push(b',');
                    }
                    self.item(items, lists.values().is_null(item as usize), item as usize, out, scratch)?;
                }
                out.push(b'}');
                Ok(())
            }
            _ => cell.write(row, &self.style, &as_it_is, out),
        }
    }

    /// Appends an item of an array.
    fn item(
        &self,
        items: &Cell<'_>,
        null: bool,
        item: usize,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Unfit> {
        if null {
            out.extend_from_slice(b"NULL");
            return Ok(());
        }
        scratch.clear();
        self.value(items, item, scratch, &mut Vec::new())?;
        out.push(b'"');
        for &byte in &*scratch {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
        Ok(())
    }
}

/// Appends text as a field of a COPY line.
fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    while let Some(at) = text.iter().position(special) {
        out.extend_from_slice(&text[..at]);
        out.push(b'\\');
        out.push(match text[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        });
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BinaryViewArray, BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray, TimestampMicrosecondArray,
        builder::{ListBuilder, StringViewBuilder},
        types::Int32Type,
    };

    use super::*;

    fn encoded(columns: Vec<ArrayRef>) -> Encoded {
        let fields: Vec<Field> =
            columns.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true)).collect();
        let places: Vec<usize> = (0..columns.len()).collect();
        let records = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns).unwrap();
        Encoded::new(&records, &places)
    }

    #[test]
    fn values_have_the_form_that_the_server_reads() {
        let mut texts = ListBuilder::new(StringViewBuilder::new());
        texts.append_value([Some("a\"b"), Some("c\\d"), None, Some("NULL"), Some("")]);
        let columns: Vec<(ArrayRef, &str)> = vec![
            (Arc::new(Int64Array::from(vec![-7])), "-7"),
            (Arc::new(Float64Array::from(vec![f64::NAN])), "NaN"),
            (Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), "-inf"),
            (Arc::new(BooleanArray::from(vec![true])), "true"),
            (Arc::new(StringViewArray::from(vec!["t\ta\\b\nc\rd"])), "t\\ta\\\\b\\nc\\rd"),
            (Arc::new(StringViewArray::from(vec!["\\N"])), "\\\\N"),
            (Arc::new(StringViewArray::from(vec![""])), ""),
            (Arc::new(StringViewArray::from(vec![None::<&str>])), "\\N"),
            (Arc::new(BinaryViewArray::from(vec![&b"\xff\x00"[..]])), "\\\\xff00"),
            (Arc::new(TimestampMicrosecondArray::from(vec![1])), "1970-01-01T00:00:00.000001Z"),
            (Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None])])), "{\"1\",NULL}"),
            (Arc::new(texts.finish()), "{\"a\\\\\"b\",\"c\\\\\\\\d\",NULL,\"NULL\",\"\"}"),
        ];
        for (column, line) in columns {
            let shown = format!("{:?}", column.data_type());
            let encoded = encoded(vec![column]);
            assert_eq!(String::from_utf8_lossy(&encoded.lines(&[0])), format!("{line}\n"), "{shown}");
            assert_eq!(encoded.is_null(0, 0), line == "\\N", "{shown}");
        }
    }

    #[test]
    fn rows_are_picked_and_counted() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "bb", "ccc"]));
        let encoded = encoded(vec![numbers, texts]);
        assert_eq!(&encoded.lines(&[2, 1])[..], b"3\tccc\n\\N\tbb\n");
        assert_eq!(encoded.bytes(&[2, 1]), 6);
        let header = [1_u32, 1, 25, 2, 1].map(u32::to_be_bytes).concat();
        let items = [&1_u32.to_be_bytes()[..], b"3", &(-1_i32).to_be_bytes()].concat();
        let mut sent = BytesMut::new();
        encoded.array(0, &[2, 1]).to_sql_checked(&Type::TEXT_ARRAY, &mut sent).unwrap();
        assert_eq!(sent, [header, items].concat());
    }

    #[test]
    fn a_time_without_a_text_is_told() {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MAX, i64::MIN]));
        let unfit = encoded(vec![column]).unfit;
        assert_eq!(unfit.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(unfit[0].1, "column `c0`: the year is not between 0 and 9999");
    }
}
