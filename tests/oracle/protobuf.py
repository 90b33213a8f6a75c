#!/usr/bin/env python3
"""Messages that the runner writes, against Python's protobuf.

    protobuf.py RUNNER

Works in the current directory. Typed columns and JSON documents become messages by jobs of the runner; the same values
become messages by `json_format`. Repeated fields must be the same bytes, packed or not; documents must be the same
message, or refused by both. Prints what differs and how much was compared; exits 0 when nothing does.
"""

import base64
import csv
import json
import math
import pathlib
import random
import struct
import subprocess
import sys

import grpc_tools
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

SCALARS = {
    "int32": ("int32", [0, 1, -1, 127, 128, -(2**31), 2**31 - 1]),
    "int64": ("int64", [0, 1, -1, 2**35, -(2**63), 2**63 - 1]),
    "uint32": ("uint32", [0, 1, 127, 128, 2**32 - 1]),
    "uint64": ("uint64", [0, 1, 2**35, 2**64 - 1]),
    "sint32": ("int32", [0, 1, -1, -(2**31), 2**31 - 1]),
    "sint64": ("int64", [0, 1, -1, -(2**63), 2**63 - 1]),
    "fixed32": ("uint32", [0, 1, 2**32 - 1]),
    "fixed64": ("uint64", [0, 1, 2**64 - 1]),
    "sfixed32": ("int32", [0, -1, -(2**31), 2**31 - 1]),
    "sfixed64": ("int64", [0, -1, -(2**63), 2**63 - 1]),
    "float": ("float32", [0, -0.0, 0.5, -1.25, 3.0e38]),
    "double": ("float64", [0, -0.0, 55.1, 1.7976931348623157e308, 5e-324]),
    "bool": ("bool", [True, False, True]),
    "string": ("string", ["", "a", "Grüße"]),
    "Color": ("string", ["RED", "GREEN", "COLD"]),
}

# Where the standard files lie that others import.
STANDARD = pathlib.Path(grpc_tools.__file__).parent / "_proto"

ENUM = "enum Color { RED = 0; GREEN = 1; COLD = -5; }"

THING = """
syntax = "proto3";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message M { Thing value = 1; }
enum Color { RED = 0; GREEN = 1; COLD = -5; }
message Thing {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint64 s64 = 6; fixed64 f64 = 8;
  float float_value = 11; double double_value = 12; bool truth = 13; string text = 14; bytes blob = 15;
  optional int32 maybe = 16; Color color = 17; repeated Color colors = 18; repeated int32 packed = 19;
  repeated string texts = 20; map<string, int32> by_name = 21; map<int64, Thing> by_number = 22;
  map<bool, Color> by_truth = 23; Thing child = 24; repeated Thing children = 25;
  oneof which { int32 left = 26; string right = 27; google.protobuf.NullValue nothing = 28; }
  google.protobuf.Timestamp at = 30; google.protobuf.Duration lasts = 31;
  google.protobuf.Int64Value wrapped = 32; google.protobuf.BytesValue wrapped_bytes = 33;
  google.protobuf.Struct free = 34; google.protobuf.Value any_value = 35; google.protobuf.ListValue any_list = 36;
  google.protobuf.FieldMask mask = 37; google.protobuf.Empty empty = 38; google.protobuf.Any any = 39;
  repeated double doubles = 41; repeated float floats = 42; repeated google.protobuf.Value values = 43;
  repeated int32 loose = 44 [packed = false]; repeated uint64 numbers = 45;
}
"""

