"""Compares what `runner` read from BTrDB with what the official client reads from the same server.

    btrdb_read.py raw COLLECTION ROWS [END]     rows of points
    btrdb_read.py stat COLLECTION ROWS          rows of statistics

ROWS is the NDJSON that was written, in order. Windows are 12 hours from a stream's first point. Prints for each
stream, in order, its name and the number of points of each window as the official client counts them.
"""

import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

import btrdb  # noqa: E402
import numpy as np  # noqa: E402

WINDOW = 12 * 3_600 * 10**9
NAMES = ["uuid", "collection", "name", "version"]


def nanos(texts):
    return np.array([text.rstrip("Z") for text in texts], dtype="datetime64[ns]").astype(np.int64)


def check(what, ours, theirs):
    if not np.array_equal(ours, theirs, equal_nan=True):
        sys.exit(f"{what}: {ours} is not {theirs}")


def column(rows, name):
    return [row[name] for row in rows]


def read(stream, start, end, version):
    points = [point for point, _ in stream.values(start, end, version)]
    return np.array([p.time for p in points], dtype=np.int64), np.array([p.value for p in points])


def raw(stream, version, rows):
    """Points against one read of the whole stream, windows against one read of each."""
    times, values = read(stream, btrdb.MINIMUM_TIME, btrdb.MAXIMUM_TIME, version)
    check("times", nanos(column(rows, "time")), times)
    check("values", np.array(column(rows, "value")), values)
    windows = (times - times[0]) // WINDOW
    check("starts", nanos(column(rows, "window_start")), times[0] + windows * WINDOW)
    check("ends", nanos(column(rows, "window_end")), times[0] + (windows + 1) * WINDOW)
    starts = times[0] + WINDOW * np.arange(windows[-1] + 1)
    counts = [len(read(stream, int(start), int(start + WINDOW), version)[0]) for start in starts]
    check("counts", np.bincount(windows), counts)
    return counts


def stat(stream, version, rows):
    """Statistics against the server's by the official client, and against those of the points."""
    times, values = read(stream, btrdb.MINIMUM_TIME, btrdb.MAXIMUM_TIME, version)
    windows = (times - times[0]) // WINDOW
    number = int(windows[-1]) + 1
    first, end = int(times[0]), int(times[0]) + number * WINDOW
    theirs = {point.time: point for point, _ in stream.windows(first, end, WINDOW, 0, version) if point.count > 0}
    starts = first + WINDOW * np.arange(number)
    check("starts", nanos(column(rows, "window_start")), starts)
    check("ends", nanos(column(rows, "window_end")), starts + WINDOW)
    check("counts", column(rows, "count"), np.bincount(windows))
    for at, (start, row) in enumerate(zip(starts.tolist(), rows)):
        own = values[windows == at]
        if len(own) == 0:
            if [row[key] for key in ["min", "mean", "max", "stddev"]] != [None] * 4:
                sys.exit(f"statistics of nothing: {row}")
            continue
        point = theirs[start]
        for name, of_points in [("min", np.min), ("mean", np.mean), ("max", np.max), ("stddev", np.std)]:
            check(name, row[name], getattr(point, name))
            if not np.isclose(row[name], of_points(own), rtol=1e-12):
                sys.exit(f"{name}: {row[name]} is not {of_points(own)}")
    return column(rows, "count")


def main(mode, collection, path):
    server = btrdb.connect(os.environ["BTRDB_ENDPOINTS"], apikey=os.environ["BTRDB_API_KEY"])
    with open(path) as lines:
        rows = [json.loads(line) for line in lines]
    streams = server.streams_in_collection(collection, is_collection_prefix=True)
    streams = [stream for stream in streams if stream.earliest() is not None]
    streams.sort(key=lambda stream: (stream.collection, stream.tags().get("name") or "", stream.uuid.bytes))
    at = 0
    for stream in streams:
        version, name = stream.version(), stream.tags().get("name")
        own = [row for row in rows if row["uuid"] == str(stream.uuid)]
        # All rows of a stream stand together, and streams are in order.
        if own != rows[at : at + len(own)]:
            sys.exit(f"rows of {name} are elsewhere")
        at += len(own)
        expected = [str(stream.uuid), stream.collection, name, version]
        if any([row[key] for key in NAMES] != expected for row in own):
            sys.exit(f"{name}: not {expected}")
        print(json.dumps([name, [int(count) for count in {"raw": raw, "stat": stat}[mode](stream, version, own)]]))
    if at != len(rows):
        sys.exit(f"{len(rows) - at} rows too many")


main(*sys.argv[1:])
