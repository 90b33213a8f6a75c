#!/usr/bin/env python3
"""Parquet between the runner, pyarrow and DuckDB, both ways.

    parquet.py RUNNER

Works in the current directory. Reading: files of all types, codecs and encodings, written by pyarrow and by DuckDB, become
NDJSON; it is compared with what DuckDB reads from the same files. Writing: random rows become Parquet and NDJSON in one
job; DuckDB and pyarrow read the Parquet, and what they find is compared with the NDJSON. Prints what differs; exits 0 when
nothing does.
"""

import base64
import datetime
import decimal
import json
import math
import pathlib
import random
import subprocess
import sys
import uuid

import duckdb
import numpy
import pyarrow
import pyarrow.parquet
import pyarrow.parquet.encryption as encryption

ROWS = 3000
EPOCH = datetime.datetime(1970, 1, 1)


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def run(runner, job, code=0):
    lines = [f"name = {toml(job['name'])}"]
    for section in ["sources", "sinks"]:
        lines += [f"[{section}]"] + [f"{name} = {toml(stage)}" for name, stage in job[section].items()]
    pathlib.Path("job.toml").write_text("\n".join(lines))
    ran = subprocess.run([runner, "job.toml", "--quiet"], capture_output=True, text=True)
    if ran.returncode != code:
        raise SystemExit(f"exit code {ran.returncode}\n{ran.stdout}{ran.stderr}\n" + "\n".join(lines))
    return ran


def connect():
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    return connection


def ticks(text, unit):
    """Units since 1970 of a timestamp in ISO 8601, to the nanosecond."""
    date, _, fraction = text.removesuffix("Z").partition(".")
    seconds = (datetime.datetime.fromisoformat(date) - EPOCH) // datetime.timedelta(seconds=1)
    return (seconds * 10**9 + int(fraction.ljust(9, "0") or 0)) // (10**9 // unit)


def read_by_duckdb(connection, path):
    """Names, types and rows; timestamps as integers, since Python's have no nanoseconds."""
    described = connection.execute(f"describe select * from read_parquet('{path}')").fetchall()
    select = []
    for name, kind, *_ in described:
        column = f'"{name}"'
        if kind.endswith("_NS"):
            column = f"epoch_ns({column}::timestamp_ns)"
        elif kind.startswith("TIMESTAMP") and kind.endswith("[]"):
            column = f"list_transform({column}, lambda moment: epoch_us(moment))"
        elif kind.startswith("TIMESTAMP"):
            column = f"epoch_us({column})"
        select.append(column)
    rows = connection.execute(f"select {', '.join(select)} from read_parquet('{path}')").fetchall()
    return [name for name, *_ in described], [kind for _, kind, *_ in described], rows


def same(theirs, ours, kind):
    """Is what they read what we wrote as JSON?"""
    if theirs is None or ours is None:
        return theirs is ours
    if isinstance(theirs, list):
        item = kind.removesuffix("[]")
        return len(theirs) == len(ours) and all(same(one, other, item) for one, other in zip(theirs, ours))
    if kind.endswith("_NS"):
        return theirs == ticks(ours, 10**9)
    if kind.startswith("TIMESTAMP"):
        return theirs == ticks(ours, 10**6)
    if kind == "JSON":
        return json.loads(theirs) == ours
    if kind == "FLOAT":
        return numpy.float32(theirs) == numpy.float32(ours)
    if isinstance(theirs, decimal.Decimal):
        return theirs == decimal.Decimal(str(ours))
    if isinstance(theirs, (bytes, bytearray)):
        return base64.b64decode(ours) == bytes(theirs)
    if isinstance(theirs, datetime.datetime):
        return (theirs - EPOCH) // datetime.timedelta(microseconds=1) == ticks(ours, 10**6)
    if isinstance(theirs, datetime.date):
        return theirs.isoformat() == ours
    if isinstance(theirs, datetime.time):
        return theirs == datetime.time.fromisoformat(ours)
    if isinstance(theirs, uuid.UUID):
        return str(theirs) == ours
    if isinstance(theirs, dict):
        items = {str(key): value for key, value in theirs.items()}
        return list(items) == list(ours) and all(same(value, ours[key], "") for key, value in items.items())
    return theirs == ours and isinstance(theirs, bool) == isinstance(ours, bool)


