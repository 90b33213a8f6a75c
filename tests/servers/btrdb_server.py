"""A BTrDB server for tests: the version 5 service on stubs made from the official client's own btrdb.proto,
holding seeded series. What it does follows the real server where a client can tell the difference: errors are
inside answers, ranges exclude their end, `Windows` takes `end` down to a whole width, points come 5,000 to a piece.

    btrdb_server.py --make-stubs                  only makes the stubs (target/btrdb-stubs), where they are missing
    btrdb_server.py --key KEY --port-file FILE    serves until it is told to stop; writes host:port to FILE

Faults are ordered with --fault, and count the calls of RawValues (or Windows) on the stream NAME from 1; `*` is
every call:

    break:NAME:CALL:PIECES    the call ends with UNAVAILABLE after so many pieces
    hang:NAME:CALL:PIECES     the call says nothing more after so many pieces
    raise:NAME:CALL:PIECES    the call ends with an exception after so many pieces
    stat:NAME:CALL:CODE       the answer has this code inside
    delete:NAME:CALL          the stream is gone from this call on
    grow:NAME:CALL            points are added to the stream, in a new version, before it answers
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
import zlib
from concurrent import futures
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
START = 1_704_067_200 * SECOND  # 2024-01-01T00:00:00Z
MIN_TIME, MAX_TIME = -(16 << 56), 48 << 56


def make_stubs():
    """The folder of the stubs; they are made from the file that the package ships, without importing the package."""
    package = importlib.util.find_spec("btrdb").submodule_search_locations[0]
    proto = Path(package, "grpcinterface", "btrdb.proto")
    stubs = ROOT / "target" / "btrdb-stubs" / hashlib.sha256(proto.read_bytes()).hexdigest()[:16]
    if not (stubs / "btrdb_pb2_grpc.py").exists():
        from grpc_tools import protoc

        stubs.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(dir=stubs.parent)
        os.chmod(made, 0o755)
        args = ["protoc", f"-I{proto.parent}", f"--python_out={made}", f"--grpc_python_out={made}", str(proto)]
        if protoc.main(args) != 0:
            sys.exit("no stubs")
        try:
            os.rename(made, stubs)
        except OSError:  # another was faster
            shutil.rmtree(made)
    return stubs


# ---- series ----


class Stream:
    """A stream with all its versions."""

    def __init__(self, collection, name, times, values, **annotations):
        path = f"{collection}/{name}"
        self.name = name
        self.uuid = uuid.uuid5(uuid.NAMESPACE_URL, path)
        self.collection = collection
        self.tags = {"name": name, "unit": annotations.pop("unit", "celsius")}
        self.annotations = annotations
        self.versions = {10 + len(path): (times, values)}
        self.calls = 0

    def latest(self):
        return max(self.versions)

    def grow(self):
        """One more point behind every second one, and one more at the end."""
        times, values = self.versions[self.latest()]
        more = np.append(times[::2] + 1, times[-1] + SECOND)
        times = np.concatenate([times, more])
        order = np.argsort(times, kind="stable")
        values = np.concatenate([values, np.full(len(more), 1e9)])
        self.versions[self.latest() + 1] = (times[order], values[order])


def noise(name, count):
    return np.random.default_rng(zlib.crc32(name.encode())).normal(20.0, 2.0, count)


def steps(name, first, step, count):
    return first + step * np.arange(count, dtype=np.int64), noise(name, count)


def without(series, start, end):
    times, values = series
    keep = (times < start) | (times >= end)
    return times[keep], values[keep]


def edges():
    """Streams that try the edges of 12-hour windows."""
    collection, first, step = "staging/edges", START + 7, 10 * SECOND
    # The last point is exactly 24 hours after the first.
    yield Stream(collection, "even", *steps("even", first, step, 8_641))
    # Nothing lies in the second of three windows.
    hollow = steps("hollow", first, step, 9_640)
    yield Stream(collection, "hollow", *without(hollow, first + 12 * HOUR, first + 24 * HOUR))
    # Points at the end of a window and one nanosecond before it.
    times, values = steps("edge", first, 7 * SECOND, 10_000)
    at = np.searchsorted(times, first + 12 * HOUR)
    times = np.insert(times, at, [first + 12 * HOUR - 1, first + 12 * HOUR])
    yield Stream(collection, "edge", times, np.insert(values, at, [1.0, 2.0]))
    gap = steps("gap", first, step, 8_000)
    yield Stream(collection, "gap", *without(gap, first + 12 * HOUR - 600 * SECOND, first + 12 * HOUR + 1_200 * SECOND))
    times, values = steps("flat", first, step, 8_000)
    values[4_250:4_400] = 21.5  # over the edge at 4,320
    yield Stream(collection, "flat", times, values)
    times, values = steps("spiky", first, step, 8_000)
    values[::997] += 400.0
    yield Stream(collection, "spiky", times, values, unit="volts")
    yield Stream(collection, "single", *steps("single", first, step, 1))
    # Every time three times, which pieces of 5,000 cut apart.
    times, values = steps("twins", first, step, 20_001)
    yield Stream(collection, "twins", first + step * (np.arange(20_001) // 3), values, site="north")
    # Before 1970, and over its begin.
    yield Stream(collection, "old", *steps("old", -13 * HOUR, step, 8_000), site="north")


def sensors():
    """What README's job reads: 30 hours of one point per second with gaps, flat runs and spikes."""
    collection, count = "staging/sensors", 108_000
    for name, unit in [("humidity", "percent"), ("pressure", "kilopascal"), ("temperature", "celsius")]:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        values = 20.0 + 5.0 * np.sin(np.arange(count) / 9_000.0) + rng.normal(0.0, 0.2, count)
        for at in rng.integers(0, count - 900, 3):
            values[at : at + 900] = values[at]
        values[rng.integers(0, count, 20)] += 90.0
        keep = np.ones(count, dtype=bool)
        for at in rng.integers(1, count - 700, 4):
            keep[at : at + 600] = False
        times = START + SECOND * np.arange(count, dtype=np.int64)
        yield Stream(collection, name, times[keep], values[keep], unit=unit)


