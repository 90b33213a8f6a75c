"""Reads back what a loader should have stored from app install exports, independently of the runner.

    read_back.py [--exact] FILE...

The files are TSV, plain or gzipped, with LF, CRLF or CR line ends. The servers are those of MEMC_IDFA,
MEMC_GAID, MEMC_ADID and MEMC_DVID (host:port). Every key is read with pymemcache and every value decoded with
the protobuf package. Prints a JSON summary; exits 0 when each key holds the value of its record, or of one of
its records where a key occurs more than once (which is the last to arrive is not fixed when files are loaded
side by side), and with --exact also only when the servers hold no other items.
"""

import argparse
import gzip
import json
import os
import re
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from pymemcache.client.base import Client

DEVICE_TYPES = ("idfa", "gaid", "adid", "dvid")
FLOAT = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
UNSIGNED = re.compile(r"\d+", re.ASCII)
UNFIT_FOR_KEY = re.compile(rb"[\x00-\x20\x7f]")
KEY_BYTES = 250
KEYS_PER_READ = 1000


def user_apps_class():
    """The message class of proto2 `UserApps`, from a descriptor written here: no `.proto` file is read."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", syntax="proto2")
    message = file.message_type.add(name="UserApps")
    message.field.add(name="apps", number=1, label=field.LABEL_REPEATED, type=field.TYPE_UINT32)
    message.field.add(name="lat", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    message.field.add(name="lon", number=3, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("UserApps"))


UserApps = user_apps_class()


class Rejected(Exception):
    """A line that is not a valid record; the text says why."""


def parse(line):
    """One line to (device type, key, message)."""
    try:
        fields = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        raise Rejected("not UTF-8") from None
    if len(fields) != 5:
        raise Rejected(f"{len(fields)} fields, not 5")
    device, ident, lat, lon, apps = fields
    if not device or not ident:
        raise Rejected("empty device type or id")
    if device not in DEVICE_TYPES:
        raise Rejected(f"no server for device type {device!r}")
    if not (FLOAT.fullmatch(lat) and FLOAT.fullmatch(lon)):
        raise Rejected("latitude or longitude is not a number")
    key = f"{device}:{ident}".encode()
    if len(key) > KEY_BYTES or UNFIT_FOR_KEY.search(key):
        raise Rejected("not a memcached key")
    numbers = [int(item) for item in apps.split(",") if UNSIGNED.fullmatch(item)]
    message = UserApps(lat=float(lat), lon=float(lon), apps=[n for n in numbers if n < 2**32])
    return device, key, message.SerializeToString(deterministic=True)


def lines_of(path):
    """The lines of a file with their numbers. The first line's end tells what ends lines in this file: LF (a
    CR before it belongs to it) or a lone CR. The last line may lack its end."""
    with open(path, "rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    with (gzip.open if gzipped else open)(path, "rb") as file:
        text = file.read()
    first = re.search(rb"\r?\n|\r", text)
    lines = text.split(b"\r") if first and first[0] == b"\r" else re.split(rb"\r?\n", text)
    if lines and not lines[-1]:
        lines.pop()
    return enumerate(lines, start=1)


def expectations(paths):
    """Per device type, key to its possible values (the last record's last); with the tally of lines."""
    expected = {device: {} for device in DEVICE_TYPES}
    records, rejected = 0, []
    for path in paths:
        for number, line in lines_of(path):
            try:
                device, key, value = parse(line)
            except Rejected as reason:
                rejected.append({"file": path, "line": number, "reason": str(reason)})
                continue
            records += 1
            values = expected[device].setdefault(key, [])
            if value not in values:
                values.append(value)
    return expected, records, rejected


def connect(device):
    """A client of the device type's server."""
    variable = f"MEMC_{device.upper()}"
    address = os.environ.get(variable)
    if not address:
        sys.exit(f"{variable} is not set: run this below scripts/with-services memcached --")
    host, _, port = address.rpartition(":")
    return Client((host, int(port)), connect_timeout=5, timeout=30, allow_unicode_keys=True)


def holds(stored, value):
    """Whether stored bytes decode to the expected message, with nothing beside its fields."""
    if stored == value:
        return True
    try:
        message = UserApps.FromString(stored)
    except Exception:  # the package's DecodeError; any failure to decode is a difference
        return False
    return message.SerializeToString(deterministic=True) == value


def compare(client, wanted, tally):
    """Reads all keys of one server and counts what is there, and what else is."""
    keys = list(wanted)
    present = 0
    for start in range(0, len(keys), KEYS_PER_READ):
        chunk = keys[start : start + KEYS_PER_READ]
        found = client.get_many(chunk)
        present += len(found)
        for key in chunk:
            stored = found.get(key)
            if stored is None:
                tally["missing"] += 1
                outcome = "missing"
            elif any(holds(stored, value) for value in wanted[key]):
                tally["equal"] += 1
                tally["same_bytes"] += stored in wanted[key]
                continue
            else:
                tally["different"] += 1
                outcome = "different"
            if len(tally["samples"]) < 10:
                tally["samples"].append(f"{outcome}: {key.decode()}")
    tally["extra"] += client.stats()[b"curr_items"] - present


def main():
    options = argparse.ArgumentParser(description="reads back what should have been stored from these exports")
    options.add_argument("--exact", action="store_true", help="fail when a server holds other items too")
    options.add_argument("files", nargs="+", metavar="FILE")
    options = options.parse_args()

    expected, records, rejected = expectations(options.files)
    tally = {"records": records, "keys": sum(map(len, expected.values()))}
    tally |= {"equal": 0, "missing": 0, "different": 0, "same_bytes": 0, "extra": 0, "samples": []}
    for device, wanted in expected.items():
        client = connect(device)
        compare(client, wanted, tally)
        client.close()
    tally["rejected_lines"] = rejected
    json.dump(tally, sys.stdout, indent=2)
    print()
    wrong = tally["missing"] or tally["different"] or (options.exact and tally["extra"])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
