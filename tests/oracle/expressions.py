#!/usr/bin/env python3
"""Checks tests/data/expressions.tsv against DuckDB.

Each line is an expression and its value on the three rows below, joined by ` | ` (one value where all rows agree).
A line that differs from DuckDB on purpose has a third field that says why.

Usage: pip install duckdb; python3 tests/oracle/expressions.py
"""

import datetime
import pathlib
import sys

import duckdb

TABLE = """
create table t as select * from (values
  (0, true, 127::tinyint, 7::int, 9223372036854775807::bigint, 18446744073709551615::ubigint, 2.5::double, 0.5::float,
   'hello', 'a', date '2020-02-29', timestamp '2020-01-02 03:04:05.123456', [1, 2, 3]::uinteger[],
   ['x', null, 'yy'], '{"a":1}'::json),
  (1, false, -5::tinyint, 0::int, 2::bigint, 3::ubigint, -1.5::double, 2.0::float, 'Ünïcode wörld strings', '',
   date '1969-12-31', timestamp '1969-12-31 23:59:59', []::uinteger[], ['z'], '[1]'::json),
  (2, null, null, null, null, null, null, null, null, 'a:b:c', null, null, null, null, null)
) as v(row, b, i8, i, n, u, f, g, s, t, d, ts, l, ls, j)
"""


def shown(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, datetime.datetime) and value.microsecond:
        return str(value).rstrip("0")
    return str(value)


def row(connection, expression, number):
    try:
        found = connection.execute(f"select ({expression}) from t where row = {number}").fetchone()[0]
    except duckdb.Error:
        return "error"
    return shown(found)


def same(ours, theirs):
    """Numbers may be written differently: `8` and `8.0`, `1e20` and `1e+20`."""
    if ours == theirs:
        return True
    try:
        return float(ours) == float(theirs) or ours.lower() == theirs.lower() == "nan"
    except ValueError:
        return False


def main():
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "data/expressions.tsv"
    connection = duckdb.connect()
    connection.execute(TABLE)
    differences = checked = 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        expression, expected, *reason = line.split("\t")
        expected = expected.split(" | ")
        expected = expected * 3 if len(expected) == 1 else expected
        theirs = [row(connection, expression, i) for i in range(3)]
        agree = all(same(a, b) for a, b in zip(expected, theirs))
        checked += 1
        if agree == bool(reason):
            differences += 1
            note = "agrees, but a reason is given" if agree else "differs"
            print(f"line {number}: {note}: {expression}\n  here:   {expected}\n  DuckDB: {theirs}")
    print(f"{checked} expressions, {differences} to look at, DuckDB {duckdb.__version__}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
