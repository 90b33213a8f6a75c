//! Why a record cannot become a message: the field, and what is wrong with its value.

use crate::batch::RejectCode;

/// A record refused. The path is put together on the way out, so a record that is fine pays nothing for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: RejectCode,
    path: String,
    problem: String,
}

/// A value that the field cannot hold.
const VALUE: RejectCode = RejectCode("protobuf");
/// A proto2 required field without a value.
const REQUIRED: RejectCode = RejectCode("required_field");

/// Values are shown up to here.
const SHOWN: usize = 80;

impl Refusal {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Refusal { code: VALUE, path: String::new(), problem: problem.into() }
    }

    /// `value` is not what a field of type `wanted` takes.
    pub(super) fn not(value: impl ToString, wanted: impl AsRef<str>) -> Self {
        Refusal::new(format!("`{}` is not {}", shown(&value.to_string()), article(wanted.as_ref())))
    }

    /// `value` lies outside the range of a field of type `wanted`.
    pub(super) fn range(value: impl ToString, wanted: &str) -> Self {
        Refusal::new(format!("`{}` does not fit {}", shown(&value.to_string()), article(wanted)))
    }

    pub(super) fn required() -> Self {
        Refusal { code: REQUIRED, path: String::new(), problem: "required, but has no value".into() }
    }

    /// The same, seen from the message that holds field `name`.
    pub(super) fn within(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// The same, seen from the list that holds item `index`.
    pub(super) fn item(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The same, seen from the map that holds a value under `key`.
    pub(super) fn item_key(self, key: &str) -> Self {
        self.within(&format!("[\"{}\"]", shown(key)))
    }

    /// The sentence of the reject.
    pub(super) fn message(&self) -> String {
        match self.path.as_str() {
            "" => self.problem.clone(),
            path => format!("field `{path}`: {}", self.problem),
        }
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `a double`, `an int32`.
pub(super) fn article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']);
    format!("{} {name}", if an { "an" } else { "a" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_value() {
        let refusal = Refusal::not("x".repeat(100), "int32").within("id").item(2).within("places").within("user");
        let message = refusal.message();
        assert!(message.starts_with("field `user.places[2].id`: `xxx"), "{message}");
        assert!(message.ends_with("x…` is not an int32"), "{message}");
    }
}
