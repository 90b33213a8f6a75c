//! What a run tells people and machines, all of it made from events: counts (`tally`), the report file
//! (`json`), the table at the end (`summary`) and the lines while it runs (`progress`), on a `screen`.

mod held;
mod json;
mod progress;
mod screen;
mod summary;
mod tally;
mod text;

pub use json::{FORMAT, Refusal, Report, Run, schema};
pub use progress::{Progress, Style};
pub use screen::{Level, LogFormat, Screen};
pub use summary::Ending;
pub use tally::Tally;
pub use text::{printable, printable_line};
