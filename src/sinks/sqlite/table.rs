//! The table: made, or found and compared with what is to be written, before the first row.

use std::path::Path;

use rusqlite::Connection;

use super::{
    super::table::{Create, Layout, WriteMode},
    statement,
};
use crate::{
    batch::{ColumnType, Family},
    failure::{Exit, Failure},
    jobspec::nearest,
    sqlite::{self, TableColumn, quote},
};

/// How rows can be written to the table, once it has been seen.
pub(super) struct Ways {
    /// The table, as the database spells it.
    pub(super) table: String,
    /// What is given back is the key of the row inserted last.
    pub(super) by_row_key: bool,
    /// Many rows may go in one statement.
    pub(super) several: bool,
}

/// Makes the table where `create` says so, runs the statements that come before the first row, and finds out how rows
/// can be written to it. What this run has `made` before is neither replaced nor emptied, and these statements are not
/// run again.
///
/// # Errors
/// The table is not there, or lacks a column, or has one of another type; or SQLite refuses the statement.
pub(super) fn prepare(connection: &Connection, path: &Path, layout: &Layout, made: bool) -> Result<Ways, Failure> {
    let refused = |doing: &str, error: &rusqlite::Error| {
        sqlite::failure(path, &format!("{doing} table `{}` in", layout.table), error, Exit::CantCreate)
    };
    if layout.create == Create::Replace && !made {
        let drop = format!("DROP TABLE IF EXISTS {}", quote(&layout.table));
        connection.execute_batch(&drop).map_err(|error| refused("replace", &error))?;
    }
    let mut name = sqlite::real_name(connection, &layout.table).map_err(|error| refused("look up", &error))?;
    if name.is_none() && layout.create != Create::Never {
        connection.execute_batch(&statement::create(layout)).map_err(|error| refused("create", &error))?;
        name = Some(layout.table.clone());
    }
    if let Some(name) = name.as_ref().filter(|_| layout.create == Create::Truncate && !made) {
        let delete = format!("DELETE FROM {}", quote(name));
        connection.execute_batch(&delete).map_err(|error| refused("empty", &error))?;
    }
    for sql in layout.before.iter().filter(|_| !made) {
        let doing = format!("run the `before` statement `{sql}` on");
        connection.execute_batch(sql).map_err(|error| sqlite::failure(path, &doing, &error, Exit::CantCreate))?;
    }
    if name.is_none() {
        // One of these may have made it.
        name = sqlite::real_name(connection, &layout.table).map_err(|error| refused("look up", &error))?;
    }
    let Some(name) = name else {
        let tables = sqlite::tables(connection).map_err(|error| refused("look up", &error))?;
        let help = nearest(&layout.table, tables.iter().map(String::as_str));
        return Err(mistake(path, format!("there is no table `{}`", layout.table), help));
    };
    let found = Found::read(connection, &name).map_err(|error| refused("look up", &error))?;
    if found.view {
        return Err(mistake(path, format!("`{name}` is a view"), None));
    }
    layout.columns.iter().try_for_each(|w| found.takes(path, &w.column.name, &w.column.column_type))?;
    found.needs_no_more(path, layout)?;
    found.gives_back(path, layout)?;
    for returning in [false, !layout.returned.is_empty()] {
        let insert = statement::insert(layout, 1, returning);
        connection.prepare(&insert).map_err(|error| refused("write to", &error))?;
    }
    Ok(found.ways(layout))
}

/// A mistake in the spec that only the database shows.
fn mistake(path: &Path, message: String, help: Option<String>) -> Failure {
    let help = help.map_or_else(String::new, |help| format!("; {}", help.trim_end_matches('?')));
    Failure::new(Exit::CantCreate, format!("database `{}`: {message}{help}", path.display()))
}

/// A table as it is.
struct Found {
    name: String,
    columns: Vec<TableColumn>,
    strict: bool,
    triggers: bool,
    view: bool,
    autoincrement: bool,
}

