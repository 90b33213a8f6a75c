#!/usr/bin/env python3
"""Runs transforms in jobs of the runner and the same as SQL in DuckDB, over the same files, and compares the rows.

    transforms.py RUNNER

Works in the current directory. Rows are compared sorted, but for those of `sort`, whose order is the point. Prints
what differs; exits 0 when nothing does.
"""

import json
import math
import pathlib
import re
import random
import subprocess
import sys

import duckdb

# name, type here, type there; `\N` is null in the files
SALES = [
    ("id", "int64", "bigint"),
    ("shop", "string", "varchar"),
    ("item", "int32", "integer"),
    ("price", "float64", "double"),
    ("gift", "bool", "boolean"),
    ("day", "date", "date"),
    ("moment", "timestamp", "timestamp"),
    ("tags", "list<string>", "varchar[]"),
]
ITEMS = [("item", "int32", "integer"), ("shop_name", "string", "varchar"), ("label", "string", "varchar"), ("weight", "float64", "double")]

AGGREGATES = {
    "n": ("count(*)", "count(*)"),
    "prices": ("count(price)", "count(price)"),
    "kinds": ("count_distinct(item)", "count(distinct item)"),
    "kinds2": ("count(distinct gift)", "count(distinct gift)"),
    "items": ("sum(item)", "sum(item)::bigint"),
    "total": ("sum(price * 2)", "sum(price * 2)"),
    "lowest": ("min(price)", "min(price)"),
    "highest": ("max(price)", "max(price)"),
    "first_day": ("min(day)", "min(day)"),
    "last_at": ("max(moment)", "max(moment)"),
    "least_shop": ("min(shop || '!')", "min(shop || '!')"),
    "any_gift": ("max(gift)", "max(gift)"),
    "mean_item": ("avg(item)", "avg(item)"),
    "mean": ("avg(price)", "avg(price)"),
    "spread": ("stddev(price)", "stddev(price)"),
    "spread_item": ("stddev(item)", "stddev(item)"),
    "first_price": ("first(price)", "first(price order by id)"),
    "last_tag": ("last(len(tags))", "last(len(tags) order by id)"),
    "all_items": ("array_agg(item)", "array_agg(item order by id)"),
    "all_gifts": ("array_agg(not gift)", "array_agg(not gift order by id)"),
}
# Enough for all rows once, in the sample that catches them; not for them to be sorted as well.
LITTLE = "800KiB"

CALLS = {name: ours for name, (ours, _) in AGGREGATES.items()}
SQL_CALLS = ", ".join(f"{theirs} as {name}" for name, (_, theirs) in AGGREGATES.items())


