#!/usr/bin/env python3
"""Makes, with torchvision, what the mobile networks of images are compared with:

    python3 make_mobile_vectors.py ../models_io/vectors/vision_states.txt \\
        vectors/mobile.json

The first file lists of each architecture, for 3 channels and 1,000 classes, its
number of parameters and the modules that have a state, in their order. The
second holds, for some shapes of images, widths and norms, at weights, statistics
and images that are formulas, the logits and the summed loss, and of some the
gradient of the mean loss: of each parameter the Euclidean norm and one entry.
All in float64, from weights in float32, in evaluation mode: statistics stay as
they are and nothing is dropped. Made with torch 2.13.0 and torchvision 0.28.0.
"""

import json
import math
import sys

import numpy as np
import torch

# torchvision declares shapes of operators that its compiled half defines, which
# needs CUDA's libraries. No classifier calls them.
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(
        _name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

# pylint: disable=wrong-import-position
from torch import nn
import torchvision
from torchvision.models import efficientnet, mobilenetv2, mobilenetv3, shufflenetv2

IMAGES, CLASSES = 3, 10
SHUFFLENET = {"shufflenet_v2_x0_5": [48, 96, 192],
              "shufflenet_v2_x1_0": [116, 232, 464]}
EFFICIENTNET = {"efficientnet_b0": (1.0, 1.0, 0.2),
                "efficientnet_b1": (1.0, 1.1, 0.2),
                "efficientnet_b2": (1.1, 1.2, 0.3)}
VARIANCES = {("mobilenet_v3_large", 1): 1.25, ("mobilenet_v3_small", 0.25): 0.9,
             ("shufflenet_v2_x0_5", 1): 1.25, ("shufflenet_v2_x0_5", 0.25): 1.1,
             ("shufflenet_v2_x1_0", 1): 1.25, ("shufflenet_v2_x1_0", 0.25): 1.1,
             ("efficientnet_b0", 1): 0.9, ("efficientnet_b0", 0.25): 0.8,
             ("efficientnet_b1", 0.25): 0.8, ("efficientnet_b2", 0.25): 0.8}
ARCHITECTURES = ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large",
                 *SHUFFLENET, *EFFICIENTNET]


def plain_network(name, width, classes):
    """As torchvision builds it, for 3 channels and with batch norm."""
    if name == "mobilenet_v2":
        return mobilenetv2.MobileNetV2(num_classes=classes, width_mult=width)
    if name.startswith("mobilenet_v3"):
        # pylint: disable-next=protected-access
        rows, last = mobilenetv3._mobilenet_v3_conf(name, width_mult=width)
        return mobilenetv3.MobileNetV3(rows, last, num_classes=classes)
    if name in SHUFFLENET:
        stages = [2 * max(1, math.floor(c / 2 * width + 0.5))
                  for c in SHUFFLENET[name]]
        return shufflenetv2.ShuffleNetV2([4, 8, 4], [24, *stages, 1024],
                                         num_classes=classes)
    times, depth, dropout = EFFICIENTNET[name]
    # pylint: disable-next=protected-access
    rows, last = efficientnet._efficientnet_conf(
        name, width_mult=times * width, depth_mult=depth)
    return efficientnet.EfficientNet(rows, dropout, num_classes=classes,
                                     last_channel=last)


def replace(module, kind, make):
    """Puts make(old) in the place of every module of that kind."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, make(child))
        else:
            replace(child, kind, make)


def with_channels(channels):
    """For the one convolution that sees the image."""
    def make(old):
        if old.in_channels != 3:
            return old
        return nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride,
                         old.padding, bias=False)
    return make


def group_norm(old):
    return nn.GroupNorm(math.gcd(old.num_features, 8), old.num_features)


def network(name, width, norm, channels):
    model = plain_network(name, width, CLASSES)
    replace(model, nn.Conv2d, with_channels(channels))
    if norm == "group":
        replace(model, nn.BatchNorm2d, group_norm)
    return model


def scattered(place):
    """Uniform-looking integers below 2^32: MurmurHash3's last step. A sequence
    of multiples would not do, as sums of neighbours nearly cancel in it."""
    h = np.asarray(place, dtype=np.uint64)
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> np.uint64(13))) * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return h ^ (h >> np.uint64(16))


def fill(named, value_of):
    """value_of(name, shape, draws in +-1), one sequence of draws for all."""
    at = 0
    for name, tensor in named:
        draws = scattered(np.arange(at, at + tensor.numel()))
        unit = draws.astype(np.float64) / 2.0**31 - 1
        values = value_of(name, tensor.shape, unit).astype(np.float32)
        tensor.copy_(torch.from_numpy(values.reshape(tuple(tensor.shape))))
        at += tensor.numel()


def weight(name, shape, unit):
    """He et al. 2015 for what multiplies, around 1 for a norm's weights."""
    if name.endswith("bias"):
        return unit / 4
    if len(shape) == 1:
        return 1 + unit / 2
    return unit * np.sqrt(6 / math.prod(shape[1:]))


