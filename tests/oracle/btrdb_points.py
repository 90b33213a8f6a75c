"""Writes the points of a collection as the official client reads them: CSV with uuid, version, time and value, in
the order of names, from a time on. btrdb_points.py COLLECTION TIME PATH
"""

import os
import sys
import warnings

warnings.simplefilter("ignore")

import btrdb  # noqa: E402
import numpy as np  # noqa: E402

collection, first, path = sys.argv[1:]
first = int(np.datetime64(first, "ns").astype(np.int64))
server = btrdb.connect(os.environ["BTRDB_ENDPOINTS"], apikey=os.environ["BTRDB_API_KEY"])
with open(path, "w") as out:
    out.write("uuid,version,time,value\n")
    for stream in sorted(server.streams_in_collection(collection), key=lambda stream: stream.tags()["name"]):
        version = stream.version()
        for point, _ in stream.values(first, btrdb.MAXIMUM_TIME, version):
            out.write(f"{stream.uuid},{version},{np.datetime64(point.time, 'ns')}Z,{point.value!r}\n")
