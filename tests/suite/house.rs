//! Holds the architecture that `src/lib.rs` describes: who may import what, who may print, and what every file
//! must have. It reads the code as text, without comments, strings and unit tests. An exception stands in a
//! list with its reason, and must be needed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    apps::{apps, text},
    servers::Servers,
    work::{Work, project},
};

/// Kinds of stages stand in these rooms.
const KINDS: [&str; 3] = ["sources", "transforms", "sinks"];

/// What files under a path must not name, with the reason.
const MUST_NOT: &[(&str, &[&str], &str)] = &[
    ("jobspec", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::stage"], "data flows one way"),
    ("batch", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::jobspec"], "data flows one way"),
    ("expr", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::stage"], "data flows one way"),
    ("formats", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::kind"], "data flows one way"),
    ("values", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::kind"], "data flows one way"),
    ("values", &["crate::batch", "crate::formats", "crate::expr", "crate::stage"], "is what these are made of"),
    ("jobspec", &["std::thread", "std::net", "std::process", "std::sync"], "knows no threads and no services"),
    ("batch", &["std::thread", "std::net", "std::process", "std::fs", "std::io"], "knows no threads and no I/O"),
    ("values", &["std::thread", "std::net", "std::process", "std::fs", "std::io"], "knows no threads and no I/O"),
    ("expr", &["std::thread", "std::net", "std::process", "std::fs", "std::io"], "knows no threads and no I/O"),
    ("formats", &["std::thread", "std::net", "std::process"], "is handed what it reads and writes"),
    ("sources", &["crate::exec", "crate::report", "crate::cli", "crate::plan"], "kinds know only the traits"),
    ("transforms", &["crate::exec", "crate::report", "crate::cli", "crate::plan"], "kinds know only the traits"),
    ("sinks", &["crate::exec", "crate::report", "crate::cli", "crate::plan"], "kinds know only the traits"),
    ("service", &["crate::exec", "crate::plan", "crate::report", "crate::cli", "crate::kind"], "knows no kind"),
    ("keyed", &["crate::exec", "crate::plan", "crate::report", "crate::cli"], "kinds know only the traits"),
    ("exec", &["crate::sources", "crate::transforms", "crate::sinks"], "knows kinds only as the traits"),
    ("exec", &["crate::cli", "crate::report"], "is watched, and does not watch itself"),
    ("report", &["crate::sources", "crate::transforms", "crate::sinks", "crate::cli"], "is made of events"),
];

/// Names that only files under these paths may have, with the exceptions and their reasons.
struct Only {
    names: &'static [&'static str],
    under: &'static [&'static str],
    except: &'static [(&'static str, &'static str)],
}

const ONLY: &[Only] = &[
    Only { names: &["crossbeam_channel::", "rayon::"], under: &["exec"], except: &[] },
    Only { names: &["toml::", "serde_yaml::", "saphyr_parser::"], under: &["jobspec/load"], except: &[] },
    Only {
        names: &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "dbg!",
            "io::stdout",
            "io::stderr",
            "stdout()",
            "stderr()",
        ],
        under: &["cli", "report", "main.rs"],
        except: &[("sinks/files/output.rs", "the path `-` stands for standard output, which is for data")],
    },
    Only { names: &["ExitCode", "process::exit", "process::abort"], under: &["main.rs"], except: &[] },
    Only {
        names: &["thread::spawn", "thread::Builder", "thread::scope", "mpsc::channel", "spawn_broadcast"],
        under: &["exec"],
        except: &[
            (
                "sinks/postgres/heartbeat.rs",
                "a run says that it lives while its workers wait for hours, so that no other host takes it over",
            ),
            ("cli/run.rs", "signals are waited for on a thread of their own"),
        ],
    },
    // Clients that are asynchronous have a runtime for each connection; nobody else knows of one.
    Only { names: &["tokio::", "tonic::"], under: &["service", "postgres", "sources/btrdb"], except: &[] },
    Only { names: &["unsafe"], under: &[], except: &[("values/builder.rs", "text is not checked to be UTF-8 twice")] },
    Only { names: &["todo!", "unimplemented!"], under: &[], except: &[] },
];

/// One file of the program.
struct Source {
    /// Its path below `src`.
    path: String,
    text: String,
    /// The text without comments, the contents of strings, and unit tests.
    code: String,
}

impl Source {
    fn is_under(&self, path: &str) -> bool {
        let rest = self.path.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('.'))
    }

    /// The names of the modules it stands in.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').filter(|part| !["lib", "main"].contains(part)).collect()
    }

    /// Every path it names that begins with `crate`, `super` or `std`; the first two as paths from `crate`.
    fn paths(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for root in ["crate::", "super::", "std::"] {
            for (at, _) in self.code.match_indices(root) {
                let before = self.code[..at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
                    let mut paths = Vec::new();
                    tree(&self.code[at..], "", &mut paths);
                    found.extend(paths.iter().map(|path| self.absolute(path)));
                }
            }
        }
        found
    }

    fn absolute(&self, path: &str) -> String {
        let ups = path.split("::").take_while(|part| *part == "super").count();
        if ups == 0 {
            return path.to_owned();
        }
        let module = self.module();
        let left = &module[..module.len().saturating_sub(ups)];
        let rest = path.split("::").skip(ups);
        ["crate"].into_iter().chain(left.iter().copied()).chain(rest).collect::<Vec<_>>().join("::")
    }
}

