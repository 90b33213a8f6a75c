//! Apache Parquet: columns in pages in row groups, with the schema in the file's footer.
//!
//! ```text
//! reading:  footer ─▶ layout ─▶ projection ─▶ pages of the wanted columns ─▶ convert ─▶ columns
//! writing:  columns ─▶ encoder ─▶ row groups of one size ─▶ footer
//! ```
//!
//! The crate `parquet` knows the encoding. What is here: which of its types becomes which of ours, values that do
//! not fit, text for what has no type of ours, and output that is the same whatever the batches were.

mod amend;
mod convert;
mod encode;
mod footer;
mod layout;
mod page;
mod size;
mod thrift;
mod types;

pub use self::{
    amend::amended,
    encode::{CREATED_BY, PageCodec, ParquetEncoder, ParquetStyle},
    footer::{check_depth, is_encrypted, sifted},
    layout::{Layout, Projection, Refused, Rows},
    page::{Look, PageHeader},
    size::{compact, parts, row_bytes},
};

use ::parquet::errors::ParquetError;

/// What went wrong in a file, in words for people.
pub fn words(error: &ParquetError) -> String {
    let text = error.to_string();
    plain(&text)
}

/// An error's text without the name of its kind, on one line.
pub fn plain(text: &str) -> String {
    let kinds = ["Parquet argument error: ", "Parquet error: ", "EOF: ", "NYI: ", "Arrow: ", "External: "];
    let mut text = text;
    while let Some(rest) = kinds.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest;
    }
    text.trim_end_matches('.').replace('\n', " ")
}