impl Found {
    fn read(connection: &Connection, table: &str) -> rusqlite::Result<Found> {
        let exists = |condition: &str| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE {condition})");
            connection.query_row(&sql, [table], |row| row.get::<_, bool>(0))
        };
        let (strict, _) = sqlite::traits(connection, table)?;
        Ok(Found {
            name: table.to_owned(),
            columns: sqlite::columns(connection, table)?,
            strict,
            triggers: exists("type = 'trigger' AND lower(tbl_name) = lower(?1)")?,
            view: exists("type = 'view' AND name = ?1")?,
            autoincrement: exists("type = 'table' AND name = ?1 AND lower(sql) LIKE '%autoincrement%'")?,
        })
    }

    fn column(&self, path: &Path, name: &str) -> Result<&TableColumn, Failure> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let help = nearest(name, self.columns.iter().map(|column| column.name.as_str()));
            mistake(path, format!("table `{}` has no column `{name}`", self.name), help)
        })
    }

    /// Can a column of that name hold such values, unchanged?
    fn takes(&self, path: &Path, name: &str, column_type: &ColumnType) -> Result<(), Failure> {
        let column = self.column(path, name)?;
        let table = &self.name;
        if column.generated {
            return Err(mistake(path, format!("column `{name}` of table `{table}` is computed by the database"), None));
        }
        if holds(&column.declared, self.strict, column_type) {
            return Ok(());
        }
        let declared = &column.declared;
        let message = format!(
            "column `{name}` of table `{table}` is declared `{declared}`, which cannot hold {column_type} values"
        );
        Err(mistake(path, message, None))
    }

    /// Has every column that must have a value one?
    fn needs_no_more(&self, path: &Path, layout: &Layout) -> Result<(), Failure> {
        let written =
            |column: &&TableColumn| !layout.columns.iter().any(|w| w.column.name.eq_ignore_ascii_case(&column.name));
        let key = sqlite::row_key(&self.columns).map(|key| &key.name);
        let mut needed = self.columns.iter().filter(|column| column.not_null && !column.default && !column.generated);
        match needed.find(|column| written(column) && key != Some(&column.name)) {
            None => Ok(()),
            Some(TableColumn { name, .. }) => {
                let message = format!("column `{name}` of table `{}` must have a value, and gets none", self.name);
                Err(mistake(path, message, None))
            }
        }
    }

    /// Has the table what it is to give back, and is a key never null?
    fn gives_back(&self, path: &Path, layout: &Layout) -> Result<(), Failure> {
        let key = sqlite::row_key(&self.columns).map(|key| &key.name);
        for returned in layout.returned.iter().map(|returned| &returned.column) {
            let column = self.column(path, &returned.name)?;
            if !returned.nullable && !column.not_null && key != Some(&column.name) {
                let name = &returned.name;
                let message = format!("column `{name}` of table `{}` may be null", self.name);
                let help = Some(format!("declare its type in `returning`: \"{name} {}\"", returned.column_type));
                return Err(mistake(path, message, help));
            }
        }
        Ok(())
    }

    fn ways(self, layout: &Layout) -> Ways {
        let key = sqlite::row_key(&self.columns).map(|key| key.name.to_ascii_lowercase());
        let is_key = |name: &str| key.as_deref() == Some(name.to_ascii_lowercase().as_str());
        let by_row_key = match layout.returned.as_slice() {
            [super::super::table::Returned { column: one, .. }] => {
                let written = layout.columns.iter().any(|w| w.column.name.eq_ignore_ascii_case(&one.name));
                layout.mode == WriteMode::Insert
                    && is_key(&one.name)
                    && !written
                    && one.column_type == ColumnType::Int64
            }
            _ => false,
        };
        // Keys of several rows at once are known where they only ever grow, and nothing else makes rows.
        let several = !self.triggers && (layout.returned.is_empty() || (by_row_key && self.autoincrement));
        Ways { table: self.name, by_row_key, several }
    }
}

/// What SQLite makes of values on their way into a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Affinity {
    Integer,
    Real,
    Text,
    Numeric,
    /// Values stay what they are.
    None,
}

impl Affinity {
    /// After the rules of SQLite, in their order.
    fn of(declared: &str, strict: bool) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if strict && declared == "ANY" => Affinity::None,
            () if has(&["INT"]) => Affinity::Integer,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Affinity::Text,
            () if declared.is_empty() || has(&["BLOB"]) => Affinity::None,
            () if has(&["REAL", "FLOA", "DOUB"]) => Affinity::Real,
            () => Affinity::Numeric,
        }
    }
}

/// Does a column that was declared so hold values of this type as they are?
fn holds(declared: &str, strict: bool, column_type: &ColumnType) -> bool {
    let affinity = Affinity::of(declared, strict);
    if strict && affinity == Affinity::None && declared.eq_ignore_ascii_case("blob") {
        return *column_type == ColumnType::Binary;
    }
    match column_type.family() {
        _ if affinity == Affinity::None => true,
        Family::Float => matches!(affinity, Affinity::Real | Affinity::Numeric),
        Family::Truth | Family::Integer => matches!(affinity, Affinity::Integer | Affinity::Numeric),
        Family::Text => affinity == Affinity::Text,
        // Their text is never taken for a number, so a numeric column keeps it.
        Family::Time | Family::List(_) => matches!(affinity, Affinity::Text | Affinity::Numeric),
        // A number in it becomes one of SQLite's, which is the same JSON.
        Family::Json => affinity == Affinity::Text || declared.to_ascii_uppercase().contains("JSON"),
        Family::Bytes => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::statement::declared, *};

    #[test]
    fn a_new_table_holds_what_it_was_made_for() {
        for name in ColumnType::names().chain(["list<string>"]) {
            let column_type: ColumnType = name.parse().expect("a type");
            assert!(holds(declared(&column_type), false, &column_type), "{name}");
            assert!(holds(declared(&column_type), true, &column_type), "{name}, strict");
        }
    }

    #[test]
    fn columns_of_another_kind_are_told_apart() {
        let cases = [
            ("VARCHAR(36)", "string", true),
            ("STRING", "string", false),
            ("varchar", "int32", false),
            ("BIGINT", "int64", true),
            ("DECIMAL(10,2)", "float64", true),
            ("INTEGER", "float64", false),
            ("BOOLEAN", "bool", true),
            ("DATETIME", "timestamp", true),
            ("DATE", "date", true),
            ("INTEGER", "date", false),
            ("JSON", "json", true),
            ("NUMERIC", "json", false),
            ("", "int8", true),
            ("BLOB", "string", true),
            ("TEXT", "binary", false),
            ("DOUBLE PRECISION", "float32", true),
            ("REAL", "uint64", false),
        ];
        for (declared, column_type, expected) in cases {
            let column_type: ColumnType = column_type.parse().expect("a type");
            assert_eq!(holds(declared, false, &column_type), expected, "{declared} for {column_type}");
        }
        assert!(!holds("BLOB", true, &ColumnType::String), "strict tables take no text for a blob");
        assert!(holds("ANY", true, &ColumnType::String) && !holds("ANY", false, &ColumnType::String));
    }
}
