#!/usr/bin/env python3
"""Writes the JSON files beside it: what rules of combining and server
optimisers make of small inputs, in float64 and straight from the papers that
aggregation/combine_rule.h and aggregation/server_optimizer.h name.

    python3 make_vectors.py          writes them
    python3 make_vectors.py --check  exits 1 when one differs from what it makes

Needs NumPy. Inputs are float32, drawn from a fixed seed. Of updates that a rule
finds equally good the lexicographically smallest is taken; the cases with such
ties have small whole numbers, so that no rounding settles them.
"""

import json
import pathlib
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).parent
RANDOM = np.random.default_rng(20171204)


def mean(updates, weights):
    return (weights[:, None] * updates).sum(0) / weights.sum()


def norm_bound(updates, weights, norm_bound):
    lengths = np.linalg.norm(updates, axis=1)
    factors = np.array([min(1, norm_bound / n) if n > 0 else 1 for n in lengths])
    return mean(updates * factors[:, None], weights)


def trimmed_mean(updates, weights, trim):
    # In hundredths: trim is a decimal number, and so is what a user means.
    cut = round(trim * 100) * len(updates) // 100
    return np.sort(updates, axis=0)[cut:len(updates) - cut].mean(axis=0)


def median(updates, weights):
    return np.median(updates, axis=0)


def gradient_without(point, updates, weights, skip):
    away = updates[~skip] - point
    return (weights[~skip, None] * away / np.linalg.norm(away, axis=1)[:, None]).sum(0)


def geometric_median(updates, weights):
    """The minimum of a convex function: at an update, if the others pull less
    than it holds (Weiszfeld's condition), else where Newton's method ends."""
    for point in updates:
        here = (updates == point).all(axis=1)
        if here.all():
            return point
        pull = gradient_without(point, updates, weights, here)
        if np.linalg.norm(pull) <= weights[here].sum():
            return point

    def objective(point):
        return (weights * np.linalg.norm(updates - point, axis=1)).sum()
    point = mean(updates, weights)
    for _ in range(200):
        away = point - updates
        lengths = np.linalg.norm(away, axis=1)
        units = away / lengths[:, None]
        gradient = (weights[:, None] * units).sum(0)
        hessian = sum(w / n * (np.eye(point.size) - np.outer(u, u))
                      for w, n, u in zip(weights, lengths, units))
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while objective(point - size * step) > objective(point) and size > 1e-12:
            size /= 2
        point = point - size * step
    assert np.linalg.norm(gradient) < 1e-9 * weights.sum()
    return point


def scores(updates, byzantine):
    """Krum's score of each: squared distances to the nearest n - f - 2 others."""
    n = len(updates)
    nearest = min(max(1, n - byzantine - 2), n - 1)
    squares = ((updates[:, None, :] - updates[None, :, :]) ** 2).sum(2)
    return [np.sort(np.delete(squares[i], i))[:nearest].sum() for i in range(n)]


def by_content(updates):
    return np.array(sorted(updates.tolist()))


def multi_krum(updates, weights, byzantine, kept=0):
    updates = by_content(updates)
    score = scores(updates, byzantine)
    best = sorted(range(len(updates)), key=lambda i: (score[i], i))
    return updates[best[:kept or len(updates) - byzantine]].mean(axis=0)


def krum(updates, weights, byzantine):
    return multi_krum(updates, weights, byzantine, kept=1)


def bulyan(updates, weights, byzantine):
    left, selected = by_content(updates), []
    while len(selected) < len(updates) - 2 * byzantine:
        score = scores(left, byzantine)
        best = min(range(len(left)), key=lambda i: (score[i], i))
        selected.append(left[best])
        left = np.delete(left, best, axis=0)
    kept = len(updates) - 4 * byzantine
    result = []
    for column in np.array(selected).T:
        centre = np.median(column)
        nearest = sorted(column, key=lambda x: (abs(x - centre), x))[:kept]
        result.append(np.mean(nearest))
    return np.array(result)


RULES = {f.__name__: f for f in (mean, norm_bound, trimmed_mean, median,
                                 geometric_median, krum, multi_krum, bulyan)}


def drawn(n, coordinates=5, liars=0):
    updates = RANDOM.normal(size=(n, coordinates))
    updates[:liars] = 40 * np.sign(RANDOM.normal(size=(liars, coordinates)))
    return RANDOM.permutation(updates).astype(np.float32)


def ties(n):
    """Whole numbers of which many are equal."""
    return RANDOM.integers(-1, 2, size=(n, 3)).astype(np.float32)


def repeated(n):
    return np.repeat(drawn(1), n, axis=0)


# Four corners of a square and its centre twice: scores tie by symmetry.
SQUARE = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1], [0, 0], [0, 0], [0, 0]],
                  dtype=np.float32)


