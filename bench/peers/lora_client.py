"""One client's local training by PEFT: an AdamW step on sequences of its own.
Its base model is loaded once a process."""

import functools
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/oracles"))
import hf_llama

RANK, ALPHA, TARGETS = 8, 16, ("q_proj", "k_proj", "v_proj", "o_proj")
SEQUENCES, TOKENS, RATE = 4, 128, 1e-3


@functools.lru_cache(maxsize=1)
def model_of(path):
    base = hf_llama.load_model(path)
    base.config._attn_implementation = "sdpa"
    base.config.use_cache = False
    return hf_llama.add_adapter(base, RANK, ALPHA, TARGETS).train()


def sequences_of(client, vocabulary=49152):
    """So many tokens drawn by the client's number: their values cost nothing."""
    ids = np.random.default_rng(client).integers(0, vocabulary, (SEQUENCES, TOKENS))
    return torch.from_numpy(ids)


def trained(model):
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def train(model, state, client):
    """The adapter and the loss after one step from the adapter `state`."""
    parameters = trained(model)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(state[name])
    ids = sequences_of(client)
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0)
    optimizer.zero_grad()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
    optimizer.step()
    return {name: value.detach().clone() for name, value in parameters.items()}, float(loss.detach())
