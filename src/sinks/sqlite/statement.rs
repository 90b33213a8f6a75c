//! The SQL of the sink. Values are bound; names are quoted.

use super::{Create, Layout, WriteMode, table::declared};
use crate::{
    batch::Column,
    sqlite::{quote, quoted},
};

/// Makes the table.
pub(super) fn create(layout: &Layout) -> String {
    debug_assert_ne!(layout.create, Create::Never);
    let made = layout.made_by_database().map(|key| format!("{} INTEGER PRIMARY KEY AUTOINCREMENT", quote(&key.name)));
    let has_key = made.is_some();
    let column = |column: &Column| {
        // Columns that tell rows apart are never null: two nulls would not be the same to SQLite.
        let null = if column.nullable && !layout.conflict.contains(&column.name) { "" } else { " NOT NULL" };
        format!("{} {}{null}", quote(&column.name), declared(&column.column_type))
    };
    let key = (!layout.conflict.is_empty()).then(|| {
        let word = if has_key { "UNIQUE" } else { "PRIMARY KEY" };
        format!("{word} ({})", quoted(&layout.conflict))
    });
    let parts: Vec<String> = made.into_iter().chain(layout.written.iter().map(column)).chain(key).collect();
    format!("CREATE TABLE {} ({})", quote(&layout.table), parts.join(", "))
}

/// Inserts so many rows. `OR ABORT`: what a row that violates a constraint comes to is said by the spec, not
/// by the table.
pub(super) fn insert(layout: &Layout, rows: usize, returning: bool) -> String {
    let row = format!("({})", vec!["?"; layout.written.len()].join(", "));
    let names = quoted(layout.written.iter().map(|column| &column.name));
    let mut sql =
        format!("INSERT OR ABORT INTO {} ({names}) VALUES {}", quote(&layout.table), vec![row; rows].join(", "));
    match layout.mode {
        WriteMode::Insert => {}
        WriteMode::Ignore if layout.conflict.is_empty() => sql.push_str(" ON CONFLICT DO NOTHING"),
        WriteMode::Ignore => sql.push_str(&format!(" ON CONFLICT ({}) DO NOTHING", quoted(&layout.conflict))),
        WriteMode::Upsert => {
            let others = layout.written.iter().filter(|column| !layout.conflict.contains(&column.name));
            let mut set: Vec<String> = others.map(|column| taken_over(&column.name)).collect();
            if set.is_empty() {
                // A row that is there already is given back only where something is set.
                set = layout.conflict.iter().map(|name| taken_over(name)).collect();
            }
            sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {}", quoted(&layout.conflict), set.join(", ")));
        }
    }
    if returning {
        sql.push_str(&format!(" RETURNING {}", quoted(layout.returned.iter().map(|column| &column.name))));
    }
    sql
}

fn taken_over(name: &str) -> String {
    format!("{0} = excluded.{0}", quote(name))
}

/// Looks up the row that stood in the way of another.
pub(super) fn select(layout: &Layout) -> String {
    let returned = quoted(layout.returned.iter().map(|column| &column.name));
    let same: Vec<String> = layout.conflict.iter().map(|name| format!("{} IS ?", quote(name))).collect();
    format!("SELECT {returned} FROM {} WHERE {}", quote(&layout.table), same.join(" AND "))
}
