#!/usr/bin/env python3
"""Makes vectors/student.json with transformers in double precision: of small
students whose weights are a formula the loss of distillation, the hard labels'
and the teacher's part, and norms and some coordinates of the gradient of its
mean in every weight.

    python3 make_student_vectors.py vectors/student.json
"""

import json
import sys

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM

VOCABULARY, SAMPLES = 40, 12
TEMPERATURE, ALPHA = 2.0, 0.6
# Tokens and from where on they are labelled.
EXAMPLES = [([5, 9, 1, 33, 7, 7, 21, 2], 3), ([8, 30, 0, 12, 39], 1),
            ([17, 4, 4, 25, 11, 3], 2)]
STUDENTS = [
    ("llama", dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                   num_attention_heads=4, num_key_value_heads=2,
                   tie_word_embeddings=True)),
    ("llama", dict(hidden_size=12, intermediate_size=20, num_hidden_layers=1,
                   num_attention_heads=2, num_key_value_heads=2,
                   tie_word_embeddings=False)),
    ("qwen2", dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                   num_attention_heads=2, num_key_value_heads=1,
                   tie_word_embeddings=True))]
TEACHER = dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2,
               num_attention_heads=4, num_key_value_heads=2,
               tie_word_embeddings=False)


def mixed(count, seed):
    """Uniform-looking integers below 2^32, a function of place and seed."""
    i = np.arange(count, dtype=np.uint64)
    return ((i + np.uint64(seed)) * 2654435761 + 12345) % (1 << 32)


def model_of(architecture, shape, seed):
    """Matrices in +-1/sqrt(columns), vectors in 1 +- 0.25, biases in +-0.25;
    each tensor the same draws from its beginning."""
    config_class, model_class = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[architecture]
    config = config_class(vocab_size=VOCABULARY, max_position_embeddings=32,
                          rms_norm_eps=1e-5, rope_theta=10000.0,
                          attn_implementation="eager", **shape)
    model = model_class(config).double().eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            unit = mixed(tensor.numel(), seed).astype(np.float64) / 2.0**31 - 1
            if tensor.dim() == 2:
                values = unit / np.sqrt(tensor.shape[1])
            else:
                values = unit / 4 + (0 if name.endswith("bias") else 1)
            tensor.copy_(torch.from_numpy(
                values.astype(np.float32).reshape(tuple(tensor.shape))))
    return model


def rows_of(model, tokens, begin):
    logits = model(torch.tensor([tokens])).logits[0]
    return logits[begin - 1:len(tokens) - 1]


def case(architecture, shape, teacher):
    student = model_of(architecture, shape, seed=1)
    total, count, nll = 0, 0, 0
    for tokens, begin in EXAMPLES:
        own = rows_of(student, tokens, begin)
        with torch.no_grad():
            wanted = rows_of(teacher, tokens, begin)
        hard = functional.cross_entropy(own, torch.tensor(tokens[begin:]),
                                        reduction="sum")
        soft = functional.kl_div(torch.log_softmax(own / TEMPERATURE, 1),
                                 torch.log_softmax(wanted / TEMPERATURE, 1),
                                 reduction="sum", log_target=True)
        total = total + (1 - ALPHA) * hard + ALPHA * TEMPERATURE**2 * soft
        nll += hard.item()
        count += len(tokens) - begin
    (total / count).backward()
    tensors = []
    for name, value in student.named_parameters():
        gradient = value.grad.flatten()
        step = max(1, gradient.numel() // SAMPLES)
        tensors.append({"name": name, "shape": list(value.shape), "step": step,
                        "norm": gradient.norm().item(),
                        "gradient": gradient[::step].tolist()})
    return {"architecture": architecture, "shape": shape,
            "loss": total.item(), "labelled": count, "nll": nll,
            "tensors": tensors}


def main():
    torch.set_num_threads(1)
    teacher = model_of("llama", TEACHER, seed=77)
    nll = 0
    with torch.no_grad():
        for tokens, begin in EXAMPLES:
            nll += functional.cross_entropy(rows_of(teacher, tokens, begin),
                                            torch.tensor(tokens[begin:]),
                                            reduction="sum").item()
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump({"made_with": f"torch {torch.__version__}",
                   "vocabulary": VOCABULARY, "temperature": TEMPERATURE,
                   "alpha": ALPHA, "teacher": TEACHER, "teacher_nll": nll,
                   "examples": [{"tokens": t, "from": b} for t, b in EXAMPLES],
                   "cases": [case(*one, teacher) for one in STUDENTS]}, out)
        out.write("\n")


if __name__ == "__main__":
    main()
