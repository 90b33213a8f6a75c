"""NDJSON, TSV and CSV filtered, projected and converted, beside the tools that people use for it."""

import csv
import gzip
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile

from .common import (
    ROOT, RUNNER, WORK, Failed, build_runner, checked_output, cores, floor_program, made, median, python, run_alone,
)

PEERS = ROOT / "benches" / "loaders" / "files_peers.py"


def add_commands(commands):
    files = commands.add_parser("files", help="large files filtered, projected, converted")
    files.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}; all unless given")
    files.add_argument("--rounds", type=int, default=3, help="runs of each contender (default 3)")
    files.add_argument("--without", action="append", default=[], help="leave a contender out")
    files.set_defaults(run=files_command)


# ---- the works ----

MOVIES = """
name = "movies"
[sources.movies]
type = "files"
path = "{input}"
format = "ndjson"
columns = ["titleId string", "primaryTitle string", "startYear date", "isAdult bool", "actors json"]
[transforms.recent]
type = "filter"
input = "movies"
where = "not isAdult and startYear >= date '1990-01-01'"
[transforms.list]
type = "select"
input = "recent"
columns = {{ id = "titleId", title = "primaryTitle", year = "extract(year from startYear)", actors = "actors" }}
[sinks.file]
type = "files"
input = "list"
path = "out/result"
format = "ndjson"
"""
MOVIES_JQ = """select((.isAdult | not) and .startYear >= "1990-01-01")
    | {id: .titleId, title: .primaryTitle, year: (.startYear[0:4] | tonumber), actors: .actors}"""
MOVIES_MILLER = [
    "filter", "-x", '$isAdult || $startYear < "1990-01-01"', "then",
    "put", '$* = {"id": $titleId, "title": $primaryTitle, "year": int(substr0($startYear, 0, 3)), "actors": $actors}',
]

TITLES_MADE = """
name = "titles"
seed = 5
[definitions.title.fields]
n = { sequence = { start = 1 } }
tconst = { expr = "'tt' || cast(10000000 + n as string)" }
titleType = { choice = { values = ["movie", "short", "tvEpisode", "tvSeries"], weights = [3, 2, 4, 1] } }
primaryTitle = { template = "{catch_phrase}, {buzzword}" }
originalTitle = { template = "{catch_phrase} {buzzword}" }
isAdult = { int = { min = 0, max = 1 } }
startYear = { int = { min = 1950, max = 2024 }, null_rate = 0.05 }
endYear = { int = { min = 1990, max = 2024 }, null_rate = 0.9 }
runtimeMinutes = { int = { min = 1, max = 300 }, null_rate = 0.3 }
genres = { list = { of = { choice = ["Drama", "Comedy", "Short", "Action", "News"] }, min = 1, max = 3 } }
[sources.rows]
type = "generate"
definition = "title"
count = 2000000
[transforms.titles]
type = "select"
input = "rows"
drop = ["n"]
[sinks.file]
type = "files"
input = "titles"
path = "made"
format = "tsv"
null = '\\N'
"""
TITLES = """
name = "titles"
[sources.titles]
type = "files"
path = "{input}"
format = "tsv"
null = '\\N'
columns = ["tconst string", "titleType string", "primaryTitle string", "originalTitle string", "isAdult bool",
           {{ name = "startYear", type = "int32", nullable = true }}, {{ name = "endYear", type = "int32", nullable = true }},
           {{ name = "runtimeMinutes", type = "int32", nullable = true }}, "genres string"]
[transforms.movies]
type = "filter"
input = "titles"
where = "titleType = 'movie' and startYear >= 1990"
[transforms.list]
type = "select"
input = "movies"
columns = {{ id = "tconst", title = "primaryTitle", year = "startYear", genres = "genres" }}
[sinks.file]
type = "files"
input = "list"
path = "out/result"
format = "csv"
"""
TITLES_AWK = r"""
function field(text) {
    if (text ~ /[,"]/) { gsub(/"/, "\"\"", text); return "\"" text "\"" }
    return text
}
BEGIN { print "id,title,year,genres" }
$2 == "movie" && $6 != "\\N" && $6 >= 1990 { print field($1) "," field($3) "," $6 "," field($9) }
"""
TITLES_MILLER = [
    "filter", '$2 == "movie" && $6 != "\\N" && $6 >= 1990', "then", "cut", "-o", "-f", "1,3,6,9", "then",
    "rename", "1,id,3,title,6,year,9,genres",
]

