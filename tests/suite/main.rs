//! The program as its users meet it: one binary of tests, each with a folder of its own, whole outputs
//! compared. Tests that need servers take their addresses from `scripts/with-services`.

mod apps;
mod command;
mod exits;
mod files;
mod house;
mod invalid;
mod memc;
mod report;
mod running;
mod servers;
mod work;
