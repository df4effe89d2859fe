#!/usr/bin/env python3
"""Makes vectors/partitions.json: partitions of a few seeds, from the generator
and the rules of dealing written a second time.

A change of the stream of random numbers, or of the order in which they are
drawn, changes who holds which examples in every simulation that somebody has
kept: these vectors notice it. Needs nothing but Python's standard library.
"""

import json
import math
import pathlib
from fractions import Fraction

M = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & M
    z = (z ^ z >> 27) * 0x94D049BB133111EB & M
    return z ^ z >> 31


class Random:
    """base/random.h: SplitMix64 and what is drawn from it."""

    def __init__(self, seed):
        self.state = self.origin = seed
        self.spare = None

    def next(self):
        self.state = self.state + GAMMA & M
        return mix(self.state)

    def below(self, bound):
        limit = (1 << 64) % bound
        while True:
            x = self.next()
            if x >= limit:
                return x % bound

    def uniform(self):
        return (self.next() >> 11) * 2.0 ** -53

    def normal(self):
        if self.spare is not None:
            out, self.spare = self.spare, None
            return out
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        angle = 2 * math.pi * self.uniform()
        self.spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def split(self, label, index=0):
        h = self.origin
        for c in label.encode():
            h = mix(h + GAMMA + c & M)
        h = mix(h + GAMMA * (len(label) + 1) & M)
        return Random(mix(h ^ mix(index + GAMMA & M)))

    def shuffle(self, items):
        for i in range(len(items), 1, -1):
            j = self.below(i)
            items[i - 1], items[j] = items[j], items[i - 1]


def log_gamma(shape, random):
    if shape < 1:
        larger = log_gamma(shape + 1, random)
        return larger + math.log(1 - random.uniform()) / shape
    d = shape - 1 / 3
    while True:
        x = random.normal()
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v <= 0:
            continue
        # The paper's exact test; its squeeze only saves time.
        if math.log(1 - random.uniform()) < \
                x * x / 2 + d - d * v + d * math.log(v):
            return math.log(d * v)


def draw_sizes(seed, total, clients, sigma, least):
    random = Random(seed).split("sizes")
    weights = [Fraction(math.exp(sigma * random.split("client", i).normal()))
               for i in range(clients)]
    quotas = [total * w / sum(weights) for w in weights]
    sizes = [math.floor(q) for q in quotas]
    by_rest = sorted(range(clients), key=lambda i: (sizes[i] - quotas[i], i))
    for i in by_rest[:total - sum(sizes)]:
        sizes[i] += 1
    lent = sum(max(0, least - s) for s in sizes)
    sizes = [max(least, s) for s in sizes]
    for _ in range(lent):
        sizes[max(range(clients), key=lambda i: (sizes[i], i))] -= 1
    return sizes


def deal_alike(by_label, sizes, spec, random):
    order = list(range(sum(sizes)))
    random.shuffle(order)
    return [[order.pop(0) for _ in range(size)] for size in sizes]


def deal_shards(by_label, sizes, spec, random):
    listed = []
    for examples in by_label:
        random.shuffle(examples)
        listed += examples
    k = spec["shards"]
    order = list(range(len(sizes) * k))
    random.shuffle(order)
    out = [[] for _ in sizes]
    for shard in order:
        client, part = divmod(shard, k)
        size = sizes[client] // k + (part < sizes[client] % k)
        out[client] += [listed.pop(0) for _ in range(size)]
    return out


def deal_dirichlet(by_label, sizes, spec, random):
    counts = [len(examples) for examples in by_label]
    for label, examples in enumerate(by_label):
        random.split("label", label).shuffle(examples)
    order = list(range(len(sizes)))
    random.split("order").shuffle(order)
    out = [[] for _ in sizes]
    for client in order:
        draws = random.split("client", client)
        logs = [log_gamma(spec["alpha"] * (n / sum(counts)), draws)
                for n in counts]
        while len(out[client]) < sizes[client]:
            label = draw_label(logs, by_label, draws)
            if draws.below(counts[label]) < len(by_label[label]):
                out[client].append(by_label[label].pop())
    return out


def draw_label(logs, by_label, draws):
    alive = [i for i, examples in enumerate(by_label) if examples]
    largest = max(logs[i] for i in alive)
    weights = [math.exp(logs[i] - largest) for i in alive]
    at = draws.uniform() * sum(weights)
    for label, weight in zip(alive, weights):
        if at < weight:
            return label
        at -= weight
    return alive[-1]


def partition(spec):
    labels = spec["labels"]
    by_label = [[i for i, own in enumerate(labels) if own == label]
                for label in sorted(set(labels), key=str.encode)]
    deal, least = {"iid": (deal_alike, 1), "dirichlet": (deal_dirichlet, 1),
                   "shards": (deal_shards, spec["shards"])}[spec["kind"]]
    sizes = draw_sizes(spec["seed"], len(labels), spec["clients"],
                       spec["sigma"], least)
    dealt = deal(by_label, sizes, spec, Random(spec["seed"]).split("deal"))
    return [sorted(examples) for examples in dealt]


def main():
    labels = ["cat", "dog", "ant", "dog", "eel", "cat", "dog", "bee"] * 9
    cases = []
    for kind, seed, sigma in [
            ("iid", 1, 0.0), ("iid", 2, 1.0), ("shards", 3, 0.0),
            ("shards", 4, 0.7), ("dirichlet", 5, 0.0), ("dirichlet", 6, 1.5),
            ("dirichlet", 2 ** 64 - 1, 0.0)]:
        spec = {"kind": kind, "seed": seed, "sigma": sigma, "alpha": 0.4,
                "shards": 3, "clients": 7, "labels": labels}
        cases.append({**spec, "examples": partition(spec)})
    for case in cases:
        del case["labels"]
    path = pathlib.Path(__file__).parent / "vectors" / "partitions.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    path.write_text(f'{{"labels": {json.dumps(labels)},\n'
                    f'"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
