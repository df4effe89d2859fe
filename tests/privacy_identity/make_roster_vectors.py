"""Makes the vectors of roster_test.cc and invitation_test.cc with Python's
hashlib; nothing of edgetune takes part."""

import hashlib
import struct


def with_length(text):
    return struct.pack(">I", len(text)) + text


def client_id(name):
    return hashlib.sha256(with_length(b"edgetune/identity/1/client") +
                          with_length(name)).digest()[:16]


def leaf(name, key, enrolled_ms, status):
    data = client_id(name) + key + struct.pack(">QB", enrolled_ms, status)
    return hashlib.sha256(b"\x00" + data).digest()


def main():
    for name in (b"device-1", b"a"):
        print(name.decode(), client_id(name).hex())
    key = bytes(range(32))
    print("active", leaf(b"device-1", key, 1800000000000, 1).hex())
    print("revoked", leaf(b"device-1", key, 1800000000000, 2).hex())
    request = hashlib.sha256(b"request").digest()
    for fields in ((b"enroll", hashlib.sha256(b"t" * 32).digest(), request,
                    b"k" * 32), (b"renew", b"d1", request)):
        text = b"".join(with_length(f) for f in
                        (b"edgetune/identity/1/" + fields[0], *fields[1:]))
        print(fields[0].decode(), hashlib.sha256(text).hexdigest())


main()
