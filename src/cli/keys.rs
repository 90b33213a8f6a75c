//! `runner keys`: lists the keys that a store of a job has documents for.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{args::Keys, check_sets, compile, out, show, told};
use crate::{
    failure::{Exit, Failure},
    jobspec::{Mode, Path as At, Table, Value, nearest},
    stores::{self, Address, Store},
};

/// Prints the keys, sorted, one a line.
pub(super) fn keys(args: &Keys) -> Exit {
    match store(&args.spec, &args.set).and_then(|(_, store)| stores::keys(store.as_ref()).map_err(told)) {
        Ok(keys) => {
            let chosen = keys.into_iter().filter(|key| key.starts_with(&args.prefix));
            out(&chosen.map(|key| key + "\n").collect::<String>())
        }
        Err(exit) => exit,
    }
}

/// The store of the `kv` sink that `SPEC` or `SPEC:SINK` names, and the sink's name. What is wrong is printed.
pub(super) fn store(named: &str, sets: &[String]) -> Result<(String, Arc<dyn Store>), Exit> {
    let (spec, sink) = divided(named);
    check_sets(std::slice::from_ref(&spec), sets).map_err(told)?;
    // The stages that are not asked for may lack what only a run has.
    let compiled = compile(&spec, sets, Mode::Check).map_err(told)?;
    if compiled.problems.any_error() {
        show(&compiled);
        return Err(Exit::Spec);
    }
    let none = Table::new();
    let sinks = compiled.document.root.get(&At::default().key("sinks")).and_then(Value::as_table).unwrap_or(&none);
    let (name, table) = choose(sinks, &spec, sink.as_deref()).map_err(told)?;
    let unknown = || Failure::new(Exit::Spec, format!("the path of `{name}` comes from a variable that is not set"));
    let address = Address::of(table).ok_or_else(|| told(unknown()))?;
    Ok((name.to_owned(), address.store()))
}

/// `SPEC` or `SPEC:SINK`. A file whose very name it is goes before.
fn divided(named: &str) -> (PathBuf, Option<String>) {
    match named.rsplit_once(':') {
        Some((spec, sink)) if !Path::new(named).exists() && !sink.contains('/') => {
            (PathBuf::from(spec), Some(sink.to_owned()))
        }
        _ => (PathBuf::from(named), None),
    }
}

fn choose<'s>(sinks: &'s Table, spec: &Path, wanted: Option<&str>) -> Result<(&'s str, &'s Table), Failure> {
    let spec = spec.display();
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let all: Vec<(&str, &Table)> = stores::sinks(sinks).collect();
    let names = || all.iter().map(|(name, _)| format!("`{spec}:{name}`")).collect::<Vec<_>>().join(", ");
    match (wanted, all.as_slice()) {
        (_, []) => Err(usage(format!("`{spec}` has no sink of type `kv`"))),
        (None, [only]) => Ok(*only),
        (None, _) => Err(usage(format!("`{spec}` has several sinks of type `kv`; name one: {}", names()))),
        (Some(wanted), _) => all.iter().find(|(name, _)| *name == wanted).copied().ok_or_else(|| {
            let help = nearest(wanted, all.iter().map(|(name, _)| *name)).unwrap_or_default();
            usage(format!("`{spec}` has no sink `{wanted}` of type `kv`; {help}"))
        }),
    }
}
