//! The table that is written to: making it, checking that it fits before the first row, and the statements.

use tokio_postgres::types::Type;

use super::{
    super::table::{Create, Layout, WriteMode},
    encode::Encoded,
    receipts::Ledger,
    spec::Setup,
};
use crate::{
    batch::ColumnType,
    failure::{Exit, Failure},
    jobspec::nearest,
    postgres::{Param, Server, Session, declared, gives, takes},
    service::{ErrorClass, ServiceError},
};

/// A table that exists and fits: the statements that write to it.
#[derive(Debug)]
pub(super) struct Target {
    /// Takes one array of texts per column.
    pub(super) insert: String,
    /// Where rows go by COPY.
    pub(super) copy: Option<String>,
    /// Finds what comes back where the insert cannot say it: takes the arrays of the conflict columns.
    pub(super) find: Option<String>,
    /// Counts the keys of rows, of which an upsert writes only the last row each: takes the same arrays.
    pub(super) keys: Option<String>,
    /// Why rows cannot be divided among several workers, where they cannot.
    pub(super) undivided: Option<String>,
    /// Has the table constraints that are checked only at a commit?
    pub(super) deferred: bool,
}

/// A column of the table as the server describes it.
struct Existing {
    name: String,
    /// Its type, as a cast needs it.
    cast: String,
    /// Are two texts in it equal only where they are the same?
    exact: bool,
    /// Does the server make its values, and take others only where that is said?
    always: bool,
}

/// Makes the table where that is asked for, checks it, and tries the statements on no rows.
///
/// # Errors
/// The table cannot be made, is not there, does not fit, or may not be written.
pub(super) fn prepare(
    setup: &Setup,
    ledger: Option<&Ledger>,
    server: &Server,
    session: &Session,
) -> Result<Target, Failure> {
    let table = &setup.table.written;
    let failure = |trouble: &ServiceError, what: &str| {
        // Whatever the server has against a table or a statement, here it means that there is no output.
        let missing = ServiceError { class: ErrorClass::Missing, ..trouble.clone() };
        let lasting = matches!(trouble.class, ErrorClass::Refused | ErrorClass::Permanent);
        if lasting { &missing } else { trouble }.failure(Exit::CantCreate, &format!("{server}: {what} `{table}`"))
    };
    let first = match setup.layout.before.is_empty() {
        true => "cannot create table",
        false => "cannot create, or run the `before` statements of, table",
    };
    create(setup, ledger, session).map_err(|trouble| failure(&trouble, first))?;
    let existing = existing(setup, session).map_err(|trouble| failure(&trouble, "cannot look up table"))?;
    let refuse = |why: String| Failure::new(Exit::CantCreate, format!("{server}: table `{table}` {why}"));
    let casts = fit(setup, &existing).map_err(&refuse)?;
    let written = |there: &Existing| setup.layout.columns.iter().any(|ours| ours.column.name == there.name);
    let overriding = existing.iter().any(|there| there.always && written(there));
    let lasting = |trouble: &ServiceError| failure(trouble, "cannot look up table");
    session.begin("", "").map_err(|trouble| lasting(&trouble))?;
    types_fit(setup, session).map_err(|trouble| lasting(&trouble))?.map_err(&refuse)?;
    let deferred = is_deferred(setup, session).map_err(|trouble| lasting(&trouble))?;
    let target = Target { undivided: undivided(setup, &existing), deferred, ..statements(setup, &casts, overriding) };
    attempt(setup, &target, session).map_err(|trouble| failure(&trouble, "cannot write table"))?;
    session.run("rollback").map_err(|trouble| lasting(&trouble))?;
    if let Some(ledger) = ledger {
        ledger.note_table(&setup.table.quoted, session).map_err(|trouble| failure(&trouble, "cannot look up table"))?;
    }
    Ok(target)
}

