//! Keys are put where libmemcached puts them. `ketama.json` is what `tests/oracle/ketama.py` says, which asks it; among
//! its lists are some for which the number of points is not what it should be.

use std::collections::HashMap;

use serde::Deserialize;

use super::{super::*, rig::*};

#[derive(Deserialize)]
struct Known {
    keys: Vec<String>,
    lists: Vec<List>,
}

#[derive(Deserialize)]
struct List {
    servers: Vec<String>,
    places: Vec<usize>,
}

#[test]
fn every_key_belongs_to_the_server_that_libmemcached_puts_it_on() {
    let known: Known = serde_json::from_str(include_str!("ketama.json")).expect("it is JSON");
    assert!(known.keys.len() > 100 && known.lists.len() > 5);
    for List { servers, places } in known.lists {
        let addresses: Vec<Address> = servers.iter().map(|server| Address::new(server)).collect();
        let ring = Ring::new(addresses.iter());
        let found: Vec<usize> = known.keys.iter().map(|key| ring.server(key.as_bytes())).collect();
        assert_eq!(found, places, "{servers:?}");
    }
}

#[test]
fn the_order_of_the_list_does_not_matter_and_a_server_less_moves_only_its_own_keys() {
    let names = ["a:1", "b:1", "c:1", "d:1"];
    let place = |names: &[&str], key: &str| {
        let addresses: Vec<Address> = names.iter().map(|name| Address::new(name)).collect();
        names[Ring::new(addresses.iter()).server(key.as_bytes())].to_owned()
    };
    let mut counts = HashMap::new();
    for key in (0..200).map(|n| format!("key {n}")) {
        let with_all = place(&names, &key);
        assert_eq!(with_all, place(&["c:1", "a:1", "d:1", "b:1"], &key));
        if with_all != "d:1" {
            assert_eq!(with_all, place(&names[..3], &key));
        }
        *counts.entry(with_all).or_insert(0) += 1;
    }
    assert!(counts.len() == 4 && counts.values().all(|count| *count > 20), "{counts:?}");
}

#[test]
fn rows_are_sent_to_their_servers_and_found_there() {
    let servers = [TestServer::start(&[]), TestServer::start(&[]), TestServer::start(&[])];
    let listed: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let verify = Some(Verify { sample: 1000, min: Share(1.0) });
    let spec = Spec { servers: Servers::Listed(listed), verify, route: None, ..spec(&[]) };
    let shared = Arc::new(shared(&spec));
    let mut core = Core::new(Arc::clone(&shared), Mode::Write);
    // The rows name servers, too, which do not matter.
    assert_eq!(write(&mut core, &numbered("k", 300, &["x", "y"])).accepted, 300);
    assert_eq!(core.commit(), Ok(()));
    let ring = shared.ring.as_ref().expect("the servers are a list");
    for key in (0..300).map(|i| format!("k{i}")) {
        assert_eq!(servers[ring.server(key.as_bytes())].get(&key), Some(key.clone().into_bytes()));
    }
    assert_eq!(servers.iter().map(TestServer::items).sum::<u64>(), 300);
    let verified = verify::verify(&shared).expect("the servers answer").expect("the spec asks for it");
    assert_eq!((verified.checked, verified.found), (300, 300));
    // A server that is gone takes its keys with it: they are not put elsewhere, where nobody would look for them.
    let [mut gone, ..] = servers;
    gone.kill();
    let written = write(&mut core, &numbered("n", 300, &["x"]));
    assert!(written.failed > 0 && written.failed < 300, "{} failed", written.failed);
    assert!(
        message(&written).starts_with(&format!("memcached server `{}` is down", gone.address)),
        "{}",
        message(&written)
    );
}
