#!/usr/bin/env python3
"""Profiles made-up series with jobs of the runner, and by the definitions of the columns with numpy, and compares them
field by field.

    quality.py RUNNER
    quality.py RUNNER --job JOB POINTS WINDOWS SCORES

The second form compares what a job has written with the definitions: JOB names the rules, POINTS is the CSV file (or
Parquet file) of its points, WINDOWS and SCORES are its output.

Works in the current directory. A whole series is in memory here, in the order in which it was written, and each column
is computed for itself. The runner reads the same series in several ways: in one file and in many, in batches of
different sizes, with different numbers of workers, from CSV and from SQLite; its output must be the same bytes each
time. Prints what differs; exits 0 when nothing does.
"""

import collections
import dataclasses
import json
import math
import pathlib
import sqlite3
import subprocess
import sys
import tomllib

import numpy as np
import pyarrow.csv
import pyarrow.parquet

HOUR = 3_600_000_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND + 123_456_789
VERDICTS = ["not_evaluated", "pass", "suspect", "fail"]
RULES = ["values", "order", "gap", "range", "flatline", "spike", "rate"]


@dataclasses.dataclass
class Expect:
    """What is expected; times in nanoseconds. An absent rule is None."""

    window: int = 12 * HOUR
    align: str = "first"
    interval: int | None = None
    max_gap: int | None = None
    range: tuple | None = None
    suspect_range: tuple | None = None
    flatline: tuple | None = None  # for, suspect_for, tolerance
    spike: tuple | None = None  # threshold, suspect
    rate: tuple | None = None  # max, suspect
    offences: int = 10

    def keys(self):
        """As a table of a job."""
        expect = {}
        for key in ("interval", "max_gap"):
            if (nanos := getattr(self, key)) is not None:
                expect[key] = f"{nanos // 1000}us"
        for key in ("range", "suspect_range"):
            if (bounds := getattr(self, key)) is not None:
                expect[key] = list(bounds)
        if self.flatline:
            time, suspect, tolerance = self.flatline
            expect["flatline"] = {"for": f"{time // 1000}us", "tolerance": tolerance}
            if suspect:
                expect["flatline"]["suspect_for"] = f"{suspect // 1000}us"
        for key, name in (("spike", "threshold"), ("rate", "max")):
            if limits := getattr(self, key):
                expect[key] = {name: limits[0]} | ({"suspect": limits[1]} if limits[1] is not None else {})
        window = f"{self.window // 1000}us"
        return {"window": window, "align": self.align, "offences": self.offences, "expect": expect}


    @staticmethod
    def of(table):
        """From the table of a job."""
        expect = table.get("expect", {})
        pair = lambda key: tuple(expect[key]) if key in expect else None
        time = lambda table, key: duration(table[key]) if key in table else None
        limits = lambda key, name: (expect[key][name], expect[key].get("suspect")) if key in expect else None
        flat = expect.get("flatline")
        return Expect(
            window=duration(table["window"]),
            align=table.get("align", "first"),
            interval=time(expect, "interval"),
            max_gap=time(expect, "max_gap"),
            range=pair("range"),
            suspect_range=pair("suspect_range"),
            flatline=flat and (time(flat, "for"), time(flat, "suspect_for"), flat.get("tolerance", 0.0)),
            spike=limits("spike", "threshold"),
            rate=limits("rate", "max"),
            offences=table.get("offences", 10),
        )


def duration(text):
    """Nanoseconds of 12h or 10s."""
    units = {"us": 1000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": HOUR, "d": 24 * HOUR}
    number = text.rstrip("smhud")
    return int(number) * units[text[len(number) :]]


def in_order(times):
    """Which points are not before one that came earlier."""
    before = np.concatenate([[np.iinfo(np.int64).min], np.maximum.accumulate(times)[:-1]])
    return times >= before


def stretches(times, values, tolerance):
    """For each point, for how long values up to it have stayed within the tolerance."""
    if tolerance == 0:
        begins = np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]
        return times - times[np.maximum.accumulate(np.where(begins, np.arange(len(values)), 0))]
    lengths = np.zeros(len(times), dtype=np.int64)
    for end in range(len(times)):
        back = values[end::-1]
        spread = np.maximum.accumulate(back) - np.minimum.accumulate(back)
        beyond = np.flatnonzero(spread > tolerance)
        start = end - (beyond[0] - 1 if len(beyond) else end)
        lengths[end] = times[end] - times[start]
    return lengths


