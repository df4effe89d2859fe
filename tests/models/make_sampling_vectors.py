#!/usr/bin/env python3
"""Makes vectors/sampling.json: what transformers' own logits processors leave
of a fixed vector of logits, as probabilities.

Each case: options, the tokens that were seen, and the probability of each
token. Needs transformers and torch; run it with the oracles' Python.
"""

import itertools
import json
import pathlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

LOGITS = [2.0, -1.0, 0.5, 3.25, 2.75, -2.5, 0.0, 1.5, 1.25, -0.25, 2.5, -4.0]
SEEN = [3, 5, 3, 10, 1]


def probabilities(temperature, top_k, top_p, penalty):
    processors = LogitsProcessorList()
    if penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    processors.append(TemperatureLogitsWarper(temperature))
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    scores = processors(torch.tensor([SEEN]),
                        torch.tensor([LOGITS], dtype=torch.float64))
    return torch.softmax(scores, -1)[0].tolist()


def main():
    cases = []
    for temperature, top_k, top_p, penalty in itertools.product(
            (0.5, 1.0, 1.7), (0, 1, 4), (1.0, 0.9, 0.35), (1.0, 1.3, 0.8)):
        cases.append({"temperature": temperature, "top_k": top_k,
                      "top_p": top_p, "repeat_penalty": penalty,
                      "probabilities": [round(p, 9) for p in probabilities(
                          temperature, top_k, top_p, penalty)]})
    out = pathlib.Path(__file__).parent / "vectors" / "sampling.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    out.write_text(f'{{"logits": {LOGITS},\n"seen": {SEEN},\n'
                   f'"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
