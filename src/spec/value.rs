//! A spec's values as both spellings have them. Tables keep their written order: it is the order of columns.

use indexmap::IndexMap;

/// A table in its written order.
pub type Table = IndexMap<String, Value>;

/// One value of a spec.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// YAML's `null`
    Null,
    /// A boolean
    Bool(bool),
    /// An integer; wide enough for `int64` and `uint64`
    Int(i128),
    /// A number with a point
    Float(f64),
    /// Text as it stands in the spec
    Text(String),
    /// Text that a substitution put together: it may also be read as a number or a boolean
    Substituted(String),
    /// A list
    List(Vec<Value>),
    /// A table
    Table(Table),
    /// Stands where a problem has been recorded already, or where an environment variable is not known
    /// while checking: decodes as whatever is asked for, so that the rest can be checked.
    Unknown,
}