def exceed(values, limits):
    """Which values fail, and which are suspect only."""
    fail, suspect = limits[0], limits[0] if limits[1] is None else limits[1]
    return values > fail, (values > suspect) & ~(values > fail)


def outside(values, bounds):
    return (values < bounds[0]) | (values > bounds[1]) if bounds else np.zeros(len(values), dtype=bool)


def verdict(fail, suspect):
    return "fail" if fail else "suspect" if suspect else "pass"


def profile(times, values, nulls, expect):
    """The records of one stream: times in nanoseconds, values, and which of them are null, as they came."""
    times, values, nulls = np.asarray(times, np.int64), np.asarray(values, np.float64), np.asarray(nulls, bool)
    ordered = in_order(times)
    origin = int(times[0]) if expect.align == "first" else 0
    window = (times - origin) // expect.window
    finite = ~nulls & np.isfinite(values)
    cap = expect.offences

    # Points in order, whatever their value; steps[i] ends at point i + 1.
    sequence, windows = times[ordered], window[ordered]
    steps, step_window = np.diff(sequence), windows[1:]
    is_gap = steps > expect.max_gap if expect.max_gap is not None else np.zeros(len(steps), bool)
    interval = expect.interval
    if interval is None and (steps > 0).any():
        interval = float(np.median(steps[steps > 0]))

    # Points in order with a finite value.
    t, v, w = times[ordered & finite], values[ordered & finite], window[ordered & finite]
    spike_fail = spike_suspect = np.zeros(len(t), bool)
    if expect.spike:
        apart = np.zeros(len(t))
        apart[1:-1] = np.abs(v[1:-1] - (v[:-2] + v[2:]) / 2)
        spike_fail, spike_suspect = exceed(apart, expect.spike)
    rates = np.zeros(len(t))
    rate_fail = rate_suspect = np.zeros(len(t), bool)
    if expect.rate and len(t) > 1:
        apart_in_time = np.diff(t)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.abs(np.diff(v)) / (apart_in_time / 1e9)
        rates[1:] = np.where(apart_in_time > 0, rate, 0)
        rate_fail, rate_suspect = exceed(rates, expect.rate)
    lengths, flat = np.zeros(len(t), np.int64), np.zeros(len(t), bool)
    if expect.flatline:
        lengths = stretches(t, v, expect.flatline[2])
        flat = lengths >= expect.flatline[0]
    # The first flat point of a stretch, or of what of it lies in a window.
    begins = flat & np.concatenate([[True], ~flat[:-1] | (w[1:] != w[:-1])])[: len(flat)]

    records = []
    for number in range(int(window.min()), int(window.max()) + 1):
        start, end = origin + number * expect.window, origin + (number + 1) * expect.window
        here, seq, fin, step = window == number, windows == number, w == number, step_window == number
        count = int(here.sum())
        nan = int((np.isnan(values) & ~nulls & here).sum())
        infinite = int((np.isinf(values) & ~nulls & here).sum())
        null = int((nulls & here).sum())
        good = values[here & finite]
        duplicates = int((steps[step] == 0).sum())
        late = int((~ordered & here).sum())
        moved = steps[step][steps[step] > 0]
        regular = moved[moved <= expect.max_gap] if expect.max_gap is not None else moved
        record = {"window_start": start, "window_end": end, "count": count}

        first, last = int(times.min()), int(times.max())
        covered = min(end, last + (interval if interval is not None else 1)) - max(start, first)
        record["partial"] = covered != expect.window
        expected = max(1, math.floor(covered / interval + 0.5)) if interval is not None else None
        record["expected"] = expected
        completeness = None if expected is None else min(1.0, (count - duplicates) / expected)
        record["completeness"] = completeness
        record["first"] = int(times[here].min()) if count else None
        record["last"] = int(times[here].max()) if count else None
        record["min_step_seconds"] = moved.min() / 1e9 if len(moved) else None
        record["median_step_seconds"] = float(np.median(moved)) / 1e9 if len(moved) else None
        record["max_step_seconds"] = moved.max() / 1e9 if len(moved) else None
        record["jitter_seconds"] = float(np.std(regular - regular[0], ddof=1)) / 1e9 if len(regular) > 1 else None
        record["duplicates"], record["out_of_order"] = duplicates, late

        touching = [(a, b) for a, b in zip(sequence[:-1][is_gap], sequence[1:][is_gap]) if a < end and b >= start]
        longest_gap = max((int(b - a) for a, b in touching), default=0)
        has = expect.max_gap is not None
        record["gaps"] = int(is_gap[step].sum()) if has else None
        record["gap_seconds"] = sum(int(min(b, end) - max(a, start)) for a, b in touching) / 1e9 if has else None
        record["longest_gap_seconds"] = longest_gap / 1e9 if has else None

        record |= {"nulls": null, "nans": nan, "infinities": infinite, "zeros": int((good == 0).sum())}
        record["min"] = float(good.min()) if len(good) else None
        record["mean"] = math.fsum(good) / len(good) if len(good) else None
        record["max"] = float(good.max()) if len(good) else None
        record["stddev"] = float(np.std(good, ddof=1)) if len(good) > 1 else None

        has = expect.range is not None or expect.suspect_range is not None
        fails = outside(good, expect.range)
        suspects = outside(good, expect.suspect_range) & ~fails
        found_range = (int(fails.sum()), int(suspects.sum()))
        record["out_of_range"], record["suspect_range"] = found_range if has else (None, None)
        has = expect.flatline is not None
        longest_flat = int(lengths[fin].max()) if fin.any() else 0
        flat_points = int(flat[fin].sum())
        record["flatlines"] = int(begins[fin].sum()) if has else None
        record["flat_points"] = flat_points if has else None
        record["longest_flat_seconds"] = longest_flat / 1e9 if has else None
        found_spike = (int(spike_fail[fin].sum()), int(spike_suspect[fin].sum()))
        record["spikes"], record["suspect_spikes"] = found_spike if expect.spike else (None, None)
        found_rate = (int(rate_fail[fin].sum()), int(rate_suspect[fin].sum()))
        record["fast_changes"], record["suspect_changes"] = found_rate if expect.rate else (None, None)
        record["max_rate"] = (float(rates[fin].max()) if fin.any() else 0.0) if expect.rate else None

        said = {"values": verdict(not len(good), null + nan + infinite)}
        said["order"] = verdict(0, duplicates + late) if count else "not_evaluated"
        said["gap"] = verdict(longest_gap, 0) if expect.max_gap is not None else "not_evaluated"
        flat_suspect = bool(expect.flatline and expect.flatline[1] and longest_flat >= expect.flatline[1])
        about_values = {
            "range": (expect.range or expect.suspect_range, found_range),
            "flatline": (expect.flatline, (flat_points, flat_suspect)),
            "spike": (expect.spike, found_spike),
            "rate": (expect.rate, found_rate),
        }
        for rule, (asked, found) in about_values.items():
            said[rule] = verdict(*found) if asked is not None and len(good) else "not_evaluated"
        record |= {f"{rule}_verdict": said[rule] for rule in RULES}
        record["verdict"] = max(said.values(), key=VERDICTS.index)

        value_offences = outside(values, expect.range) | outside(values, expect.suspect_range)
        offences = {
            "gap": sequence[1:][is_gap & step],
            "range": times[here & finite & value_offences],
            "flatline": t[begins & fin],
            "spike": t[(spike_fail | spike_suspect) & fin],
            "rate": t[(rate_fail | rate_suspect) & fin],
        }
        record["offences"] = {rule: [int(time) for time in found[:cap]] for rule, found in offences.items() if len(found)}
        if cap == 0:
            record["offences"] = {}
        score = 0.0
        if count:
            score = 1.0 if completeness is None else completeness
            score *= 1 - (null + nan + infinite) / count
            score *= 1 - (duplicates + late) / 2 / count
            for fail, suspect in (found_range, (flat_points, 0), found_spike, found_rate):
                score *= 1 - (fail + suspect / 2) / count
        record["score"] = score
        records.append(record)
    return records


