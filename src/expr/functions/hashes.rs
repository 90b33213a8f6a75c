//! Hashes of text: two that everybody knows, and a fast one of our own.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt64Array};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::{Body, Call, Function, Parameter, Returns};
use crate::{
    batch::ColumnType,
    expr::text::{Strings, build},
    values::hex,
};

use Parameter::{Scalar, Text};

const STRING: Returns = Returns::Type(ColumnType::String);

/// The table. `hash` gives another number than DuckDB's, which differs from one version to the next; ours stays.
pub(super) const TABLE: &[Function] = &[
    Function { name: "md5", parameters: &[Text], optional: 0, returns: STRING, body: Body::Strict(md5) },
    Function { name: "sha256", parameters: &[Text], optional: 0, returns: STRING, body: Body::Strict(sha256) },
    Function {
        name: "hash",
        parameters: &[Scalar],
        optional: 0,
        returns: Returns::Type(ColumnType::UInt64),
        body: Body::Strict(hash),
    },
];

fn md5(call: Call<'_, '_>) -> ArrayRef {
    digest::<Md5>(&call)
}

fn sha256(call: Call<'_, '_>) -> ArrayRef {
    digest::<Sha256>(&call)
}

/// A digest in lower-case hexadecimal.
fn digest<D: Digest>(call: &Call<'_, '_>) -> ArrayRef {
    let strings = Strings::of(&call.arguments[0]);
    let bytes = call.rows * 2 * <D as Digest>::output_size();
    Arc::new(build(call.rows, bytes, call.nulls.as_ref(), |row, out| {
        let digest = D::digest(strings.get(row).as_bytes());
        out.extend(digest.iter().flat_map(|byte| hex::pair(*byte)).map(char::from));
    }))
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo), of the text, its bits mixed by multiplication.
fn hash(call: Call<'_, '_>) -> ArrayRef {
    let strings = Strings::of(&call.arguments[0]);
    let hashes = (0..call.rows).map(|row| of_text(strings.get(row).as_bytes())).collect();
    Arc::new(UInt64Array::new(hashes, call.nulls))
}

fn of_text(text: &[u8]) -> u64 {
    let hash = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}
