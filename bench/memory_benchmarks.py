"""The memory planner on SmolLM2-135M: predicted beside measured peaks of
`edgetune train`, each in a process of its own."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

RUN = """schema = 1
[model]
base = "{model}"
precision = "{precision}"
[lora]
rank = {rank}
targets = {targets}
[train]
steps = 2
batch = 8
micro_batch = 8
[rounds]
count = 1
cohort = 1
eval_examples = 8
[secagg]
enabled = false
"""
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = ATTENTION + ["gate_proj", "up_proj", "down_proj"]

# (budget, precision, rank, targets)
CONFIGURATIONS = [
    ("200MB", "bf16", 8, ATTENTION[:2]), ("225MB", "bf16", 8, ATTENTION),
    ("250MB", "bf16", 8, ATTENTION), ("300MB", "int8", 8, ATTENTION),
    ("350MB", "fp32", 8, ATTENTION), ("400MB", "bf16", 8, ALL),
    ("450MB", "bf16", 16, ALL), ("500MB", "fp32", 8, ATTENTION),
    ("700MB", "bf16", 32, ALL), ("1GB", "fp32", 16, ALL),
    ("1500MB", "fp32", 64, ALL), ("2GB", "fp32", 64, ALL),
]


def train(folder, data, configuration):
    """What `edgetune train` printed within the budget, and its peak in bytes."""
    budget, precision, rank, targets = configuration
    run, out = folder / "run.toml", folder / "adapter"
    run.write_text(RUN.format(model=harness.MODEL, precision=precision, rank=rank,
                              targets=json.dumps(targets)))
    process = subprocess.Popen(
        [harness.BIN / "edgetune", "train", run, "--data", data, "--memory-budget", budget,
         "--out", out, "--format", "json"], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)
    printed = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    subprocess.run(["rm", "-r", "-f", out], check=True)
    return printed, usage.ru_maxrss * 1024


def row(configuration, printed, peak):
    budget, precision, rank, targets = configuration
    figures = {"budget": budget, "precision": precision, "rank": rank, "targets": len(targets)}
    if "data" not in printed:
        return figures | {"refused": printed["message"]}
    data = printed["data"]
    predicted = data["predicted_peak"]
    return figures | {
        "micro_batch": data["micro_batch"], "recompute": data["recompute"],
        "max_length": data["max_length"], "seconds": round(data["seconds"], 1),
        "predicted_mb": round(predicted / 1e6, 1), "measured_mb": round(peak / 1e6, 1),
        "differs": round(predicted / peak - 1, 3)}


def memory():
    """Peak of `edgetune train` within 12 budgets of 200 MB to 2 GB, beside the prediction."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        harness.output_of([harness.BIN / "edgetune", "data", "wordnet", "--topics",
                           "noun.artifact", "--max-examples", 400, "--out", folder,
                           "--format", "json"])
        for configuration in CONFIGURATIONS:
            rows.append(row(configuration, *train(
                folder, folder / "noun.artifact.train.jsonl", configuration)))
            print(rows[-1], file=sys.stderr)
    differences = [abs(r["differs"]) for r in rows if "differs" in r]
    return {"configurations": rows, "largest_difference": max(differences, default=None),
            "load": harness.load()}
