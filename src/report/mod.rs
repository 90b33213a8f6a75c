//! What a run tells people and machines, all of it made from events: counts (`tally`), the report file
//! (`json`), the table at the end (`summary`) and the lines while it runs (`progress`).

mod json;
mod progress;
mod summary;
mod tally;

pub use json::{Report, Run, schema};
pub use progress::{Progress, Screen, Style};
pub use summary::summary;
pub use tally::Tally;