def compare(what, names, kinds, theirs, ours):
    if len(theirs) != len(ours):
        raise SystemExit(f"{what}: {len(theirs)} rows there, {len(ours)} here")
    for number, (row, record) in enumerate(zip(theirs, ours)):
        if list(record) != names:
            raise SystemExit(f"{what}: columns {names} there, {list(record)} here")
        for name, kind, value in zip(names, kinds, row):
            if not same(value, record[name], kind):
                raise SystemExit(f"{what}: row {number}, {name} ({kind}): {value!r} there, {record[name]!r} here")


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


# Reading.


def arrow_table():
    chance = random.Random(5)

    def column(make, share=0.1):
        return [None if chance.random() < share else make(number) for number in range(ROWS)]

    text = lambda number: chance.choice(["", "é", "a \"quoted\"\ttext\n", "x" * (number % 40)]) + str(number % 50)
    of = pyarrow.array
    moments = lambda unit, per: of(column(lambda n: (chance.randrange(-(10**9), 4 * 10**9) * per) + n), pyarrow.timestamp(unit))
    record = pyarrow.struct([("i", pyarrow.int32()), ("t", pyarrow.string()), ("d", pyarrow.date32()), ("l", pyarrow.list_(pyarrow.float64()))])
    make_record = lambda n: {"i": None if n % 3 == 0 else n, "t": text(n), "d": datetime.date(2020, 1, 1 + n % 28), "l": [n / 4] * (n % 3)}
    integers = {f"{sign}{bits}": (sign, bits) for sign in ["int", "uint"] for bits in [8, 16, 32, 64]}
    columns = {"n": of(range(ROWS), pyarrow.int64()), "b": of(column(lambda n: n % 3 == 0), pyarrow.bool_())}
    for name, (sign, bits) in integers.items():
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if sign == "int" else (0, 2**bits - 1)
        columns[name] = of(column(lambda n: chance.choice([low, high, chance.randint(low, high), n % 100])), getattr(pyarrow, name)())
    columns |= {
        "f32": of(column(lambda n: float(numpy.float32(chance.uniform(-1e6, 1e6)))), pyarrow.float32()),
        "f64": of(column(lambda n: chance.uniform(-1e300, 1e300)), pyarrow.float64()),
        "s": of(column(text), pyarrow.string()),
        "large": of(column(text), pyarrow.large_string()),
        "dictionary": of(column(lambda n: f"word {n % 7}")).dictionary_encode(),
        "bytes": of(column(lambda n: chance.randbytes(n % 20)), pyarrow.binary()),
        "fixed": of(column(lambda n: chance.randbytes(5)), pyarrow.binary(5)),
        "date": of(column(lambda n: datetime.date(1900, 1, 1) + datetime.timedelta(days=n * 20)), pyarrow.date32()),
        "ms": moments("ms", 1000),
        "us": moments("us", 10**6),
        "ns": moments("ns", 10**9),
        "utc": of(column(lambda n: n * 10**6), pyarrow.timestamp("us", "UTC")),
        "zone": of(column(lambda n: n * 10**3), pyarrow.timestamp("ms", "Europe/Berlin")),
        "price": of(column(lambda n: decimal.Decimal(chance.randint(-(10**9), 10**9)) / 100), pyarrow.decimal128(12, 2)),
        "whole": of(column(lambda n: decimal.Decimal(chance.randint(-(10**17), 10**17))), pyarrow.decimal128(18, 0)),
        "huge": of(column(lambda n: decimal.Decimal(chance.randint(-(10**37), 10**37)).scaleb(-10, decimal.Context(prec=40))), pyarrow.decimal128(38, 10)),
        "time": of(column(lambda n: datetime.time(n % 24, n % 60, n % 60, n * 300)), pyarrow.time64("us")),
        "time_ms": of(column(lambda n: datetime.time(n % 24, n % 60, 0, n % 1000 * 1000)), pyarrow.time32("ms")),
        "ints": of(column(lambda n: [None if i == 2 else i * n for i in range(n % 5)]), pyarrow.list_(pyarrow.int32())),
        "texts": of(column(lambda n: [text(i) for i in range(n % 4)]), pyarrow.list_(pyarrow.large_string())),
        "days": of(column(lambda n: [datetime.date(2024, 2, 29)] * (n % 3)), pyarrow.list_(pyarrow.date32())),
        "record": of(column(make_record), record),
        "map": of(column(lambda n: [(f"k{i}", i * n) for i in range(n % 4)]), pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        "records": of(column(lambda n: [make_record(n + i) for i in range(n % 3)]), pyarrow.list_(record)),
        "lists": of(column(lambda n: [[i] * i for i in range(n % 4)]), pyarrow.list_(pyarrow.list_(pyarrow.int16()))),
    }
    return pyarrow.table(columns)


PYARROW = {
    "plain": {"compression": "none", "use_dictionary": False},
    "snappy": {"compression": "snappy", "row_group_size": 500},
    "gzip, small pages": {"compression": "gzip", "data_page_size": 512, "write_batch_size": 32},
    "brotli": {"compression": "brotli", "data_page_version": "2.0", "row_group_size": 700},
    "zstd, pages of version 2": {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 2000, "write_batch_size": 64},
    "lz4, no dictionary, version 2": {"compression": "lz4", "data_page_version": "2.0", "use_dictionary": False},
    "check sums, page index": {"write_page_checksum": True, "write_page_index": True, "row_group_size": 100},
    "small dictionaries": {"dictionary_pagesize_limit": 300, "data_page_size": 300, "write_batch_size": 16},
    "old timestamps": {"use_deprecated_int96_timestamps": True},
    "old version": {"version": "1.0", "store_schema": False, "coerce_timestamps": "us", "allow_truncated_timestamps": True},
    "other encodings": {
        "use_dictionary": False,
        "column_encoding": {
            "n": "DELTA_BINARY_PACKED", "int32": "DELTA_BINARY_PACKED", "us": "DELTA_BINARY_PACKED",
            "s": "DELTA_BYTE_ARRAY", "large": "DELTA_LENGTH_BYTE_ARRAY", "f64": "BYTE_STREAM_SPLIT", "b": "RLE",
        },
    },
}

DUCKDB = {
    "snappy": "compression snappy",
    "zstd": "compression zstd, row_group_size 2048",
    "gzip": "compression gzip",
    "lz4": "compression lz4_raw",
    "version 2": "parquet_version v2",
    "plain": "compression uncompressed, dictionary_size_limit 1",
}

# What pyarrow has no type for.
DUCKDB_COLUMNS = """
    n, int8, uint64, f64, s, bytes, date, us, utc, ns, price, whole, ints, texts, record, map, records, lists, b, time,
    uuid() as id, n::hugeint as big, ('{"a": ' || n || '}')::json as doc, (case n % 3 when 0 then 'x' else 'y' end)::enum_xy as e
"""


def reading(runner):
    table = arrow_table()
    connection = connect()
    for name, options in PYARROW.items():
        pyarrow.parquet.write_table(table, "in.parquet", **options)
        read_all(runner, connection, f"pyarrow, {name}")
    pyarrow.parquet.write_table(table, "arrow.parquet")
    connection.execute("create type enum_xy as enum ('x', 'y')")
    connection.execute(f"create table t as select {DUCKDB_COLUMNS} from read_parquet('arrow.parquet')")
    for name, options in DUCKDB.items():
        connection.execute(f"copy t to 'in.parquet' (format parquet, {options})")
        read_all(runner, connection, f"DuckDB, {name}")

    encrypt(table)
    said = run(runner, job(), code=74).stderr
    if "in.parquet` has encrypted columns, which is not supported" not in said:
        raise SystemExit(f"encrypted columns: {said}")


class Keys(encryption.KmsClient):
    """Keeps keys with nobody: they are only to be written with."""

    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key, _):
        return base64.b64encode(key)

    def unwrap_key(self, key, _):
        return base64.b64decode(key)


