"""Folds operations on to-do lists the plain way and compares the documents with those of a store.

    fold_todo.py STORE FILE.tsv...

STORE is a folder of JSON files, or a SQLite file. The files are read in the order given; their fields are list,
op, id and entry. Prints a JSON object: the numbers of lists, of refused operations, and the lists that differ.
"""

import json
import pathlib
import re
import sqlite3
import sys


def main():
    store, files = sys.argv[1], sys.argv[2:]
    expected, refused = fold(line.rstrip("\n").split("\t") for file in files for line in open(file, encoding="utf-8"))
    found = documents(pathlib.Path(store))
    different = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    print(json.dumps({"lists": len(expected), "refused": refused, "different": different}))


def fold(operations):
    lists, changed, refused = {}, set(), 0
    for name, op, number, entry in operations:
        document = lists.setdefault(name, {"next_id": 1, "entries": {}})
        entries = document["entries"]
        if op == "insert":
            number = number or str(document["next_id"])
            good = number not in entries
            if good:
                entries[number] = json.loads(entry)
                document["next_id"] = max(document["next_id"], int(number) + 1)
        else:
            good = number in entries
            if good and op == "update":
                entries[number] = merged(entries[number], json.loads(entry))
            elif good:
                del entries[number]
        if good:
            changed.add(name)
        refused += not good
    return {name: lists[name] for name in changed}, refused


def merged(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merged(target.get(key), value)
    return target


def documents(store):
    if store.is_file():
        with sqlite3.connect(store) as database:
            return {key: json.loads(text) for key, text in database.execute("SELECT key, document FROM kv")}
    return {key_of(file): json.loads(file.read_text()) for file in store.glob("[0-9a-f][0-9a-f]/*.json")}


def key_of(file):
    name = file.name.removesuffix(".json")
    if name.startswith("%%"):
        return file.with_suffix(".key").read_text()
    if name == "%":
        return ""
    data = re.sub(rb"%([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), name.encode())
    return data.decode()


if __name__ == "__main__":
    main()