/// Makes the table, and runs the statements that come before the first row. What this run has made before is neither
/// replaced nor emptied, and these statements are not run again.
fn create(setup: &Setup, ledger: Option<&Ledger>, session: &Session) -> Result<(), ServiceError> {
    let table = &setup.table.quoted;
    let mut first = Vec::new();
    match setup.layout.create {
        Create::Never => {}
        Create::Replace => first.extend([format!("drop table if exists {table}"), ddl(setup)]),
        Create::IfMissing | Create::Truncate => {
            let found = session.ask("select to_regclass($1) is not null", &[(table, Type::TEXT)])?;
            if !found.iter().any(|row| row.get(0)) {
                match session.run(&ddl(setup)) {
                    // Another run was faster.
                    Err(trouble) if trouble.is_there_already() => {}
                    made => made?,
                }
            } else if setup.layout.create == Create::Truncate {
                first.push(format!("truncate {table}"));
            }
        }
    }
    first.extend(setup.layout.before.iter().cloned());
    match once(setup, ledger, session, &first) {
        // The server was going on with what a killed attempt had asked for: now that is done.
        Err(trouble) if trouble.is_there_already() => once(setup, ledger, session, &first),
        made => made,
    }
}

/// Runs statements in one transaction, unless an earlier attempt at this run has done so.
fn once(setup: &Setup, ledger: Option<&Ledger>, session: &Session, statements: &[String]) -> Result<(), ServiceError> {
    if statements.is_empty() || ledger.map(|ledger| ledger.table_made(session)).transpose()? == Some(true) {
        return Ok(());
    }
    // Sent together, they are one transaction. The last line of one may be a comment.
    let note = ledger.map(|ledger| ledger.noting(&setup.table.quoted)).unwrap_or_default();
    session.run(&format!("{}\n; {note}", statements.join("\n; ")))
}

/// The statement that makes the table.
pub(super) fn ddl(setup: &Setup) -> String {
    let layout = &setup.layout;
    let made = layout.returned.iter().filter(|returned| returned.made);
    let key = made.map(|returned| format!("{} bigint generated always as identity primary key", returned.quoted));
    let columns = layout.columns.iter().map(|written| {
        let null = if written.column.nullable { "" } else { " not null" };
        format!("{} {}{null}", written.quoted, declared(&written.column.column_type))
    });
    let unique =
        (!layout.conflict.is_empty()).then(|| format!("unique ({})", names(layout, |at| layout.is_conflict(at))));
    let parts: Vec<String> = key.chain(columns).chain(unique).collect();
    format!("create table {} ({})", setup.table.quoted, parts.join(", "))
}

fn existing(setup: &Setup, session: &Session) -> Result<Vec<Existing>, ServiceError> {
    // Without its modifier a cast never cuts a value short: that is left to the assignment, which refuses it.
    let sql = "select attname::text, format_type(atttypid, -1), \
                      atttypid in ('text'::regtype, 'varchar'::regtype) and coalesce(collisdeterministic, true), \
                      attidentity = 'a' \
               from pg_attribute left join pg_collation c on c.oid = attcollation \
               where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let rows = session.ask(sql, &[(&setup.table.quoted, Type::TEXT)])?;
    let existing = |row: &tokio_postgres::Row| Existing {
        name: row.get(0),
        cast: row.get(1),
        exact: row.get(2),
        always: row.get(3),
    };
    Ok(rows.iter().map(existing).collect())
}

/// The casts of the written columns, where the table has all that is needed.
fn fit(setup: &Setup, existing: &[Existing]) -> Result<Vec<String>, String> {
    if existing.is_empty() {
        return Err("does not exist".to_owned());
    }
    let find = |name: &str| {
        let found = existing.iter().find(|column| column.name == name);
        found.map(|column| column.cast.clone()).ok_or_else(|| {
            let help = nearest(name, existing.iter().map(|column| column.name.as_str()));
            format!("has no column `{name}`; {}", help.unwrap_or_default())
        })
    };
    setup.layout.returned.iter().try_for_each(|returned| find(&returned.column.name).map(drop))?;
    setup.layout.columns.iter().map(|written| find(&written.column.name)).collect()
}

/// Why rows with equal keys might go to different workers.
fn undivided(setup: &Setup, existing: &[Existing]) -> Option<String> {
    let (column, _) = setup.divided_by().filter(|_| setup.layout.ordered)?;
    let there = existing.iter().find(|there| there.name == column.name)?;
    (column.column_type == ColumnType::String && !there.exact).then(|| {
        let (name, cast) = (&column.name, &there.cast);
        format!("column `{name}` is `{cast}`, to which different texts may be equal, so rows cannot be divided by it")
    })
}

