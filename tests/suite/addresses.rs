//! Where a `memcached` sink finds its servers: addresses of every form, socket files. What it stored is read back by
//! pymemcache.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::{
    servers::{Memcached, nobody},
    work::{Ran, Work, oracle},
};

const JOB: &str = r#"
name = "prices"

[sources.lines]
type = "files"
path = "prices.csv"
format = "csv"
columns = ["k string", "v string"]

[sinks.cache]
type = "memcached"
input = "lines"
key = "k"
value = "v"
verify = { sample = 100 }
retry = { attempts = 2, backoff = "5ms", timeout = "2s" }
"#;

/// A folder that servers may write to, with the job and 300 rows; `keys` are those of the sink beside its columns.
fn work(keys: &str) -> Work {
    let work = Work::new();
    fs::set_permissions(work.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    work.file("prices.toml", format!("{JOB}{keys}\n"));
    let rows: String = (0..300).map(|n| format!("k{n},v{n}\n")).collect();
    work.file("prices.csv", format!("k,v\n{rows}"));
    work
}

/// Runs the job, which verifies what it stored, and looks for some of it with pymemcache.
fn stores(work: &Work, server: &str, options: &[&str]) -> Value {
    let report = work.report(0, &["prices.toml"]);
    assert_eq!(report["verified"][0]["found"], 100, "{report}");
    let ran = oracle(work, "cached.py", &[options, &[server, "k0", "k299", "none"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), json!({ "k0": "v0", "k299": "v299" }));
    report
}

/// The text of an error, and the command's exit code.
fn fails(ran: &Ran, code: i32, said: &str) {
    assert!(ran.code == code && ran.stderr.contains(said), "exit {}: {}", ran.code, ran.stderr);
}

/// The port of an address.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

#[test]
fn a_server_may_have_an_ipv6_address() {
    let free = nobody();
    let address = format!("[::1]:{}", port(&free));
    let _server = Memcached::listening(&address, &["-l", "::1", "-p", port(&free)]);
    stores(&work(&format!("servers = {{ only = '{address}' }}")), &address, &[]);
}

#[test]
fn a_server_may_be_a_socket_file_named_as_other_files_are() {
    let work = work("servers = { only = 'unix:run/m.sock' }");
    fs::create_dir(work.path("run")).unwrap();
    fs::set_permissions(work.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    let path = work.path("run/m.sock").to_str().unwrap().to_owned();
    fails(
        &work.run(&["prices.toml"]),
        69,
        "memcached server `only` (unix:run/m.sock) is down, given up after 2 attempts: No such file",
    );
    let mut server = Memcached::listening(&format!("unix:{path}"), &["-s", &path, "-a", "0777"]);
    stores(&work, &format!("unix:{path}"), &[]);
    // A file whose server is gone.
    server.kill();
    fails(&work.run(&["prices.toml"]), 69, "Connection refused");
    // The whole path does as well.
    let _server = Memcached::listening(&format!("unix:{path}"), &["-s", &path, "-a", "0777"]);
    work.file("prices.toml", format!("{JOB}servers = {{ only = 'unix:{path}' }}\n"));
    stores(&work, &format!("unix:{path}"), &[]);
}

#[test]
fn a_name_stands_for_its_addresses() {
    let server = Memcached::start(&[]);
    let name = format!("localhost:{}", port(&server.address));
    stores(&work(&format!("servers = {{ only = '{name}' }}")), &server.address, &[]);
    fails(&work("servers = { only = 'no.such.host.invalid:11211' }").run(&["prices.toml"]), 69, "no.such.host.invalid");
}
