//! How a `memcached` sink reaches its servers: addresses of every form, passwords, TLS, and keys that are spread over a
//! list. What it stored is read back by pymemcache and by libmemcached.

use std::{fs, io::Write, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::{
    servers::{Memcached, certificate, nobody},
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

/// What is in all files of a folder but these.
const PASSWORD: &str = "tan:g@/o#%?\"\\";

#[test]
fn a_password_opens_servers_that_ask_for_one_and_is_shown_nowhere() {
    let login = "username = 'boss'\npassword = { env = 'CACHE_PASSWORD' }";
    let free = nobody();
    let keys = |login: &str| format!("servers = {{ only = '{free}' }}\n{login}");
    let work = work(&keys(login)).env("CACHE_PASSWORD", PASSWORD);
    work.file("users", format!("other:x\nboss:{PASSWORD}\n"));
    let users = work.path("users");
    let listen = ["-l", "127.0.0.1", "-p", port(&free), "-Y", users.to_str().unwrap()];
    let server = Memcached::listening(&free, &listen);
    stores(&work, &free, &["--auth", &format!("boss {PASSWORD}")]);
    let told = |code: i32, said: &str, work: &Work| {
        let ran = work.run(&["prices.toml", "--fresh"]);
        fails(&ran, code, said);
        // It is told at once.
        assert!(!ran.stderr.contains("attempt"), "{}", ran.stderr);
        let all = format!("{}{}{}", ran.stderr, ran.stdout, work.texts(&["users"]));
        assert!(!all.contains("tan:g") && !all.contains("wrong-one"), "{all}");
    };
    let wrong = self::work(&keys(login)).env("CACHE_PASSWORD", "wrong-one");
    told(77, &format!("memcached server `only` ({free}): the server refuses the user `boss` or the password"), &wrong);
    told(77, "the server asks for a user and a password: give `username` and `password`", &self::work(&keys("")));
    told(78, "the environment variable `CACHE_PASSWORD` is not set", &self::work(&keys(login)));
    let plan = work.expect(0, &["plan", "prices.toml"]);
    assert!(plan.stdout.contains("user `boss`") && !plan.stdout.contains(PASSWORD), "{}", plan.stdout);
    // A password that is wrong when what is stored is read back, or looked for by a resumed run, is told as well.
    assert_eq!(work.texts(&["users"]).matches(PASSWORD).count(), 0);
    drop(server);
    // A server that asks for none is not told it: it would take it for a value.
    let open = Memcached::listening(&free, &listen[..4]);
    stores(&work, &free, &[]);
    assert_eq!((open.items(), open.get("auth")), (300, None));
}

#[test]
fn tls_is_spoken_with_servers_that_are_vouched_for() {
    let files = work("");
    let [certificate, key] = certificate(&files);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let free = nobody();
    let options = format!("ssl_chain_cert={certificate},ssl_key={key}");
    let listen = ["-l", "127.0.0.1", "-p", port(&free), "-Z", "-o", &options];
    let server = Memcached::listening(&free, &listen);
    let with = |keys: &str| work(&format!("servers = ['{free}']\n{keys}"));
    let trusting = with(&format!("tls = true\nca = '{certificate}'"));
    stores(&trusting, &free, &["--tls", &certificate]);
    // Values of more bytes than one piece of TLS, or a socket, holds at once.
    let long = "x".repeat(200_000);
    let rows: String = (0..20).map(|n| format!("k{n},v{n}{long}\n")).collect();
    trusting.file("prices.csv", format!("k,v\n{rows}"));
    let report = trusting.report(0, &["prices.toml", "--set", "sinks.cache.retry.timeout=20s"]);
    assert_eq!([&report["verified"][0]["checked"], &report["verified"][0]["found"]], [20, 20]);
    // Nobody vouches for it: told at once.
    let distrusted = with("tls = true").run(&["prices.toml"]);
    fails(&distrusted, 69, "invalid peer certificate");
    assert!(!distrusted.stderr.contains("attempt"), "{}", distrusted.stderr);
    fails(&with(&format!("tls = true\nca = '{key}'")).run(&["prices.toml"]), 78, "holds no certificate in PEM form");
    // One side speaks TLS and the other does not.
    fails(&with("").run(&["prices.toml"]), 69, "given up after 2 attempts");
    drop(server);
    let plain = Memcached::listening(&free, &listen[..4]);
    let told = trusting.run(&["prices.toml"]);
    fails(&told, 69, "given up after 2 attempts");
    fails(&told, 69, "the server does not speak TLS at this address");
    assert_eq!(plain.items(), 0);
}

#[test]
fn servers_may_ask_for_our_own_certificate_and_for_a_password_as_well() {
    let files = work("");
    let [certificate, key] = certificate(&files);
    let other = work("");
    let [own, own_key] = self::certificate(&other);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    files.file("users", "boss:tango\n");
    let users = files.path("users");
    let free = nobody();
    let options = format!("ssl_chain_cert={certificate},ssl_key={key},ssl_verify_mode=2,ssl_ca_cert={own}");
    let _server = Memcached::listening(
        &free,
        &["-l", "127.0.0.1", "-p", port(&free), "-Z", "-o", &options, "-Y", users.to_str().unwrap()],
    );
    let with = |keys: &str| {
        let login = "username = 'boss'\npassword = { env = 'CACHE_PASSWORD' }";
        work(&format!("servers = ['{free}']\n{login}\ntls = true\nca = '{certificate}'\n{keys}"))
            .env("CACHE_PASSWORD", "tango")
    };
    let options = ["--auth", "boss tango", "--tls", &certificate, "--identity", &own, &own_key];
    let known = with(&format!("client_certificate = '{own}'\nclient_key = '{own_key}'"));
    stores(&known, &free, &options);
    let unknown = with("").run(&["prices.toml"]);
    assert_eq!(unknown.code, 69, "{}", unknown.stderr);
    let odd = with(&format!("client_certificate = '{own}'\nclient_key = '{own}'"));
    fails(&odd.run(&["prices.toml"]), 78, "holds no private key in PEM form");
}

/// What libmemcached says of keys and servers; `None`, with a word of it, where there is no package for this Python.
fn libmemcached(work: &Work, options: &[&str], asked: &Value) -> Option<Value> {
    work.file("asked.json", asked.to_string());
    let ran = oracle(work, "ketama.py", &[options, &["asked.json"]].concat());
    if ran.code == 3 {
        std::io::stderr().write_all(b"not asked: there is no pylibmc\n").unwrap();
        return None;
    }
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn other_clients_find_what_is_spread_over_a_list_of_servers() {
    let servers = [(); 3].map(|()| Memcached::start(&[]));
    let listed: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let work = work(&format!("servers = {listed:?}"));
    let keys: Vec<String> = (0..300).map(|n| format!("k{n}")).collect();
    let dry = work.expect(0, &["prices.toml", "--dry-run", "--limit", "1"]);
    let report = work.report(0, &["prices.toml"]);
    assert_eq!(report["verified"][0]["found"], 100, "{report}");
    let items: Vec<usize> = servers.iter().map(Memcached::items).collect();
    assert!(items.iter().sum::<usize>() == 300 && items.iter().all(|items| *items > 30), "{items:?}");
    let Some(found) = libmemcached(&work, &["--get"], &json!([[listed, keys]])) else { return };
    assert_eq!(found[0].as_object().unwrap().len(), 300);
    assert!(keys.iter().all(|key| found[0][key] == key.replace('k', "v")), "{found}");
    let places = libmemcached(&work, &[], &json!([[listed, keys]])).unwrap();
    for (key, place) in keys.iter().zip(places[0].as_array().unwrap()) {
        let server = &servers[place.as_u64().unwrap() as usize];
        assert!(server.get(key).is_some(), "{key} is not on {place}");
    }
    let first = listed[places[0][0].as_u64().unwrap() as usize];
    assert!(dry.stderr.contains(&format!("set k0 → {first}, 2 bytes")), "{}", dry.stderr);
}

#[test]
fn later_rows_of_a_key_replace_earlier_ones_and_what_was_there() {
    let servers = [(); 2].map(|()| Memcached::start(&[]));
    let listed: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let work = work(&format!("servers = {listed:?}\nconcurrency = 4"));
    work.expect(0, &["prices.toml"]);
    // Each key comes forty times more.
    let rows: String = (0..40).flat_map(|round| (0..50).map(move |n| format!("k{n},round {round}\n"))).collect();
    work.file("prices.csv", format!("k,v\n{rows}"));
    work.expect(0, &["prices.toml", "--set", "sources.lines.batch.rows=7"]);
    for n in 0..50 {
        let held: Vec<_> = servers.iter().filter_map(|server| server.get(&format!("k{n}"))).collect();
        assert_eq!(held, [b"round 39".to_vec()], "k{n}");
    }
}
