"""The works of `scripts/bench files` in DuckDB and Polars.

    files_peers.py duckdb|polars movies|titles|notes IN OUT
"""

import sys

NOTES = ["id", "uuid", "name", "email", "city", "amount", "active", "day", "note"]
TITLES = [
    "tconst", "titleType", "primaryTitle", "originalTitle", "isAdult", "startYear", "endYear", "runtimeMinutes", "genres",
]


def in_duckdb(work, source, target):
    import duckdb

    duckdb.sql("set enable_progress_bar = false")
    if work == "movies":
        columns = "{titleId: 'varchar', primaryTitle: 'varchar', startYear: 'date', isAdult: 'boolean', actors: 'json'}"
        query = f"""
            select titleId as id, primaryTitle as title, year(startYear) as year, actors
            from read_json('{source}', format = 'newline_delimited', columns = {columns})
            where not isAdult and startYear >= date '1990-01-01'"""
        how = "format json"
    elif work == "titles":
        query = f"""
            select tconst as id, primaryTitle as title, startYear as year, genres
            from read_csv('{source}', delim = '\t', header = false, quote = '', escape = '', nullstr = '\\N',
                          auto_detect = false, columns = {{
                              tconst: 'varchar', titleType: 'varchar', primaryTitle: 'varchar', originalTitle: 'varchar',
                              isAdult: 'boolean', startYear: 'integer', endYear: 'integer', runtimeMinutes: 'integer',
                              genres: 'varchar'}})
            where titleType = 'movie' and startYear >= 1990"""
        how = "format csv, header"
    else:
        query = f"""
            select * from read_csv('{source}', header = true, auto_detect = false, delim = ',', quote = '"', columns = {{
                id: 'bigint', uuid: 'varchar', name: 'varchar', email: 'varchar', city: 'varchar', amount: 'double',
                active: 'boolean', day: 'date', note: 'varchar'}})"""
        how = "format json"
    duckdb.sql(f"copy ({query}) to '{target}' ({how})")


def in_polars(work, source, target):
    import polars as pl

    if work == "movies":
        schema = {
            "titleId": pl.String, "primaryTitle": pl.String, "startYear": pl.String, "isAdult": pl.Boolean,
            "actors": pl.List(pl.String),
        }
        movies = pl.scan_ndjson(source, schema=schema)
        movies = movies.filter(~pl.col("isAdult") & (pl.col("startYear") >= "1990-01-01")).select(
            id="titleId", title="primaryTitle", year=pl.col("startYear").str.slice(0, 4).cast(pl.Int32), actors="actors"
        )
        movies.sink_ndjson(target)
    elif work == "titles":
        types = [pl.String, pl.String, pl.String, pl.String, pl.Int8, pl.Int32, pl.Int32, pl.Int32, pl.String]
        titles = pl.scan_csv(
            source, separator="\t", has_header=False, quote_char=None, null_values="\\N", schema=dict(zip(TITLES, types))
        )
        titles = titles.filter((pl.col("titleType") == "movie") & (pl.col("startYear") >= 1990)).select(
            id="tconst", title="primaryTitle", year="startYear", genres="genres"
        )
        titles.sink_csv(target)
    else:
        types = [
            pl.Int64, pl.String, pl.String, pl.String, pl.String, pl.Float64, pl.Boolean, pl.Date, pl.String,
        ]
        pl.scan_csv(source, schema=dict(zip(NOTES, types))).sink_ndjson(target)


def main():
    peer, work, source, target = sys.argv[1:]
    {"duckdb": in_duckdb, "polars": in_polars}[peer](work, source, target)


main()
