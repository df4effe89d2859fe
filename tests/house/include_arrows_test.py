"""Compares every #include with the room table of docs/architecture.md.

A room may include itself and what its row names. Heavy libraries have doors:
the rooms (or files) that alone may include them. Sizes of files are printed as
warnings only. Needs nothing but Python's standard library.
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folders that need a README.md beside the rooms of the table.
README_FOLDERS = {"bench", "deploy", "privacy", "tests"}

# (library, pattern of the included name, patterns of files that may).
DOORS = [
    ("gRPC", r"(grpcpp|grpc)/|.*\.grpc\.pb\.h$",
     r"(server/rpc|client/grpc)/|protos/grpc_"),
    ("LibTorch", r"(torch|ATen|c10|caffe2)/", r"(models|training)/torch/"),
    ("OpenSSL", r"openssl/", r"privacy/crypto/"),
    ("SQLite", r"sqlite3\.h$", r"storage/"),
    ("CLI11", r"CLI/", r"tools/|(server|client)/main\.cc$"),
    ("toml++", r"toml\+\+/", r"config/"),
    ("libarchive", r"archive(_entry)?\.h$", r"tools/"),
    ("utf8proc", r"utf8proc\.h$", r"models/io/"),
    ("zlib", r"zlib\.h$", r"training/"),
    ("libpng", r"png\.h$", r"training/images/png_decoder\.cc$"),
    ("libjpeg", r"j(pegl|error|morecfg|config)", r"training/images/jpeg_decoder\.cc$"),
    ("Highway", r"hwy/", r"models/fused/"),
    ("Eigen", r"Eigen/", r"(aggregation|models/shrink)/"),
    ("oneDNN", r"oneapi/dnnl", r"models/fused/"),
    ("MPI", r"mpi\.h$", r"simulations/mpi/mpi_post\.cc$"),
]
# Forward declarations (json_fwd.hpp) cost nothing and are free.
CC_ONLY = re.compile(r"(nlohmann/(?!json_fwd)|spdlog/|fmt/|zstd\.h$)")
MAX_TORCH_FILES = 25
HEADER_LINES, SOURCE_LINES = 220, 400
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def read_table(text):
    """{room: set of rooms it may include}, from the Markdown table."""
    rows = re.findall(r"^\| `([a-z/]+)/` \|[^|]*\| ([^|]*) \|", text,
                      re.MULTILINE)
    table = {}
    for room, cell in rows:
        if cell == "everything above":
            table[room] = set(table)
            continue
        table[room] = set()
        for word in cell.split(", "):
            if word == "nothing of ours":
                continue
            base = word.removesuffix(" and what it may")
            if base.endswith("/*"):
                named = {r for r in table if r.startswith(base[:-1])}
            else:
                named = {base}
            for name in named:
                if name not in table:
                    raise ValueError(
                        f"row {room} names {name}, which no row above is")
            table[room] |= named
            if word != base:
                table[room] |= table[base]
    return table


def room_of(path, table):
    """The room that holds `path`, or None."""
    parents = str(path).split("/")[:-1]
    while parents:
        if "/".join(parents) in table:
            return "/".join(parents)
        parents.pop()
    return None


def allowed_rooms(path, table):
    room = room_of(path, table)
    if path in ("server/main.cc", "client/main.cc"):
        other = "client" if path.startswith("server") else "server"
        return {r for r in table
                if r.split("/")[0] not in ("tools", "simulations")
                and r != other and not r.startswith(other + "/")}
    return table[room] | {room}


def faults_of(path, text, table, exists):
    """Every way in which one file breaks the rules. `exists` tells whether a
    path from the root is a file of the tree."""
    faults = []
    is_test = path.startswith("tests/")
    room = room_of(path, table)
    if not is_test and room is None:
        return [f"{path}: stands in no room of the table"]
    for quote, name in INCLUDE.findall(text):
        generated = re.match(r"protos/edgetune/v1/\w+(\.grpc)?\.pb\.h$", name)
        if quote == "<" and exists(name):
            faults.append(f"{path}: own header <{name}> wants quotes")
        if is_test:
            if quote == '"' and not exists(name) and not generated and \
                    not name.startswith(("gtest/", "gmock/", "absl/",
                                         "google/")):
                faults.append(f'{path}: "{name}" is not a path from the root')
            continue
        for library, included, doors in DOORS:
            if re.match(included, name) and not re.match(doors, path):
                faults.append(f"{path}: includes {name}; the door of "
                              f"{library} is elsewhere")
        if path.endswith(".h") and CC_ONLY.match(name):
            faults.append(f"{path}: {name} belongs in .cc files")
        if name.startswith("google/protobuf/") and \
                "protos" not in allowed_rooms(path, table):
            faults.append(f"{path}: room {room} may not include protobuf")
        if quote == "<" or name.startswith(("absl/", "google/")):
            continue
        if re.match(DOORS[0][1], name) and not generated:
            continue
        target = room_of(name, table)
        if not (exists(name) or generated) or target is None:
            faults.append(f'{path}: "{name}" is not a path from the root')
        elif target not in allowed_rooms(path, table):
            faults.append(f"{path}: room {room} may not include {name}")
    return faults


def sources():
    tops = {room.split("/")[0] for room in load_table()} | {"tests"}
    for top in sorted(tops):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".h", ".cc") and path.is_file():
                yield str(path.relative_to(ROOT)), path.read_text()


def load_table():
    return read_table((ROOT / "docs/architecture.md").read_text())


class HouseTest(unittest.TestCase):
    def test_every_include_follows_the_table(self):
        table = load_table()
        faults, seen = [], 0
        for path, text in sources():
            seen += 1
            faults += faults_of(path, text, table,
                                lambda name: (ROOT / name).is_file())
        self.assertGreater(seen, 20)
        self.assertEqual(faults, [], "\n" + "\n".join(faults))

    def test_few_files_include_torch(self):
        torch = [path for path, text in sources()
                 if any(re.match(DOORS[1][1], name)
                        for _, name in INCLUDE.findall(text))]
        self.assertLessEqual(len(torch), MAX_TORCH_FILES, torch)

    def test_rooms_have_a_readme(self):
        rooms = set(load_table()) | README_FOLDERS
        missing = [room for room in sorted(rooms)
                   if not (ROOT / room / "README.md").is_file()]
        self.assertEqual(missing, [])

    def test_sizes_are_looked_at(self):
        for path, text in sources():
            limit = HEADER_LINES if path.endswith(".h") else SOURCE_LINES
            lines = text.count("\n")
            if lines > limit:
                print(f"warning: {path} has {lines} lines, aim at {limit}",
                      file=sys.stderr)


class RuleTest(unittest.TestCase):
    """The rules themselves find what is planted."""

    def faults(self, path, line):
        files = {"base/status.h", "server/round.h", "client/client.h",
                 "models/torch/llama.h", "tests/testing/plans.h",
                 "privacy/crypto/hash.h", "server/rpc/rpc_server.h"}
        return faults_of(path, f"#include {line}\n", load_table(),
                         files.__contains__)

    def test_finds_planted_faults(self):
        for path, line in [
                ("base/a.cc", '"server/round.h"'),
                ("server/a.cc", '"client/client.h"'),
                ("client/main.cc", '"server/round.h"'),
                ("aggregation/a.cc", '"privacy/crypto/hash.h"'),
                ("training/a.cc", '"models/torch/llama.h"'),
                ("base/a.cc", '"status.h"'),
                ("base/a.cc", "<base/status.h>"),
                ("tests/base/a.cc", '"status.h"'),
                ("server/a.cc", "<grpcpp/grpcpp.h>"),
                ("server/a.cc", '"protos/edgetune/v1/operator.grpc.pb.h"'),
                ("training/a.cc", "<torch/torch.h>"),
                ("storage/a.cc", "<openssl/evp.h>"),
                ("server/a.cc", "<sqlite3.h>"),
                ("client/a.cc", "<CLI/CLI.hpp>"),
                ("tools/a.cc", "<toml++/toml.h>"),
                ("models/io/a.cc", "<hwy/highway.h>"),
                ("models/torch/a.cc", "<oneapi/dnnl/dnnl.hpp>"),
                ("simulations/fleet/a.cc", "<mpi.h>"),
                ("training/images/a.cc", "<png.h>"),
                ("training/a.cc", "<jpeglib.h>"),
                ("base/a.h", "<nlohmann/json.hpp>"),
                ("base/a.cc", "<google/protobuf/message.h>"),
                ("models/io/a.cc", '"protos/edgetune/v1/plan.pb.h"'),
                ("nowhere/a.cc", '"base/status.h"')]:
            self.assertTrue(self.faults(path, line), f"{path}: {line}")

    def test_lets_allowed_includes_pass(self):
        for path, line in [
                ("server/a.cc", '"base/status.h"'),
                ("server/a.cc", '"privacy/crypto/hash.h"'),
                ("server/rpc/a.cc", '"server/round.h"'),
                ("server/rpc/a.cc", "<grpcpp/grpcpp.h>"),
                ("server/main.cc", '"server/rpc/rpc_server.h"'),
                ("server/main.cc", "<CLI/CLI.hpp>"),
                ("training/torch/a.cc", '"models/torch/llama.h"'),
                ("models/fused/a.cc", "<hwy/highway.h>"),
                ("models/fused/a.cc", "<oneapi/dnnl/dnnl.hpp>"),
                ("simulations/a.cc", '"client/client.h"'),
                ("tools/a.cc", '"server/round.h"'),
                ("server/a.cc", '"protos/edgetune/v1/plan.pb.h"'),
                ("base/a.cc", "<nlohmann/json.hpp>"),
                ("tests/server/a.cc", '"tests/testing/plans.h"')]:
            self.assertEqual(self.faults(path, line), [])

    def test_reads_every_row_of_the_table(self):
        table = load_table()
        self.assertEqual(table["base"], set())
        self.assertIn("privacy/crypto", table["server/rpc"])
        self.assertIn("models/io", table["training/torch"])
        self.assertNotIn("client", table["server"])
        self.assertNotIn("server", table["client"])
        with self.assertRaises(ValueError):
            read_table("| `a/` | x | b | – |\n")


if __name__ == "__main__":
    unittest.main()