/// The paths of a use tree such as `std::{fs, io::{Read, Write}}`, or of a path in the code. Returns how much of
/// the text it takes.
fn tree(text: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
    let path = format!("{prefix}{name}");
    let mut at = name.len();
    if !name.ends_with("::") || !text[at..].starts_with('{') {
        paths.push(path.trim_end_matches("::").to_owned());
        return at;
    }
    at += 1;
    while at < text.len() && !text[at..].starts_with('}') {
        let skipped = text[at..].find(|c: char| c.is_alphanumeric() || "_}".contains(c)).unwrap_or(text.len() - at);
        at += skipped;
        if !text[at..].starts_with('}') {
            at += tree(&text[at..], &path, paths);
            // What follows ` as ` is another name for it.
            if text[at..].starts_with(" as ") {
                at += text[at..].find([',', '}']).unwrap_or(text.len() - at);
            }
        }
    }
    at + 1
}

/// Code without what only looks like code. Line ends stay.
fn bare(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut bare = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if c == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") || rest.starts_with("'\\\"'") {
            rest[2..].find('\'').map_or(rest.len(), |end| end + 3)
        } else {
            bare.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    bare
}

/// The length of the string that a text begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Files of the program that are not tests.
fn sources() -> Vec<Source> {
    let root = project("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let is_test = |path: &str| {
        path.starts_with("testing/") || ["/tests/", "/tests.rs", "/testing.rs"].iter().any(|part| path.contains(part))
    };
    let mut sources: Vec<Source> = paths
        .iter()
        .filter(|path| !is_test(&relative(path)))
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            Source { path: relative(path), code: bare(&text), text }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "these are not all");
    sources
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_code_reads_code() {
    let text = "use std::{fs, io::{self as sys, Read}}; // crate::cli\nlet a = \"crate::exec \\\" \"; crate::plan::x();\nuse super::super::b::{C, d::E};\n#[cfg(test)]\nmod tests { use crate::report; }";
    let source = Source { path: "sinks/files/output.rs".into(), text: String::new(), code: bare(text) };
    let paths: Vec<String> = source.paths().into_iter().collect();
    let expected =
        ["crate::plan::x", "crate::sinks::b::C", "crate::sinks::b::d::E", "std::fs", "std::io::Read", "std::io::self"];
    assert_eq!(paths, expected);
    assert!(source.is_under("sinks/files") && source.is_under("sinks") && !source.is_under("sinks/file"));
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut wrong = Vec::new();
    for source in sources() {
        let paths = source.paths();
        for (room, forbidden, why) in MUST_NOT.iter().filter(|(room, ..)| source.is_under(room)) {
            for path in paths.iter().filter(|path| forbidden.iter().any(|no| begins(path, no))) {
                wrong.push(format!("src/{} names `{path}`, but `{room}` {why}", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn only_the_loader_of_specs_and_of_secrets_reads_files() {
    let reads = |source: &&Source| source.is_under("jobspec/load") || source.is_under("jobspec/secret");
    let does_io = |path: &&String| begins(path, "std::fs") || begins(path, "std::io");
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.is_under("jobspec") && !reads(source)) {
        wrong.extend(source.paths().iter().filter(does_io).map(|path| format!("src/{} names `{path}`", source.path)));
    }
    none(wrong);
}

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn kinds_never_import_each_other() {
    // What kinds of one room share, such as keys of rows, is not a kind itself.
    let kind_of = |source: &Source| match source.module()[..] {
        [room, kind, ..] if KINDS.contains(&room) => Some(format!("crate::{room}::{kind}")),
        _ => None,
    };
    let all = sources();
    let kinds: BTreeSet<String> = all.iter().filter(|s| s.code.contains("const KIND:")).filter_map(kind_of).collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    let mut wrong = Vec::new();
    for source in &all {
        let Some(own) = kind_of(source) else { continue };
        let others = |path: &&String| kinds.iter().any(|kind| *kind != own && begins(path, kind));
        let paths = source.paths();
        for path in paths.iter().filter(others) {
            wrong.push(format!("src/{} names `{path}`", source.path));
        }
    }
    none(wrong);
}

#[test]
fn what_belongs_to_one_room_stays_in_it() {
    let mut wrong = Vec::new();
    for Only { names, under, except } in ONLY {
        let mut unused: BTreeSet<&str> = except.iter().map(|(path, _)| *path).collect();
        for source in sources().iter().filter(|source| !under.iter().any(|path| source.is_under(path))) {
            for name in names.iter().filter(|name| has_word(&source.code, name)) {
                if !except.iter().any(|(path, _)| *path == source.path) {
                    wrong.push(format!("src/{} has `{name}`, which is for {under:?}", source.path));
                }
                unused.remove(source.path.as_str());
            }
        }
        wrong.extend(unused.iter().map(|path| format!("src/{path} needs no exception any more for {names:?}")));
    }
    none(wrong);
}

/// Does the code have this name, not as a part of a longer one?
fn has_word(code: &str, name: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next().filter(|_| name.ends_with(part_of_word));
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[test]
fn every_file_says_what_it_is() {
    let mut files = Vec::new();
    ["src", "tests", "benches"].iter().for_each(|folder| walk(&project(folder), &mut files));
    let opens = |path: &&PathBuf| !fs::read_to_string(path).unwrap().starts_with("//! ");
    none(files.iter().filter(opens).map(|path| format!("{} does not open with `//! `", path.display())).collect());
}

#[test]
fn no_file_of_the_program_is_longer_than_500_lines() {
    let long = |source: &Source| source.text.lines().count() > 500;
    none(
        sources()
            .iter()
            .filter(|source| long(source))
            .map(|source| format!("src/{} is too long", source.path))
            .collect(),
    );
}

#[test]
fn the_architecture_page_names_every_room() {
    let page = fs::read_to_string(project("src/lib.rs")).unwrap();
    let rooms = page.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    none(
        rooms
            .filter(|room| !page.contains(&format!("[`{room}`]")))
            .map(|room| format!("no word of `{room}`"))
            .collect(),
    );
}

/// The repository stands alone: nothing in it names places outside of it.
#[test]
fn nothing_committed_points_out_of_the_repository() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(project("")).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let files = String::from_utf8(listed.stdout).unwrap();
    let outside = [concat!("../", "shared"), concat!("/wo", "rk/"), concat!(".lib", "rary")];
    let mut wrong = Vec::new();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let Ok(bytes) = fs::read(project(file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let found = outside.iter().filter(|word| text.contains(**word));
        wrong.extend(found.map(|word| format!("{file} names `{word}`")));
    }
    none(wrong);
}

fn readme() -> String {
    fs::read_to_string(project("README.md")).unwrap()
}

#[test]
fn every_command_of_the_readme_works() {
    let readme = readme();
    let commands: Vec<Vec<&str>> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("runner "))
        .map(|line| line.split('#').next().unwrap_or_default().split_whitespace().collect())
        .collect();
    assert!(commands.len() >= 5, "{commands:?}");
    let servers = Servers::start();
    for args in commands {
        let work = servers.in_env(Work::with_memc());
        for job in ["movies.toml", "movie_list.toml"] {
            let text = fs::read_to_string(project("jobs").join(job)).unwrap();
            work.file(&format!("jobs/{job}"), text);
        }
        if args.contains(&"jobs/movie_list.toml") {
            work.expect(0, &["jobs/movies.toml", "--quiet", "--set", "sources.movies.count=100"]);
        }
        let records = text(&apps("readme", 20), "\n");
        if args.contains(&"replay") {
            work.gzip("data/appsinstalled/part.tsv.gz", format!("{records}idfa\tno numbers\n"));
            work.expect(0, &["jobs/memc.toml", "--quiet", "--set", "limits.rejects=1"]);
        }
        work.gzip("data/appsinstalled/part.tsv.gz", records);
        work.expect(0, &args);
    }
}

#[test]
fn the_readme_knows_the_exit_codes() {
    let readme = readme();
    let failure = fs::read_to_string(project("src/failure.rs")).unwrap();
    let codes = |text: &str| -> BTreeSet<u8> { text.split([',', ' ']).filter_map(|word| word.parse().ok()).collect() };
    let in_code: BTreeSet<u8> =
        failure.lines().filter_map(|line| line.split_once(" = ")?.1.strip_suffix(',')?.parse().ok()).collect();
    let table = readme.split("| code | meaning |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let in_readme: BTreeSet<u8> = rows.flat_map(|row| codes(row.split('|').nth(1).unwrap())).collect();
    assert_eq!(in_readme, in_code);
}
