#!/usr/bin/env python3
"""The vectors of latency_test.cc: NumPy's percentiles by nearest rank.

    python3 make_percentile_vectors.py
"""

import numpy as np


def main():
    rng = np.random.default_rng(11)
    for size in (1, 2, 3, 7, 10, 100, 101):
        values = np.sort(np.round(rng.gamma(2, 3, size), 3))
        found = [float(np.percentile(values, p, method="inverted_cdf"))
                 for p in (0, 1, 50, 90, 99, 100)]
        print(f"{{{{{', '.join(map(repr, values.tolist()))}}},\n"
              f" {{{', '.join(map(repr, found))}}}}},")


if __name__ == "__main__":
    main()
