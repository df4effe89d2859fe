"""Benchmarks of simulated fleets and of the coordinator's sum, beside Flower's
simulation on Ray, pfl-research and NumPy, each from PyPI in an environment of
its own (harness.PEERS). Ours is `edgetune simulate`: the deployed coordinator
and clients. Sides take turns in one run; memory is that of a process and its
children. Peers are scaled where they are slow or large, and each line says its
own scale. A benchmark's smoke is the same at a size that only shows that it
works."""

import json
import math
import pathlib
import random
import statistics
import struct
import subprocess
import tempfile

import harness
from harness import BIN, MODEL, ROOT, THREADS, peer_python, program, spread, watched

PEERS = ROOT / "bench/peers"
UPDATE_BYTES = 4 * 921_600

# What a run file of every fleet here says.
RUN = """schema = 1
[model]
base = "{model}"
[rounds]
count = {rounds}
cohort = {cohort}
deadline = "168h"
[secagg]
enabled = false
[simulation]
clients = {clients}
[data]
holdout = 0
{data}
[train]
{train}
"""


class Fleet:
    """Ours, in a folder with its examples."""

    def __init__(self, folder, examples, data="", train="", model=MODEL, trainer="engine"):
        self.folder, self.examples, self.trainer = pathlib.Path(folder), examples, trainer
        self.settings = {"data": data, "train": train, "model": model}

    def run(self, clients, cohort, rounds):
        """What `edgetune simulate` says of it, and its peak memory."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place = pathlib.Path(name)
            (place / "run.toml").write_text(RUN.format(
                clients=clients, cohort=cohort, rounds=rounds, **self.settings))
            data = watched([BIN / "edgetune", "simulate", place / "run.toml", "--data",
                            self.examples, "--set", f"simulation.trainer={self.trainer}",
                            "--out", place / "out", "--format", "json"])
        told, peak = data["data"], data["peak_mb"]
        if told["trainings"] != cohort * rounds:
            raise SystemExit(f"{told['trainings']} trainings of {cohort * rounds}")
        return {"clients": clients, "cohort": cohort, "rounds": rounds,
                "seconds": told["seconds"], "results_per_s": told["trainings"] / told["seconds"],
                "s_per_round": told["seconds"] / rounds, "peak_mb": peak}


def flower(work, size, *options):
    python = peer_python("flower-peft" if work == "lora" else "flower")
    return lambda: watched([python, PEERS / "flower_fleet.py", work, *flags(size), *options])


def pfl(work, size, *options):
    python = peer_python("pfl")
    return lambda: watched([python, PEERS / "pfl_fleet.py", work, *flags(size), *options])


def flags(size):
    return [word for name, value in size.items() for word in (f"--{name}", value)]


def sizes(clients, cohort, rounds):
    return {"clients": clients, "cohort": cohort, "rounds": rounds}


def compared(programs, runs, key):
    """Spread of `key`, peak memory, scale of each; how often each peer's ours is."""
    figures = {}
    for name, printed in harness.in_turn(programs, runs).items():
        kept = ("clients", "cohort", "rounds", "flower", "pfl", "parameters")
        figures[name] = {key: spread([run[key] for run in printed]),
                         "peak_mb": max(run["peak_mb"] for run in printed),
                         **{k: v for k, v in printed[0].items() if k in kept}}
    medians = {name: figure[key]["median"] for name, figure in figures.items()}
    figures["times"] = {
        name: round(median / medians["ours"] if key == "s_per_round" else medians["ours"] / median,
                    2) for name, median in medians.items() if name != "ours"}
    return figures | {"load": harness.load()}


def machine():
    """Reading of memory by all threads and by one, SHA-256 by one: GB a second."""
    out = program("fold_bench", "--updates", 8, "--different", 8, "--runs", 1)
    return {key: round(out[key], 2) for key in ("read_gb_per_s_all", "read_gb_per_s",
                                                "sha256_gb_per_s")}


def text_lines(path, lines, words):
    """JSON lines of English text of at least so many words, if there are enough."""
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as glosses:
        harness.write_glosses(glosses.name)
        stock = glosses.read().split()
    with open(path, "w", encoding="ascii") as out:
        for i in range(lines):
            at = i * words % (len(stock) - words)
            out.write(json.dumps({"text": " ".join(stock[at:at + words])}) + "\n")


# --- B4

B4 = {"ours": sizes(1000, 100, 1), "flower": sizes(1000, 10, 2), "pfl": sizes(1000, 5, 3),
      "registered": 10_000}
