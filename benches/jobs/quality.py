"""Points of time series profiled into windows of 12 hours, beside DuckDB and Polars."""

import json
import pathlib
import tempfile

from .common import ROOT, RUNNER, WORK, Failed, build_runner, checked_output, cores, in_turn, made, median, python

PEERS = ROOT / "benches" / "loaders" / "quality_peers.py"
NAMES = ("runner", "runner, all rules", "duckdb", "polars", "polars, streaming")


def add_commands(commands):
    quality = commands.add_parser("quality", help="time series profiled into windows of 12 hours")
    quality.add_argument("points", nargs="?", type=int, default=100_000_000, metavar="POINTS", help="default 100000000")
    quality.add_argument("--format", choices=("parquet", "csv"), default="parquet", help="what they lie in")
    quality.add_argument("--rounds", type=int, default=3, help="runs of each contender (default 3)")
    quality.add_argument("--without", action="append", default=[], choices=NAMES, help="leave a contender out")
    quality.set_defaults(run=quality_command)


# What the peers compute: counts, extremes, mean, deviation, gaps.
JOB = """
name = "quality"
[sources.points]
type = "files"
path = "{input}"
format = "{format}"
columns = ["time timestamp", "value float64"]
[transforms.quality]
type = "quality"
input = "points"
time = "time"
value = "value"
window = "12h"
[transforms.quality.expect]
interval = "1s"
max_gap = "10s"
{rules}
[sinks.windows]
type = "files"
input = "quality"
path = "out/result"
format = "ndjson"
"""
ALL_RULES = """
range = [-40.0, 85.0]
flatline = { for = "5m" }
spike = { threshold = 20.0 }
rate = { max = 20.0 }
"""


def quality_command(options):
    if options.points < 1 or options.rounds < 1:
        raise Failed("nothing to run")
    build_runner()
    source = points(options.points, options.format)
    peer = lambda *words: [python(), PEERS, *words, source, "out/result"]  # noqa: E731
    commands = {
        "runner": runner("plain", source, options.format, ""),
        "runner, all rules": runner("rules", source, options.format, ALL_RULES),
        "duckdb": peer("duckdb"),
        "polars": peer("polars"),
        "polars, streaming": peer("polars-streaming"),
    }
    commands = {name: command for name, command in commands.items() if name not in options.without}
    runs = in_turn(commands, options.rounds, windows)
    same_windows(runs)
    size = source.stat().st_size / 1e6
    print(f"{options.points:,} points, {size:,.0f} MB of {options.format}, {cores()}, median of {options.rounds} rounds:\n")
    print("| | wall s | CPU s | million points/s | peak RSS MiB | wall ÷ runner |")
    print("|---|---:|---:|---:|---:|---:|")
    base = median(runs["runner"], "wall") if "runner" in runs else None
    for name, results in runs.items():
        wall, cpu, peak = (median(results, what) for what in ("wall", "cpu", "peak"))
        ratio = f"{wall / base:.2f}" if base else "-"
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {options.points / wall / 1e6:.1f} | {peak:.0f} | {ratio} |")
    print("\nPython's start and imports are part of the peers' time, about half a second.")
    return 0


def points(count, kind):
    """The input, made once: a point a second, a gap now and then, NaN nowhere."""
    file = WORK / f"quality-{count}.{kind}"
    if not file.exists():
        with tempfile.TemporaryDirectory(prefix="making-", dir=made(WORK)) as making:
            made_file = pathlib.Path(making) / "made"
            checked_output(python(), PEERS, f"make-{kind}", str(count), made_file)
            made_file.rename(file)
    return file


def runner(name, source, kind, rules):
    job = made(WORK / "jobs") / f"quality-{name}-{source.stem}-{kind}.toml"
    job.write_text(JOB.format(input=source, format=kind, rules=rules))
    return [RUNNER, "--quiet", job]


def windows(folder):
    lines = (folder / "out" / "result").read_text().splitlines()
    keys = ("count", "gaps", "min", "max", "mean", "stddev")
    return [tuple(json.loads(line)[key] for key in keys) for line in lines]


def same_windows(runs):
    """All say the same of each window; sums of floats differ in their last digits."""
    found = {name: results[0]["checked"] for name, results in runs.items()}
    first, *others = found
    for name in others:
        same = len(found[name]) == len(found[first])
        for one, other in zip(found[first], found[name]):
            same = same and one[:4] == other[:4]
            same = same and all(abs(a - b) <= 1e-9 * max(abs(a), 1) for a, b in zip(one[4:], other[4:]))
        if not same:
            raise Failed(f"{first} and {name} differ")
