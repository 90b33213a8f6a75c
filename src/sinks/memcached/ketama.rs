//! Ketama: which server of a list a key belongs to, so that every client that does the same finds it there, and so that
//! a server more or less moves few keys.
//!
//! Servers have points on a circle of 32-bit numbers, and a key belongs to the server with the next point. Points and keys
//! are placed as libmemcached does it with `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED` and equal weights
//! (`src/libmemcached/hosts.cc` and `src/libmemcached/hash.cc` of <https://github.com/awesomized/libmemcached>): 40 MD5
//! digests for each server, of its name and a number, with four points in each digest.

use md5::{Digest, Md5};

use crate::service::Address;

/// The port that is left out of a server's name.
const DEFAULT_PORT: u16 = 11211;

/// Points of a server, if the circle is divided evenly.
const POINTS: f32 = 160.0;

/// Points in a digest.
const POINTS_PER_DIGEST: f32 = 4.0;

/// The points of all servers.
#[derive(Debug)]
pub(super) struct Ring {
    /// Each point, and its server's place in the list; ascending.
    points: Vec<(u32, usize)>,
}

impl Ring {
    pub(super) fn new<'a>(servers: impl ExactSizeIterator<Item = &'a Address>) -> Ring {
        let digests = digests(servers.len());
        let mut points: Vec<(u32, usize)> = Vec::new();
        for (place, server) in servers.enumerate() {
            let name = name(server);
            for number in 0..digests {
                let digest = Md5::digest(format!("{name}-{number}"));
                points.extend(digest.chunks_exact(4).map(|bytes| (point(bytes), place)));
            }
        }
        points.sort_unstable();
        Ring { points }
    }

    /// The place in the list of the server that a key belongs to.
    pub(super) fn server(&self, key: &[u8]) -> usize {
        let wanted = point(&Md5::digest(key));
        let next = self.points.partition_point(|(point, _)| *point < wanted);
        self.points.get(next).or(self.points.first()).map_or(0, |(_, server)| *server)
    }
}

/// Digests of each of so many servers: 40, or 39 where division by the number of servers and multiplication with it lose a
/// little in single precision, as with 25 servers. It is the same for all clients of libmemcached.
fn digests(servers: usize) -> u32 {
    let servers = servers as f32;
    (1.0 / servers * POINTS / POINTS_PER_DIGEST * servers + 1e-10).floor() as u32
}

/// The name of a server on the circle: host and port, without the default port, as they are written in the list. Socket
/// files have port 0.
fn name(server: &Address) -> String {
    match server.host_and_port() {
        Some((host, DEFAULT_PORT)) => host.to_owned(),
        Some((host, port)) => format!("{host}:{port}"),
        None => format!("{}:0", server.file().unwrap_or_default()),
    }
}

/// The number that the first four bytes of a digest make.
fn point(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
