#!/usr/bin/env python3
"""Federated averaging on MNIST as a plain loop in PyTorch: the curve that
simulations/scenarios/mnist_2nn.toml and mnist_cnn.toml are compared with.

    python3 fedavg_mnist.py MNIST_DIRECTORY --model 2nn --rounds 100 > curve.csv

Nothing of edgetune is in it. Its clients, first weights and orders of examples
are drawn by NumPy and PyTorch, so that curves agree as two seeds do, not to the
digit. Prints a row a round: accuracy on the test set, seconds of its training.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "training_torch"))
import make_vision_vectors  # pylint: disable=wrong-import-position


def read_idx(path):
    data = path.read_bytes()
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def load(folder, name):
    images = read_idx(folder / f"{name}-images-idx3-ubyte").astype(np.float32) / 255
    labels = read_idx(folder / f"{name}-labels-idx1-ubyte").astype(np.int64)
    return torch.from_numpy(images[:, None]), torch.from_numpy(labels)


def deal(labels, args, rng):
    """Indices of each client: at random, or two of 200 shards sorted by label."""
    if not args.shards:
        return np.array_split(rng.permutation(len(labels)), args.clients)
    shards = np.array_split(np.argsort(labels.numpy(), kind="stable"), 2 * args.clients)
    order = rng.permutation(len(shards))
    return [np.concatenate([shards[order[2 * i]], shards[order[2 * i + 1]]])
            for i in range(args.clients)]


def train(model, images, labels, args):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    for _ in range(args.epochs):
        for batch in torch.randperm(len(labels)).split(args.batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()


def accuracy(model, images, labels):
    with torch.no_grad():
        right = sum((model(images[i:i + 500]).argmax(1) == labels[i:i + 500]).sum().item()
                    for i in range(0, len(labels), 500))
    return right / len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--model", choices=("2nn", "cnn"), default="2nn")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--cohort", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--shards", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.epochs is None:
        args.epochs = 1 if args.model == "2nn" else 5
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    images, labels = load(args.data, "train")
    test = load(args.data, "t10k")
    clients = deal(labels, args, rng)
    make = (make_vision_vectors.Mcmahan2nn if args.model == "2nn"
            else make_vision_vectors.McmahanCnn)
    model, local = make(), make()
    print("round,accuracy,train_s")
    print(f"0,{accuracy(model, *test)},0", flush=True)
    for number in range(1, args.rounds + 1):
        start = time.monotonic()
        mean = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
        chosen = rng.choice(args.clients, args.cohort, replace=False)
        total = sum(len(clients[c]) for c in chosen)
        for client in chosen:
            local.load_state_dict(model.state_dict())
            train(local, images[clients[client]], labels[clients[client]], args)
            for name, value in local.state_dict().items():
                mean[name] += value * (len(clients[client]) / total)
        model.load_state_dict(mean)
        seconds = time.monotonic() - start
        print(f"{number},{accuracy(model, *test)},{seconds:.2f}", flush=True)


if __name__ == "__main__":
    main()
