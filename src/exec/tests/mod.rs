//! The executor's behaviour, shown with stages that do just what a test needs.

mod end;
mod flow;
mod order;
mod random;
mod stages;
mod stall;
mod trouble;
