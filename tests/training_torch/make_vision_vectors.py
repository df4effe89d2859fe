#!/usr/bin/env python3
"""Makes vectors/vision.json with PyTorch: of each vision architecture the state
(names, shapes, count), and at weights and images that are formulas the logits,
the summed loss and some coordinates of the mean loss's gradient.

    python3 make_vision_vectors.py vectors/vision.json
"""

import json
import sys

import numpy as np
import torch
from torch import nn

IMAGES, SAMPLES = 3, 40


class Mcmahan2nn(nn.Module):
    """McMahan et al. 2017: two hidden layers of 200 units, ReLU."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 200)
        self.fc2 = nn.Linear(200, 200)
        self.fc3 = nn.Linear(200, 10)

    def forward(self, x):
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(torch.relu(self.fc2(x)))


class McmahanCnn(nn.Module):
    """The same paper: 5x5 convolutions of 32 and 64 channels, each followed by
    2x2 pooling, and 512 units."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


def pfl_cnn():
    """As pfl-research's CIFAR10 benchmark describes it; place 0 is where that
    turns images from [H,W,C] to [C,H,W]."""
    return nn.Sequential(
        nn.Identity(), nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3),
        nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 10))


def mixed(count):
    """Uniform-looking integers below 2^32, a function of their place."""
    i = np.arange(count, dtype=np.uint64)
    return (i * 2654435761 + 12345) % (1 << 32)


def weights_of(model):
    """In +-1/sqrt(fan_in), in the order of the state, one sequence for all."""
    state = model.state_dict()
    draws = mixed(sum(t.numel() for t in state.values()))
    at = 0
    fan_in = 1
    for name, tensor in state.items():
        if name.endswith("weight"):
            fan_in = tensor[0].numel()
        unit = draws[at:at + tensor.numel()].astype(np.float64) / 2.0**31 - 1
        values = (unit / np.sqrt(fan_in)).astype(np.float32)
        tensor.copy_(torch.from_numpy(values.reshape(tuple(tensor.shape))))
        at += tensor.numel()


def case(name, model, shape):
    model.eval()
    with torch.no_grad():
        weights_of(model)
    size = int(np.prod(shape))
    pixels = (mixed(IMAGES * size) >> 24).astype(np.float32) / 255
    images = torch.from_numpy(pixels.reshape(IMAGES, *shape))
    classes = torch.tensor([(7 * i + 3) % 10 for i in range(IMAGES)])
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, classes, reduction="sum")
    (loss / IMAGES).backward()
    tensors = []
    for key, value in model.named_parameters():
        gradient = value.grad.flatten()
        step = max(1, gradient.numel() // SAMPLES)
        tensors.append({"name": key, "shape": list(value.shape), "step": step,
                        "norm": float(gradient.double().norm()),
                        "gradient": gradient[::step].tolist()})
    return {"architecture": name, "shape": shape,
            "parameters": sum(p.numel() for p in model.parameters()),
            "classes": classes.tolist(), "logits": logits.flatten().tolist(),
            "loss": float(loss.detach()), "tensors": tensors}


def main():
    torch.set_num_threads(1)
    cases = [case("mcmahan_2nn", Mcmahan2nn(), [1, 28, 28]),
             case("mcmahan_cnn", McmahanCnn(), [1, 28, 28]),
             case("pfl_cnn", pfl_cnn(), [3, 32, 32])]
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        json.dump({"made_with": f"torch {torch.__version__}", "cases": cases}, out,
                  indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
