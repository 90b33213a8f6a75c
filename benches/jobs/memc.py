"""jobs/memc.toml, a Python loader, and a hand-written loop."""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

from .common import (
    ROOT, RUNNER, WORK, Failed, build_runner, checked_output, cores, floor_program, made, median, python, run_measured,
)

SERVERS = ("MEMC_IDFA", "MEMC_GAID", "MEMC_ADID", "MEMC_DVID")
TIMES_INPUT = 10


def add_commands(commands):
    memc = commands.add_parser("memc", help="app installs into memcached")
    memc.add_argument("rows", nargs="?", type=int, default=600_000, metavar="ROWS", help="default 600000")
    memc.add_argument("--rounds", type=int, default=5, help="runs of each contender (default 5)")
    memc.add_argument("--memory", action="store_true", help="compare peak memory on 1 and on 10 times the input")
    memc.add_argument("--data", type=pathlib.Path, metavar="FOLDER", help="use its *.tsv.gz instead of making input")
    memc.add_argument("--without", action="append", default=[], choices=CONTENDERS, help="leave a contender out")
    memc.set_defaults(run=memc_command)
    inner = commands.add_parser("measure", help="used by this script inside scripts/with-services")
    inner.add_argument("result", type=pathlib.Path)
    inner.add_argument("command", nargs="+")
    inner.set_defaults(run=measure_here)


# ---- the contenders ----


def runner_command(run, files):
    # A copy of the job keeps its state (beside the job) from one run to the next apart.
    job = shutil.copy(ROOT / "jobs" / "memc.toml", run)
    return [RUNNER, "--quiet", "--set", f"rejects.path={run}/rejects.ndjson", job]


def forgetful_command(run, files):
    command = runner_command(run, files)
    return [command[0], "--no-ledger", *command[1:]]


def python_command(run, files):
    return [python(), ROOT / "benches" / "loaders" / "memc_load.py", *files]


def floor_command(run, files):
    return [floor_program(), *files]


def unacknowledged_floor_command(run, files):
    return [floor_program(), "--no-ack", *files]


CONTENDERS = {
    "runner": runner_command,
    "runner --no-ledger": forgetful_command,
    "python": python_command,
    "floor": floor_command,
    "floor-no-ack": unacknowledged_floor_command,
}
IN_MEMORY_TABLE = ("runner", "floor")


def build(contenders):
    """Everything that is compiled, before anything is timed."""
    if contenders & {"runner", "runner --no-ledger"}:
        build_runner()
    if contenders & {"floor", "floor-no-ack"}:
        floor_program()


# ---- the commands ----


def memc_command(options):
    contenders = [name for name in CONTENDERS if name not in options.without]
    if options.memory:
        contenders = [name for name in contenders if name in IN_MEMORY_TABLE]
    if not contenders or options.rounds < 1:
        raise Failed("nothing to run")
    build(set(contenders))
    files = options.data and sorted(options.data.resolve().glob("[!.]*.tsv.gz")) or memc_input(options, contenders)
    if options.memory:
        return memc_memory(contenders, files, options.rounds)
    return memc_speed(contenders, files, options.rounds)


def memc_input(options, contenders):
    """The generated files of ROWS records, made once."""
    if options.data:
        raise Failed(f"no *.tsv.gz in `{options.data}`")
    folder = WORK / f"memc-{options.rows}"
    if not folder.exists():
        if "runner" not in contenders:
            raise Failed(f"no input in `{folder}`, and without the runner none can be made")
        making = pathlib.Path(tempfile.mkdtemp(prefix="making-", dir=made(WORK)))
        job = shutil.copy(ROOT / "jobs" / "appsinstalled.toml", making)
        where = f"sinks.export.path={making}/part-{{split}}.tsv.gz"
        checked_output(RUNNER, "--quiet", "--set", f"sources.apps.count={options.rows}", "--set", where, job)
        making.rename(folder)
    return sorted(folder.glob("[!.]*.tsv.gz"))


