//! The SQL of the sink. Values are bound; names are quoted.

use super::super::table::{Create, Layout, WriteMode};
use crate::{
    batch::{ColumnType, Family},
    sqlite::quote,
};

/// Makes the table.
pub(super) fn create(layout: &Layout) -> String {
    debug_assert_ne!(layout.create, Create::Never);
    let made = layout.made_by_database().map(|key| format!("{} INTEGER PRIMARY KEY AUTOINCREMENT", key.quoted));
    let has_key = made.is_some();
    let columns = layout.columns.iter().enumerate().map(|(at, written)| {
        // Columns that tell rows apart are never null: two nulls would not be the same to SQLite.
        let null = if written.column.nullable && !layout.is_conflict(at) { "" } else { " NOT NULL" };
        format!("{} {}{null}", written.quoted, declared(&written.column.column_type))
    });
    let key = (!layout.conflict.is_empty()).then(|| {
        let word = if has_key { "UNIQUE" } else { "PRIMARY KEY" };
        format!("{word} ({})", conflict(layout))
    });
    let parts: Vec<String> = made.into_iter().chain(columns).chain(key).collect();
    format!("CREATE TABLE {} ({})", quote(&layout.table), parts.join(", "))
}

/// What a new table's column of this type is declared as.
pub(super) fn declared(column_type: &ColumnType) -> &'static str {
    match column_type.family() {
        Family::Float => "REAL",
        Family::Bytes => "BLOB",
        Family::Truth | Family::Integer => "INTEGER",
        Family::Text | Family::Json | Family::Time | Family::List(_) => "TEXT",
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn conflict(layout: &Layout) -> String {
    list(layout.conflicting().map(|written| &written.quoted))
}

fn returned(layout: &Layout) -> String {
    list(layout.returned.iter().map(|returned| &returned.quoted))
}

/// Inserts so many rows. `OR ABORT`: what a row that violates a constraint comes to is said by the spec, not
/// by the table.
pub(super) fn insert(layout: &Layout, rows: usize, returning: bool) -> String {
    let row = format!("({})", vec!["?"; layout.columns.len()].join(", "));
    let names = list(layout.columns.iter().map(|written| &written.quoted));
    let mut sql =
        format!("INSERT OR ABORT INTO {} ({names}) VALUES {}", quote(&layout.table), vec![row; rows].join(", "));
    match layout.mode {
        WriteMode::Insert => {}
        WriteMode::Ignore if layout.conflict.is_empty() => sql.push_str(" ON CONFLICT DO NOTHING"),
        WriteMode::Ignore => sql.push_str(&format!(" ON CONFLICT ({}) DO NOTHING", conflict(layout))),
        WriteMode::Upsert => {
            // A row that is there already is given back only where something is set.
            let all = layout.conflict.len() == layout.columns.len();
            let set = layout.columns.iter().enumerate().filter(|(at, _)| all || !layout.is_conflict(*at));
            let set: Vec<String> = set.map(|(_, written)| format!("{0} = excluded.{0}", written.quoted)).collect();
            sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {}", conflict(layout), set.join(", ")));
        }
    }
    if returning {
        sql.push_str(&format!(" RETURNING {}", returned(layout)));
    }
    sql
}

/// Looks up the row that stood in the way of another.
pub(super) fn select(layout: &Layout) -> String {
    let same: Vec<String> = layout.conflicting().map(|written| format!("{} IS ?", written.quoted)).collect();
    format!("SELECT {} FROM {} WHERE {}", returned(layout), quote(&layout.table), same.join(" AND "))
}
