//! `runner generators`: lists what the `generate` source can make.

use std::fmt::Write;

use super::out;
use crate::{
    failure::Exit,
    sources::{fakes, generators as all},
};

/// Prints every generator with an example of its use, then every name behind `fake` with an example value.
pub(super) fn generators() -> Exit {
    let mut text = String::from("Generators\n\n");
    for info in all() {
        let _ = writeln!(text, "  {:<10} {:<62} {}", info.name, info.about, info.example);
    }
    text.push_str("\nNames behind `fake`\n\n");
    for info in fakes() {
        let _ = writeln!(text, "  {:<28} {}", info.name, info.example);
    }
    out(&text)
}
