//! Columns under way: appended to value by value, taken back when a record turns out to be bad, and turned into
//! arrays at the end of a batch. Text is held as views into buffers: the block that a file was read in, or a
//! [`Side`] where text that lies in no block is copied to.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, ListArray, PrimitiveArray, StringViewArray, builder::make_view,
    types::ArrowPrimitiveType,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, FieldRef};

use super::{ColumnType, with_scalars};

/// A column that is being filled.
pub(crate) struct Builder {
    pub(crate) values: Store,
    /// Which values are there; only where some may not be.
    nulls: Option<NullBufferBuilder>,
}

impl Builder {
    /// An empty column.
    pub(crate) fn new(column_type: &ColumnType, nullable: bool) -> Builder {
        Builder { values: Store::new(column_type), nulls: nullable.then(|| NullBufferBuilder::new(0)) }
    }

    /// May a value be absent?
    #[inline]
    pub(crate) fn is_nullable(&self) -> bool {
        self.nulls.is_some()
    }

    /// Notes that the value which has just been appended to `values` is there.
    #[inline]
    pub(crate) fn end_value(&mut self) {
        if let Some(nulls) = &mut self.nulls {
            nulls.append_non_null();
        }
    }

    /// Appends that there is no value. In a column that is not nullable something stands in its place, and the row
    /// must be left out.
    pub(crate) fn push_null(&mut self) {
        self.values.push_nothing();
        if let Some(nulls) = &mut self.nulls {
            nulls.append_null();
        }
    }

    /// Takes back all but the first `rows` values.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        if let Some(nulls) = &mut self.nulls {
            nulls.truncate(rows);
        }
    }

    /// The column so far, whose text lies in `buffers`; the next one starts empty.
    ///
    /// # Errors
    /// Never, as long as all views were made of these buffers.
    pub(crate) fn finish(&mut self, buffers: &[Buffer]) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.as_mut().and_then(NullBufferBuilder::finish);
        self.values.finish(buffers, nulls)
    }
}

/// Room for text that lies in no block, which views are made of.
#[derive(Default)]
pub(crate) struct Side {
    full: Vec<Buffer>,
    text: Vec<u8>,
}

impl Side {
    /// A view of a copy of this text.
    pub(crate) fn view(&mut self, text: &[u8]) -> u128 {
        if self.text.len() + text.len() > i32::MAX as usize {
            self.full.push(Buffer::from_vec(std::mem::take(&mut self.text)));
        }
        let view = make_view(text, self.full.len() as u32, self.text.len() as u32);
        // A view holds short text itself.
        if text.len() > 12 {
            self.text.extend_from_slice(text);
        }
        view
    }

    /// The buffers that all views since the last call lie in.
    pub(crate) fn take(&mut self) -> Vec<Buffer> {
        let mut buffers = std::mem::take(&mut self.full);
        let room = Vec::with_capacity(self.text.len());
        buffers.push(Buffer::from_vec(std::mem::replace(&mut self.text, room)));
        buffers
    }
}

/// Lists, and the items of all of them one after the other.
pub(crate) struct ListStore {
    pub(crate) offsets: Vec<i32>,
    pub(crate) items: Store,
    /// Which items are there. Behind the items until one is not, so that only such lists pay for it.
    item_nulls: NullBufferBuilder,
    item_field: FieldRef,
}

/// Matches a store: one arm for all that hold scalars, with their vector and Arrow type, and the others.
macro_rules! match_store {
    ([$($text:literal $name:ident $family:ident $arrow:ident ($array:pat)),*] @ $store:expr, $values:ident $T:ident $scalar:expr,
     $($other:pat => $then:expr,)*) => {
        match $store {
            $($crate::values::builder::Store::$name($values) => {
                #[allow(dead_code)]
                type $T = arrow_array::types::$arrow;
                $scalar
            })*
            $($other => $then,)*
        }
    };
    ($store:expr, $values:ident: $T:ident => $scalar:expr, $($other:pat => $then:expr,)*) => {
        $crate::values::with_scalars!(
            [$crate::values::builder::match_store] @ $store, $values $T $scalar, $($other => $then,)*
        )
    };
}
pub(crate) use match_store;

macro_rules! store {
    ([$($text:literal $name:ident $family:ident $arrow:ident ($array:pat)),*]) => {
        /// The values of one type.
        pub(crate) enum Store {
            $($name(Vec<<arrow_array::types::$arrow as ArrowPrimitiveType>::Native>),)*
            Bool(Vec<bool>),
            String(Vec<u128>),
            Json(Vec<u128>),
            Binary(Vec<u128>),
            List(Box<ListStore>),
        }

        impl Store {
            pub(crate) fn new(column_type: &ColumnType) -> Store {
                match column_type {
                    $(ColumnType::$name => Store::$name(Vec::new()),)*
                    ColumnType::Bool => Store::Bool(Vec::new()),
                    ColumnType::String => Store::String(Vec::new()),
                    ColumnType::Json => Store::Json(Vec::new()),
                    ColumnType::Binary => Store::Binary(Vec::new()),
                    ColumnType::List(item) => Store::List(Box::new(ListStore {
                        offsets: vec![0],
                        items: Store::new(item),
                        item_nulls: NullBufferBuilder::new(0),
                        item_field: Arc::new(item.item_field()),
                    })),
                }
            }
        }
    };
}
with_scalars!([store]);