def cases():
    """Name, the transform, the SQL, and whether the order counts."""
    pairs = {"shop": "shop_name", "item": "item"}
    using = "sales.item = items.item"
    yield "inner join", {"type": "join", "with": "items", "on": ["item"]}, f"select sales.*, shop_name, label, weight from sales join items on {using}", False
    yield "left join", {"type": "join", "with": "items", "on": ["item"], "how": "left"}, f"select sales.*, shop_name, label, weight from sales left join items on {using}", False
    yield "semi join", {"type": "join", "with": "items", "on": ["item"], "how": "semi"}, f"select * from sales semi join items on {using}", False
    yield "anti join", {"type": "join", "with": "items", "on": ["item"], "how": "anti"}, f"select * from sales anti join items on {using}", False
    both = "sales.item = items.item and sales.shop = items.shop_name"
    item, shop = ("coalesce(sales.item, items.item) as item", "coalesce(shop, shop_name) as shop")
    for how in ["right", "full"]:
        yield f"{how} join", {"type": "join", "with": "items", "on": ["item"], "how": how}, f"select sales.* replace ({item}), shop_name, label, weight from sales {how} join items on {using}", False
    for how in ["inner", "left", "right", "full"]:
        yield f"{how} join on two", {"type": "join", "with": "items", "on": pairs, "how": how}, f"select sales.* replace ({item}, {shop}), label, weight from sales {how} join items on {both}", False
    yield "aggregate by one", {"type": "aggregate", "by": ["shop"], "columns": CALLS}, f"select shop, {SQL_CALLS} from sales group by shop", False
    yield "aggregate by two", {"type": "aggregate", "by": ["gift", "item"], "columns": CALLS}, f"select gift, item, {SQL_CALLS} from sales group by gift, item", False
    yield "aggregate by two, three workers", {"type": "aggregate", "by": ["item", "gift"], "columns": CALLS, "concurrency": 3}, f"select item, gift, {SQL_CALLS} from sales group by item, gift", False
    yield "aggregate by all", {"type": "aggregate", "by": ["id", "shop"], "columns": CALLS}, f"select id, shop, {SQL_CALLS} from sales group by id, shop", False
    yield "aggregate by all, three workers", {"type": "aggregate", "by": ["id"], "columns": CALLS, "concurrency": 3}, f"select id, {SQL_CALLS} from sales group by id", False
    yield "aggregate of all", {"type": "aggregate", "columns": CALLS}, f"select {SQL_CALLS} from sales", False
    yield "aggregate of none", [{"type": "filter", "where": "id < 0"}, {"type": "aggregate", "columns": CALLS}], f"select {SQL_CALLS} from sales where id < 0", False
    for every, interval in [("12h", "12 hours"), ("7d", "7 days"), ("5h", "5 hours")]:
        bucket = f"time_bucket(interval '{interval}', moment)"
        yield f"window of {every}", [
            {"type": "filter", "where": "moment is not null"},
            {"type": "aggregate", "by": ["shop"], "columns": {"n": "count(*)", "total": "sum(price)"}, "window": {"time": "moment", "every": every}},
        ], f"select shop, {bucket} as window_start, {bucket} + interval '{interval}' as window_end, count(*) as n, sum(price) as total from sales where moment is not null group by all", False
    for by in [["price"], ["price desc", "id"], ["shop", "moment desc", "id"], ["gift desc", "item", "id desc"], ["day", "lower(shop) desc", "id"]]:
        yield f"sort by {by}", {"type": "sort", "by": by}, f"select * from sales order by {', '.join(by)}" + ("" if any("id" in term for term in by) else ", id"), True
    yield "first of each", {"type": "dedup", "by": ["shop", "item"]}, "select * from sales qualify row_number() over (partition by shop, item order by id) = 1", False
    yield "last of each", {"type": "dedup", "by": ["shop", "gift"], "keep": "last"}, "select * from sales qualify row_number() over (partition by shop, gift order by id desc) = 1", False
    yield "last of all", {"type": "dedup", "by": ["moment", "id"], "keep": "last"}, "select * from sales", False
    yield "last of each, three workers", {"type": "dedup", "by": ["item"], "keep": "last", "concurrency": 3}, "select * from sales qualify row_number() over (partition by item order by id desc) = 1", False
    others = "id, shop, item, price, gift, day, moment"
    yield "explode", {"type": "explode", "column": "tags"}, f"select {others}, unnest(tags) as tags from sales", False
    yield "explode, outer", {"type": "explode", "column": "tags", "into": "tag", "outer": True}, f"select {others}, unnest(case when len(tags) > 0 then tags else [null] end) as tag from sales", False
    yield "select", {"type": "select", "columns": {"k": "id", "twice": "item * 2", "x": "coalesce(shop, '?') || '-' || item"}}, "select id as k, item::bigint * 2 as twice, coalesce(shop, '?') || '-' || item as x from sales", False
    yield "select what stays", {"type": "select", "drop": ["tags", "moment"], "rename": {"id": "key"}, "columns": {"moment": "year(day)"}}, "select id as key, shop, item, price, gift, day, year(day) as moment from sales", False


def write(path, rows):
    def text(value):
        if value is None:
            return "\\N"
        return ",".join(value) if isinstance(value, list) else str(value)

    path.write_text("".join("\t".join(map(text, row)) + "\n" for row in rows))


def data():
    """Sales in two files, and items: keys that repeat, are null, and have no partner."""
    chance = random.Random(11)
    maybe = lambda value, share=0.15: None if chance.random() < share else value
    sales = []
    for number in range(3000):
        day = f"20{chance.randrange(10, 25)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        at = f"2024-01-{chance.randrange(1, 29):02} {chance.randrange(24):02}:{chance.randrange(60):02}:00"
        shop = maybe(chance.choice(["north", "South", "Ünal's", "a shop with a rather long name", "east"]))
        tags = [chance.choice(["red", "green", "a tag that is longer than others"]) for _ in range(chance.randrange(4))]
        gift = maybe(chance.choice(["true", "false"]))
        price = maybe(chance.randrange(-400, 4000) / 8)
        sales.append([number, shop, maybe(chance.randrange(40)), price, gift, maybe(day), maybe(at), maybe(tags)])
    items = [[maybe(chance.randrange(30)), maybe(chance.choice(["north", "South", "west"])), f"item {n}", maybe(n / 4)] for n in range(80)]
    write(pathlib.Path("sales1.tsv"), sales[:1700])
    write(pathlib.Path("sales2.tsv"), sales[1700:])
    write(pathlib.Path("items.tsv"), items)
    return sales, items


