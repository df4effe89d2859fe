#!/usr/bin/env python3
"""The vectors of update_fold_test.cc, in float64, from the papers' formulas
written out: FedNova (Wang et al. 2020) with its accumulation vectors a_i as
vectors, q-FedAvg (Li et al. 2020, Algorithm 2) with Delta_k and h_k.

    python3 make_fold_vectors.py
"""

import numpy as np

UPDATES = np.array([[0.5, -0.25, 1e-4, 3.0],
                    [0.1, 0.2, -0.3, -2.5],
                    [-1.0, 0.05, 2e-3, 0.0],
                    [0.25, -0.75, 0.125, 60.0]], np.float32).astype(np.float64)
WEIGHTS = np.array([30.0, 7.0, 1201.0, 16384.0])
STEPS = [4, 1, 151, 2048]
LOSSES = np.array([2.5, 0.03, 11.0, 0.7])


def accumulation(steps, momentum, pull):
    """a_i: how often the gradient of each local step counts in the update."""
    if pull:
        return np.array([(1 - pull) ** (steps - 1 - k) for k in range(steps)])
    return np.array([sum(momentum ** j for j in range(steps - k))
                     for k in range(steps)])


def fed_nova(momentum, pull):
    p = WEIGHTS / WEIGHTS.sum()
    norms = np.array([np.abs(accumulation(s, momentum, pull)).sum()
                      for s in STEPS])
    normalised = UPDATES / norms[:, None]
    return (p * norms).sum() * (p[:, None] * normalised).sum(0)


def q_fed_avg(q, lr, weights):
    lipschitz = 1 / lr
    w_change = -lipschitz * UPDATES
    delta = LOSSES[:, None] ** q * w_change
    h = (q * LOSSES ** (q - 1) * (w_change ** 2).sum(1)
         + lipschitz * LOSSES ** q)
    return -(weights[:, None] * delta).sum(0) / (weights * h).sum()


def show(name, values):
    print(f"{name}: {{" + ", ".join(f"{v:.15g}" for v in values) + "}")


def main():
    for momentum, pull in [(0, 0), (0.9, 0), (0, 0.05)]:
        show(f"fednova momentum {momentum} pull {pull}",
             fed_nova(momentum, pull))
    for q in [0.1, 1, 5, 15]:
        show(f"q-fedavg q {q} by examples", q_fed_avg(q, 0.01, WEIGHTS))
    show("q-fedavg q 1 equal", q_fed_avg(1, 0.01, np.ones(4)))


if __name__ == "__main__":
    main()