# ---- the series ----


def series():
    """Streams by name: lists of (time, value or None). Made of one seed."""
    chance = np.random.default_rng(6)
    minute = 60 * SECOND
    wave = lambda n: 20 + 5 * math.sin(n / 50) + float(chance.normal(0, 0.5))
    made = collections.OrderedDict()
    # The span is an exact multiple of 12 hours: the last point is alone in the last window.
    made["whole"] = [(START + n * minute, wave(n)) for n in range(4 * 720 + 1)]
    # A gap over an edge, one that ends on an edge, one that begins at the last point before one, an empty window.
    gone = lambda n: 700 <= n < 740 or 1400 <= n < 1440 or 2160 <= n < 2160 + 760 or 3000 <= n < 3005
    made["gaps"] = [(START + 5 + n * minute, wave(n)) for n in range(3600) if not gone(n)]
    # A window and more of nothing but NaN, then of nulls, then of infinities.
    odd = lambda n: math.nan if 500 <= n < 1500 else None if 1500 <= n < 2300 else -math.inf if n >= 2300 else 1.0 * n
    made["odd"] = [(START + n * minute, odd(n)) for n in range(3100)]
    # Duplicates, points out of order, some by days and before the first point.
    mixed = [(START + n * minute, wave(n)) for n in range(3000)]
    for n in range(10, 2990, 37):
        mixed[n] = (mixed[n - 1][0], mixed[n][1])
    for n in range(20, 2990, 53):
        mixed[n], mixed[n + 1] = mixed[n + 1], mixed[n]
    for n in (5, 900, 901, 902, 1441, 2500):
        mixed.insert(n, (mixed[n][0] - 1300 * minute - 7, 99.0))
    made["mixed"] = mixed
    # Flat runs: over an edge, of a whole window, with noise; spikes at edges and singly; values out of range; zeros.
    flat = [wave(n) for n in range(4000)]
    flat[690:760] = [3.25] * 70
    flat[1400:2900] = [-0.0 if n % 2 else 0.0 for n in range(1500)]
    flat[3000:3100] = [7 + 0.001 * float(chance.random()) for _ in range(100)]
    for n in (720, 1439, 2160, 2950, 3300, 3301, 3500):
        flat[n] += 60
    flat[3600] = 1e6
    made["flat"] = [(START + n * minute + 1, value) for n, value in enumerate(flat)]
    # A slow ramp, which a tolerance lets pass for flat in part.
    made["ramp"] = [(START + n * 10 * minute, n / 128) for n in range(300)]
    # Jitter: no step is like another.
    times = np.cumsum(chance.integers(40 * SECOND, 80 * SECOND, 2000))
    made["jitter"] = [(START + int(time), wave(n)) for n, time in enumerate(times)]
    made["one"] = [(START + 17, 4.5)]
    made["nan"] = [(START + 17 + n * minute, math.nan) for n in range(3)]
    made["same time"] = [(START + 11, float(n)) for n in range(5)]
    made["backwards"] = [(START - n * minute, float(n)) for n in range(1000)]
    made["large"] = [(START + n * HOUR, (1e150 if n % 3 else -1e150) * (1 + n)) for n in range(30)]
    return made