def encrypt(table):
    """Writes a file of which some columns are encrypted, and its footer is not."""
    config = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["n", "s"]}, plaintext_footer=True)
    factory = encryption.CryptoFactory(Keys)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)
    with pyarrow.parquet.ParquetWriter("in.parquet", table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


def job():
    source = {"type": "files", "path": "in.parquet", "format": "parquet", "batch": {"rows": 700}}
    return {"name": "read", "sources": {"in": source}, "sinks": {"out": {"type": "files", "input": "in", "path": "out.ndjson", "format": "ndjson"}}}


def read_all(runner, connection, what):
    names, kinds, rows = read_by_duckdb(connection, "in.parquet")
    run(runner, job())
    compare(what, names, kinds, rows, lines("out.ndjson"))


# Writing.

TYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "string", "binary", "date", "timestamp", "timestamp_ns", "json", "list<int64>", "list<string>", "list<timestamp>", "list<json>", "list<list<float64>>"]


def value(chance, kind):
    if kind.startswith("list<"):
        return [None if chance.random() < 0.1 and kind != "list<json>" else value(chance, kind[5:-1]) for _ in range(chance.randrange(4))]
    if "int" in kind:
        bits = int(kind.split("int")[1])
        low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return chance.choice([low, high, chance.randint(low, high), 7])
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=chance.randrange(-20_000, 60_000))
    return {
        "bool": chance.random() < 0.5,
        "float32": float(numpy.float32(chance.gauss(0, 1000))),
        "float64": chance.gauss(0, 1e10),
        "string": chance.choice(["", "é", "long " * 10, "\"\\\n\t"]) + str(chance.randrange(100)),
        "binary": base64.b64encode(chance.randbytes(chance.randrange(20))).decode(),
        "date": day.isoformat(),
        "timestamp": f"{day}T{chance.randrange(24):02}:00:01.{chance.randrange(10**6):06}Z",
        "timestamp_ns": f"{day}T{chance.randrange(24):02}:00:01.{chance.randrange(10**9):09}Z",
        "json": chance.choice([{"a": [1, None, "x"]}, [], "text", 1.5, True]),
    }[kind]


