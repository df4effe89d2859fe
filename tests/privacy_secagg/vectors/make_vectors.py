"""Writes the JSON files beside it: vectors of secure aggregation v1.

    python3 make_vectors.py          writes them
    python3 make_vectors.py --check  exits 1 when one differs from what it makes

Needs Python 3.11 and the package `cryptography`. reference.py is the
implementation, the other files hold the cases. Everything is drawn from fixed
seeds, so the files never change by themselves. Bytes are in hex; in 16 or 32
bytes of field elements each takes two, big-endian.
"""

import json
import pathlib
import sys

from field import make_field
from masks import make_mask
from messages import make_encoding, make_kdf
from roster import make_roster
from sessions import Session

FOLDER = pathlib.Path(__file__).parent


def hexed(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: hexed(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hexed(item) for item in value]
    return value


def text_of(content):
    """JSON with one line for each item of a top-level list."""
    header = {"made_by": "tests/privacy_secagg/vectors/make_vectors.py",
              "licence": "Apache-2.0"}
    lines = []
    for name, value in hexed(header | content).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n".join("  " + json.dumps(v) for v in value)
            lines.append(f" {json.dumps(name)}: [\n{items}\n ]")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def files():
    yield "field", make_field()
    yield "encoding", make_encoding()
    yield "kdf", make_kdf()
    yield "mask", make_mask()
    yield "roster", make_roster()
    yield "session_4", Session("4", 32, 4, {}, 40).run()
    yield "session_5", Session("5", 32, 5, {"device-2": "R3"}, 40).run()
    yield "session_7", Session("7", 20, 7, {
        "device-3": "R2", "device-6": "R3"}, 40).run()
    yield "session_10", Session("10", 24, 10, {
        "device-4": "R3", "device-9": "R3", "device-7": "R5"}, 24).run()


def main():
    differing = 0
    for name, content in files():
        path, text = FOLDER / f"{name}.json", text_of(content)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            differing = 1
            print(f"{path.name} differs")
    return differing


if __name__ == "__main__":
    sys.exit(main())
