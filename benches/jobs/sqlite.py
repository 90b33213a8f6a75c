"""jobs/sample_tables.toml, and the same as a hand-written loop on two threads."""

import sqlite3
import sys

from .common import ROOT, RUNNER, Failed, build_runner, cores, floor_program, median, run_alone


def add_commands(commands):
    sqlite = commands.add_parser("sqlite", help="row pairs into two SQLite files")
    sqlite.add_argument("rows", nargs="?", type=int, default=1_000_000, metavar="ROWS", help="default 1000000")
    sqlite.add_argument("--rounds", type=int, default=5, help="runs of each contender (default 5)")
    sqlite.set_defaults(run=sqlite_command)


# A commit per row is slow: few rows are enough to know its rate.
ROWS_COMMITTED_EACH = 1_000
PAIRS = """
    select count(*) from sample_table m
    join track.sample_table_inserted_reference t on t.id = m.id and t.town = m.town
"""


def sqlite_command(options):
    if options.rows < 1 or options.rounds < 1:
        raise Failed("nothing to run")
    build_runner()
    floor = floor_program("sqlite_floor")
    job = ROOT / "jobs" / "sample_tables.toml"
    contenders = {
        "runner": (options.rows, lambda rows: [RUNNER, "--quiet", "--set", f"sources.rows.count={rows}", job]),
        "runner --no-ledger": (options.rows, lambda rows: [RUNNER, "--quiet", "--no-ledger", "--set", f"sources.rows.count={rows}", job]),
        "floor": (options.rows, lambda rows: [floor, str(rows), "out"]),
        "a commit per row": (ROWS_COMMITTED_EACH, lambda rows: [floor, "--commit-each", str(rows), "out"]),
    }
    runs = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, (rows, command) in contenders.items():
            result = run_alone(command(rows), pairs_in)
            if result["checked"] != rows:
                raise Failed(f"{name} stored {result['checked']} pairs of {rows}")
            runs[name].append(result)
            rate = rows / result["wall"]
            print(f"round {number + 1}, {name}: {result['wall']:.2f} s, {rate:,.0f} pairs/s", file=sys.stderr)
    print(f"{options.rows:,} row pairs into two SQLite files, {cores()}, median of {options.rounds} rounds:\n")
    rates = {name: rows / median(runs[name], "wall") for name, (rows, _) in contenders.items()}
    print("| | pairs | wall s | CPU s | pairs/s | ÷ floor |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, (rows, _) in contenders.items():
        wall, cpu = median(runs[name], "wall"), median(runs[name], "cpu")
        ratio = rates[name] / rates["floor"]
        print(f"| {name} | {rows:,} | {wall:.2f} | {cpu:.2f} | {rates[name]:,.0f} | {ratio:.3f} |")
    print(f"\nrunner ÷ a commit per row: {rates['runner'] / rates['a commit per row']:,.0f}")
    return 0


def pairs_in(folder):
    database = sqlite3.connect(folder / "out" / "main.db")
    database.execute("attach ? as track", (str(folder / "out" / "tracking.db"),))
    pairs = database.execute(PAIRS).fetchone()[0]
    database.close()
    return pairs