def statistic(variance):
    def value_of(name, _, unit):
        if name.endswith("mean"):
            return unit / 4
        return variance * (1 + unit / 2)
    return value_of


def images_of(shape):
    """Neighbours in pairs: not only the highest frequencies."""
    size = math.prod(shape)
    pixels = (scattered(np.arange(IMAGES * size) // 2) >> np.uint64(24)).astype(
        np.float32) / np.float32(255)
    return torch.from_numpy(pixels.reshape(IMAGES, *shape)).double()


def rounded(value):
    return float(f"{value:.7g}")


def case(name, width, norm, shape, with_gradient):
    """Variances such that neither the images nor the logits' size is lost in 50
    layers that do not normalise anew: found by trying."""
    variance = VARIANCES.get((name, width), 1.0)
    model = network(name, width, norm, shape[0]).eval()
    with torch.no_grad():
        fill(model.named_parameters(), weight)
        fill([(key, b) for key, b in model.named_buffers()
              if not key.endswith("num_batches_tracked")], statistic(variance))
    model = model.double()
    classes = torch.tensor([(7 * i + 3) % CLASSES for i in range(IMAGES)])
    logits = model(images_of(shape))
    loss = nn.functional.cross_entropy(logits, classes, reduction="sum")
    out = {"architecture": name, "width_multiplier": width, "norm": norm,
           "variance": variance, "shape": shape, "parameters": sum(p.numel() for p in model.parameters()),
           "logits": [rounded(v) for v in logits.flatten().tolist()],
           "loss": rounded(loss.item())}
    spread = logits.detach().std(dim=0).mean() / logits.detach().std()
    print(f"{name} {norm} {width} {shape}: largest logit "
          f"{logits.abs().max():.3g}, images differ by {spread:.3g} of them",
          file=sys.stderr)
    if not with_gradient:
        return out
    (loss / IMAGES).backward()
    flat = [p.grad.flatten() for p in model.parameters()]
    out["norms"] = [rounded(g.norm().item()) for g in flat]
    out["entries"] = [rounded(g[int(scattered(i)) % g.numel()].item())
                      for i, g in enumerate(flat)]
    return out


def cases(name):
    """At 28 by 28 pixels one is left before the last stages."""
    yield case(name, 1, "batch", [3, 64, 48], True)
    yield case(name, 0.25, "group", [1, 45, 70], True)
    yield case(name, 0.25, "batch", [1, 28, 28], False)
    yield case(name, 1, "group", [3, 28, 28], False)


def states(name):
    """A line a module: its name, the shape of its weight, and what else it has:
    a bias, or a norm's bias and statistics."""
    model = plain_network(name, 1, 1000)
    lines = [f"= {name} {sum(p.numel() for p in model.parameters())}"]
    listed = []
    for key, module in model.named_modules():
        own = [k for k, _ in module.named_parameters(recurse=False)]
        own += [k for k, _ in module.named_buffers(recurse=False)]
        if not own:
            continue
        kinds = {("weight",): "", ("weight", "bias"): " bias",
                 ("weight", "bias", "running_mean", "running_var",
                  "num_batches_tracked"): " norm"}
        shape = ",".join(str(d) for d in module.weight.shape)
        lines.append(f"{key} {shape}{kinds[tuple(own)]}")
        listed += [f"{key}.{k}" for k in own]
    assert listed == list(model.state_dict()), name
    return lines


def main():
    torch.set_num_threads(1)
    made = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        out.write(f"# make_mobile_vectors.py, {made}\n")
        for name in ARCHITECTURES:
            out.write("\n".join(states(name)) + "\n")
    everything = [json.dumps(c) for name in ARCHITECTURES for c in cases(name)]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(f'{{"made_with": "{made}", "cases": [\n')
        out.write(",\n".join(everything) + "\n]}\n")


if __name__ == "__main__":
    main()