/// Do the types of the table's columns go with those of the sink's? Answers with the first that does not.
fn types_fit(setup: &Setup, session: &Session) -> Result<Result<(), String>, ServiceError> {
    let written = setup.layout.columns.iter().map(|written| (&written.column, &written.quoted, false));
    let returned = setup.layout.returned.iter().map(|returned| (&returned.column, &returned.quoted, true));
    let columns: Vec<_> = written.chain(returned).collect();
    let names: Vec<&str> = columns.iter().map(|(_, quoted, _)| quoted.as_str()).collect();
    let sql = format!("select {} from {} limit 0", names.join(", "), setup.table.quoted);
    let statement = session.prepare(&sql)?;
    for ((column, _, back), described) in columns.iter().zip(statement.columns()) {
        let (name, ours, theirs) = (&column.name, &column.column_type, described.type_());
        if !*back && !takes(theirs, ours) {
            return Ok(Err(format!("cannot take column `{name}`: it is `{theirs}` there and `{ours}` here")));
        }
        if *back && !gives(theirs, ours) {
            return Ok(Err(format!("cannot give column `{name}`: it is `{theirs}` there and `{ours}` here")));
        }
    }
    Ok(Ok(()))
}

/// Is something of the table checked only at a commit? Constraints that can wait have triggers.
fn is_deferred(setup: &Setup, session: &Session) -> Result<bool, ServiceError> {
    let sql = "select exists (select from pg_trigger where tgrelid = to_regclass($1) and tginitdeferred)";
    let found = session.ask(sql, &[(&setup.table.quoted, Type::TEXT)])?;
    Ok(found.iter().any(|row| row.get(0)))
}

/// The statements for columns of these types.
fn statements(setup: &Setup, casts: &[String], overriding: bool) -> Target {
    let layout = &setup.layout;
    let copy = setup.copy.then(|| format!("copy {} ({}) from stdin", setup.table.quoted, names(layout, |_| true)));
    let conflict = !layout.conflict.is_empty() && layout.mode != WriteMode::Insert;
    // A row that stayed is not among those that an insert returns; and of rows with one key only the last is
    // inserted. So they are looked up by key.
    let find = (conflict && !layout.returned.is_empty()).then(|| find(setup, casts));
    let keys = (layout.mode == WriteMode::Upsert).then(|| keys(setup, casts));
    Target {
        insert: insert(setup, casts, overriding, find.is_none()),
        copy,
        find,
        keys,
        undivided: None,
        deferred: false,
    }
}

fn names(layout: &Layout, which: impl Fn(usize) -> bool) -> String {
    let columns = layout.columns.iter().enumerate().filter(|(at, _)| which(*at));
    columns.map(|(_, written)| written.quoted.as_str()).collect::<Vec<_>>().join(", ")
}

/// The columns that come back, in the types that are expected here; `of` is what stands before their names.
fn returned(setup: &Setup, of: &str) -> String {
    let columns = setup.layout.returned.iter().zip(&setup.wires);
    columns.map(|(returned, wire)| format!("{of}{}::{wire}", returned.quoted)).collect::<Vec<_>>().join(", ")
}

