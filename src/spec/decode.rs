//! stub
use super::{Path, Problems, Value};
use serde::de::DeserializeOwned;
/// Decodes `value` into `T`; every mistake is recorded.
pub fn decode<T: DeserializeOwned>(
    _value: &Value,
    _path: &Path,
    _also: &[&str],
    _problems: &mut Problems,
) -> Option<T> {
    todo!()
}
