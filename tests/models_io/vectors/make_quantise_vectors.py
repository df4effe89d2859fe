#!/usr/bin/env python3
"""Blocks that ggml's reference quantisers make, for quantise_test.cc.

    make_quantise_vectors.py LIBGGML_BASE > quantise.tsv

LIBGGML_BASE is any build of libggml-base.so, for example the one in the npm
package node-llama-cpp. A row: type number, kind of input, the bytes as
hexadecimal digits. Inputs follow from a linear congruential generator and are
exact in float32; quantise_test.cc makes the same.
"""

import ctypes
import sys

import numpy

VALUES = 512
# Type number, values and bytes of a block.
TYPES = [(2, 32, 18), (3, 32, 20), (6, 32, 22), (7, 32, 24), (8, 32, 34),
         (12, 256, 144), (13, 256, 176), (14, 256, 210)]


def uniform():
    """-0.5 <= x < 0.5 in steps of 2^-24."""
    state, values = 1, numpy.empty(VALUES, numpy.float32)
    for i in range(VALUES):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = ((state >> 8) - 2**23) * 2.0**-24
    return values


def inputs():
    x = uniform()
    yield "uniform", x
    yield "cubed", x * x * x
    yield "positive", numpy.abs(x)
    holes = x.copy()
    for i in range(VALUES):
        if i // 16 % 3 == 0:
            holes[i] = 0
    yield "holes", holes
    yield "faint", x * numpy.float32(2.0**-30)
    yield "flat", numpy.repeat(x[::32], 32)


def main():
    library = ctypes.CDLL(sys.argv[1])
    quantise = library.ggml_quantize_chunk
    quantise.restype = ctypes.c_size_t
    quantise.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
                         ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
                         ctypes.c_void_p]
    for kind, values in inputs():
        values = numpy.ascontiguousarray(values, numpy.float32)
        for number, elements, size in TYPES:
            out = numpy.zeros(VALUES // elements * size, numpy.uint8)
            made = quantise(number, values.ctypes.data, out.ctypes.data, 0,
                            VALUES // 256, 256, None)
            assert made == out.size
            print(number, kind, out.tobytes().hex(), sep="\t")


if __name__ == "__main__":
    main()
