//! stub
pub mod memcached;