impl Store {
    /// Does it hold text that must be UTF-8?
    pub(crate) fn is_text(&self) -> bool {
        match_store!(self, _values: T => false,
            Store::String(_) | Store::Json(_) => true,
            Store::Bool(_) | Store::Binary(_) => false,
            Store::List(list) => list.items.is_text(),
        )
    }

    pub(crate) fn len(&self) -> usize {
        match_store!(self, values: T => values.len(),
            Store::Bool(values) => values.len(),
            Store::String(views) | Store::Json(views) | Store::Binary(views) => views.len(),
            Store::List(list) => list.offsets.len() - 1,
        )
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        match_store!(self, values: T => values.truncate(len),
            Store::Bool(values) => values.truncate(len),
            Store::String(views) | Store::Json(views) | Store::Binary(views) => views.truncate(len),
            Store::List(list) => {
                list.offsets.truncate(len + 1);
                list.truncate_items(list.offsets.last().map_or(0, |end| *end as usize));
            },
        )
    }

    /// Appends whatever stands for no value.
    pub(crate) fn push_nothing(&mut self) {
        match_store!(self, values: T => values.push(<T as ArrowPrimitiveType>::Native::default()),
            Store::Bool(values) => values.push(false),
            Store::String(views) | Store::Json(views) | Store::Binary(views) => views.push(0),
            Store::List(list) => list.close(),
        )
    }

    /// The values so far as an array, whose text lies in `buffers`; the next one starts empty.
    pub(crate) fn finish(&mut self, buffers: &[Buffer], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        Ok(match_store!(self,
            values: T => Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::from(take(values)), nulls)?),
            Store::Bool(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(values)), nulls)),
            Store::String(views) | Store::Json(views) => text(take(views), buffers, nulls)?,
            Store::Binary(views) => {
                Arc::new(BinaryViewArray::try_new(ScalarBuffer::from(take(views)), buffers.to_vec(), nulls)?)
            },
            Store::List(list) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(take(&mut list.offsets)));
                list.offsets.push(0);
                let item_nulls = list.take_nulls();
                let items = list.items.finish(buffers, item_nulls)?;
                Arc::new(ListArray::try_new(Arc::clone(&list.item_field), offsets, items, nulls)?)
            },
        ))
    }
}

/// Text as an array. Its views are not checked a second time, which would take a quarter of the time of reading a
/// file: a view gets into a store of text only by a decoder that has found its bytes to be UTF-8, in the block as a
/// whole or by themselves. Debug builds, and so all tests, do check again.
fn text(views: Vec<u128>, buffers: &[Buffer], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
    let (views, buffers) = (ScalarBuffer::from(views), buffers.to_vec());
    if cfg!(debug_assertions) {
        return Ok(Arc::new(StringViewArray::try_new(views, buffers, nulls)?));
    }
    #[expect(unsafe_code, reason = "the only way to an array without a second check")]
    // SAFETY: every view was made of a slice of one of these buffers, at its offset, and that slice is UTF-8: either
    // the whole block is, and the slice is cut at ASCII characters, or the slice itself was checked. `push_nothing`
    // makes the view of the empty text. `nulls` has a bit for each value.
    let array = unsafe { StringViewArray::new_unchecked(views, buffers.into(), nulls) };
    Ok(Arc::new(array))
}

impl ListStore {
    /// Ends the list that the items since the last end make up.
    pub(crate) fn close(&mut self) {
        self.offsets.push(self.items.len() as i32);
    }

    /// Appends an item that is not there.
    pub(crate) fn push_null_item(&mut self) {
        self.catch_up();
        self.items.push_nothing();
        self.item_nulls.append_null();
    }

    /// Takes back all but the first `len` items.
    pub(crate) fn truncate_items(&mut self, len: usize) {
        self.items.truncate(len);
        if self.item_nulls.len() > len {
            self.item_nulls.truncate(len);
        }
    }

    fn catch_up(&mut self) {
        let behind = self.items.len() - self.item_nulls.len();
        self.item_nulls.append_n_non_nulls(behind);
    }

    fn take_nulls(&mut self) -> Option<NullBuffer> {
        if self.item_nulls.is_empty() {
            return None;
        }
        self.catch_up();
        self.item_nulls.finish()
    }
}

/// The values, leaving room for as many again.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}