DOCUMENTS = [
    '{}', '[]', '"x"', '{"i32": 1e2, "i64": 5.0, "u32": "12"}', '{"i32": "1e2"}', '{"i32": "1.0"}', '{"i32": 1.5}',
    '{"i32": " 1"}', '{"i32": "1 "}', '{"i32": "0x1"}', '{"i32": ""}', '{"i32": true}', '{"i32": 2147483648}',
    '{"i32": -2147483648, "u64": 18446744073709551615}', '{"u64": 18446744073709551616}', '{"u32": -1}',
    '{"i64": "9223372036854775807", "s64": -9223372036854775808}', '{"i64": 9223372036854775808}',
    '{"floatValue": "NaN", "doubleValue": "-Infinity"}', '{"doubleValue": "inf"}', '{"doubleValue": " 1"}',
    '{"doubleValue": 2.22507e-308}', '{"doubleValue": "1.7976931348623157e308"}', '{"floatValue": 3.5e38}',
    '{"doubleValue": 1e999}', '{"truth": "true"}', '{"truth": 1}', '{"text": 1}', '{"text": "\\u00fc\\n"}',
    '{"text": "\\ud800"}', '{"text": "\\ud83d\\ude00"}', '{"blob": "/+8="}', '{"blob": "_-8"}', '{"blob": "%"}', '{"blob": "-_"}',
    '{"color": "GREEN", "colors": ["COLD", 1, "RED", 77]}', '{"color": "BLUE"}', '{"color": 1.5}', '{"color": "1"}',
    '{"packed": [1, -1, "300"], "loose": [1, 2], "texts": ["", "b"]}', '{"packed": [1, null]}', '{"packed": 1}',
    '{"byName": {"a": 1, "": 0}, "byNumber": {"-5": {"i32": 1}}, "byTruth": {"true": "GREEN"}}',
    '{"byName": {"a": null}}', '{"byNumber": {"x": {}}}', '{"byNumber": {" 1": {}}}', '{"byTruth": {"yes": 1}}',
    '{"byName": {"a": 1, "a": 2}}', '{"i32": 1, "i32": 2}', '{"floatValue": 1, "float_value": 2}',
    '{"child": {"child": {"text": "deep"}}, "children": [{}, {"children": [{"i32": 4}]}]}', '{"colour": 1}',
    '{"left": 0}', '{"right": ""}', '{"left": 1, "right": ""}', '{"left": 1, "right": null}', '{"nothing": null}',
    '{"nothing": "NULL_VALUE"}', '{"at": "2024-02-29T12:00:00.000000001+01:00", "lasts": "-1.5s"}',
    '{"at": "0001-01-01T00:00:00Z"}', '{"at": "9999-12-31T23:59:59.999999999Z"}', '{"at": "10000-01-01T00:00:00Z"}',
    '{"at": "2024-02-29t12:00:00Z"}', '{"at": "2024-02-29T12:00:00z"}', '{"at": "2016-12-31T23:59:60Z"}',
    '{"at": "2024-02-29T12:00:00.1234567891Z"}', '{"at": "2024-02-29T12:00:00"}', '{"at": "2024-02-30T12:00:00Z"}',
    '{"lasts": "315576000000s"}', '{"lasts": "315576000001s"}', '{"lasts": "1"}', '{"lasts": 1}',
    '{"wrapped": "0", "wrappedBytes": "AAE="}', '{"wrapped": null}', '{"wrapped": {"value": 1}}',
    '{"free": {"a": [1, null, {"b": "c"}], "d": true}, "anyValue": null, "anyList": [null, "x", []]}',
    '{"free": {"a": 1, "a": 2}}', '{"anyValue": {"deep": [1.5]}, "values": [null, 1, "two", false]}',
    '{"mask": "userName.id,at"}', '{"mask": ""}', '{"mask": "user_name"}', '{"empty": {}}', '{"empty": {"a": 1}}',
    '{"any": {"@type": "type.googleapis.com/Thing", "i32": 5}}', '{"any": {}}', '{"any": {"i32": 5}}',
    '{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"}}',
    '{"any": {"@type": "type.googleapis.com/Nothing"}}', '{"i32": null, "byName": null, "children": null}',
]

# Where the two differ on purpose. The suite that tests JSON forms wants most of these refused.
KNOWN = {
    "[]": "a list is not a message, also where it is empty",
    '{"doubleValue": "inf"}': "endless is written `Infinity`",
    '{"doubleValue": " 1"}': "a number has no blanks in its quotes",
    '{"blob": "%"}': "what is not base64 is refused, not left out",
    '{"color": 1.5}': "there is no value 1.5 of an enum",
    '{"color": "1"}': "a number in quotes is not a name of an enum's value",
    '{"floatValue": 1, "float_value": 2}': "a field that is given twice is refused under both of its names too",
}


class Schema:
    """A `.proto` file, for both sides."""

    def __init__(self, text, name):
        self.path = pathlib.Path(f"{name}.proto")
        self.path.write_text(text)
        if protoc.main(["protoc", "-I.", f"-I{STANDARD}", "--include_imports", "--descriptor_set_out=set", str(self.path)]) != 0:
            sys.exit(f"{self.path} is not accepted")
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path("set").read_bytes())
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.message = message_factory.GetMessageClass(self.pool.FindMessageTypeByName("M"))

    def theirs(self, document):
        """The bytes of a document, or None where it is refused."""
        try:
            message = json_format.Parse(document, self.message(), descriptor_pool=self.pool)
        except (json_format.ParseError, ValueError, RecursionError):
            return None
        return message.SerializeToString(deterministic=True)

    def again(self, data):
        return None if data is None else self.message.FromString(data).SerializeToString(deterministic=True)


