//! Tests against real memcached servers; for servers that misbehave, a listener or a proxy stands in.

mod acknowledged;
mod faults;
mod identity;
mod ketama;
mod rig;
mod spec;
mod unacknowledged;
mod verified;
