#!/usr/bin/env python3
"""Held-out perplexity of a unigram and a trigram model on the tokens that
`edgetune eval --data heldout.jsonl` scores, those of the answers, for the model
card. They see the answer alone, not what was asked.

    ngram_baselines.py WORK

WORK is make_tiny.py's --work. The trigram is interpolated Kneser-Ney (Chen,
Goodman, 1999, section 2.7) with one discount of 0.75; the unigram adds one. Needs
PyPI's `tokenizers`.
"""

import collections
import json
import math
import pathlib
import sys

import tokenizers

DISCOUNT = 0.75
START = -1


def read(work, name, tokenizer):
    """The answers, each with what ends it."""
    end = tokenizer.token_to_id("<|im_end|>")
    for line in (work / f"{name}.jsonl").read_text().splitlines():
        for message in json.loads(line)["messages"]:
            if message["role"] == "assistant":
                yield [*tokenizer.encode(message["content"]).ids, end]


def grams(ids):
    """(two before, one before, token) of each token."""
    padded = [START, START, *ids]
    return zip(padded, padded[1:], ids)


class KneserNey:
    """Probabilities of a token after two others."""

    def __init__(self, texts, vocabulary):
        self.uniform = 1 / vocabulary
        self.counts = [collections.Counter() for _ in range(3)]
        for ids in texts:
            self.counts[2].update(grams(ids))
        # Below the trigrams kinds of left neighbours count, not occurrences.
        for order in (1, 0):
            for gram in self.counts[order + 1]:
                self.counts[order][gram[1:]] += 1
        self.sums = [collections.Counter() for _ in range(3)]
        self.kinds = [collections.Counter() for _ in range(3)]
        for order, counts in enumerate(self.counts):
            for gram, count in counts.items():
                self.sums[order][gram[:-1]] += count
                self.kinds[order][gram[:-1]] += 1

    def probability(self, gram):
        """Of the last of `gram` after those before it."""
        order, context = len(gram) - 1, gram[:-1]
        lower = self.probability(gram[1:]) if order else self.uniform
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
        for gram in grams(ids):
            count += 1
            sums["unigram"] -= math.log((single[gram[-1]] + 1) / (total + vocabulary))
            sums["trigram"] -= math.log(trigram.probability(gram))
    print(json.dumps({"train_tokens": total, "heldout_tokens": count, "vocabulary": vocabulary}
                     | {name: round(math.exp(nll / count), 2) for name, nll in sums.items()}))


if __name__ == "__main__":
    main()