def ours(runner, schema, columns, source, form):
    """The message of every row by its id, as a job of the runner writes it."""
    out = pathlib.Path("out.ndjson")
    out.unlink(missing_ok=True)
    pathlib.Path("job.toml").write_text(f"""
name = "messages"
[limits]
rejects = "100%"
[rejects]
path = "rejects.ndjson"
[sources.rows]
type = "files"
path = "{source}"
format = "{form}"
columns = {json.dumps(["id int64", *columns])}
[transforms.packed]
type = "protobuf"
input = "rows"
schema = "{schema.path}"
message = "M"
into = "bytes"
[transforms.few]
type = "select"
input = "packed"
columns = {{ id = "id", bytes = "bytes" }}
[sinks.out]
type = "files"
input = "few"
path = "out.ndjson"
format = "ndjson"
""")
    ran = subprocess.run([runner, "job.toml", "--quiet"], capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(f"the job ended with {ran.returncode}:\n{ran.stderr}")
    lines = out.read_text().splitlines() if out.exists() else []
    return {row["id"]: base64.b64decode(row["bytes"]) for row in map(json.loads, lines)}


def packing(runner):
    """Every scalar type, repeated, in both syntaxes, with every way to say whether it is packed."""
    compared, wrong = 0, []
    for syntax in ("proto2", "proto3"):
        fields, columns, row = [], [], {"id": 0}
        for scalar, (column, values) in SCALARS.items():
            for option in ("", " [packed = true]", " [packed = false]"):
                if scalar == "string" and "true" in option:
                    continue
                name = f"f{len(fields)}"
                fields.append(f"repeated {scalar} {name} = {len(fields) + 1}{option};")
                columns.append(f"{name} list<{column}>")
                row[name] = values
        schema = Schema(f'syntax = "{syntax}"; {ENUM} message M {{ {" ".join(fields)} }}', syntax)
        pathlib.Path("rows.ndjson").write_text(json.dumps(row) + "\n")
        document = json.dumps({name: value for name, value in row.items() if name != "id"})
        expected = schema.theirs(document)
        as_json = [f"{column.split()[0]} json" for column in columns]
        for kinds in (columns, as_json):
            found = ours(runner, schema, kinds, "rows.ndjson", "ndjson").get(0)
            compared += len(columns)
            if found != expected:
                wrong.append(f"{syntax} {kinds[0]} …: {found and found.hex()}\n  theirs {expected.hex()}")
    return compared, wrong


def numbers(count):
    """Documents of random doubles and long integers, as their digits are written."""
    chance = random.Random(7)
    doubles = (struct.unpack("<d", chance.randbytes(8))[0] for _ in range(count))
    doubles = [repr(double) for double in doubles if math.isfinite(double)]
    integers = [str(chance.getrandbits(chance.randint(1, 64))) for _ in range(count)]
    for i in range(0, count, 100):
        few = ", ".join(doubles[i : i + 100])
        yield f'{{"doubles": [{few}], "values": [{few}], "numbers": [{", ".join(integers[i : i + 100])}]}}'


def documents(runner, schema, texts):
    with open("rows.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "value"])
        writer.writerows(enumerate(texts))
    found = ours(runner, schema, ["value json"], "rows.csv", "csv")
    wrong = []
    for i, text in enumerate(texts):
        theirs, own = schema.theirs(f'{{"value": {text}}}'), schema.again(found.get(i))
        if (theirs == own) == (text in KNOWN):
            show = lambda data: "refused" if data is None else data.hex()[:400]
            reason = "agrees, but a reason is given" if text in KNOWN else "differs"
            wrong.append(f"{text[:400]}: {reason}\n  here   {show(own)}\n  theirs {show(theirs)}")
    return len(texts), wrong


def main():
    runner = sys.argv[1]
    schema = Schema(THING, "thing")
    results = [packing(runner), documents(runner, schema, DOCUMENTS + list(numbers(5_000)))]
    for _, wrong in results:
        for difference in wrong:
            print(difference)
    print(f"{results[0][0]} repeated fields and {results[1][0]} documents compared")
    return 1 if any(wrong for _, wrong in results) else 0


if __name__ == "__main__":
    sys.exit(main())