def tables(sales, items):
    connection = duckdb.connect()
    for name, columns, rows in [("sales", SALES, sales), ("items", ITEMS, items)]:
        connection.execute(f"create table {name} ({', '.join(f'{column} {there}' for column, _, there in columns)})")
        connection.executemany(f"insert into {name} values ({', '.join('?' * len(columns))})", rows)
    return connection


def source(path, columns):
    declare = [{"name": name, "type": here, "nullable": True} for name, here, _ in columns]
    return {"type": "files", "path": path, "format": "tsv", "null": "\\N", "columns": declare, "batch": {"rows": 100}}


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def ours(runner, chain, memory="256MiB"):
    """What the runner makes of it: its rows are refused by a filter, and read from the reject file. That has the text
    that a record was read from where there is one; a sample of all rows has none, so its rows come as JSON. Also how many
    parts were spilled."""
    stages = [("sources", "sales", source(["sales1.tsv", "sales2.tsv"], SALES))]
    if any(step["type"] == "join" for step in chain):
        stages.append(("sources", "items", source("items.tsv", ITEMS)))
    before = "sales"
    for number, step in enumerate(chain):
        stages.append(("transforms", f"step{number}", {"input": before} | step))
        before = f"step{number}"
    stages.append(("transforms", "all", {"type": "sample", "input": before, "rows": 1000000}))
    stages.append(("transforms", "caught", {"type": "filter", "input": "all", "where": "false", "otherwise": "reject"}))
    stages.append(("sinks", "none", {"type": "discard", "input": "caught"}))
    spec = 'name = "oracle"\nlimits = { rejects = 1000000, memory = "' + memory + '" }\nrejects = { path = "rows.ndjson" }\n'
    for section, name, table in stages:
        spec += f"[{section}.{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    pathlib.Path("oracle.toml").write_text(spec)
    ran = subprocess.run([runner, "--quiet", "--format", "json", "oracle.toml"], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"exit code {ran.returncode}\n{ran.stderr}\n{spec}")
    lines = pathlib.Path("rows.ndjson").read_text().splitlines()
    rows = [list(json.loads(json.loads(line)["record"]).values()) for line in lines]
    # Times are written with the zone they are in, UTC; DuckDB writes none.
    spilled = sum(stage.get("held", {}).get("spilled_parts", 0) for stage in json.loads(ran.stdout)["stages"])
    return [[re.sub(r"^(\d{4}-\d\d-\d\dT[\d:.]+)Z$", r"\1", v) if isinstance(v, str) else v for v in row] for row in rows], spilled


def plain(value):
    """A value as both sides can say it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value).replace(" ", "T")


def same(a, b):
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and not isinstance(b, bool):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return a == b


def main():
    runner = sys.argv[1]
    connection = tables(*data())
    wrong = compared = spilled = 0
    for name, chain, sql, ordered in cases():
        chain = chain if isinstance(chain, list) else [chain]
        rows, parts = ours(runner, chain)
        assert parts == 0, name
        if chain[-1]["type"] in ("sort", "aggregate", "dedup"):
            again, parts = ours(runner, chain, LITTLE)
            spilled += parts > 0
            if again != rows:
                wrong += 1
                print(f"{name}: other rows, or another order, with {LITTLE}")
        found = [[plain(value) for value in row] for row in rows]
        wanted = [[plain(value) for value in row] for row in connection.execute(sql).fetchall()]
        if not ordered:
            found.sort(key=json.dumps)
            wanted.sort(key=json.dumps)
        compared += len(wanted)
        differing = [(a, b) for a, b in zip(found, wanted) if not same(a, b)]
        if differing or len(found) != len(wanted):
            wrong += 1
            print(f"{name}: {len(found)} rows here, {len(wanted)} in DuckDB, {len(differing)} differ")
            for a, b in differing[:3]:
                print(f"  here:   {a}\n  DuckDB: {b}")
    print(f"{compared} rows compared, {wrong} cases differ, {spilled} were spilled, DuckDB {duckdb.__version__}")
    return 1 if wrong or compared < 20000 or spilled < 6 else 0


if __name__ == "__main__":
    sys.exit(main())
