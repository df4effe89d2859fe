#!/usr/bin/env python3
"""Writes lora_rules.json beside it: what LoRA rules make of a few devices'
updates, in float64, from dense matrices: the product B A of each device, each
rank slice by itself.

    python3 make_lora_vectors.py          writes it
    python3 make_lora_vectors.py --check  exits 1 when it is not what it makes

Needs NumPy. Inputs are float32, drawn from a fixed seed. A module is A [r, in],
B [out, r]; an update is A then B of each module, row by row.
"""

import json
import pathlib
import sys

import numpy as np

PATH = pathlib.Path(__file__).parent / "lora_rules.json"
RANDOM = np.random.default_rng(20240612)
SHAPES = [(5, 4), (3, 6)]  # (out, in) of each module


def draw(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32).astype(np.float64)


def flat(modules):
    return np.concatenate([np.concatenate([a.ravel(), b.ravel()]) for a, b in modules])


def hetlora_slice_means(rank, ranks, weights):
    """Of each slice, over those that have it; zeros where nobody has."""
    updates, means = [], []
    for _ in ranks:
        updates.append([(draw(rank, i), draw(o, rank)) for o, i in SHAPES])
    for device, own in zip(updates, ranks):
        for a, b in device:
            a[own:, :] = 0
            b[:, own:] = 0
    for m, (o, i) in enumerate(SHAPES):
        a, b = np.zeros((rank, i)), np.zeros((o, rank))
        for s in range(rank):
            have = [k for k, own in enumerate(ranks) if own > s]
            total = sum(weights[k] for k in have)
            for k in have:
                a[s, :] += weights[k] / total * updates[k][m][0][s, :]
                b[:, s] += weights[k] / total * updates[k][m][1][:, s]
        means.append((a, b))
    return [flat(u).tolist() for u in updates], flat(means).tolist()


def make_hetlora():
    for rank, ranks, weights in [(3, [3, 1, 2, 3], [10.0, 200.0, 33.0, 7.0]),
                                 (3, [1, 2, 2], [5.0, 5.0, 90.0]),
                                 (2, [2, 2, 2], [3.0, 4.0, 5.0]),
                                 (1, [1], [12.0])]:
        updates, mean = hetlora_slice_means(rank, ranks, weights)
        yield {"rule": "hetlora", "shapes": SHAPES, "rank": rank, "ranks": ranks,
               "weights": weights, "updates": updates, "mean": mean}


def modules_of(rank, device_rank):
    """A random adapter whose slices beyond device_rank are zero."""
    modules = [(draw(rank, i), draw(o, rank)) for o, i in SHAPES]
    for a, b in modules:
        a[device_rank:, :] = 0
        b[:, device_rank:] = 0
    return modules


def make_flexlora():
    """The dense mean of (B + dB)(A + dA), cut to the rank by the SVD of the
    dense matrix; of a device of smaller rank both factors cut first."""
    for rank, ranks, weights in [(2, [2, 2, 2], [10.0, 200.0, 33.0]),
                                 (3, [3, 1, 2, 3], [1.0, 2.0, 3.0, 4.0]),
                                 (3, [1, 1, 1], [7.0, 1.0, 2.0]),
                                 (2, [2], [5.0]),
                                 (3, [1], [5.0])]:
        incoming = modules_of(rank, rank)
        updates = [modules_of(rank, own) for own in ranks]
        nearest, energy, kept = [], 0, 0
        for m in range(len(SHAPES)):
            mean = 0
            for own, weight, update in zip(ranks, weights, updates):
                a = (incoming[m][0] + update[m][0])[:own, :]
                b = (incoming[m][1] + update[m][1])[:, :own]
                mean = mean + weight / sum(weights) * (b @ a)
            u, s, v = np.linalg.svd(mean)
            nearest.append((u[:, :rank] * s[:rank]) @ v[:rank])
            energy += (s ** 2).sum()
            kept += (s[:rank] ** 2).sum()
        yield {"rule": "flexlora", "shapes": SHAPES, "rank": rank, "ranks": ranks,
               "weights": weights, "incoming": flat(incoming).tolist(),
               "updates": [flat(u).tolist() for u in updates],
               "products": [n.ravel().tolist() for n in nearest],
               "kept": kept / energy}


def main():
    cases = [*make_hetlora(), *make_flexlora()]
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    text = ('{\n "made_by": "tests/aggregation/vectors/make_lora_vectors.py",\n'
            f' "licence": "Apache-2.0",\n "cases": [\n{lines}\n ]\n}}\n')
    if "--check" not in sys.argv:
        PATH.write_text(text)
    elif PATH.read_text() != text:
        sys.exit(f"{PATH.name} is not what this script makes")


if __name__ == "__main__":
    main()
