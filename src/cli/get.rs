//! `runner get`: prints the document that a store of a job keeps for a key.

use super::{args::Get, keys::store, out, told};
use crate::{
    failure::{Exit, Failure},
    stores::Access,
};

/// Prints the document as it is stored, and a line end. A key that is not there is a missing input.
pub(super) fn get(args: &Get) -> Exit {
    match find(args) {
        Ok(document) => out(&document),
        Err(exit) => exit,
    }
}

fn find(args: &Get) -> Result<String, Exit> {
    let (name, store) = store(&args.spec, &args.set)?;
    let document = store.session(Access::Read).and_then(|mut session| session.get(&args.key)).map_err(told)?;
    let missing = || Failure::new(Exit::InputMissing, format!("`{name}` has no document for `{}`", args.key));
    let mut document = String::from_utf8_lossy(&document.ok_or_else(|| told(missing()))?).into_owned();
    if !document.ends_with('\n') {
        document.push('\n');
    }
    Ok(document)
}
