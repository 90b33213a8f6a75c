//! Batches to lines of JSON.

use crate::{
    batch::{Batch, RejectCode, Rejects, Schema},
    formats::Encoder,
    values::{
        cell::Unfit,
        json::{
            scan::quote,
            write::{JsonCells, Rule},
        },
    },
};

/// Encodes batches of one schema: an object per row, its fields in the order of the columns.
///
/// Dates and timestamps are ISO 8601 text, bytes are base64, `json` is written as it is. A number that JSON
/// does not have, NaN or an infinity, makes its row a reject.
pub struct NdjsonEncoder {
    schema: Schema,
    /// What stands before each value: comma, name and colon.
    names: Vec<Vec<u8>>,
}

impl NdjsonEncoder {
    /// An encoder for batches of `schema`.
    pub fn new(schema: Schema) -> Self {
        let name = |(i, column): (usize, &crate::batch::Column)| {
            let mut text = vec![if i == 0 { b'{' } else { b',' }];
            quote(column.name.as_bytes(), &mut text);
            text.push(b':');
            text
        };
        let names = schema.columns().iter().enumerate().map(name).collect();
        NdjsonEncoder { schema, names }
    }

    fn row(&self, columns: &[JsonCells<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), (usize, Unfit)> {
        for (i, (name, column)) in self.names.iter().zip(columns).enumerate() {
            out.extend_from_slice(name);
            column.write(row, Rule::Exact, out).map_err(|why| (i, why))?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

impl Encoder for NdjsonEncoder {
    /// There is none: every record names its fields.
    fn header(&mut self, _: &mut Vec<u8>) {}

    fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>, rejects: &mut Rejects) {
        let schema = self.schema.arrow();
        let fields = schema.fields().iter().zip(batch.records.columns());
        let columns: Vec<JsonCells<'_>> = fields.map(|(field, column)| JsonCells::new(field, column)).collect();
        for row in 0..batch.rows() {
            let start = out.len();
            if let Err((column, why)) = self.row(&columns, row, out) {
                out.truncate(start);
                let message = format!("column `{}`: {why}", self.schema.columns()[column].name);
                rejects.push(batch, row, RejectCode("unrepresentable"), message);
            }
        }
    }
}