NOTES_MADE = """
name = "notes"
seed = 9
[definitions.note.fields]
id = { sequence = { start = 1 } }
uuid = { pattern = "^^^^^^^^-^^^^" }
name = { fake = "name" }
email = { template = "{word}.{word}@example.org" }
city = { fake = "city" }
amount = { float = { min = 0, max = 1000, decimals = 2 } }
active = { bool = { p = 0.7 } }
day = { date = { from = "2020-01-01", to = "2024-12-31" } }
note = { template = "said \\"{buzzword}\\", {word}\\n{word}" }
[sources.rows]
type = "generate"
definition = "note"
count = 1000000
[sinks.file]
type = "files"
input = "rows"
path = "made"
format = "csv"
"""
NOTES = """
name = "notes"
[sources.notes]
type = "files"
path = "{input}"
format = "csv"
columns = ["id int64", "uuid string", "name string", "email string", "city string", "amount float64", "active bool",
           "day date", "note string"]
[sinks.file]
type = "files"
input = "notes"
path = "out/result"
format = "ndjson"
"""


class Work:
    """One work: its input, its job, and the peers that do it as commands of (input, output)."""

    def __init__(self, name, title, make, job, peers, rows):
        self.name, self.title, self.make, self.job, self.peers, self.rows = name, title, make, job, peers, rows

    def input(self):
        """The input, made once."""
        file = WORK / f"files-{self.name}"
        if not file.exists():
            with tempfile.TemporaryDirectory(prefix="making-", dir=made(WORK)) as making:
                job = pathlib.Path(making) / "make.toml"
                made_file = pathlib.Path(making) / "made"
                job.write_text(self.make if isinstance(self.make, str) else self.make.read_text())
                checked_output(RUNNER, "--quiet", "--set", f"sinks.file.path={made_file}", job)
                made_file.rename(file)
        return file

    def gzipped(self):
        file = self.input().with_name(f"files-{self.name}.gz")
        if not file.exists():
            making = file.with_name(file.name + ".making")
            with open(self.input(), "rb") as plain, gzip.open(making, "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            making.rename(file)
        return file


def json_rows(path):
    with open(path, "rb") as file:
        for line in file:
            yield json.loads(line)


def csv_rows(path):
    with open(path, newline="") as file:
        yield from csv.DictReader(file)


# To standard output: jq, Miller and awk write there.
def jq(source):
    return ["jq", "-c", MOVIES_JQ, source]


def works():
    peer = lambda name, work: lambda source: [python(), PEERS, name, work, source, "out/result"]  # noqa: E731
    floor = lambda work: lambda source: [floor_program("files_floor"), work, source, "out/result"]  # noqa: E731
    return {
        "movies": Work(
            "movies", "NDJSON, filter on 2 fields, 4 of 20 to NDJSON", ROOT / "jobs" / "movies.toml", MOVIES,
            {
                "floor": floor("movies"), "duckdb": peer("duckdb", "movies"), "polars": peer("polars", "movies"),
                "jq": jq, "miller": lambda source: ["mlr", "--ijsonl", "--ojsonl", *MOVIES_MILLER, source],
            },
            json_rows,
        ),
        "titles": Work(
            "titles", "TSV, filter on 2 fields, 4 of 9 to CSV", TITLES_MADE, TITLES,
            {
                "floor": floor("titles"), "polars": peer("polars", "titles"), "duckdb": peer("duckdb", "titles"),
                "awk": lambda source: ["awk", "-F\t", TITLES_AWK, source],
                "miller": lambda source: ["mlr", "--itsv", "--ocsv", "--implicit-tsv-header", *TITLES_MILLER, source],
            },
            csv_rows,
        ),
        "notes": Work(
            "notes", "CSV with quoted notes to NDJSON, all 9 columns", NOTES_MADE, NOTES,
            {"polars": peer("polars", "notes"), "duckdb": peer("duckdb", "notes")}, json_rows,
        ),
    }


WORKS = ("movies", "titles", "notes")
TO_STANDARD_OUTPUT = ("jq", "miller", "awk", "gzip -dc")


# ---- running them ----


def files_command(options):
    unknown = set(options.works) - set(WORKS)
    if unknown or options.rounds < 1:
        raise Failed(f"no such work: {', '.join(unknown)}" if unknown else "nothing to run")
    build_runner()
    floor_program("files_floor")
    for name, work in works().items():
        if options.works and name not in options.works:
            continue
        compare(work, options)
        compare_gzipped(work, options.rounds)
    print("Peak RSS is that of the whole process; Python's start and imports are part of DuckDB's and Polars' time.")
    return 0


def compare(work, options):
    source = work.input()
    commands = {"runner": runner(work, source)}
    for name, command in work.peers.items():
        if name in options.without:
            continue
        if name in ("jq", "miller", "awk") and not shutil.which(command(source)[0]):
            print(f"bench: no `{command(source)[0]}` here: {name} is left out", file=sys.stderr)
            continue
        commands[name] = command(source)
    runs = in_turn(commands, options.rounds, lambda folder: digest(work, folder))
    if len({runs[name][0]["checked"] for name in runs}) != 1:
        raise Failed(f"{work.name}: results differ: { {name: run[0]['checked'] for name, run in runs.items()} }")
    size, (rows, _) = source.stat().st_size, runs["runner"][0]["checked"]
    print(f"{work.title}: {size / 1e6:.0f} MB in, {rows:,} rows out, {cores()}, median of {options.rounds} rounds:\n")
    table(runs, base="floor" if "floor" in runs else "runner")


def compare_gzipped(work, rounds):
    source = work.gzipped()
    runs = in_turn({"runner": runner(work, source), "gzip -dc": ["gzip", "-dc", source]}, rounds, lambda folder: None)
    print(f"The same, gzipped to {source.stat().st_size / 1e6:.0f} MB:\n")
    table(runs, base="gzip -dc")


def runner(work, source):
    job = made(WORK / "jobs") / f"{work.name}-{source.suffix}.toml"
    job.write_text(work.job.format(input=source))
    return [RUNNER, "--quiet", job]


def in_turn(commands, rounds, check):
    """Runs every contender once a round. Results are compared in the first only: that takes longer than the work."""
    runs = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            output = "out/result" if name in TO_STANDARD_OUTPUT else None
            runs[name].append(run_alone(command, check if number == 0 else lambda folder: None, output))
            print(f"round {number + 1}, {name}: {runs[name][-1]['wall']:.2f} s", file=sys.stderr)
    return runs


def digest(work, folder):
    """Number and digest of the rows, whatever the spelling of their values."""
    count, sums = 0, 0
    for row in work.rows(folder / "out" / "result"):
        text = json.dumps(row, sort_keys=True).encode()
        sums = (sums + int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())) % 2**64
        count += 1
    return count, sums


def table(runs, base):
    print("| | wall s | CPU s | peak RSS MiB | wall ÷ " + base + " |")
    print("|---|---:|---:|---:|---:|")
    for name, results in runs.items():
        wall, cpu, peak = (median(results, what) for what in ("wall", "cpu", "peak"))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {wall / median(runs[base], 'wall'):.2f} |")
    print(flush=True)
