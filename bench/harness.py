"""What the benchmarks of `run` share: where things are, programs that print
JSON, ours and a peer's in turn."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "build/release/bin"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "edgetune"
MODEL = CACHE / "models/smollm2-135m/model.gguf"
PYTHON = CACHE / "oracles/venv/bin/python"
NODE_MODULES = CACHE / "oracles/node/node_modules"
THREADS = os.cpu_count()

# Peers from PyPI, each in an environment of its own, made when a benchmark
# first asks for it: what for, and which packages.
TORCH = ("torch==2.13.0", "transformers>=5.0,<6", "peft==0.21.*", "gguf", "safetensors")
PEERS = {
    "flower": ("Flower and its simulation on Ray", ("flwr[simulation]==1.42.0", "numpy==2.4.6")),
    "flower-peft": ("Flower with PEFT and PyTorch for the CPU",
                    ("flwr[simulation]==1.42.0", "numpy==2.4.6", *TORCH)),
    "pfl": ("pfl-research with PEFT and PyTorch for the CPU",
            ("pfl==0.6.0", "numpy==2.4.6", *TORCH)),
}


def peer_python(name):
    """The interpreter of a peer's environment; makes it, and says so."""
    what, packages = PEERS[name]
    folder = CACHE / "peers" / name
    stamp = folder / "packages"
    if not stamp.exists() or stamp.read_text(encoding="ascii") != "\n".join(packages):
        print(f"Installing {what} ({', '.join(packages)}) into {folder}.", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "-q", *packages], check=True)
        stamp.write_text("\n".join(packages), encoding="ascii")
    return folder / "bin/python"


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


def family(root):
    """A process and all that descend from it, as far as they are still there."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # Behind the name, which may hold anything: state, parent.
            stat = (entry / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    members = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in members} - members
        if not more:
            return members
        members |= more


def memory_mb(pids):
    """Their memory; what several share counts once. To see what is shared the
    kernel goes through all pages and holds up the process: one alone is asked
    for its highest total instead, which it keeps anyway."""
    file, field = ("status", "VmHWM:") if len(pids) == 1 else ("smaps_rollup", "Pss:")
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="ascii")
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines()
                     if line.startswith(field))
    return total * 1024 / 1e6


def watched(command, **environment):
    """The JSON that a command prints last, with `peak_mb`: the most memory that
    it and its children had together, looked at twice a second."""
    names = [str(word) for word in command]
    # Into files: nobody reads while it runs.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(names, text=True, stdout=out, stderr=err,
                                   env=os.environ | environment)
        peak, ended = 0, threading.Event()

        def look():
            nonlocal peak
            while not ended.wait(0.5):
                peak = max(peak, memory_mb(family(process.pid)))
        watcher = threading.Thread(target=look)
        watcher.start()
        code = process.wait()
        ended.set()
        watcher.join()
        out.seek(0)
        err.seek(0)
        if code != 0:
            sys.exit(f"{' '.join(names)}: exit {code}\n{err.read()[-2000:]}")
        printed = "\n" + out.read()
    return json.loads(printed[printed.rindex("\n{"):]) | {"peak_mb": round(peak, 1)}


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
