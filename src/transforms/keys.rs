//! Keys of one or several columns: as bytes that compare as the values do, and numbered in the order in which they are
//! first seen. All keys lie in one buffer.

use std::{hash::BuildHasher, sync::Arc};

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{Float32Type, Float64Type},
};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, SortOptions};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use super::memory::fits;
use crate::{
    batch::{ColumnType, Schema},
    expr,
    failure::{Exit, Failure},
    jobspec::{Problem, SpecLocation, nearest},
    kind::{Context, Workers},
};

/// One worker unless the spec asks for more; then rows are divided by the first of these columns that can be a key:
/// equal keys come to the same worker in any case.
pub(super) fn divided_by(input: &Schema, by: &[usize]) -> Workers {
    let columns = by.iter().map(|place| &input.columns()[*place]);
    let legal = |column_type: &ColumnType| {
        !matches!(column_type, ColumnType::List(_) | ColumnType::Binary | ColumnType::Float32 | ColumnType::Float64)
    };
    let first = columns.into_iter().find(|column| legal(&column.column_type));
    let quoted = first.map(|column| format!("\"{}\"", column.name.replace('"', "\"\"")));
    match quoted.and_then(|name| expr::compile(&name, input).ok()) {
        Some(key) => Workers::Keyed(key, 1),
        None => Workers::One("no column of the key has a text to divide rows by"),
    }
}

/// Makes keys of columns.
#[derive(Debug)]
pub(super) struct Encoder(RowConverter);

impl Encoder {
    /// Keys of columns of these types. Nulls are equal to each other and come last, `-0.0` is `0.0`, and every NaN is
    /// the same, above all numbers.
    pub(super) fn new(types: impl IntoIterator<Item = (DataType, bool)>) -> Result<Encoder, Failure> {
        let field = |(data_type, descending)| {
            SortField::new_with_options(data_type, SortOptions { descending, nulls_first: false })
        };
        let converter = RowConverter::new(types.into_iter().map(field).collect());
        converter.map(Encoder).map_err(|error| Failure::new(Exit::Bug, format!("no key can be made: {error}")))
    }

    /// The key of every row.
    pub(super) fn rows(&self, columns: &[ArrayRef]) -> Result<Rows, Failure> {
        let columns: Vec<ArrayRef> = columns.iter().map(plain).collect();
        fits(self.0.convert_columns(&columns))
    }

    /// The columns that keys were made of; floats are as [`Encoder::rows`] made them.
    pub(super) fn columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, Failure> {
        let parser = self.0.parser();
        fits(self.0.convert_rows(keys.map(|key| parser.parse(key))))
    }
}

/// Floats that SQL holds for equal become the same bits.
fn plain(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|n| if n.is_nan() { f32::NAN } else { n + 0.0 }),
        ),
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|n| if n.is_nan() { f64::NAN } else { n + 0.0 }),
        ),
        _ => Arc::clone(column),
    }
}

