#!/usr/bin/env python3
"""Makes vectors/distillation.json with PyTorch in double precision: losses of
distillation and their gradients in the student's hidden states and head, from
torch.nn.functional's kl_div and cross_entropy and from autograd.

    python3 make_distillation_vectors.py vectors/distillation.json
"""

import json
import sys

import torch
from torch.nn import functional

POSITIONS, VOCABULARY, STUDENT, TEACHER = 9, 31, 6, 5
CASES = [
    # temperature, alpha, entropy, k (0: the whole teacher)
    (1.0, 0.0, 0.0, 0),
    (1.0, 1.0, 0.0, 0),
    (2.0, 0.5, 0.0, 0),
    (4.0, 0.9, 0.0, 0),
    (0.5, 0.3, 0.25, 0),
    (1.0, 0.0, 1.0, 0),
    (2.0, 1.0, 0.0, 1),
    (2.0, 0.5, 0.0, 4),
    (3.0, 0.7, 0.1, 12),
    (2.0, 0.5, 0.0, VOCABULARY),
]


def rounded(*shape, scale, generator):
    """Values that float32 and a short text both have exactly."""
    values = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (values * scale * 1024).round() / 1024


def soft_loss(student, teacher, temperature, k):
    """T^2 KL, over all tokens or over the teacher's k likeliest and a bucket."""
    wanted = torch.log_softmax(teacher / temperature, 1)
    own = torch.log_softmax(student / temperature, 1)
    if k and k < VOCABULARY:
        top = wanted.topk(k, 1).indices
        others = torch.ones_like(wanted, dtype=torch.bool).scatter(1, top, False)

        def merged(logs):
            rest = logs.masked_fill(~others, -torch.inf).logsumexp(1, True)
            return torch.cat([logs.gather(1, top), rest], 1)
        wanted, own = merged(wanted), merged(own)
    return temperature**2 * functional.kl_div(own, wanted, reduction="sum",
                                              log_target=True)


def case(given, temperature, alpha, entropy, k):
    hidden = given["hidden"].clone().requires_grad_()
    head = given["head"].clone().requires_grad_()
    student = hidden @ head.T
    teacher = given["teacher_hidden"] @ given["teacher_head"].T
    loss = (1 - alpha) * functional.cross_entropy(
        student, given["labels"], reduction="sum")
    loss = loss + alpha * soft_loss(student, teacher, temperature, k)
    loss = loss + entropy * torch.distributions.Categorical(
        logits=student).entropy().sum()
    loss.backward()
    return {"temperature": temperature, "alpha": alpha, "entropy": entropy,
            "k": k, "loss": loss.item(),
            "hidden_gradient": hidden.grad.flatten().tolist(),
            "head_gradient": head.grad.flatten().tolist()}


def hidden_match(given, generator):
    hidden = given["hidden"].clone().requires_grad_()
    projection = rounded(TEACHER, STUDENT, scale=0.5, generator=generator)
    projection.requires_grad_()
    loss = POSITIONS * functional.mse_loss(hidden @ projection.T,
                                           given["teacher_hidden"])
    loss.backward()
    return {"projection": projection.flatten().tolist(), "loss": loss.item(),
            "hidden_gradient": hidden.grad.flatten().tolist(),
            "projection_gradient": projection.grad.flatten().tolist()}


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(7)
    given = {
        "hidden": rounded(POSITIONS, STUDENT, scale=1, generator=generator),
        "head": rounded(VOCABULARY, STUDENT, scale=1, generator=generator),
        "teacher_hidden": rounded(POSITIONS, TEACHER, scale=1,
                                  generator=generator),
        "teacher_head": rounded(VOCABULARY, TEACHER, scale=1.5,
                                generator=generator),
        "labels": torch.randint(0, VOCABULARY, (POSITIONS,),
                                generator=generator)}
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump({"made_with": f"torch {torch.__version__}",
                   "positions": POSITIONS, "vocabulary": VOCABULARY,
                   "given": {k: v.flatten().tolist() for k, v in given.items()},
                   "cases": [case(given, *one) for one in CASES],
                   "hidden_match": hidden_match(given, generator)}, out)
        out.write("\n")


if __name__ == "__main__":
    main()
