"""What every comparison needs: building, running a program in a folder of its own, figures."""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "bench"
RUNNER = ROOT / "target" / "release" / "runner"


class Failed(Exception):
    """Why there are no figures."""


def checked_output(*command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"`{command[0]}` exited {done.returncode}")
    return done.stdout.strip()


built = {}


def floor_program(bench="floor"):
    if bench not in built:
        messages = checked_output(
            "cargo", "bench", "--locked", "--bench", bench, "--no-run", "--message-format=json-render-diagnostics"
        )
        artifacts = [json.loads(line) for line in messages.splitlines()]
        built[bench] = next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == bench)
    return built[bench]


def build_runner():
    checked_output("cargo", "build", "--release", "--locked")


def python():
    """A Python with the packages of tests/oracle/requirements.txt."""
    return checked_output(ROOT / "scripts" / "python-env")


def median(results, what):
    return statistics.median(result[what] for result in results)


def cores():
    return f"{len(os.sched_getaffinity(0))} cores"


def made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ---- running ----


def run_alone(command, check, output=None):
    """Runs a command in a folder of its own that has a folder `out`; `check` looks at the folder afterwards.

    Gives seconds of wall clock and CPU, and the peak resident MiB. Job specs are copied into the folder, which
    keeps their state from one run to the next apart. `output` is the file in the folder that standard output
    goes to.
    """
    with tempfile.TemporaryDirectory(prefix="run-", dir=made(WORK)) as run:
        folder = pathlib.Path(run)
        made(folder / "out")
        command = [shutil.copy(part, run) if is_job(part) else part for part in command]
        with open(folder / output if output else os.devnull, "wb") as stdout:
            figures = run_measured(command, cwd=run, stdin=subprocess.DEVNULL, stdout=stdout)
        figures["checked"] = check(folder)
    return figures


def in_turn(commands, rounds, check, about=""):
    """Runs every command, by its name, alone and once a round; gives the results by name."""
    runs = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            runs[name].append(run_alone(command, check))
            print(f"{about}round {number + 1}, {name}: {runs[name][-1]['wall']:.2f} s", file=sys.stderr)
    return runs


def is_job(part):
    return isinstance(part, pathlib.Path) and part.suffix == ".toml"


def run_measured(command, **how):
    """Seconds of wall clock and CPU, and the sum of the peak resident MiB of the process and its descendants."""
    start = time.monotonic()
    process = subprocess.Popen(command, **how)
    peaks = {}
    threading.Thread(target=watch_memory, args=(process.pid, peaks), daemon=True).start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"`{command[0]}` exited {process.returncode}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak": sum(peaks.values()) / 1024}


def watch_memory(pid, peaks):
    """Keeps the peak resident KiB of a process and each of its descendants up to date, until it is gone.

    The kernel's own peak is read (VmHWM), so looking now and then misses only growth just before the end. The
    figure that `wait4` gives will not do: it starts from the size of the process that did the starting.
    """
    while pid in tree_peaks(pid, peaks):
        time.sleep(0.02)


def tree_peaks(pid, peaks):
    """Updates the peaks of a process and its descendants; gives those that are alive."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    if not found:
        return set()
    peaks[pid] = int(found[1])
    return {pid}.union(*(tree_peaks(int(child), peaks) for child in children))