B4_SMOKE = {"ours": sizes(20, 3, 1), "flower": sizes(8, 2, 2), "pfl": sizes(8, 2, 2),
            "registered": 200}


def real_fleet(size):
    with tempfile.TemporaryDirectory() as folder:
        # A gloss has fewer words than tokens: all are cut to 128 tokens.
        examples = pathlib.Path(folder) / "texts.jsonl"
        text_lines(examples, 4 * size["ours"]["clients"], words=128)
        fleet = Fleet(folder, examples, data='schema = "text"\nmax_length = 128',
                      train="steps = 1\nbatch = 4\nmicro_batch = 4")
        figures = compared({"ours": lambda: fleet.run(**size["ours"]),
                            "flower": flower("lora", size["flower"], "--model", MODEL),
                            "pfl": pfl("lora", size["pfl"], "--model", MODEL)}, runs=1,
                           key="results_per_s")
        figures["ours"] |= memory_a_client(folder, fleet, size, figures["ours"]["peak_mb"])
    return figures


def memory_a_client(folder, fleet, size, large):
    """How much more a further client of a round takes, and one that only waits."""
    cohort = size["ours"]["cohort"]
    small = fleet.run(size["ours"]["clients"], cohort=2, rounds=1)["peak_mb"]
    text_lines(pathlib.Path(folder) / "many.jsonl", 4 * size["registered"], words=8)
    idle = Fleet(folder, pathlib.Path(folder) / "many.jsonl", trainer="null")
    few, many = (idle.run(clients, cohort=2, rounds=1)["peak_mb"]
                 for clients in (100, size["registered"]))
    return {"mb_a_client_of_a_round": round((large - small) / (cohort - 2), 2),
            "kb_a_registered_client": round(1e3 * (many - few) / (size["registered"] - 100), 1),
            "registered": size["registered"], "registered_peak_mb": many}


def b4():
    """Real fleet: LoRA steps of SmolLM2-135M beside Flower and pfl-research (6 minutes)."""
    return real_fleet(B4)


def b4_smoke():
    """The same, small."""
    return real_fleet(B4_SMOKE)


# --- B5

B5 = {"ours": sizes(10_000, 1000, 6), "flower": sizes(1000, 100, 4),
      "pfl": sizes(10_000, 1000, 6), "runs": 2}
B5_SMOKE = {"ours": sizes(60, 20, 2), "flower": sizes(20, 10, 2), "pfl": sizes(60, 20, 2),
            "runs": 1}


def null_fleet(size):
    limits = machine()
    with tempfile.TemporaryDirectory() as folder:
        examples = pathlib.Path(folder) / "texts.jsonl"
        text_lines(examples, size["ours"]["clients"], words=8)
        fleet = Fleet(folder, examples, trainer="null")
        figures = compared({"ours": lambda: fleet.run(**size["ours"]),
                            "flower": flower("null", size["flower"]),
                            "pfl": pfl("null", size["pfl"])}, size["runs"], "results_per_s")
    gb_per_s = figures["ours"]["results_per_s"]["median"] * UPDATE_BYTES / 1e9
    # Each client hashes its update, as a deployed one does.
    figures["share_of_sha256"] = round(gb_per_s / (limits["sha256_gb_per_s"] * THREADS), 3)
    figures["share_of_reading"] = round(gb_per_s / limits["read_gb_per_s_all"], 3)
    return figures | {"limits": limits}


def b5():
    """Null fleet: everything but training, beside Flower and pfl-research (8 minutes, 5 GB)."""
    return null_fleet(B5)


def b5_smoke():
    """The same, small."""
    return null_fleet(B5_SMOKE)


# --- B6

B6 = {"ours": sizes(1000, 50, 6), "pfl": sizes(1000, 50, 6), "runs": 3}
B6_SMOKE = {"ours": sizes(20, 4, 2), "pfl": sizes(20, 4, 2), "runs": 1}


def write_images(folder, count):
    """Random images of CIFAR10's shape and classes for them, as IDX files."""
    folder.mkdir()
    drawn = random.Random(1)
    for name, shape, top in (("train-images-idx4-ubyte", (count, 3, 32, 32), 256),
                             ("train-labels-idx1-ubyte", (count,), 10)):
        head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
        values = drawn.randbytes(math.prod(shape))
        if top < 256:
            values = bytes(value % top for value in values)
        (folder / name).write_bytes(head + values)


