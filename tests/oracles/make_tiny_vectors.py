#!/usr/bin/env python3
"""Makes the stored vectors of the tiny models with transformers and PEFT.

For MODEL.gguf writes the directory OUT: case.json (adapter, examples, loss,
log-probabilities, losses of training), adapter.f32, gradient.f32, delta.f32,
and delta_a.f32 and delta_b.f32 when only A or only B is trained.
The models come from `oracle_dump --tiny-models DIR`.
"""

import argparse

import numpy as np
import torch

import hf_llama

SETTINGS = {"lr": 1e-2, "steps": 5, "weight_decay": 0.01, "grad_clip": 0.5,
            "micro_batch": 2}


def random_examples(vocab, seed):
    """Unequal lengths; labels inside, at the end and on the first token."""
    rng = np.random.default_rng(seed)
    examples = []
    for length, begin, end in [(17, 9, 17), (5, 1, 5), (29, 12, 20),
                               (2, 0, 2), (40, 30, 40)]:
        tokens = rng.integers(0, vocab, length).tolist()
        marks = [1 if begin <= i < end else 0 for i in range(length)]
        examples.append({"tokens": tokens, "labelled": marks})
    return examples


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--alpha", type=float, default=6)
    parser.add_argument("--targets", default=",".join(hf_llama.TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    targets = args.targets.split(",")
    model = hf_llama.add_adapter(hf_llama.load_model(args.model), args.rank,
                                 args.alpha, targets)
    adapter = hf_llama.random_adapter(model, args.rank, args.seed)
    hf_llama.set_flat(model, adapter)
    examples = random_examples(model.config.vocab_size, args.seed)
    loss = hf_llama.batch_loss(model, examples)
    loss.backward()
    gradient = hf_llama.flat(model, lambda p: p.grad)
    case = {
        "adapter": {"rank": args.rank, "alpha": args.alpha,
                    "targets": targets},
        "examples": examples,
        "train": SETTINGS,
        "loss": float(loss.detach()),
        "log_probs": [hf_llama.log_probs(model, e["tokens"]).tolist()
                      for e in examples],
        "losses": hf_llama.train(model, examples, SETTINGS),
    }
    hf_llama.write_case(args.out, case, adapter)
    gradient.tofile(f"{args.out}/gradient.f32")
    (hf_llama.flat(model) - adapter).tofile(f"{args.out}/delta.f32")
    for side in "AB":
        hf_llama.set_flat(model, adapter)
        before = hf_llama.flat(model, sides=side)
        hf_llama.train(model, examples, SETTINGS, side)
        (hf_llama.flat(model, sides=side) - before).tofile(
            f"{args.out}/delta_{side.lower()}.f32")


if __name__ == "__main__":
    main()
