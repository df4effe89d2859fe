"""peft_lora.py MODEL.gguf WORK [OPTION...]: the steps of WORK, a folder that
train_bench --dump wrote, by PEFT and PyTorch. Prints one JSON object.

Sequences of unequal length are padded to the longest of their micro-batch;
only true tokens count. Memory is the highest of training alone, where the
kernel lets a process forget the peak of loading."""

import argparse
import contextlib
import gc
import json
import pathlib
import statistics
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/oracles"))
import hf_llama


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "autocast"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5, help="that are timed")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    return parser.parse_args()


def make_model(args, work):
    base = hf_llama.load_model(args.model)
    base.config._attn_implementation = "sdpa"
    model = hf_llama.add_adapter(base, work["rank"], work["alpha"], work["targets"],
                                 np.fromfile(args.work / "adapter.f32", "<f4"))
    if args.precision == "bf16":  # the adapter stays float32, as PEFT has it
        for name, parameter in model.named_parameters():
            if "lora_" not in name:
                parameter.data = parameter.data.bfloat16()
    if args.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.config.use_cache = False
    return model.train()


def padded(examples):
    longest = max(len(example["tokens"]) for example in examples)
    shape = len(examples), longest
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for i, example in enumerate(examples):
        tokens = torch.tensor(example["tokens"])
        ids[i, :len(tokens)], mask[i, :len(tokens)] = tokens, 1
        labels[i, :len(tokens)] = torch.where(torch.tensor(example["labelled"]) > 0, tokens, -100)
    if mask.all():
        mask = None
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def labelled(examples):
    return sum(sum(example["labelled"][1:]) for example in examples)


def parts(examples, size):
    return [examples[i:i + size] for i in range(0, len(examples), size)]


def mean_loss(model, examples, size, autocast, backward):
    """Over labelled tokens, micro-batch by micro-batch."""
    total = 0.0
    for part in parts(examples, size):
        with autocast():
            loss = model(**padded(part)).loss * (labelled(part) / labelled(examples))
        if backward:
            loss.backward()
        total += float(loss.detach())
    return total


def peak_mb():
    for line in open("/proc/self/status", encoding="ascii"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0


def forget_peak():
    gc.collect()
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main():
    args = options()
    if args.threads:
        torch.set_num_threads(args.threads)
    work = json.loads((args.work / "work.json").read_text())
    model = make_model(args, work)
    # What is optimised; compiled, it is called in its place.
    called = torch.compile(model) if args.compile else model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=work["lr"], weight_decay=0.0)
    autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if args.precision == "autocast" \
        else contextlib.nullcontext
    size = work["micro_batch"]

    def held_out():
        with torch.no_grad():
            return mean_loss(model, work["held_out"], size, autocast, backward=False)

    before = held_out() if args.held_out else None
    forget_peak()
    losses, rates = [], []
    for batch in work["steps"][:args.warmup + args.steps]:
        start = time.perf_counter()
        losses.append(mean_loss(called, batch, size, autocast, backward=True))
        if work["grad_clip"] > 0:
            torch.nn.utils.clip_grad_norm_(trained, work["grad_clip"])
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - start
        rates.append(sum(len(example["tokens"]) for example in batch) / seconds)
    peak, timed = peak_mb(), rates[args.warmup:]
    print(json.dumps({
        "precision": args.precision, "compile": args.compile, "checkpointing": args.checkpointing,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        "tokens_per_s": {"median": statistics.median(timed), "min": min(timed),
                         "max": max(timed)},
        "peak_mb": peak, "loss_first": losses[0], "loss_last": losses[-1], "losses": losses,
        "held_out_before": before, "held_out_after": held_out() if args.held_out else None}))


if __name__ == "__main__":
    main()
