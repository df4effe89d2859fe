"""Makes the vectors of envelope_test.cc with Python and the openssl program.

Nothing of edgetune takes part: lengths by struct, SHA-256 by hashlib, Ed25519
by `openssl pkeyutl`. The key is the secret of RFC 8032, section 7.1, test 1.
"""

import base64
import hashlib
import pathlib
import struct
import subprocess
import tempfile

SEED = bytes.fromhex(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")


def with_length(text):
    return struct.pack(">I", len(text)) + text


def sign(message):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        body = base64.b64encode(PKCS8_ED25519 + SEED).decode()
        (folder / "key").write_text(
            f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
        (folder / "message").write_bytes(message)
        return subprocess.run(
            ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", folder / "key",
             "-in", folder / "message"], check=True, capture_output=True).stdout


def main():
    print("key_id", hashlib.sha256(PUBLIC).digest()[:16].hex())
    for use, role in (("plan", "release"), ("manifest", "round"),
                      ("card", "round"), ("roster", "roster"),
                      ("override", "release"), ("receipt", "round")):
        message = (with_length(b"edgetune/identity/1/" + use.encode()) +
                   with_length(role.encode()) +
                   with_length(b"\x08\x01payload\x00\xff"))
        print(use, sign(message).hex())


main()