def rule_cases():
    plain = [drawn(n) for n in (1, 2, 5, 6)] + [ties(7), ties(8), repeated(3)]
    for updates in plain:
        yield "mean", updates, {}
        yield "median", updates, {}
    for bound in (0.5, 2.0, 1000.0):
        yield "norm_bound", drawn(6), {"norm_bound": bound}
    yield "norm_bound", np.array([[3, 4], [0, 0], [6, 8]], np.float32), {"norm_bound": 5.0}
    for n, trim in ((3, 0.34), (4, 0.25), (5, 0.25), (8, 0.25), (9, 0.49), (10, 0.1),
                    (100, 0.29)):
        yield "trimmed_mean", drawn(n, liars=n // 5), {"trim": trim}
    yield "trimmed_mean", ties(8), {"trim": 0.2}
    yield "trimmed_mean", repeated(4), {"trim": 0.25}
    for updates in (drawn(1), drawn(3), drawn(4), drawn(9), drawn(10, liars=3),
                    repeated(5), np.concatenate([repeated(3), drawn(2)])):
        yield "geometric_median", updates, {}
    yield "geometric_median", drawn(5), {"heavy": True}
    for n, f in ((3, 0), (5, 1), (6, 1), (7, 2), (12, 3)):
        yield "krum", drawn(n, liars=f), {"byzantine": f}
        for kept in (0, 1, 2, n - f):
            yield "multi_krum", drawn(n, liars=f), {"byzantine": f, "kept": kept}
    for updates in (ties(7), ties(8), SQUARE, repeated(7)):
        yield "krum", updates, {"byzantine": 2}
        yield "multi_krum", updates, {"byzantine": 2, "kept": 3}
        yield "bulyan", updates, {"byzantine": 1}
    for n, f in ((3, 0), (4, 0), (7, 1), (10, 1), (11, 2), (15, 3)):
        yield "bulyan", drawn(n, liars=f), {"byzantine": f}


def make_rules():
    cases = []
    for rule, updates, options in rule_cases():
        weights = RANDOM.integers(1, 100, size=len(updates)).astype(float)
        if options.pop("heavy", False):
            weights[2] = 2 * weights.sum()
        result = RULES[rule](updates.astype(np.float64), weights, **options)
        cases.append({"rule": rule, **options, "weights": weights.tolist(),
                      "updates": updates.tolist(), "result": result.tolist()})
    return cases


def sgd(x, updates, lr, **_):
    for d in updates:
        x = x + lr * d
        yield x


def momentum(x, updates, lr, beta1, **_):
    m = 0
    for d in updates:
        m = beta1 * m + d
        x = x + lr * m
        yield x


def adaptive(next_v):
    def steps(x, updates, lr, beta1, beta2, epsilon):
        m, v = 0, np.full_like(x, epsilon ** 2)
        for d in updates:
            m = beta1 * m + (1 - beta1) * d
            v = next_v(v, d ** 2, beta2)
            x = x + lr * m / (np.sqrt(v) + epsilon)
            yield x
    return steps


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "adam": adaptive(lambda v, d2, b2: b2 * v + (1 - b2) * d2),
    "yogi": adaptive(lambda v, d2, b2: v - (1 - b2) * d2 * np.sign(v - d2)),
    "adagrad": adaptive(lambda v, d2, b2: v + d2),
}


def make_optimizers():
    # The first of each run meets v = d^2 in yogi, where epsilon is 0.125.
    updates = np.concatenate([[[0.125, -0.125, 0.0]], RANDOM.normal(size=(3, 3)),
                              np.zeros((1, 3)), 0.01 * RANDOM.normal(size=(2, 3))]
                             ).astype(np.float32)
    adapter = np.array([1.0, -1.0, 0.5])
    cases = []
    for name, steps in OPTIMIZERS.items():
        for options in ({"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "epsilon": 0.125},
                        {"lr": 1.0, "beta1": 0.0, "beta2": 0.5, "epsilon": 1e-3}):
            after = list(steps(adapter, updates.astype(np.float64), **options))
            cases.append({"optimizer": name, **options, "adapter": adapter.tolist(),
                          "updates": updates.tolist(),
                          "after": [x.tolist() for x in after]})
    return cases


def make_server_runs():
    """Adapters of the fake devices of tests/server/test_server.h: device k of
    seven sends sin(i + 10 k + 100 round) as coordinate i, with weight 10 + 7 k."""
    numbers, i = np.arange(1, 8), np.arange(56)
    for rule, options in (("mean", {}), ("norm_bound", {"norm_bound": 2.0}),
                          ("trimmed_mean", {"trim": 0.25}), ("median", {}),
                          ("krum", {"byzantine": 2}),
                          ("multi_krum", {"byzantine": 1, "kept": 3}),
                          ("bulyan", {"byzantine": 1})):
        adapter, after = (np.float32(0.01) * i).astype(np.float64), []
        for turn in range(3):
            sent = np.sin(i + 10.0 * numbers[:, None] + 100 * turn).astype(np.float32)
            adapter = adapter + RULES[rule](sent.astype(np.float64),
                                            10.0 + 7 * numbers, **options)
            after.append(adapter.tolist())
        yield {"rule": rule, **options, "after": after}


def text_of(cases):
    """JSON with one line for each case."""
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    return ('{\n "made_by": "tests/aggregation/vectors/make_vectors.py",\n'
            f' "licence": "Apache-2.0",\n "cases": [\n{lines}\n ]\n}}\n')


def main():
    stale = []
    for name, make in (("rules", make_rules), ("optimizers", make_optimizers),
                       ("server_runs", make_server_runs)):
        path, text = FOLDER / f"{name}.json", text_of(make())
        if "--check" not in sys.argv:
            path.write_text(text)
        elif path.read_text() != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"not what this script makes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
