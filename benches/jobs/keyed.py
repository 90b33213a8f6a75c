"""To-do operations folded into documents, and those stored in a folder and in SQLite."""

import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from .common import ROOT, RUNNER, WORK, Failed, build_runner, checked_output, cores, floor_program, made


def add_commands(commands):
    keyed = commands.add_parser("keyed", help="operations folded into documents, and those stored")
    keyed.add_argument("operations", nargs="?", type=int, default=1_000_000, metavar="OPERATIONS", help="default 1000000")
    keyed.add_argument("keys", nargs="?", type=int, default=100_000, metavar="KEYS", help="default 100000")
    keyed.add_argument("--rounds", type=int, default=3, help="runs of each contender (default 3)")
    keyed.set_defaults(run=keyed_command)


KEYED_JOB = """
name = "keyed"
[sources.operations]
type = "files"
path = "{input}/*.tsv"
format = "tsv"
columns = ["list string", "op string", {{ name = "id", type = "int64", nullable = true }},
           {{ name = "entry", type = "json", nullable = true }}]
[transforms.lists]
type = "changelog"
input = "operations"
key = "list"
op = "op"
id = "id"
record = "entry"
auto_id = true
concurrency = {workers}
[sinks.persist]
input = "lists"
concurrency = {workers}
{sink}
"""
KEYED_SINKS = {
    "fold": 'type = "discard"',
    "folder": 'type = "kv"\npath = "{run}/store"\nkey = "list"\nvalue = "document"',
    "sqlite": 'type = "kv"\npath = "{run}/store.db"\nbackend = "sqlite"\nkey = "list"\nvalue = "document"',
}
# What each is measured against. Plain renames are not durable: they are shown beside, for comparison.
KEYED_FLOORS = {"fold": ["fold"], "folder": ["sync", "store"], "sqlite": ["upsert", "store.db"]}
KEYED_WORKERS = (1, 2, 4)


def keyed_command(options):
    build_runner()
    floor = floor_program("keyed_floor")
    folder = WORK / f"keyed-{options.operations}-{options.keys}"
    if not folder.exists():
        making = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=made(WORK)))
        checked_output(floor, "make", str(options.operations), str(options.keys), making)
        making.rename(folder)
    files = sorted(folder.glob("*.tsv"))

    def floor_run(words):
        return lambda run: [floor, words[0], *(run / name for name in words[1:]), *files]

    def runner_run(store, workers):
        def command(run):
            job = run / "keyed.toml"
            sink = KEYED_SINKS[store].format(run=run)
            job.write_text(KEYED_JOB.format(input=folder, workers=workers, sink=sink))
            return [RUNNER, "--quiet", job]

        return command

    cases = {("floor", store): floor_run(words) for store, words in KEYED_FLOORS.items()}
    cases["floor", "folder, not durable"] = floor_run(["rename", "store"])
    cases.update({(n, store): runner_run(store, n) for store in KEYED_SINKS for n in KEYED_WORKERS})
    seconds = {case: [] for case in cases}
    for number in range(options.rounds):
        for case, command in cases.items():
            seconds[case].append(keyed_seconds(command))
            print(f"round {number + 1}, {case}: {seconds[case][-1]:.2f} s", file=sys.stderr)
    rates = {case: options.operations / statistics.median(several) for case, several in seconds.items()}
    print(f"{options.operations:,} operations on {options.keys:,} keys, {cores()}, median of {options.rounds} rounds:\n")
    print("| operations/s | floor | " + " | ".join(f"{n} workers | ÷ floor" for n in KEYED_WORKERS) + " |")
    print("|---|---:" + "|---:" * 2 * len(KEYED_WORKERS) + "|")
    for store in KEYED_SINKS:
        base = rates["floor", store]
        figures = [f"{rates[n, store]:,.0f} | {rates[n, store] / base:.2f}" for n in KEYED_WORKERS]
        print(f"| {store} | {base:,.0f} | {' | '.join(figures)} |")
    print(f"\nThe floor folds in one thread, then stores in one loop: a file made durable and renamed per document")
    print(f"(without making it durable: {rates['floor', 'folder, not durable']:,.0f}), or upserts in transactions.")
    return 0


def keyed_seconds(command):
    """One run in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=made(WORK)) as run:
        command = command(pathlib.Path(run))
        start = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"`{command[0]}` exited {done.returncode}")
        return time.monotonic() - start