/// Different keys, numbered from 0 in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Keys {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of memory they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8 + self.table.capacity() * 5
    }

    /// The numbers of the keys of all rows; new ones get the numbers from [`Keys::len`] on.
    pub(super) fn number(&mut self, rows: &Rows) -> Result<Vec<u32>, Failure> {
        self.number_all(rows.num_rows(), rows.iter().map(|row| row.data()))
    }

    /// The same for `count` keys that were encoded before.
    pub(super) fn number_all<'a>(
        &mut self,
        count: usize,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<u32>, Failure> {
        if self.len() + count > u32::MAX as usize {
            return Err(too_many());
        }
        Ok(keys.map(|key| self.insert(key)).collect())
    }

    fn insert(&mut self, key: &[u8]) -> u32 {
        let Keys { bytes, ends, table, hasher } = self;
        let hash = |id: &u32| hasher.hash_one(of(bytes, ends, *id));
        let next = ends.len() as u32;
        match table.entry(hasher.hash_one(key), |id| of(bytes, ends, *id) == key, hash) {
            Entry::Occupied(entry) => return *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(next);
            }
        }
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        next
    }

    /// None yet; the hash of a key is the one that it has here.
    pub(super) fn emptied(&self) -> Keys {
        Keys { hasher: self.hasher.clone(), ..Keys::default() }
    }

    /// The number of a key, where it is there.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_or_hash(key).ok()
    }

    /// The same; of a key that is not there, its hash: a number that follows from all of it.
    pub(super) fn find_or_hash(&self, key: &[u8]) -> Result<u32, u64> {
        let hash = self.hasher.hash_one(key);
        self.find_hashed(hash, key).ok_or(hash)
    }

    /// The key with a number.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        of(&self.bytes, &self.ends, id)
    }

    /// The hash of a key, whether it is there or not: as of [`Keys::find_or_hash`].
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The number of a key with this hash, where it is there.
    pub(super) fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.table.find(hash, |id| of(&self.bytes, &self.ends, *id) == key).copied()
    }

    /// Adds a key with this hash that is not there.
    pub(super) fn add(&mut self, hash: u64, key: &[u8]) -> Result<(), Failure> {
        let Keys { bytes, ends, table, hasher } = self;
        let id = u32::try_from(ends.len()).map_err(|_| too_many())?;
        table.insert_unique(hash, id, |id| hasher.hash_one(of(bytes, ends, *id)));
        bytes.extend_from_slice(key);
        ends.push(bytes.len());
        Ok(())
    }

    /// Hands out all keys and their hashes, in the order of the hashes.
    pub(super) fn by_hash(self, mut take: impl FnMut(u64, &[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
        let Keys { bytes, ends, table, hasher } = self;
        // Its memory is for the order.
        drop(table);
        let mut order: Vec<(u64, u32)> =
            (0..ends.len() as u32).map(|id| (hasher.hash_one(of(&bytes, &ends, id)), id)).collect();
        order.sort_unstable();
        order.into_iter().try_for_each(|(hash, id)| take(hash, of(&bytes, &ends, id)))
    }

    /// Forgets all keys. Hashes stay what they are.
    pub(super) fn clear(&mut self) {
        *self = Keys { hasher: self.hasher.clone(), ..Keys::default() };
    }
}

/// A hash of keys that is the same wherever a copy of it is used: two sides are divided alike by it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyHash(DefaultHashBuilder);

impl KeyHash {
    /// The hash of a key: a number that follows from all of it.
    pub(super) fn of(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

fn too_many() -> Failure {
    Failure::new(Exit::Unavailable, "more than 4 billion different keys")
}

fn of<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &bytes[start..ends[id]]
}

/// Rows by their key: where those of each begin, and all of them, in input order within a key.
pub(super) fn grouped(ids: &[u32], keys: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; keys + 1];
    for id in ids {
        starts[*id as usize + 1] += 1;
    }
    for key in 0..keys {
        starts[key + 1] += starts[key];
    }
    let mut next = starts.clone();
    let mut rows = vec![0_u32; ids.len()];
    for (row, id) in ids.iter().enumerate() {
        let place = &mut next[*id as usize];
        rows[*place as usize] = row as u32;
        *place += 1;
    }
    (starts, rows)
}

/// The places of columns that the list at `key` names; what is wrong with it is recorded.
pub(super) fn places(context: &mut Context<'_>, key: &str, names: &[String]) -> Option<Vec<usize>> {
    let schema = context.input().clone();
    let at = context.path.key(key);
    let mut sound = true;
    let mut found: Vec<usize> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let place = SpecLocation::value(at.index(i));
        match schema.find(name) {
            Some((column, _)) if found.contains(&column) => {
                context.problems.push(Problem::new("columns", place, format!("column `{name}` is named twice")));
                sound = false;
            }
            Some((column, _)) => found.push(column),
            None => {
                context.problems.push(unknown_column(place, name, &schema));
                sound = false;
            }
        }
    }
    sound.then_some(found)
}

/// There is no column of that name.
pub(super) fn unknown_column(place: SpecLocation, name: &str, schema: &Schema) -> Problem {
    let legal = schema.columns().iter().map(|column| column.name.as_str());
    Problem::new("unknown-column", place, format!("there is no column `{name}`")).help(nearest(name, legal))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array};

    use super::*;

    #[test]
    fn equal_values_have_one_number() {
        let encoder = Encoder::new([(DataType::Float64, false), (DataType::Int64, false)]).expect("both can be keys");
        let floats = [Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, None, Some(1.0)];
        let floats: ArrayRef = Arc::new(Float64Array::from(floats.to_vec()));
        let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; 7]));
        let mut keys = Keys::default();
        let rows = encoder.rows(&[floats, ones]).expect("few rows");
        assert_eq!(keys.number(&rows).expect("few keys"), [0, 0, 1, 1, 2, 2, 3]);
        assert_eq!((keys.find(rows.row(3).data()), keys.find(b"other"), keys.len()), (Some(1), None, 4));
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let mut keys = Keys::default();
        let hash = keys.find_or_hash(b"one").expect_err("it is not there");
        // The second has a hash that is not its own.
        [&b"one"[..], b"other"].into_iter().for_each(|key| keys.add(hash, key).expect("few keys"));
        let found = [&b"one"[..], b"other", b"third"].map(|key| keys.find_hashed(hash, key));
        assert_eq!(found, [Some(0), Some(1), None]);
        assert_eq!((keys.find(b"one"), keys.emptied().find_or_hash(b"one")), (Some(0), Err(hash)));
    }

    #[test]
    fn keys_go_in_the_order_of_their_hashes() {
        let mut keys = Keys::default();
        let mut expected: Vec<(u64, Vec<u8>)> = Vec::new();
        for key in (0..1000).map(|n| format!("key {n}").into_bytes()) {
            let hash = keys.find_or_hash(&key).expect_err("it is new");
            keys.add(hash, &key).expect("few keys");
            expected.push((hash, key));
        }
        expected.sort();
        let mut found = Vec::new();
        keys.by_hash(|hash, key| {
            found.push((hash, key.to_vec()));
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(found, expected);
    }
}
