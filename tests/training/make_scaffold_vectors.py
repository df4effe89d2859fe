#!/usr/bin/env python3
"""The vectors of scaffold_test.cc, in float64: SCAFFOLD (Karimireddy et al.
2020), Algorithm 1 with option II, line by line, each device sending both its
update and the change of its control variate.

    python3 make_scaffold_vectors.py
"""

import numpy as np

# Losses curvature / 2 (w - target)^2 of each coordinate.
CURVATURES = [1.0, 4.0]
TARGETS = [6.0, 1.5]
STEPS, RATE, SERVER_RATE = 10, 0.05, 1.0
SAMPLED = [[0, 1], [1], [0, 1]]
DEVICES = 2


def show(name, values):
    print(f"{name}: {{" + ", ".join(f"{v:.15g}" for v in values) + "}")


def main():
    x = np.array([1.0, -2.0, 0.5])
    c = np.zeros(3)
    own = [np.zeros(3) for _ in range(DEVICES)]
    for r, sampled in enumerate(SAMPLED):
        updates, changes = [], []
        for i in sampled:
            y = x.copy()
            for _ in range(STEPS):
                gradient = CURVATURES[i] * (y - TARGETS[i])
                y -= RATE * (gradient - own[i] + c)
            after = own[i] - c + (x - y) / (STEPS * RATE)
            updates.append(y - x)
            changes.append(after - own[i])
            own[i] = after
        x = x + SERVER_RATE * np.mean(updates, axis=0)
        c = c + len(sampled) / DEVICES * np.mean(changes, axis=0)
        show(f"round {r} x", x)
        show(f"round {r} c", c)
        for i in range(DEVICES):
            show(f"round {r} c_{i}", own[i])


if __name__ == "__main__":
    main()
