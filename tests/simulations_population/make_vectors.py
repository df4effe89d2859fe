#!/usr/bin/env python3
"""Makes vectors/laws.json: what SciPy and NumPy say of the laws that the
partitions draw from.

gamma: of the logarithm of a gamma variate, quantiles, mean and variance.
chi_square: bounds that a statistic of so many degrees of freedom leaves with
  probability `tail` on each side.
dirichlet: mean over clients of the entropy (nats) of their labels, from many
  partitions made by NumPy: each client's examples drawn one by one, a label in
  proportion to q / p times what is left of it. Mean, standard deviation of one
  partition, and how many were made.

Needs numpy and scipy. About two minutes.
"""

import json
import pathlib

import numpy as np
from scipy import special, stats

SHAPES = [0.001, 0.05, 0.3, 0.9, 1.0, 1.7, 8.0, 250.0]
LEVELS = [round(0.02 * i, 2) for i in range(1, 50)]
TAIL = 1e-7
LABEL_SIZES = [40, 40, 60, 80, 80, 100, 120, 140, 140, 200]
CLIENTS = 20
ALPHAS = [0.02, 0.3, 3.0, 100.0]
PARTITIONS = 400


def gamma_case(shape):
    # The logarithm is scipy's loggamma, exact where the variate underflows.
    quantiles = stats.loggamma.ppf(LEVELS, shape)
    # Below its range ppf gives -inf: there P(log G < x) = e^(a x) / Gamma(a+1)
    # to within e^x.
    small = np.log(LEVELS) / shape + special.gammaln(shape + 1) / shape
    quantiles = np.where(small < -40, small, quantiles)
    return {"shape": shape, "mean_log": float(special.digamma(shape)),
            "variance_log": float(special.polygamma(1, shape)),
            "quantiles": [float(f"{q:.12g}") for q in quantiles]}


def mean_entropy(alpha, rng):
    sizes = np.array(LABEL_SIZES)
    prior = sizes / sizes.sum()
    left = sizes.copy()
    entropies = []
    for _ in range(CLIENTS):
        logs = stats.loggamma.rvs(alpha * prior, random_state=rng)
        mine = np.zeros(len(sizes))
        for _ in range(sizes.sum() // CLIENTS):
            with np.errstate(divide="ignore"):
                weights = logs - np.log(prior) + np.log(left)
            weights = np.exp(weights - weights.max())
            label = rng.choice(len(sizes), p=weights / weights.sum())
            left[label] -= 1
            mine[label] += 1
        entropies.append(stats.entropy(mine))
    return float(np.mean(entropies))


def dirichlet_case(alpha, rng):
    means = [mean_entropy(alpha, rng) for _ in range(PARTITIONS)]
    return {"alpha": alpha, "mean": round(float(np.mean(means)), 6),
            "deviation": round(float(np.std(means, ddof=1)), 6)}


def main():
    rng = np.random.default_rng(20)
    out = {
        "levels": LEVELS,
        "gamma": [gamma_case(shape) for shape in SHAPES],
        "chi_square": {
            "tail": TAIL,
            "bounds": {str(df): [float(f"{stats.chi2.ppf(TAIL, df):.6f}"),
                                 float(f"{stats.chi2.isf(TAIL, df):.6f}")]
                       for df in (9, 19, 171)}},
        "label_sizes": LABEL_SIZES,
        "clients": CLIENTS,
        "partitions": PARTITIONS,
        "dirichlet": [dirichlet_case(alpha, rng) for alpha in ALPHAS],
    }
    path = pathlib.Path(__file__).parent / "vectors" / "laws.json"
    path.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
