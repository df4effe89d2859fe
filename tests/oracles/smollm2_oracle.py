#!/usr/bin/env python3
"""Compares our Llama with transformers and PEFT on the whole SmolLM2-135M.

Both get the same GGUF, token ids and adapter; --dump is our `oracle_dump`.
Checks, each printed with its error and limit: log-probabilities of 5 texts
with and without adapter, greedy continuations, the loss and the gradient of
every LoRA tensor, training steps, and the published vectors of the formats
design (sections 5 and 9). Exit code 1 when one fails.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch

import hf_llama

FRANCE = [504, 3575, 282, 4649, 314]
FRANCE_NLL = [11.5393, 0.3376, 2.4387, 0.4510]
FRANCE_LOGITS = {7042: 17.3713, 260: 14.8886}
FRANCE_GREEDY = [7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33]
DOG = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308,
       34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093, 198, 43119,
       42, 2767, 2, 198, 1, 520, 9531, 198, 81, 5747, 3161, 2, 198]
DOG_LABELLED = range(33, 37)
DOG_NLL = [5.9569, 5.2722, 0.5128, 16.8895]
SENTENCES = [
    " the little boat came back from the sea with no one on board",
    " water is a chemical compound of hydrogen and oxygen",
    " when the sun goes down the cold wind from the north makes people stay"
    " at home and read by the light of a small lamp until late in the night",
]


class Report:
    def __init__(self):
        self.failed = False

    def check(self, name, error, limit):
        ok = bool(error <= limit)  # a NaN fails
        self.failed |= not ok
        print(f"{'ok  ' if ok else 'FAIL'} {name}: {error:.3g} (<= {limit:g})")


def word_ids(path, sentences):
    """Ids of words that are one token each, so no tokenizer is needed."""
    tokens = gguf.GGUFReader(path).get_field("tokenizer.ggml.tokens")
    index = {token: i for i, token in enumerate(tokens.contents())}
    return [[index["\u0120" + word] for word in sentence.split()]
            for sentence in sentences]


def make_examples(path):
    examples = [{"tokens": FRANCE, "labelled": [0, 1, 1, 1, 1]},
                {"tokens": DOG, "labelled": [int(i in DOG_LABELLED)
                                             for i in range(len(DOG))]}]
    for ids in word_ids(path, SENTENCES):
        marks = [int(i >= len(ids) // 2) for i in range(len(ids))]
        examples.append({"tokens": ids, "labelled": marks})
    return examples


def greedy(model, tokens, count):
    out = model.generate(torch.tensor([tokens]), max_new_tokens=count,
                         do_sample=False,
                         attention_mask=torch.ones(1, len(tokens)))
    return out[0, len(tokens):].tolist()


def worst(ours, theirs):
    return max(float(np.abs(np.array(a) - np.array(b)).max())
               for a, b in zip(ours, theirs, strict=True))


def score(model, examples):
    return ([hf_llama.log_probs(model, e["tokens"]).tolist()
             for e in examples],
            [greedy(model, e["tokens"], 12) for e in examples])


def compare_scores(report, theirs, ours, suffix):
    log_probs, continuations = theirs
    report.check("log-probabilities" + suffix,
                 worst(ours["log_probs" + suffix], log_probs), 2e-3)
    different = sum(a != b for a, b in zip(ours["greedy" + suffix],
                                           continuations, strict=True))
    report.check("greedy continuations that differ" + suffix, different, 0)


def compare_published(report, ours):
    france, dog = ours["log_probs_base"][:2]
    report.check("published NLL", worst([france], [[-x for x in FRANCE_NLL]]),
                 1e-3)
    picked = [dog[i - 1] for i in DOG_LABELLED]
    report.check("published masked NLL",
                 worst([picked], [[-x for x in DOG_NLL]]), 1e-3)
    logits = ours["next_logits_base"][0]
    report.check("published logits",
                 max(abs(logits[i] - x) for i, x in FRANCE_LOGITS.items()),
                 1e-3)
    report.check("published greedy tokens differ",
                 int(ours["greedy_base"][0] != FRANCE_GREEDY), 0)


def compare_training(report, model, case, ours, out):
    model = hf_llama.to_float64(model)
    loss = hf_llama.batch_loss(model, case["examples"])
    loss.backward()
    report.check("loss", abs(ours["loss"] - float(loss.detach())), 1e-4)
    gradient = np.fromfile(out / "gradient.f32", "<f4")
    at, largest = 0, 0.0
    for _, parameter in hf_llama.factors(model):
        wanted = parameter.grad.numpy().ravel()
        got = gradient[at:at + wanted.size]
        at += wanted.size
        largest = max(largest, float(np.abs(got - wanted).max() /
                                     np.abs(wanted).max()))
    report.check("gradient, worst tensor", largest, 1e-4)
    before = hf_llama.flat(model)
    losses = hf_llama.train(model, case["examples"], case["train"])
    report.check("training losses", worst([ours["losses"]], [losses]), 1e-3)
    wanted = hf_llama.flat(model) - before
    delta = np.fromfile(out / "delta.f32", "<f4")
    report.check("trained delta, relative",
                 float(np.linalg.norm(delta - wanted) /
                       np.linalg.norm(wanted)), 1e-2)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--work", help="kept; default: a temporary folder")
    parser.add_argument("--targets", default=",".join(hf_llama.TARGETS))
    parser.add_argument("--rank", type=int, default=8)
    args = parser.parse_args()
    targets = args.targets.split(",")
    examples = make_examples(args.model)
    case = {"adapter": {"rank": args.rank, "alpha": 16.0, "targets": targets},
            "examples": examples,
            "train": {"lr": 1e-3, "steps": 3, "weight_decay": 0.0,
                      "grad_clip": 1.0, "micro_batch": 4}}
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(args.work or temporary)
        model = hf_llama.load_model(args.model)
        base = score(model, examples)  # PEFT changes the model in place
        model = hf_llama.add_adapter(model, args.rank, 16.0, targets)
        adapter = hf_llama.random_adapter(model, args.rank, seed=5)
        hf_llama.set_flat(model, adapter)
        hf_llama.write_case(out, case, adapter)
        subprocess.run([args.dump, args.model, out, out, "fp32"], check=True)
        ours = json.loads((out / "out.json").read_text())
        adapted = score(model, examples)
        compare_scores(report, base, ours, "_base")
        compare_scores(report, adapted, ours, "")
        if worst(adapted[0], base[0]) < 0.1:
            sys.exit("the adapter changes nothing: the comparison is empty")
        compare_published(report, ours)
        compare_training(report, model, case, ours, out)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