def memc_speed(contenders, files, rounds):
    runs = in_turn({name: (name, files) for name in contenders}, rounds)
    items = same_items(runs)
    size = sum(file.stat().st_size for file in files) / 2**20
    print(f"{items:,} items from {len(files)} files of {size:.0f} MiB, {cores()}, median of {rounds} rounds:\n")
    base = runs.get("floor")
    print("| | wall s | CPU s | peak RSS MiB | wall ÷ floor | CPU ÷ floor |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, results in runs.items():
        wall, cpu, peak = (median(results, what) for what in ("wall", "cpu", "peak"))
        ratios = [f"{median(results, what) / median(base, what):.2f}" if base else "" for what in ("wall", "cpu")]
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {ratios[0]} | {ratios[1]} |")
    print("\nCPU is the contender's own, without the servers'; peak RSS is the sum of its processes' peaks.")
    return 0


def memc_memory(contenders, files, rounds):
    with tempfile.TemporaryDirectory(prefix="larger-", dir=made(WORK)) as folder:
        larger = repeated(files, pathlib.Path(folder))
        cases = {}
        for name in contenders:
            cases[name, 1] = (name, files)
            cases[name, TIMES_INPUT] = (name, larger)
        runs = in_turn(cases, rounds)
    same_items(runs)
    print(f"Peak RSS in MiB, {cores()}, median of {rounds} rounds:\n")
    print(f"| | 1 × input | {TIMES_INPUT} × input | ratio |")
    print("|---|---:|---:|---:|")
    for name in contenders:
        small, large = (median(runs[name, times], "peak") for times in (1, TIMES_INPUT))
        print(f"| {name} | {small:.1f} | {large:.1f} | {large / small:.2f} |")
    return 0


def repeated(files, folder):
    """Each file as often as TIMES_INPUT says, in one (gzip members may follow each other)."""
    larger = []
    for file in files:
        larger.append(folder / file.name)
        with open(larger[-1], "wb") as out:
            out.write(file.read_bytes() * TIMES_INPUT)
    return larger


def same_items(runs):
    counts = {name: sorted({tuple(result["items"]) for result in results}) for name, results in runs.items()}
    if len({count for several in counts.values() for count in several}) != 1:
        raise Failed(f"the numbers of stored items differ: {counts}")
    return sum(next(iter(counts.values()))[0])


# ---- measuring ----


def in_turn(cases, rounds):
    """Runs every case once per round; gives the results by case."""
    results = {case: [] for case in cases}
    for number in range(rounds):
        for case, (contender, files) in cases.items():
            result = measure(contender, files)
            results[case].append(result)
            note = f"round {number + 1}, {case}: {result['wall']:.2f} s, {sum(result['items'])} items"
            print(note, file=sys.stderr)
    return results


def measure(contender, files):
    """One run with fresh servers, on links to the files: a job may rename its input."""
    with tempfile.TemporaryDirectory(prefix="run-", dir=made(WORK)) as run:
        links = []
        for file in files:
            links.append(os.path.join(run, file.name))
            link_or_copy(file, links[-1])
        environment = {name: value for name, value in os.environ.items() if name not in SERVERS}
        environment["APPS_INSTALLED"] = f"{run}/*.tsv.gz"
        result = os.path.join(run, "result.json")
        command = CONTENDERS[contender](run, links)
        services = [ROOT / "scripts" / "with-services", "memcached", "--"]
        inner = [*services, sys.executable, ROOT / "scripts" / "bench", "measure", result, "--", *command]
        if subprocess.run(inner, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
            raise Failed(f"`{contender}` failed")
        return json.loads(pathlib.Path(result).read_text())


def link_or_copy(file, target):
    try:
        os.link(file, target)
    except OSError:  # another file system, or links are not allowed
        shutil.copy(file, target)


def measure_here(options):
    """Runs a command beside the servers of this environment and writes what it took and what they hold."""
    figures = run_measured(options.command, stdout=subprocess.DEVNULL)
    figures["items"] = [current_items(os.environ[name]) for name in SERVERS]
    options.result.write_text(json.dumps(figures))
    return 0


def current_items(address):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as server, server.makefile("rb") as answer:
        server.sendall(b"stats\r\n")
        for line in answer:
            if line.startswith(b"STAT curr_items "):
                return int(line.split()[2])
    raise Failed(f"no item count from {address}")
