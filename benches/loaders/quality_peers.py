"""The work of `scripts/bench quality` in DuckDB and Polars, and its input.

    quality_peers.py make-parquet|make-csv POINTS OUT
    quality_peers.py duckdb|polars|polars-streaming IN OUT

Both take the file's order for that of time, as it is, so neither has to sort.
"""

import pathlib
import sys

START = 1_704_067_200_000_000
ROWS = 1_000_000


def chunks(count):
    """Tables of points: a second apart, but for a gap of a minute after about one in 20,000, in microseconds."""
    import numpy as np
    import pyarrow as pa

    chance = np.random.default_rng(9)
    last = START - 1_000_000
    for start in range(0, count, ROWS):
        rows = min(ROWS, count - start)
        steps = np.where(chance.random(rows) < 1 / 20_000, 60_000_000, 1_000_000)
        times = last + np.cumsum(steps)
        last = int(times[-1])
        seconds = (times - START) / 1e6
        values = np.round(20 + 5 * np.sin(seconds / 86_400 * 2 * np.pi) + chance.normal(0, 0.5, rows), 3)
        yield pa.table({"time": pa.array(times, pa.timestamp("us")), "value": values})


def make_parquet(count, target):
    import pyarrow.parquet as pq

    tables = chunks(count)
    first = next(tables)
    with pq.ParquetWriter(target, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def make_csv(count, target):
    import pyarrow.csv as pc

    tables = chunks(count)
    first = next(tables)
    with pc.CSVWriter(target, first.schema, write_options=pc.WriteOptions(quoting_style="none")) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def in_duckdb(source, target):
    import duckdb

    duckdb.sql("set enable_progress_bar = false")
    read = f"read_parquet('{source}')"
    if source.endswith(".csv"):
        read = f"read_csv('{source}', header = true, auto_detect = false, columns = {{time: 'timestamp', value: 'double'}})"
    # Without an order, lag looks at the row before in the file: nothing is sorted.
    query = f"""
        select (epoch_us(time) - {START}) // 43200000000 as number, count(*) as count,
            count(*) filter (step > interval '10 seconds') as gaps,
            min(value) as min, max(value) as max, avg(value) as mean, stddev_samp(value) as stddev
        from (select time, value, time - lag(time) over () as step from {read})
        group by number order by number"""
    duckdb.sql(f"copy ({query}) to '{target}' (format json)")


def in_polars(source, target, engine):
    import polars as pl

    if source.endswith(".csv"):
        points = pl.scan_csv(source, schema={"time": pl.Datetime("us"), "value": pl.Float64})
    else:
        points = pl.scan_parquet(source)
    value = pl.col("value")
    points = points.with_columns(
        step=pl.col("time").diff(), number=(pl.col("time").to_physical() - START) // 43_200_000_000
    )
    result = points.group_by("number").agg(
        count=pl.len(), gaps=(pl.col("step") > pl.duration(seconds=10)).sum(), min=value.min(), max=value.max(),
        mean=value.mean(), stddev=value.std(),
    )
    result.sort("number").collect(engine=engine).write_ndjson(target)


def main():
    what, first, target = sys.argv[1:]
    if what.startswith("make-"):
        {"make-parquet": make_parquet, "make-csv": make_csv}[what](int(first), pathlib.Path(target))
    elif what == "duckdb":
        in_duckdb(first, target)
    else:
        in_polars(first, target, "streaming" if what == "polars-streaming" else "in-memory")


if __name__ == "__main__":
    main()
