#!/usr/bin/env python3
"""Makes rows, and does with other tools what scripts/bench spill measures.

    spill_peers.py make ROWS KEYS OUT             rows of so many keys
    spill_peers.py make ROWS each OUT             a row of each key, what rows are joined with
    spill_peers.py duckdb sort|aggregate|join|last|first MEMORY INPUT OTHERS OUT
    spill_peers.py polars sort|aggregate|join|last|first MEMORY INPUT OTHERS OUT     (streaming; it knows no limit of memory)
"""

import os
import sys

COLUMNS = "id, k, x, t"
SQL = {
    "sort": f"select {COLUMNS} from rows order by k, id",
    "aggregate": "select k, count(*) as n, sum(x) as total, max(id) as latest from rows group by k",
    "last": f"select {COLUMNS} from rows qualify row_number() over (partition by k order by id desc) = 1",
    "first": f"select {COLUMNS} from rows qualify row_number() over (partition by k order by id) = 1",
    "join": f"select {COLUMNS}, other, u from rows join others using (k)",
}


def make(rows, keys, out):
    import duckdb

    connection = duckdb.connect()
    connection.execute("set threads = 1")
    # The same whatever the machine: a key is a hash of the row's number.
    if keys == "each":
        connection.execute(
            f"copy (select (range * 7919 % {rows})::bigint as k, range::bigint as other, 'other text ' || range as u "
            f"from range({rows})) to '{out}' (format parquet, row_group_size 100000)"
        )
        return
    connection.execute(
        f"copy (select range::bigint as id, (hash(range) % {keys})::bigint as k, (hash(range + 1) % 1000000)::double / 8 as x, "
        f"'text ' || (hash(range + 2) % 1000000) as t from range({rows})) to '{out}' (format parquet, row_group_size 100000)"
    )


def duckdb_does(what, memory, source, others, out):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{memory}'")
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set temp_directory = 'spilled'")
    connection.execute(f"create view others as from read_parquet('{others}')")
    connection.execute(f"create view rows as from read_parquet('{source}')")
    connection.execute(f"copy ({SQL[what]}) to '{out}' (format parquet)")


def polars_does(what, source, others, out):
    import polars as pl

    rows = pl.scan_parquet(source)
    done = {
        "sort": lambda: rows.sort("k", "id"),
        "aggregate": lambda: rows.group_by("k").agg(n=pl.len(), total=pl.col("x").sum(), latest=pl.col("id").max()),
        "last": lambda: rows.unique(subset=["k"], keep="last"),
        "first": lambda: rows.unique(subset=["k"], keep="first"),
        "join": lambda: rows.join(pl.scan_parquet(others), on="k"),
    }[what]()
    done.sink_parquet(out, engine="streaming")


def main():
    tool, *rest = sys.argv[1:]
    if tool == "make":
        make(*rest)
    elif tool == "duckdb":
        duckdb_does(*rest)
    else:
        what, _, source, others, out = rest
        polars_does(what, source, others, out)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Without the teardown of a large heap, which is not the work that is measured.
    os._exit(0)
