//! The program as its users meet it: one binary of tests, each with a folder of its own, whole outputs
//! compared. Tests that need servers take their addresses from `scripts/with-services`.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test, in helpers too")]
#![allow(unreachable_pub, reason = "the modules of one program of tests")]

mod addresses;
mod apps;
mod bounds;
mod btrdb;
mod command;
mod exits;
mod expressions;
mod files;
mod full_disk;
mod guides;
mod house;
mod imdb;
mod invalid;
mod kills;
mod locks;
mod memc;
mod mistakes;
mod movies;
mod one_path;
mod parquet;
mod places;
mod postgres;
mod protobuf;
mod proxy;
mod quality;
mod rejects;
mod replay;
mod report;
mod restarts;
mod resume;
mod running;
mod sample_tables;
mod secrets;
mod servers;
mod spilling;
mod statements;
#[cfg(feature = "failpoints")]
mod sweep;
mod targets;
mod telling;
mod terminal;
mod todo;
mod transforms;
mod unfinished;
mod values;
mod work;
