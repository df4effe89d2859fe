"""Cases of masks, packing, rounding and sums, for make_vectors.py."""

import struct
from fractions import Fraction

import reference as ref
from sessions import LANES, largest

DRAW = ref.Draw("edgetune secagg vectors")


def shape(bits, n_max, bound, lanes, coordinates):
    return {"bits": bits, "n_max": n_max, "bound": bound, "lanes": lanes,
            "coordinates": coordinates}


def mask_words():
    key = DRAW.bytes("mask key", 32)
    cases = [{"key": key, "first_word": w, "words": ref.mask(key, w, 9)}
             for w in (0, 1, 2, 3, 4, 7, 4095, 4096, 1000003, 2 ** 34 + 1,
                       2 ** 40 + 2)]
    key = DRAW.bytes("another mask key", 32)
    return cases + [{"key": key, "first_word": 0,
                     "words": ref.mask(key, 0, 33)}]


def mask_packing():
    cases = []
    for bits in (16, 20, 24, 32):
        for count in (3, 4, 7):
            lanes = [DRAW.integer(f"pack {bits} {count} {i}", 0, 2 ** bits - 1)
                     for i in range(count - 1)] + [2 ** bits - 1]
            cases.append({"bits": bits, "lanes": lanes,
                          "packed": ref.pack(bits, lanes)})
    return cases


def mask_ring():
    """Self mask and pairwise masks of either sign over signed lanes."""
    cases = []
    for bits in (16, 20, 24, 32):
        lanes = [1, 0xBEEF, 2 ** (bits - 1) - 1, -2 ** (bits - 1), -1, 0, 7]
        terms = [(DRAW.bytes(f"ring {bits} {i}", 32), sign)
                 for i, sign in enumerate((1, 1, -1, -1, 1))]
        cases.append({
            "bits": bits, "lanes": [lane % 2 ** bits for lane in lanes],
            "terms": [{"key": key, "subtract": sign < 0}
                      for key, sign in terms],
            "packed": ref.pack(bits, ref.with_masks(bits, lanes, terms))})
    return cases


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def quantized(bits, n_max, bound):
    """Stochastic rounding gives one of two neighbours; which is free.

    Where value * scale is an integer both are it, as far as doubles are exact
    (they are for 16 bits and 7 clients at bound 0.25, scale 18720).
    """
    weight = Fraction(1, 2)
    lanes = {1: Fraction(1, 2), 2: Fraction(25), 4: Fraction(0)}
    values = [0.25, -0.25, 1.0, -7.5, 1 / 32, -1 / 32, 0.0, 0.1, -0.1, 0.2499,
              -1e-3, 1e-9]
    top = 2 ** (bits - 1) - 1 - n_max
    exact = [Fraction(1), Fraction(0xBEEF)]
    exact += [lanes[use] * Fraction(top, n_max) / Fraction(lane_bound)
              for use, lane_bound in LANES]
    for value in map(single, values):
        clamped = max(-Fraction(bound), min(Fraction(bound), Fraction(value)))
        exact.append(weight * clamped * Fraction(top, n_max) / Fraction(bound))
    low = [q.numerator // q.denominator for q in exact]
    high = [-(-q.numerator // q.denominator) for q in exact]
    return {"shape": shape(bits, n_max, bound, LANES, len(values)),
            "scale": float(Fraction(top, n_max) / Fraction(bound)),
            "weight": float(weight), "canary": 0xBEEF,
            "lanes": [[use, float(v)] for use, v in lanes.items()],
            "values": values, "clamped": 2,
            "low": [q % 2 ** bits for q in low],
            "high": [q % 2 ** bits for q in high]}


def summed(name, bits, canary, inputs, ok):
    """Plain sums without masks, against canaries and bounds."""
    n_max = 10
    lanes = [[1, canary, *lanes] if len(lanes) == 4 else lanes
             for lanes in inputs]
    total = [sum(column) for column in zip(*lanes)]
    assert not ok or total[0] == len(lanes)
    return {"name": name, "shape": shape(bits, n_max, 0.25, LANES[:1], 3),
            "canary": canary,
            "inputs": [ref.pack(bits, vector) for vector in lanes],
            "sums": total[2:] if ok else None}


def mask_sums():
    cases = []
    for bits in (16, 20, 24, 32):
        most = largest(bits, 10)
        edge = [most, most, -most, 0]
        cases += [
            summed(f"{bits} bits, the largest sum", bits, 0xFFFF, [edge] * 10,
                   True),
            summed(f"{bits} bits, signs", bits, 0x8001,
                   [[3, -1, 0, most], [0, -most, 5, -most],
                    [most, 1, -6, -1]], True),
            summed(f"{bits} bits, a coordinate 1 above", bits, 7,
                   [edge, [0, most + 1, 0, 0]], False),
            summed(f"{bits} bits, a coordinate 1 below", bits, 7,
                   [edge, [0, 0, -most - 1, 0]], False),
            summed(f"{bits} bits, a lane 1 above", bits, 7,
                   [edge, [most + 1, 0, 0, 0]], False),
            summed(f"{bits} bits, first canary", bits, 7,
                   [edge, [2, 7, 0, 0, 0, 0]], False),
            summed(f"{bits} bits, second canary", bits, 7,
                   [edge, [1, 6, 0, 0, 0, 0]], False),
        ]
    return cases


def make_mask():
    return {"words": mask_words(), "packing": mask_packing(),
            "ring": mask_ring(), "sums": mask_sums(),
            "quantized": [quantized(16, 7, 0.25), quantized(24, 47, 0.25),
                          quantized(32, 100, 0.25), quantized(20, 10, 0.3)],
            # (bits, lanes, bytes): too short, too long, padding bits.
            "bad_packed": [[20, 3, "00" * 7], [20, 3, "00" * 9],
                           [20, 3, "00" * 7 + "10"], [20, 3, "00" * 7 + "80"],
                           [16, 3, "00" * 5], [32, 3, ""],
                           [24, 3, "00" * 10]]}
