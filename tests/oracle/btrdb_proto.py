"""Is our proto/btrdb.proto a part of the one that the official client ships? Prints what it has, sorted.

btrdb_proto.py PATH
"""

import importlib.util
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc


def load(path):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set")
        if protoc.main(["protoc", f"-I{path.parent}", f"--descriptor_set_out={out}", str(path)]) != 0:
            sys.exit(f"{path} is not accepted")
        (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    facts = {(file.package, file.syntax)}
    for message in file.message_type:
        facts.add((message.name,))
        facts |= {(message.name, f.name, f.number, f.type, f.label, f.type_name) for f in message.field}
    for service in file.service:
        for m in service.method:
            facts.add((service.name, m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming))
    return facts


package = importlib.util.find_spec("btrdb").submodule_search_locations[0]
ours, theirs = load(Path(sys.argv[1])), load(Path(package, "grpcinterface", "btrdb.proto"))
if not ours <= theirs:
    sys.exit(f"not theirs: {sorted(map(str, ours - theirs))}")
print(len(ours))
