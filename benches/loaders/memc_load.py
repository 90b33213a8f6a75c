"""The Python loader that the runner is measured against, written as such loaders usually are: a process per
file, a protobuf message per record, a `set_multi` per thousand records of a device type.

    memc_load.py FILE.tsv.gz...

The servers are those of MEMC_IDFA, MEMC_GAID, MEMC_ADID and MEMC_DVID (host:port).
"""

import gzip
import multiprocessing
import os
import sys

import memcache
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DEVICE_TYPES = ("idfa", "gaid", "adid", "dvid")
BATCH = 1000


def user_apps_class():
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="appsinstalled.proto", syntax="proto2")
    message = file.message_type.add(name="UserApps")
    message.field.add(name="apps", number=1, label=field.LABEL_REPEATED, type=field.TYPE_UINT32)
    message.field.add(name="lat", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    message.field.add(name="lon", number=3, label=field.LABEL_OPTIONAL, type=field.TYPE_DOUBLE)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("UserApps"))


UserApps = user_apps_class()


def parse(line):
    """One line to (device type, key, value), or None."""
    fields = line.rstrip("\r\n").split("\t")
    if len(fields) != 5:
        return None
    device, ident, lat, lon, apps = fields
    if device not in DEVICE_TYPES or not ident:
        return None
    message = UserApps()
    try:
        message.lat, message.lon = float(lat), float(lon)
    except ValueError:
        return None
    message.apps.extend(int(item) for item in apps.split(",") if item.isdigit())
    return device, f"{device}:{ident}", message.SerializeToString()


class Store:
    """One server's client and the records waiting for it."""

    def __init__(self, address):
        self.client = memcache.Client([address], socket_timeout=30)
        self.waiting = {}
        self.lost = 0

    def add(self, key, value):
        self.waiting[key] = value
        if len(self.waiting) >= BATCH:
            self.send()

    def send(self):
        self.lost += len(self.client.set_multi(self.waiting))
        self.waiting = {}


def load(path):
    """Stores one file; gives (stored, bad)."""
    stores = {device: Store(os.environ[f"MEMC_{device.upper()}"]) for device in DEVICE_TYPES}
    stored = bad = 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = parse(line)
            if record is None:
                bad += 1
                continue
            device, key, value = record
            stores[device].add(key, value)
            stored += 1
    for store in stores.values():
        store.send()
        stored -= store.lost
        bad += store.lost
    return stored, bad


def main():
    paths = sys.argv[1:]
    if not paths:
        sys.exit("usage: memc_load.py FILE.tsv.gz...")
    with multiprocessing.Pool(len(paths)) as pool:
        results = pool.map(load, paths, chunksize=1)
    stored, bad = (sum(column) for column in zip(*results))
    print(f"{stored} stored, {bad} bad")


if __name__ == "__main__":
    main()
