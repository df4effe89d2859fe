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
WIDE = [(8, 6), (7, 9)]  # likewise, where frozen slices need room


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


def factors(shapes, rank, scale=1.0):
    return [(draw(rank, i) * scale, draw(o, rank) * scale) for o, i in shapes]


def cut(matrix, rank):
    """The matrix of that rank nearest to it, and the energies of both."""
    u, s, v = np.linalg.svd(matrix)
    return (u[:, :rank] * s[:rank]) @ v[:rank], (s[:rank] ** 2).sum(), (s ** 2).sum()


def short(values):
    """Nine digits: more than float32 has."""
    return [float(f"{v:.9g}") for v in np.ravel(values)]


def frozen_round(state, updates, ranks, weights, frozen, anew):
    """What one round makes of (A, B, dense frozen part) of each module: the
    next ones, the exact mean of the devices' B A beside it, the energy kept."""
    shares = [w / sum(weights) for w in weights]
    after, exact, kept, energy = [], [], 0, 0
    for m, (a, b, added) in enumerate(state):
        products = 0
        for share, own, update in zip(shares, ranks, updates):
            products = products + share * (
                (b + update[m][1])[:, :own] @ (a + update[m][0])[:own, :])
        if anew is None:
            next_a = a + sum(s * u[m][0] for s, u in zip(shares, updates))
            next_b = b + sum(s * u[m][1] for s, u in zip(shares, updates))
        else:
            next_a, next_b = anew[m]
        rest = added + products - next_b @ next_a
        near, k, e = cut(rest, frozen)
        after.append((next_a, next_b, near))
        exact.append(added + products)
        kept, energy = kept + k, energy + e
    # Of a lone device's products nothing is left but rounding.
    return after, exact, kept / energy if energy > 1e-20 else 1.0


def make_frozen(rule):
    """Three rounds, the first from frozen slices of zeros. `products` is what
    all slices compute after a round, `exact` what they would without a limit:
    the frozen part before it plus the weighted mean of the devices' B A."""
    unequal = rule == "flora"
    for rank, frozen, ranks, weights in [
            (1, 6, [1, 1], [10.0, 30.0]),
            (2, 6, [2, 1, 2] if unequal else [2, 2, 2], [5.0, 50.0, 7.0]),
            (2, 2, [2, 1, 1, 2] if unequal else [2, 2, 2, 2], [1.0, 2.0, 3.0, 4.0]),
            (3, 1, [3, 3], [1.0, 1.0]),
            (2, 3, [2], [9.0])]:
        begin = [(a, b * 0) for a, b in factors(WIDE, rank)]
        state = [(a, b, np.zeros((b.shape[0], a.shape[1]))) for a, b in begin]
        rounds = []
        for _ in range(3):
            updates = [factors(WIDE, rank, 0.5) for _ in ranks]
            for update, own in zip(updates, ranks):
                for a, b in update:
                    a[own:, :] = 0
                    b[:, own:] = 0
            anew = None
            if rule == "flora":
                anew = [(a, b * 0) for a, b in factors(WIDE, rank)]
            state, exact, kept = frozen_round(state, updates, ranks, weights, frozen, anew)
            rounds.append({
                "updates": [short(flat(u)) for u in updates],
                "anew": [] if anew is None else short(flat(anew)),
                "trained": short(flat([(a, b) for a, b, _ in state])),
                "products": [short(b @ a + added) for a, b, added in state],
                "exact": [short(e) for e in exact] if kept > 1 - 1e-12 else [],
                "kept": kept})
        yield {"rule": rule, "shapes": WIDE, "rank": rank, "frozen": frozen, "ranks": ranks,
               "weights": weights, "begin": short(flat(begin)), "rounds": rounds}


def main():
    cases = [*make_hetlora(), *make_flexlora(), *make_frozen("fedex"),
             *make_frozen("flora")]
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    text = ('{\n "made_by": "tests/aggregation/vectors/make_lora_vectors.py",\n'
            f' "licence": "Apache-2.0",\n "cases": [\n{lines}\n ]\n}}\n')
    if "--check" not in sys.argv:
        PATH.write_text(text)
    elif PATH.read_text() != text:
        sys.exit(f"{PATH.name} is not what this script makes")


if __name__ == "__main__":
    main()