def our_images(folder, size):
    """Ours, or why it is not there."""
    model = folder / "model"
    made = subprocess.run(
        [BIN / "edgetune", "model", "init", "pfl_cnn", "--channels", "3", "--height", "32",
         "--width", "32", "--out", model], check=False, capture_output=True, text=True)
    if made.returncode != 0:
        said = made.stderr.strip().splitlines() or [f"exit {made.returncode}"]
        return None, f"not available: edgetune model init pfl_cnn: {said[0]}"
    write_images(folder / "images", 50 * size["ours"]["clients"])
    fleet = Fleet(folder, folder / "images", data='schema = "image"', model=model,
                  train='engine = "reference"\noptimizer = "sgd"\nlr = 0.1\nepochs = 1\n'
                        'batch = 10\nmicro_batch = 10\ngrad_clip = 0\n[lora]\nrule = "full"')
    return lambda: fleet.run(**size["ours"]), None


def vision_fleet(size):
    with tempfile.TemporaryDirectory() as name:
        ours, missing = our_images(pathlib.Path(name), size)
        programs = {"pfl": pfl("cnn", size["pfl"])}
        if ours is None:
            printed = harness.in_turn(programs, size["runs"])["pfl"]
            return {"ours": missing, "load": harness.load(),
                    "pfl": {"s_per_round": spread([run["s_per_round"] for run in printed]),
                            "peak_mb": max(run["peak_mb"] for run in printed)}}
        return compared({"ours": ours} | programs, size["runs"], "s_per_round")


def b6():
    """Vision fleet: pfl-research's CIFAR10 set-up with random images, beside it (3 minutes)."""
    return vision_fleet(B6)


def b6_smoke():
    """The same, small."""
    return vision_fleet(B6_SMOKE)


# --- B7

B7 = {"lora": {"coordinates": 921_600, "updates": 1000, "different": 100}, "runs": 3,
      "full": {"coordinates": 134_515_008, "updates": 20, "different": 2}, "full_runs": 1}
B7_SMOKE = {"lora": {"coordinates": 921_600, "updates": 8, "different": 4}, "runs": 1,
            "full": {"coordinates": 1_000_000, "updates": 3, "different": 2}, "full_runs": 1}

# Of flower_mean.py, and how many updates of so many coordinates each gets: some
# hold all of them at once, once or twice.
WAYS = {"numpy": None, "aggregate": 10**9, "aggregate_inplace": None, "array_record": 10**9}


def fold(work, *options):
    return lambda: watched([ROOT / "build/release/bench/fold_bench", "--runs", 1, *flags(work),
                            *options])


def mean_by(way, work, tensors):
    python = peer_python("flower")
    return lambda: watched([python, PEERS / "flower_mean.py", way, "--tensors", tensors,
                            *flags(work)])


def folds(work, runs, tensors, intake):
    programs = {"ours": fold(work)}
    if intake:
        programs["ours_intake"] = fold(work, "--way", "intake")
    scaled = {way: work if most is None else work | {
        "updates": min(work["updates"], most // work["coordinates"])} for way, most in WAYS.items()}
    programs |= {way: mean_by(way, scaled[way], tensors) for way in WAYS}
    printed = harness.in_turn(programs, runs)
    figures = {}
    for name, out in printed.items():
        figures[name] = {
            "updates": scaled.get(name, work)["updates"],
            "gb_per_s": spread([rate for run in out for rate in run["gb_per_s"]]),
            "peak_beyond_updates_mb": round(max(run["peak_beyond_updates_mb"] for run in out), 1)}
    median = {name: figure["gb_per_s"]["median"] for name, figure in figures.items()}
    # One thread folds.
    reading = statistics.median(run["read_gb_per_s"] for run in printed["ours"])
    figures["ours"] |= {"read_gb_per_s": round(reading, 1),
                        "share_of_reading": round(median["ours"] / reading, 3)}
    figures["times"] = {way: round(median["ours"] / median[way], 2) for way in WAYS}
    return figures


def streaming_mean(size):
    return {"lora": folds(size["lora"], size["runs"], tensors=240, intake=True),
            "lora_one_tensor": folds(size["lora"], size["runs"], tensors=1, intake=False),
            "full": folds(size["full"], size["full_runs"], tensors=1, intake=False),
            "int8": "not applicable: updates are float32", "load": harness.load()}


def b7():
    """Mean of serialized updates, beside Flower's functions and NumPy (6 minutes, 8 GB)."""
    return streaming_mean(B7)


def b7_smoke():
    """The same, small."""
    return streaming_mean(B7_SMOKE)


BENCHMARKS = {"b4": b4, "b4-smoke": b4_smoke, "b5": b5, "b5-smoke": b5_smoke, "b6": b6,
              "b6-smoke": b6_smoke, "b7": b7, "b7-smoke": b7_smoke}
