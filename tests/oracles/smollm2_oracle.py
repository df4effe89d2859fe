#!/usr/bin/env python3
"""Compares our Llama with transformers and PEFT on the whole SmolLM2-135M.

Both get the same GGUF, token ids and adapter; --dump is our `oracle_dump`.
Checks, each printed with its error and limit: log-probabilities of 5 texts
with and without adapter, greedy continuations, the loss and the gradient of
every LoRA tensor, training steps, and the published vectors of the formats
design (sections 5 and 9). Exit code 1 when one fails.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch

import hf_llama
import oracle

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


class SmolLM2Oracle(oracle.Oracle):
    PROGRAMS = ("dump",)

    @staticmethod
    def add_options(parser):
        parser.add_argument("--work", help="kept; default: a temporary folder")
        parser.add_argument("--targets", default=",".join(hf_llama.TARGETS))
        parser.add_argument("--rank", type=int, default=8)

    def check(self, name, error, limit):
        # A NaN fails.
        self.expect(bool(error <= limit), f"{name}: {error:.3g} (<= {limit:g})")

    def compare_scores(self, theirs, ours, suffix):
        log_probs, continuations = theirs
        self.check("log-probabilities" + suffix,
                   worst(ours["log_probs" + suffix], log_probs), 2e-3)
        different = sum(a != b for a, b in zip(ours["greedy" + suffix],
                                               continuations, strict=True))
        self.check("greedy continuations that differ" + suffix, different, 0)

    def compare_published(self, ours):
        france, dog = ours["log_probs_base"][:2]
        self.check("published NLL", worst([france], [[-x for x in FRANCE_NLL]]),
                   1e-3)
        picked = [dog[i - 1] for i in DOG_LABELLED]
        self.check("published masked NLL",
                   worst([picked], [[-x for x in DOG_NLL]]), 1e-3)
        logits = ours["next_logits_base"][0]
        self.check("published logits",
                   max(abs(logits[i] - x) for i, x in FRANCE_LOGITS.items()),
                   1e-3)
        self.check("published greedy tokens differ",
                   int(ours["greedy_base"][0] != FRANCE_GREEDY), 0)

    def compare_training(self, model, case, ours, out):
        model = hf_llama.to_float64(model)
        loss = hf_llama.batch_loss(model, case["examples"])
        loss.backward()
        self.check("loss", abs(ours["loss"] - float(loss.detach())), 1e-4)
        gradient = np.fromfile(out / "gradient.f32", "<f4")
        at, largest = 0, 0.0
        for _, parameter in hf_llama.factors(model):
            wanted = parameter.grad.numpy().ravel()
            got = gradient[at:at + wanted.size]
            at += wanted.size
            largest = max(largest, float(np.abs(got - wanted).max() /
                                         np.abs(wanted).max()))
        self.check("gradient, worst tensor", largest, 1e-4)
        before = hf_llama.flat(model)
        losses = hf_llama.train(model, case["examples"], case["train"])
        self.check("training losses", worst([ours["losses"]], [losses]), 1e-3)
        wanted = hf_llama.flat(model) - before
        delta = np.fromfile(out / "delta.f32", "<f4")
        self.check("trained delta, relative",
                   float(np.linalg.norm(delta - wanted) /
                         np.linalg.norm(wanted)), 1e-2)

    def run(self):
        options = self.options
        out = pathlib.Path(options.work or self.folder)
        targets = options.targets.split(",")
        examples = make_examples(options.model)
        case = {"adapter": {"rank": options.rank, "alpha": 16.0, "targets": targets},
                "examples": examples,
                "train": {"lr": 1e-3, "steps": 3, "weight_decay": 0.0,
                          "grad_clip": 1.0, "micro_batch": 4}}
        model = hf_llama.load_model(options.model)
        base = score(model, examples)  # PEFT changes the model in place
        model = hf_llama.add_adapter(model, options.rank, 16.0, targets)
        adapter = hf_llama.random_adapter(model, options.rank, seed=5)
        hf_llama.set_flat(model, adapter)
        hf_llama.write_case(out, case, adapter)
        self.call(options.dump, options.model, out, out, "fp32")
        ours = json.loads((out / "out.json").read_text())
        adapted = score(model, examples)
        self.compare_scores(base, ours, "_base")
        self.compare_scores(adapted, ours, "")
        if worst(adapted[0], base[0]) < 0.1:
            sys.exit("the adapter changes nothing: the comparison is empty")
        self.compare_published(ours)
        self.compare_training(model, case, ours, out)


if __name__ == "__main__":
    oracle.main(SmolLM2Oracle, __doc__)
