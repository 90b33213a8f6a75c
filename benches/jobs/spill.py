"""Rows that do not fit into memory sorted, grouped, joined, and of each key the last and the first, beside DuckDB and Polars."""

import pathlib
import tempfile

from .common import ROOT, RUNNER, WORK, Failed, build_runner, checked_output, cores, in_turn, made, median, python

PEERS = ROOT / "benches" / "loaders" / "spill_peers.py"
NAMES = ("runner", "runner, all in memory", "duckdb", "polars, streaming")
WORKS = {
    "sort": 'type = "sort"\ninput = "rows"\nby = ["k", "id"]',
    "aggregate": 'type = "aggregate"\ninput = "rows"\nby = ["k"]\n'
    'columns = { n = "count(*)", total = "sum(x)", latest = "max(id)" }',
    "join": 'type = "join"\ninput = "rows"\nwith = "others"\non = ["k"]',
    "last": 'type = "dedup"\ninput = "rows"\nby = ["k"]\nkeep = "last"',
    "first": 'type = "dedup"\ninput = "rows"\nby = ["k"]\nkeep = "first"',
}
OTHERS = """
[sources.others]
type = "files"
path = "{others}"
format = "parquet"
"""
JOB = """
name = "spill"
limits = {{ memory = "{memory}" }}
[sources.rows]
type = "files"
path = "{source}"
format = "parquet"
[transforms.done]
{work}
[sinks.out]
type = "files"
input = "done"
path = "out/result.parquet"
format = "parquet"
"""


def add_commands(commands):
    spill = commands.add_parser("spill", help="rows that do not fit into memory sorted, grouped, joined")
    spill.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)} (default all)")
    spill.add_argument("--rows", type=int, default=100_000_000, help="default 100000000")
    spill.add_argument("--keys", type=int, default=20_000_000, help="default 20000000")
    spill.add_argument("--memory", default="256MiB", help="for runner and DuckDB (default 256MiB)")
    spill.add_argument("--concurrency", type=int, default=2, help="workers of the stage where it can have several (default 2)")
    spill.add_argument("--rounds", type=int, default=3, help="runs of each contender (default 3)")
    spill.add_argument("--without", action="append", default=[], choices=NAMES, help="leave a contender out")
    spill.set_defaults(run=spill_command)


def spill_command(options):
    works = options.works or list(WORKS)
    if options.rows < 1 or options.rounds < 1 or any(work not in WORKS for work in works):
        raise Failed("nothing to run")
    build_runner()
    source, others = rows(options.rows, options.keys), rows(options.keys, None)
    size = source.stat().st_size / 1e6
    print(f"{options.rows:,} rows of {options.keys:,} keys, {size:,.0f} MB of Parquet, memory {options.memory}, {cores()}, median of {options.rounds} rounds:\n")
    print("| | | wall s | CPU s | peak RSS MiB | wall ÷ runner |")
    print("|---|---|---:|---:|---:|---:|")
    for work in works:
        peer = lambda tool: [python(), PEERS, tool, work, options.memory, source, others, "out/result.parquet"]  # noqa: B023, E731
        commands = {
            "runner": runner(work, source, others, options.memory, options.concurrency),
            "runner, all in memory": runner(work, source, others, "16GiB", options.concurrency),
            "duckdb": peer("duckdb"),
            "polars, streaming": peer("polars"),
        }
        commands = {name: command for name, command in commands.items() if name not in options.without}
        results = in_turn(commands, options.rounds, lambda folder: digest(folder, work), f"{work}, ")  # noqa: B023
        same(work, results)
        table(work, results)
    print("\nPython's start and imports are part of the peers' time, about half a second. Polars knows no limit of memory.")
    return 0


def table(work, results):
    base = median(results["runner"], "wall") if "runner" in results else None
    for name, figures in results.items():
        wall, cpu, peak = (median(figures, what) for what in ("wall", "cpu", "peak"))
        ratio = f"{wall / base:.2f}" if base else "-"
        print(f"| {work} | {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {ratio} |", flush=True)


def rows(count, keys):
    """The input, made once: so many rows of so many keys, or, without a number of keys, one row of each of so many."""
    file = WORK / f"spill-{count}-{keys or 'each'}.parquet"
    if not file.exists():
        with tempfile.TemporaryDirectory(prefix="making-", dir=made(WORK)) as making:
            made_file = pathlib.Path(making) / "made"
            checked_output(python(), PEERS, "make", str(count), str(keys or "each"), made_file)
            made_file.rename(file)
    return file


def runner(work, source, others, memory, workers):
    job = made(WORK / "jobs") / f"spill-{work}-{source.stem}-{memory}-{workers}.toml"
    text = JOB.format(memory=memory, source=source, work=WORKS[work])
    if work == "join":
        text = text.replace("[transforms.done]", OTHERS.format(others=others) + "[transforms.done]")
    if work != "sort":
        text = text.replace("[sinks.out]", f"concurrency = {workers}\n[sinks.out]")
    job.write_text(text)
    return [RUNNER, "--quiet", job]


def digest(folder, work):
    """What is the same in any order of rows; of sorted ones whether they are."""
    script = (
        "import duckdb, sys; c = duckdb.connect(); c.execute(\"set memory_limit='4GB'\"); f = sys.argv[1]; "
        "cols = [d[0] for d in c.execute(f\"select * from '{f}' limit 0\").description]; "
        "whole = [x for x in cols if x in ('id', 'k', 'n', 'latest', 'other')]; "
        "sums = ', '.join(f'sum({x}::hugeint)' for x in whole); "
        "print(sorted(cols), c.execute(f\"select count(*), {sums} from '{f}'\").fetchone()); "
        "o = 'select count(*) from (select k, id, lag(k) over () as pk, lag(id) over () as pid from read_parquet(?)) where (pk, pid) > (k, id)'; "
        "print(c.execute(o, [f]).fetchone() if sys.argv[2] == 'sort' else '')"
    )
    return checked_output(python(), "-c", script, str(folder / "out" / "result.parquet"), work)


def same(work, results):
    found = {name: figures[0]["checked"] for name, figures in results.items()}
    first, *others = found
    for name in others:
        if found[name] != found[first]:
            raise Failed(f"{work}: {first} and {name} differ: {found[first]} and {found[name]}")
