#!/usr/bin/env python3
"""Compares what jobs/imdb.toml wrote with DuckDB's answer from the same three files.

    imdb.py

Works in the current directory, where `data/imdb` and `out/imdb.ndjson` are. Rows are compared in the order of the crew
file, directors in the order in which it names them. Prints how many rows there are, or what differs.
"""

import json
import pathlib
import sys

import duckdb

FILE = "read_csv('data/imdb/{}.tsv.gz', delim = '\t', header = true, quote = '', escape = '', nullstr = '\\N', all_varchar = true)"

MOVIES = f"""
with crew as (
  select row_number() over () as place, tconst, string_split(directors, ',') as directors
  from {FILE.format("title.crew")}
), each as (
  select place, tconst, unnest(directors) as nconst, generate_subscripts(directors, 1) as at from crew
)
select any_value(t.primaryTitle) as title, any_value(t.startYear::bigint) as year, list(p.primaryName order by each.at) as directors
from each
join {FILE.format("title.basics")} as t using (tconst)
join {FILE.format("name.basics")} as p using (nconst)
where t.titleType = 'movie' and t.isAdult = '0'
group by each.place
order by each.place
"""


def main():
    connection = duckdb.connect(config={"threads": 1})
    theirs = [dict(zip(("title", "year", "directors"), row)) for row in connection.execute(MOVIES).fetchall()]
    ours = [json.loads(line) for line in pathlib.Path("out/imdb.ndjson").read_text().splitlines()]
    if ours == theirs:
        print(len(ours))
        return 0
    print(f"{len(ours)} rows here, {len(theirs)} in DuckDB")
    for number, (here, there) in enumerate(zip(ours, theirs), 1):
        if here != there:
            print(f"row {number}\n  here:   {here}\n  DuckDB: {there}")
            break
    return 1


if __name__ == "__main__":
    sys.exit(main())