def streams(large):
    none = np.zeros(0, dtype=np.int64), np.zeros(0)
    yield from edges()
    yield from sensors()
    yield Stream("staging/empty", "empty", *none)
    yield Stream("staging/empty", "full", *steps("full", START, SECOND, 100))
    for name in ["doomed", "survivor"]:
        # Five windows of 12 hours.
        yield Stream("staging/doomed", name, *steps(name, START, 20 * SECOND, 10_000))
    nameless = Stream("staging/nameless", "nameless", *steps("nameless", START, SECOND, 10))
    del nameless.tags["name"]
    yield nameless
    for i in range(4 if large else 0):
        yield Stream("staging/large", f"large{i}", *steps(f"large{i}", START, SECOND, large))


# ---- the service ----


def service(pb, grpc_pb, options):
    """The servicer; its class needs the stubs."""

    class Service(grpc_pb.BTrDBServicer):
        def __init__(self):
            self.streams = {stream.uuid.bytes: stream for stream in streams(options.large)}
            self.lock = threading.Lock()
            self.faults = [fault.split(":") for fault in options.fault]

        def find(self, question):
            """The points of the stream at the version asked for, its version, and what is wrong."""
            stream = self.streams.get(question.uuid)
            if stream is None:
                return None, 0, pb.Status(code=404, msg="stream does not exist")
            version = question.versionMajor or stream.latest()
            if version not in stream.versions:
                return None, 0, pb.Status(code=450, msg=f"version {version} is not available")
            return stream.versions[version], version, None

        def fault(self, question):
            """Counts a call that reads, and says what is to go wrong with it: kind and number."""
            with self.lock:
                stream = self.streams.get(question.uuid)
                if stream is None:
                    return None, 0
                stream.calls += 1
                for kind, name, call, *number in self.faults:
                    if name != stream.name or call not in ("*", str(stream.calls)):
                        continue
                    if kind == "grow":
                        stream.grow()
                    elif kind == "delete":
                        del self.streams[question.uuid]
                    else:
                        return kind, int(number[0])
                return None, 0

        def Info(self, request, context):
            # From minor version 30 on, clients ask for Arrow instead.
            return pb.InfoResponse(majorVersion=5, minorVersion=29, build="test")

        def ListCollections(self, request, context):
            names = sorted({s.collection for s in self.streams.values() if s.collection.startswith(request.prefix)})
            yield pb.ListCollectionsResponse(collections=names)

        def LookupStreams(self, request, context):
            def fits(stream):
                if request.isCollectionPrefix:
                    found = stream.collection.startswith(request.collection)
                else:
                    found = stream.collection == request.collection
                pairs = [(stream.tags, request.tags), (stream.annotations, request.annotations)]
                return found and all(
                    pair.key in have and (not pair.HasField("val") or have[pair.key] == pair.val.value)
                    for have, wanted in pairs
                    for pair in wanted
                )

            # In no order that could be relied on, and two to a piece.
            found = sorted((s for s in self.streams.values() if fits(s)), key=lambda s: s.uuid.bytes)
            for at in range(0, len(found), 2):
                yield pb.LookupStreamsResponse(results=[self.descriptor(s) for s in found[at : at + 2]])

        def descriptor(self, stream):
            def pairs(of):
                return [pb.KeyOptValue(key=k, val=pb.OptValue(value=v)) for k, v in of.items()]

            return pb.StreamDescriptor(
                uuid=stream.uuid.bytes,
                collection=stream.collection,
                tags=pairs(stream.tags),
                annotations=pairs(stream.annotations),
                propertyVersion=1,
            )

        def StreamInfo(self, request, context):
            stream = self.streams.get(request.uuid)
            if stream is None:
                return pb.StreamInfoResponse(stat=pb.Status(code=404, msg="stream does not exist"))
            answer = pb.StreamInfoResponse()
            if not request.omitVersion:
                answer.versionMajor = stream.latest()
            if not request.omitDescriptor:
                answer.descriptor.CopyFrom(self.descriptor(stream))
            return answer

        def Nearest(self, request, context):
            found, version, wrong = self.find(request)
            if wrong:
                return pb.NearestResponse(stat=wrong)
            if not MIN_TIME <= request.time < MAX_TIME:
                return pb.NearestResponse(stat=pb.Status(code=413, msg="time out of range"))
            times, values = found
            at = np.searchsorted(times, request.time, side="left") - (1 if request.backward else 0)
            if not 0 <= at < len(times):
                return pb.NearestResponse(stat=pb.Status(code=401, msg="no such point"))
            point = pb.RawPoint(time=int(times[at]), value=float(values[at]))
            return pb.NearestResponse(versionMajor=version, value=point)

        def reading(self, answer, request, context, pieces):
            """Pieces with what goes wrong among them."""
            kind, number = self.fault(request)
            found, version, wrong = self.find(request)
            if not wrong and not MIN_TIME <= request.start < request.end <= MAX_TIME:
                wrong = pb.Status(code=413, msg="time range is invalid or out of bounds")
            if kind == "stat":
                wrong = pb.Status(code=number, msg="ordered")
            if wrong:
                yield answer(stat=wrong)
                return
            for i, piece in enumerate(pieces(*found)):
                if kind and i == number:
                    break
                yield answer(versionMajor=version, versionMinor=0, values=piece)
            if kind == "break":
                context.abort(grpc.StatusCode.UNAVAILABLE, "ordered")
            elif kind == "raise":
                raise RuntimeError("ordered")
            elif kind == "hang":
                Path(f"{options.port_file}.hangs").touch()
                while context.is_active():
                    time.sleep(0.02)

        def RawValues(self, request, context):
            def pieces(times, values):
                start, end = np.searchsorted(times, [request.start, request.end], side="left")
                for at in range(start, end, options.piece):
                    part = slice(at, min(at + options.piece, end))
                    pairs = zip(times[part].tolist(), values[part].tolist())
                    yield [pb.RawPoint(time=t, value=v) for t, v in pairs]

            yield from self.reading(pb.RawValuesResponse, request, context, pieces)

        def Windows(self, request, context):
            def pieces(times, values):
                windows = []
                for i in range((request.end - request.start) // request.width):
                    start = request.start + i * request.width
                    at, to = np.searchsorted(times, [start, start + request.width], side="left")
                    if at < to:
                        part = values[at:to]
                        point = pb.StatPoint(time=start, min=part.min(), mean=part.mean(), max=part.max())
                        point.count, point.stddev = int(to - at), float(part.std())
                        windows.append(point)
                    elif not options.omit_empty:
                        windows.append(pb.StatPoint(time=start))
                for at in range(0, len(windows), options.piece):
                    yield windows[at : at + options.piece]

            yield from self.reading(pb.WindowsResponse, request, context, pieces)

    return Service()


def gate(key):
    """Lets in who has the key."""

    def refuse(request, context):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "the API key is not valid")

    class Gate(grpc.ServerInterceptor):
        def intercept_service(self, go_on, details):
            if ("authorization", f"Bearer {key}") in details.invocation_metadata:
                return go_on(details)
            handler = go_on(details)
            if handler is not None and handler.response_streaming:
                return grpc.unary_stream_rpc_method_handler(refuse)
            return grpc.unary_unary_rpc_method_handler(refuse)

    return Gate()


