"""What the benchmarks of `run` share: where things are, programs that print
JSON, ours and a peer's in turn."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "edgetune"
MODEL = CACHE / "models/smollm2-135m/model.gguf"
PYTHON = CACHE / "oracles/venv/bin/python"
NODE_MODULES = CACHE / "oracles/node/node_modules"
THREADS = os.cpu_count()


def spread(values):
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4),
            "max": round(max(values), 4)}


def output_of(command, **environment):
    """The JSON that a command prints."""
    names = [str(word) for word in command]
    result = subprocess.run(names, check=False, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=os.environ | environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(names)}: exit {result.returncode}\n{result.stderr[-2000:]}")
    return json.loads(result.stdout)


def program(name, *arguments):
    """The JSON that a program of bench/ prints."""
    return output_of([ROOT / "build/release/bench" / name, *arguments])


def in_turn(programs, runs):
    """{name: [what it printed]}: all programs one after the other, `runs` times."""
    printed = {name: [] for name in programs}
    for _ in range(runs):
        for name, command in programs.items():
            printed[name].append(command())
    return printed


def load():
    """Processes that wanted a processor in the last minute, this one too."""
    return round(os.getloadavg()[0], 1)


def write_glosses(path, every=1):
    """English: WordNet's definitions and examples, one a line, each or every nth."""
    lines = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in open(f"/usr/share/wordnet/data.{part}", encoding="ascii"):
            if not line.startswith("  "):
                lines.append(line.split("|", 1)[1].strip() + "\n")
    pathlib.Path(path).write_text("".join(lines[::every]), encoding="ascii")
