#!/usr/bin/env python3
"""The vectors of sgd_test.cc: torch.optim.SGD's documented update (dampening 0,
no Nesterov) in float32, one operation after the other.

    python3 make_sgd_vectors.py
"""

import numpy as np

F = np.float32
GRADIENTS = [[0.3, -0.2, 0.0], [-1.0, 0.4, 1e-3], [0.05, 0.0, -2e-3]]
RATES = [0.1, 0.1, 0.05]


def steps(momentum, weight_decay):
    values = np.array([1.0, -2.0, 0.5], F)
    buffer = None
    for gradient, rate in zip(GRADIENTS, RATES):
        g = np.array(gradient, F) + F(weight_decay) * values
        if momentum != 0:
            buffer = g if buffer is None else F(momentum) * buffer + g
            g = buffer
        values = values - F(rate) * g
        yield values


def main():
    for momentum, decay in [(0, 0), (0, 0.01), (0.9, 0), (0.9, 0.01)]:
        print(f"momentum {momentum}, weight decay {decay}")
        for values in steps(momentum, decay):
            print("  {" + ", ".join(f"{v:.9g}f" for v in values) + "},")


if __name__ == "__main__":
    main()
