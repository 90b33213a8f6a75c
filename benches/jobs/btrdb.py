"""Reading a BTrDB collection: `runner`, and the official Python client with a process per connection. One server, in
Python, for both."""

import json
import os
import subprocess
import sys
import tempfile
import time

from .common import ROOT, RUNNER, WORK, Failed, build_runner, cores, made, median, python, run_alone

STREAMS = 4
KEY = "tango"
JOB = """
name = "read"
[sources.points]
type = "btrdb"
endpoint = "${{BTRDB_ENDPOINTS}}"
api_key = {{ env = "BTRDB_API_KEY" }}
collection = "staging/large"
window = "12h"
columns = ["uuid", "time", "value"]
concurrency = {workers}
[transforms.counts]
type = "aggregate"
input = "points"
by = ["uuid"]
columns = {{ points = "count(*)" }}
[sinks.out]
type = "files"
input = "counts"
path = "out/counts"
format = "ndjson"
"""


def add_commands(commands):
    btrdb = commands.add_parser("btrdb", help="points of a BTrDB collection, counted")
    btrdb.add_argument("points", nargs="?", type=int, default=2_000_000, metavar="POINTS", help="default 2000000")
    btrdb.add_argument("--rounds", type=int, default=3, help="runs of each contender (default 3)")
    btrdb.add_argument("--connections", type=int, default=4, help="of each contender (default 4)")
    btrdb.set_defaults(run=btrdb_command)


def btrdb_command(options):
    if options.points < STREAMS or options.rounds < 1:
        raise Failed("nothing to run")
    build_runner()
    interpreter, loader = python(), ROOT / "benches" / "loaders" / "btrdb_read.py"
    each = options.points // STREAMS
    with tempfile.TemporaryDirectory(prefix="btrdb-", dir=made(WORK)) as folder:
        job = made(WORK) / "btrdb_read.toml"
        job.write_text(JOB.format(workers=options.connections))
        contenders = {
            "runner": ([RUNNER, "--quiet", job], counts_of_runner),
            "official client": (
                [interpreter, loader, "staging/large", str(options.connections), "out/counts"],
                counts_of_client,
            ),
        }
        server = start_server(interpreter, f"{folder}/port", each)
        try:
            runs = rounds(options.rounds, contenders, server, each)
        finally:
            server.kill()
            server.wait()
    show(runs, each * STREAMS, options)
    return 0


def start_server(interpreter, port_file, points):
    program = ROOT / "tests" / "servers" / "btrdb_server.py"
    args = ["--key", KEY, "--port-file", port_file, "--large", str(points)]
    server = subprocess.Popen([interpreter, program, *args], stdin=subprocess.DEVNULL)
    for _ in range(600):
        if os.path.exists(port_file):
            break
        time.sleep(0.05)
    else:
        server.kill()
        raise Failed("the server does not start")
    with open(port_file) as port:
        os.environ.update(BTRDB_ENDPOINTS=port.read().strip(), BTRDB_API_KEY=KEY)
    return server


def rounds(number, contenders, server, each):
    runs = {name: [] for name in contenders}
    for i in range(number):
        for name, (command, counts) in contenders.items():
            before = cpu_seconds(server.pid)
            result = run_alone(command, counts)
            result["server"] = cpu_seconds(server.pid) - before
            if list(result["checked"].values()) != [each] * STREAMS:
                raise Failed(f"{name} counts {result['checked']}")
            runs[name].append(result)
            print(f"round {i + 1}, {name}: {result['wall']:.2f} s", file=sys.stderr)
    if len({str(result["checked"]) for results in runs.values() for result in results}) != 1:
        raise Failed("the counts differ")
    return runs


def counts_of_runner(folder):
    rows = [json.loads(line) for line in (folder / "out" / "counts").read_text().splitlines()]
    return {row["uuid"]: row["points"] for row in sorted(rows, key=lambda row: row["uuid"])}


def counts_of_client(folder):
    pairs = [line.split() for line in (folder / "out" / "counts").read_text().splitlines()]
    return {uuid: int(count) for uuid, count in pairs}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(runs, points, options):
    print(
        f"{points:,} points of {STREAMS} streams in windows of 12 hours, {options.connections} connections each, "
        f"{cores()}, median of {options.rounds} rounds:\n"
    )
    print("| | wall s | points/s | client CPU s | server CPU s | peak MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, results in runs.items():
        wall, cpu, server, peak = (median(results, what) for what in ("wall", "cpu", "server", "peak"))
        print(f"| {name} | {wall:.2f} | {points / wall:,.0f} | {cpu:.2f} | {server:.2f} | {peak:,.0f} |")
    ratio = median(runs["official client"], "cpu") / median(runs["runner"], "cpu")
    print(f"\nclient CPU, official client ÷ runner: {ratio:.1f}")
