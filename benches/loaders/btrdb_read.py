"""Counts the points of a collection as the official client's guide on multiprocessing does it: one connection per
process, tasks of (stream, start, end), a version per stream.

    btrdb_read.py COLLECTION PROCESSES PATH     writes `uuid count` lines
"""

import collections
import multiprocessing
import os
import sys
import warnings

warnings.simplefilter("ignore")

import btrdb  # noqa: E402

WINDOW = 12 * 3_600 * 10**9
server = None


def connect():
    global server
    server = btrdb.connect(os.environ["BTRDB_ENDPOINTS"], apikey=os.environ["BTRDB_API_KEY"])


def count(task):
    stream, version, start = task
    points = server.stream_from_uuid(stream).values(start, start + WINDOW, version)
    return stream, len(points)


def tasks(collection):
    for stream in server.streams_in_collection(collection):
        version = stream.version()
        first, last = stream.earliest(version)[0].time, stream.latest(version)[0].time
        for start in range(first, last + 1, WINDOW):
            yield stream.uuid, version, start


if __name__ == "__main__":
    collection, processes, path = sys.argv[1:]
    connect()
    todo = list(tasks(collection))
    counts = collections.Counter()
    # Not forked: a connection must not be taken along into another process.
    with multiprocessing.get_context("spawn").Pool(int(processes), connect) as pool:
        for stream, points in pool.imap_unordered(count, todo):
            counts[str(stream)] += points
        pool.close()
        pool.join()
    with open(path, "w") as out:
        out.writelines(f"{stream} {points}\n" for stream, points in sorted(counts.items()))
