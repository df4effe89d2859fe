"""Makes tensorboard_vectors.bin: an event file by another implementation.

Framing and protocol buffers from their specifications, with Python's struct
alone; CRC-32C by long division, bit after bit. tensorboard_test.cc adds the
same points and compares every byte.
"""

import pathlib
import struct

POINTS = [  # tag, step, wall time, value
    ("perplexity", 0, 0.0, 107.75),
    ("perplexity", 1, 12.5, 42.99),
    ("bytes_up", 300, 1e9, 0.0),
    ("Ü" * 70, 2**40, 0.1, -1e30),
]


def crc32c(data):
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 * (remainder & 1))
    return remainder ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def record(data):
    length = struct.pack("<Q", len(data))
    return (length + struct.pack("<I", masked(length)) + data
            + struct.pack("<I", masked(data)))


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def event(tag, step, wall_time, value):
    out = b""
    if wall_time:
        out += varint(1 << 3 | 1) + struct.pack("<d", wall_time)
    if step:
        out += varint(2 << 3) + varint(step)
    point = message(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack(
        "<f", value)
    return out + message(5, message(1, point))


def main():
    assert crc32c(b"123456789") == 0xE3069283
    out = record(message(3, b"brain.Event:2"))
    for point in POINTS:
        out += record(event(*point))
    pathlib.Path(__file__).with_name("tensorboard_vectors.bin").write_bytes(out)


if __name__ == "__main__":
    main()
