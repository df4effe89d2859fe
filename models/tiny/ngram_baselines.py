#!/usr/bin/env python3
"""Held-out perplexity of a unigram and a trigram model over the same tokens and
positions as `edgetune eval --data heldout.jsonl`, for the model card.

    ngram_baselines.py WORK

WORK is make_tiny.py's --work. The trigram is interpolated Kneser-Ney (Chen,
Goodman, 1999, section 2.7) with one discount of 0.75; the unigram adds one.
Needs PyPI's `tokenizers`.
"""

import collections
import json
import math
import pathlib
import sys

import tokenizers

DISCOUNT = 0.75


def read(work, name, tokenizer):
    for line in (work / f"{name}.jsonl").read_text().splitlines():
        yield tokenizer.encode(json.loads(line)["text"]).ids


class KneserNey:
    def __init__(self, texts, vocabulary):
        self.vocabulary = vocabulary
        three, two = collections.Counter(), collections.Counter()
        for ids in texts:
            three.update(zip(ids, ids[1:], ids[2:]))
            two.update(zip(ids, ids[1:]))
        self.counts = [collections.Counter(), collections.Counter(), three]
        for _, b, c in three:
            self.counts[1][b, c] += 1  # left neighbours, not occurrences
        # Pairs that only begin texts have no left neighbour.
        for pair in two.keys() - self.counts[1].keys():
            self.counts[1][pair] = 1
        for _, c in self.counts[1]:
            self.counts[0][(c,)] += 1
        self.sums = [collections.Counter() for _ in range(3)]
        self.kinds = [collections.Counter() for _ in range(3)]
        for order, counts in enumerate(self.counts):
            for gram, count in counts.items():
                self.sums[order][gram[:-1]] += count
                self.kinds[order][gram[:-1]] += 1

    def probability(self, gram):
        """Of the last of `gram` after the others."""
        if not gram:
            return 1 / self.vocabulary
        order, context = len(gram) - 1, gram[:-1]
        lower = self.probability(gram[1:]) if order else 1 / self.vocabulary
        total = self.sums[order][context]
        if total == 0:
            return lower
        left = max(self.counts[order][gram] - DISCOUNT, 0)
        return (left + DISCOUNT * self.kinds[order][context] * lower) / total


def main():
    work = pathlib.Path(sys.argv[1])
    tokenizer = tokenizers.Tokenizer.from_file(str(work / "tokens/tokenizer.json"))
    train = list(read(work, "train", tokenizer))
    heldout = list(read(work, "heldout", tokenizer))
    vocabulary = tokenizer.get_vocab_size()
    trigram = KneserNey(train, vocabulary)
    single = collections.Counter(token for ids in train for token in ids)
    total = sum(single.values())
    sums, count = {"unigram": 0.0, "trigram": 0.0}, 0
    for ids in heldout:
        for i in range(1, len(ids)):
            count += 1
            sums["unigram"] -= math.log((single[ids[i]] + 1) / (total + vocabulary))
            sums["trigram"] -= math.log(trigram.probability(tuple(ids[max(0, i - 2):i + 1])))
    print(json.dumps({"train_tokens": total, "heldout_tokens": count, "vocabulary": vocabulary}
                     | {name: round(math.exp(nll / count), 2) for name, nll in sums.items()}))


if __name__ == "__main__":
    main()
