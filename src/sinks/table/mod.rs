//! What the sinks that write to a table of a database share.
//!
//! ```text
//! keys ─▶ Layout: which columns go where, what comes back          (layout, with a Dialect's names and types)
//! batch ─▶ Connection::write ─▶ answers ─▶ receipt, output, rejects  (worker)
//! end of the split ─▶ last part of the receipt ─▶ Connection::commit ─ refused? ─▶ every row again (recheck)
//! ```
//!
//! A kind of database is a [`Dialect`]: how its names are quoted and what its types can do; its statements; and a
//! [`Connection`]: one worker's way into the database, with the transaction that is open on it. Everything else is
//! here: the keys that all kinds have (`create`, `mode`, `conflict`, `returning`, `columns`, `order`), the checks of
//! them, receipts of splits and what follows from them, the columns that go on to other stages, how rows that are
//! refused are found among others, and what `plan` says.

mod answers;
mod bisect;
mod keys;
mod layout;
mod notes;
mod receipts;
mod recheck;
mod worker;

pub(super) use self::{
    bisect::{Put, bisect},
    keys::{Create, Keys, ReceiptsKey, Returning, WriteMode},
    layout::{Dialect, Layout, Returned, Written},
    receipts::{OLD_RECEIPTS, PartPlace, RECEIPTS, Receipts, taken_over},
    worker::{Commit, Connection, TableWorker},
};