def serve(options):
    sys.path.insert(0, str(make_stubs()))
    import btrdb_pb2
    import btrdb_pb2_grpc

    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=64),
        interceptors=[gate(options.key)],
        # Otherwise two servers may have the same port.
        options=[("grpc.so_reuseport", 0), ("grpc.max_send_message_length", -1)],
        compression=grpc.Compression.Gzip if options.gzip else None,
    )
    btrdb_pb2_grpc.add_BTrDBServicer_to_server(service(btrdb_pb2, btrdb_pb2_grpc, options), server)
    address = f"127.0.0.1:{options.port}"
    if options.tls:
        certificate, key = (Path(path).read_bytes() for path in options.tls)
        port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    ready = Path(f"{options.port_file}.new")
    ready.write_text(f"127.0.0.1:{port}\n")
    ready.rename(options.port_file)
    signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
    parent = os.getppid()
    while server.wait_for_termination(timeout=0.5):
        if os.getppid() != parent:
            server.stop(0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--make-stubs", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file")
    parser.add_argument("--key", default="")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--piece", type=int, default=5_000, help="points of a piece")
    parser.add_argument("--large", type=int, default=0, help="points of each of four large streams")
    parser.add_argument("--gzip", action="store_true", help="compress answers")
    parser.add_argument("--omit-empty", action="store_true", help="leave empty windows out")
    arguments = parser.parse_args()
    if arguments.make_stubs:
        make_stubs()
    else:
        import grpc
        import numpy as np

        serve(arguments)