def mixed_rows(made):
    """The points of all streams in one order, as if they came from several places at once."""
    chance = np.random.default_rng(7)
    names = list(made)
    at = {name: 0 for name in names}
    rows = []
    while names:
        name = names[int(chance.integers(len(names)))]
        start, length = at[name], int(chance.integers(1, 400))
        rows += [(name, *point) for point in made[name][start : start + length]]
        at[name] += length
        if at[name] >= len(made[name]):
            names.remove(name)
    return rows


# ---- the runner ----


def text(value):
    return "" if value is None else repr(value)


def write_csv(rows, folder, files):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    size = math.ceil(len(rows) / files)
    for number in range(files):
        lines = [f"{name},{time},{text(value)}\n" for name, time, value in rows[number * size : (number + 1) * size]]
        (folder / f"{number:03}.csv").write_text("stream,time,value\n" + "".join(lines))


def write_sqlite(rows, path):
    with sqlite3.connect(path) as database:
        database.execute("create table points (id integer primary key, stream text not null, time integer not null, value real)")
        keep = [(name, time, value) for name, time, value in rows if value is None or not math.isnan(value)]
        database.executemany("insert into points (stream, time, value) values (?, ?, ?)", keep)


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def run(runner, source, transform):
    """The bytes that the runner writes."""
    sink = {"type": "files", "input": "quality", "path": "out.ndjson", "format": "ndjson"}
    quality = {"type": "quality", "input": "points", "by": ["stream"], "time": "time", "value": "value"} | transform
    spec = 'name = "oracle"\n'
    for section, table in [("sources.points", source), ("transforms.quality", quality), ("sinks.out", sink)]:
        spec += f"[{section}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    pathlib.Path("oracle.toml").write_text(spec)
    ran = subprocess.run([runner, "--quiet", "oracle.toml"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"exit code {ran.returncode}\n{ran.stderr}\n{spec}")
    return pathlib.Path("out.ndjson").read_bytes()


def csv_source(path, time="int64", **more):
    columns = ["stream string", f"time {time}", {"name": "value", "type": "float64", "nullable": True}]
    return {"type": "files", "path": path, "format": "csv", "columns": columns} | more


# ---- the comparison ----


def nanos(text):
    """Nanoseconds of a time such as 2024-01-01T00:00:00.5Z."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(np.datetime64(whole, "s").astype(np.int64))
    return seconds * SECOND + int(fraction.ljust(9, "0") or 0)


def decoded(line):
    record = json.loads(line)
    for key in ("window_start", "window_end", "first", "last"):
        record[key] = record[key] and nanos(record[key])
    record["offences"] = {rule: [nanos(time) for time in times] for rule, times in record["offences"].items()}
    return record


def close(found, wanted, tolerance=1e-9):
    if isinstance(found, float) or isinstance(wanted, float):
        return found is not None and wanted is not None and math.isclose(found, wanted, rel_tol=tolerance, abs_tol=1e-9)
    return found == wanted


def compare(case, found, wanted, expect):
    """Prints how records differ; how many fields were compared and how many differ."""
    compared = wrong = 0
    for number, (here, there) in enumerate(zip(found, wanted)):
        if set(here) != set(there):
            print(f"{case}, record {number}: the columns differ: {set(here) ^ set(there)}")
            wrong += 1
        for key in there:
            # A median of many different steps is known within 0.4 %, and so is what follows from it.
            many = there["stream"] == "jitter"
            rough = many and (key == "median_step_seconds" or (expect.interval is None and key in ("completeness", "score")))
            same = close(here.get(key), there[key], 0.004 if rough else 1e-9)
            if many and expect.interval is None and key == "expected":
                same = abs(here[key] - there[key]) <= 1 + 0.004 * there[key]
            compared += 1
            if not same:
                wrong += 1
                at = f"{there['stream']}, window of {there['window_start']}"
                print(f"{case}, {at}, {key}: {here.get(key)} here, {there[key]} by definition")
    if len(found) != len(wanted):
        wrong += 1
        print(f"{case}: {len(found)} records here, {len(wanted)} by definition")
    return compared, wrong


def wanted_of(made, order, expect):
    records = []
    for name in order:
        times = [time for time, _ in made[name]]
        values = [math.nan if value is None else value for _, value in made[name]]
        for record in profile(times, values, [value is None for _, value in made[name]], expect):
            records.append({"stream": name} | record)
    return records


CASES = {
    "nothing expected": Expect(),
    "everything expected": Expect(
        interval=60 * SECOND,
        max_gap=90 * SECOND,
        range=(-40.0, 85.0),
        suspect_range=(0.5, 40.0),
        flatline=(30 * 60 * SECOND, 15 * 60 * SECOND, 0.0),
        spike=(20.0, 2.0),
        rate=(0.5, 0.05),
    ),
    "a tolerance, epoch": Expect(
        align="epoch",
        max_gap=600 * SECOND,
        suspect_range=(-5.0, 30.0),
        flatline=(HOUR, None, 0.25),
        spike=(0.0, None),
        offences=3,
    ),
    "windows of 7 minutes": Expect(window=420 * SECOND, max_gap=60 * SECOND, range=(0.0, 30.0), rate=(0.01, None), offences=0),
    "windows of days": Expect(window=48 * HOUR, interval=30 * SECOND, flatline=(24 * HOUR, HOUR, 10.0), rate=(1e9, 0.0)),
}


def check_job(job, points, windows, scores):
    """Compares the output of a job with the definitions."""
    table = tomllib.loads(pathlib.Path(job).read_text())["transforms"]["quality"]
    expect, by = Expect.of(table), table["by"]
    if points.endswith(".parquet"):
        data = pyarrow.parquet.read_table(points)
    else:
        data = pyarrow.csv.read_csv(points, convert_options=pyarrow.csv.ConvertOptions(null_values=[""]))
    times = data[table["time"]].cast("timestamp[ns]").cast("int64").to_numpy()
    nulls = data[table["value"]].is_null().to_numpy()
    values = data[table["value"]].cast("float64").to_numpy()
    keys = list(zip(*(data[name].to_pylist() for name in by)))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    stream = np.array([numbers[key] for key in keys])
    wanted = []
    for key, number in numbers.items():
        here = stream == number
        records = profile(times[here], values[here], nulls[here], expect)
        wanted += [{"stream": str(key)} | dict(zip(by, key)) | record for record in records]
    if windows.endswith(".parquet"):
        lines = [json.dumps(row, default=str) for row in parquet_rows(windows)]
    else:
        lines = pathlib.Path(windows).read_text().splitlines()
    found = [decoded(line) for line in lines]
    for record in found:
        record["stream"] = str(tuple(record[name] for name in by))
    compared, wrong = compare(job, found, wanted, expect)
    wanted_scores = {}
    for record in wanted:
        wanted_scores.setdefault(tuple(record[name] for name in by), []).append(record["score"])
    for line in pathlib.Path(scores).read_text().splitlines():
        score = json.loads(line)
        list_of = wanted_scores.pop(tuple(score[name] for name in by), [])
        same = len(list_of) == len(score["quality"]) == score["windows"]
        same = same and all(map(close, score["quality"] + [score["worst"]], list_of + [min(list_of)]))
        wrong += not same
    wrong += len(wanted_scores)
    print(f"{compared} fields compared, {wrong} differ")
    return 1 if wrong or compared < 400 else 0


def parquet_rows(path):
    """Rows with times spelled as in NDJSON."""
    table = pyarrow.parquet.read_table(path)
    for row in table.to_pylist():
        spelled = lambda value: f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value
        row = {key: spelled(value) for key, value in row.items()}
        yield row | {"offences": json.loads(row["offences"])}


def main():
    runner = sys.argv[1]
    if len(sys.argv) > 2:
        return check_job(*sys.argv[3:])
    made = series()
    rows = mixed_rows(made)
    order = list(dict.fromkeys(name for name, *_ in rows))
    write_csv(rows, "one", 1)
    write_csv(rows, "many", 23)
    write_sqlite(rows, "points.db")
    ways = {
        "one file": (csv_source("one/*.csv"), {}),
        "many files": (csv_source("many/*.csv", concurrency=4), {}),
        "batches of 1": (csv_source("many/*.csv", batch={"rows": 1}), {}),
        "batches of 97, three workers": (csv_source("many/*.csv", batch={"rows": 97}, concurrency=3), {"concurrency": 3}),
        "two workers": (csv_source("one/*.csv"), {"concurrency": 2, "batch": {"rows": 5000}}),
    }
    compared = wrong = 0
    for case, expect in CASES.items():
        wanted = wanted_of(made, order, expect)
        first = None
        for way, (source, keys) in ways.items():
            found = run(runner, source, expect.keys() | {"unit": "ns"} | keys)
            if first is None:
                first = found
                more = compare(case, [decoded(line) for line in found.splitlines()], wanted, expect)
                compared, wrong = compared + more[0], wrong + more[1]
            elif found != first:
                wrong += 1
                print(f"{case}, {way}: other bytes than from one file")
    # SQLite holds no NaN.
    case, expect = "SQLite", CASES["everything expected"]
    kept = {name: [point for point in points if point[1] is None or not math.isnan(point[1])] for name, points in made.items()}
    kept_order = list(dict.fromkeys(name for name, _, value in rows if value is None or not math.isnan(value)))
    columns = ["id int64", "stream string", "time int64", {"name": "value", "type": "float64", "nullable": True}]
    source = {"type": "sqlite", "database": "points.db", "table": "points", "columns": columns}
    found = run(runner, source, expect.keys() | {"unit": "ns"})
    more = compare(case, [decoded(line) for line in found.splitlines()], wanted_of(kept, kept_order, expect), expect)
    compared, wrong = compared + more[0], wrong + more[1]
    print(f"{compared} fields compared, {wrong} differ, numpy {np.__version__}")
    return 1 if wrong or compared < 20000 else 0


if __name__ == "__main__":
    sys.exit(main())