def writing(runner):
    chance = random.Random(17)
    names = {kind: kind.replace("<", "_of_").replace(">", "") for kind in TYPES}
    rows = []
    for number in range(ROWS):
        row = {"n": number}
        for kind, name in names.items():
            row[name] = None if chance.random() < 0.1 else value(chance, kind)
        rows.append(row)
    pathlib.Path("rows.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["n int64"] + [{"name": name, "type": kind, "nullable": True} for kind, name in names.items()]
    for options in [
        {},
        {"compression": "none", "row_group_rows": 500},
        {"compression": "snappy"},
        {"compression": "gzip", "level": 1, "row_group_rows": 1},
        {"compression": "lz4", "row_group_rows": 1000},
    ]:
        what = f"written with {options}"
        source = {"type": "files", "path": "rows.ndjson", "format": "ndjson", "columns": columns, "batch": {"rows": 333}}
        sink = {"type": "files", "input": "in", "path": "out.parquet", "format": "parquet"} | options
        text = {"type": "files", "input": "in", "path": "out.ndjson", "format": "ndjson"}
        run(runner, {"name": "write", "sources": {"in": source}, "sinks": {"out": sink, "text": text}})
        ours = lines("out.ndjson")
        compare(what, *read_by_duckdb(connect(), "out.parquet"), ours)
        file = pyarrow.parquet.ParquetFile("out.parquet")
        wanted = math.ceil(ROWS / options.get("row_group_rows", ROWS))
        if file.num_row_groups != wanted:
            raise SystemExit(f"{what}: {file.num_row_groups} row groups, not {wanted}")
        table = file.read()
        by_arrow(what, table, names, ours)


def by_arrow(what, table, names, ours):
    if table.num_rows != len(ours):
        raise SystemExit(f"{what}: pyarrow reads {table.num_rows} rows")
    for kind, name in names.items():
        column = table[name]
        if "timestamp" in kind and not kind.startswith("list"):
            unit = {"timestamp": "us", "timestamp_ns": "ns"}[kind]
            if column.type != pyarrow.timestamp(unit, "UTC"):
                raise SystemExit(f"{what}: {name} is {column.type} to pyarrow")
            column = column.cast(pyarrow.int64())
        elif "timestamp" in kind or "json" in kind:
            continue
        label = {"timestamp": "TIMESTAMP", "timestamp_ns": "TIMESTAMP_NS", "float32": "FLOAT"}.get(kind, "")
        for number, theirs in enumerate(column.to_pylist()):
            if not same(theirs, ours[number][name], label):
                raise SystemExit(f"{what}: pyarrow reads {theirs!r} in {name}, not {ours[number][name]!r}")


def main():
    (runner,) = sys.argv[1:]
    reading(runner)
    writing(runner)
    print(f"{len(PYARROW) + len(DUCKDB)} files read and 5 written, {ROWS} rows each")


main()