/// Each column is an array; the server puts rows together and keeps their order, so that ids ascend with it
/// and come back in it.
fn insert(setup: &Setup, casts: &[String], overriding: bool, back: bool) -> String {
    let layout = &setup.layout;
    let list = |item: &dyn Fn(usize) -> String| (0..casts.len()).map(item).collect::<Vec<_>>().join(", ");
    let arrays = list(&|i| format!("${}::text[]", i + 1));
    let given = list(&|i| format!("c{i}"));
    let cast = list(&|i| format!("u.c{i}::{} as c{i}", casts[i]));
    let mut rows = format!("select {cast}, u.o from unnest({arrays}) with ordinality as u({given}, o)");
    if layout.mode == WriteMode::Upsert {
        let key = layout.conflict.iter().map(|at| format!("s.c{at}")).collect::<Vec<_>>().join(", ");
        rows = format!(
            "select * from (select s.*, row_number() over (partition by {key} order by s.o desc) as n from ({rows}) s) l \
             where l.n = 1"
        );
    }
    let (columns, picked) = (names(layout, |_| true), list(&|i| format!("r.c{i}")));
    // COPY takes given values for identities that are generated always, without a word.
    let overriding = if overriding { " overriding system value" } else { "" };
    let table = &setup.table.quoted;
    let mut sql = format!("insert into {table} ({columns}){overriding} select {picked} from ({rows}) r order by r.o");
    let key = names(layout, |at| layout.is_conflict(at));
    match layout.mode {
        WriteMode::Insert => {}
        WriteMode::Ignore if key.is_empty() => sql.push_str(" on conflict do nothing"),
        WriteMode::Ignore => sql.push_str(&format!(" on conflict ({key}) do nothing")),
        WriteMode::Upsert => {
            let all = layout.conflict.len() == layout.columns.len();
            let set: Vec<String> = (0..casts.len())
                .filter(|&at| all || !layout.is_conflict(at))
                .map(|at| format!("{0} = excluded.{0}", layout.columns[at].quoted))
                .collect();
            sql.push_str(&format!(" on conflict ({key}) do update set {}", set.join(", ")));
        }
    }
    if back && !layout.returned.is_empty() {
        sql.push_str(&format!(" returning {}", returned(setup, "")));
    }
    sql
}

/// Looks rows up by their conflict columns, in the order of the arrays.
fn find(setup: &Setup, casts: &[String]) -> String {
    let layout = &setup.layout;
    let each = |item: &dyn Fn(usize, usize) -> String, by: &str| {
        layout.conflict.iter().enumerate().map(|(i, &at)| item(i, at)).collect::<Vec<_>>().join(by)
    };
    let arrays = each(&|i, _| format!("${}::text[]", i + 1), ", ");
    let given = each(&|i, _| format!("c{i}"), ", ");
    let same = each(&|i, at| format!("t.{} = u.c{i}::{}", layout.columns[at].quoted, casts[at]), " and ");
    format!(
        "select {}, t.tableoid is not null from unnest({arrays}) with ordinality as u({given}, o) \
         left join {} t on {same} order by u.o",
        returned(setup, "t."),
        setup.table.quoted,
    )
}

/// Counts the different keys among rows, by their conflict columns.
fn keys(setup: &Setup, casts: &[String]) -> String {
    let each = |item: &dyn Fn(usize, usize) -> String| {
        setup.layout.conflict.iter().enumerate().map(|(i, &at)| item(i, at)).collect::<Vec<_>>().join(", ")
    };
    let arrays = each(&|i, _| format!("${}::text[]", i + 1));
    let (given, cast) = (each(&|i, _| format!("c{i}")), each(&|i, at| format!("u.c{i}::{}", casts[at])));
    format!("select count(*) from (select distinct {cast} from unnest({arrays}) as u({given})) k")
}

/// Runs the statements on no rows, in the open transaction: what the server has against them shows before the first row comes.
fn attempt(setup: &Setup, target: &Target, session: &Session) -> Result<(), ServiceError> {
    let nothing =
        Encoded::new(&arrow_array::RecordBatch::new_empty(setup.layout.input.arrow()), &setup.layout.places());
    let arrays: Vec<_> = (0..setup.layout.columns.len()).map(|at| nothing.array(at, &[])).collect();
    let values: Vec<Param<'_>> = arrays.iter().map(|array| (array as _, Type::TEXT_ARRAY)).collect();
    session.ask(&target.insert, &values)?;
    if let Some(copy) = &target.copy {
        let copied = session.prepare(copy).and_then(|copy| session.copy(&copy, &nothing.lines(&[])));
        copied.map_err(|trouble| match trouble.code.as_deref() {
            // Not a table, or one with row-level security.
            Some("42809" | "0A000") => {
                let message = format!("{}; `method = \"insert\"` may do what COPY cannot", trouble.message);
                ServiceError { message, ..trouble }
            }
            _ => trouble,
        })?;
    }
    Ok(())
}
