"""Checks documents against a JSON Schema (draft 2020-12), and the schema itself.

    validate.py SCHEMA FILE...

A FILE is JSON, or TOML where its name ends so. Prints one line per mistake; exits 0 when there is none.
"""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator


def load(path):
    with open(path, "rb") as file:
        return tomllib.load(file) if path.endswith(".toml") else json.load(file)


def main():
    schema_path, *paths = sys.argv[1:]
    schema = load(schema_path)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    mistakes = 0
    for path in paths:
        for error in validator.iter_errors(load(path)):
            mistakes += 1
            print(f"{path}: {error.json_path}: {error.message}")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
