#!/usr/bin/env python3
"""Runs fuzz targets, some at a time, and reports what each of them did.

A target ends after --seconds, or after --executions; or, with --quiet N, once
its last N executions reached no new edge of edgetune's code. After N
executions without one, the chance that the next reaches one is at most 3/N
(confidence 95 %, the rule of three; as if inputs were drawn independently).

Inputs that reach something new are kept in BUILD/found/TARGET; one that fails
becomes BUILD/TARGET-crash-... Exit code 1: one failed, did not become quiet, or
was executed less often than asked.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EVENT = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ")
TOTAL = re.compile(r"^stat::number_of_executed_units:\s*(\d+)")
# libFuzzer tells its executions at powers of two and with each new input; how
# many there were in between is estimated from the rate this often.
LOOK_S = 1.0

# A third faster: where memory was allocated is not noted (run the failing input
# by hand to see), and a megabyte of freed memory, more than an execution frees,
# is kept from being used again.
ASAN_OPTIONS = ("malloc_context_size=0:quarantine_size_mb=1"
                ":thread_local_quarantine_size_kb=64")

# No input may ask for an allocation far above its own size; in MB. Where
# messages are parsed, protobuf itself reserves up to 50,000,000 bytes before it
# sees that a string in a nested message is cut short (README.md).
SMALL_ALLOCATIONS = re.compile(
    r"codec|gguf|model_config|safetensors|tokenizer_.*")


def command(target, options):
    found = os.path.join(options.build, "found", target)
    os.makedirs(found, exist_ok=True)
    # What the other preset found is tried here too.
    elsewhere = [folder for folder in glob.glob(
        os.path.join(options.build, "..", "*", "found", target))
                 if not os.path.samefile(folder, found)]
    limit = 2 if SMALL_ALLOCATIONS.fullmatch(target) else 48
    return [
        os.path.join(options.build, "tests", "fuzz_" + target),
        f"-max_total_time={options.seconds}", f"-runs={options.executions}",
        "-max_len=16384", "-timeout=20",
        f"-malloc_limit_mb={limit}", "-rss_limit_mb=512",
        "-print_final_stats=1",
        f"-artifact_prefix={options.build}/{target}-",
        found, os.path.join(HERE, "corpus", target), *elsewhere]


class Watch:
    """What one target said so far."""

    def __init__(self):
        self.start = time.monotonic()
        self.executions = self.executions_at = 0
        self.first_edges = self.edges = 0
        self.last_new = 0       # executions at the last new edge
        self.last_new_s = 0.0
        self.crashed = False
        self.ended = False      # said its own last words

    def read(self, line):
        event = EVENT.match(line)
        if event:
            self.executions = int(event[1])
            self.executions_at = time.monotonic()
            edges = int(event[3])
            if event[2] in ("INITED", "READ"):
                self.first_edges = self.edges = edges
                self.last_new = self.executions
            elif edges > self.edges:
                self.edges = edges
                self.last_new = self.executions
                self.last_new_s = time.monotonic() - self.start
        total = TOTAL.match(line)
        if total:
            self.executions, self.ended = int(total[1]), True
        self.crashed |= line.startswith("artifact_prefix")

    def estimated_executions(self):
        """Now, from the rate until the last that was told; never too many."""
        spent = self.executions_at - self.start
        if spent <= 0:
            return self.executions
        rate = self.executions / spent
        since = time.monotonic() - self.executions_at
        # A power of two beyond would have been told.
        return min(self.executions + rate * since, 2 * self.executions)


def run(target, options):
    watch = Watch()
    log_path = os.path.join(options.build, target + ".log")
    process = subprocess.Popen(
        command(target, options), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
        env=dict(os.environ, ASAN_OPTIONS=ASAN_OPTIONS))
    os.set_blocking(process.stderr.fileno(), True)
    with open(log_path, "w", encoding="utf-8") as log:
        stopper = concurrent.futures.ThreadPoolExecutor(1)
        stopper.submit(stop_when_quiet, process, watch, options)
        for line in process.stderr:
            log.write(f"{time.monotonic() - watch.start:.0f} {line}")
            watch.read(line)
        process.wait()
        stopper.shutdown()
    return watch


def stop_when_quiet(process, watch, options):
    while options.quiet and process.poll() is None:
        if watch.estimated_executions() - watch.last_new >= options.quiet * 1.05:
            process.send_signal(signal.SIGINT)
            return
        time.sleep(LOOK_S)


def describe(target, watch, options):
    quiet = watch.executions - watch.last_new
    verdict = ""
    if watch.crashed or not watch.ended:
        verdict = f"FAULT, see {options.build}/{target}.log"
    elif watch.executions < options.executions:
        verdict = "too few"
    elif options.quiet:
        verdict = "quiet" if quiet >= options.quiet else "not quiet yet"
    return (f"  {target:<14} {watch.executions:>11,} executions,"
            f" edges {watch.first_edges:,} -> {watch.edges:,}, the last new"
            f" after {watch.last_new:,} ({watch.last_new_s:.0f} s),"
            f" {quiet:,} since  {verdict}".rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build/fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--quiet", type=int, default=0, metavar="N")
    parser.add_argument("--executions", type=int, default=-1, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("target", nargs="*")
    options = parser.parse_args()
    known = sorted(os.listdir(os.path.join(HERE, "corpus")))
    targets = options.target or known
    for target in targets:
        if target not in known:
            parser.error(f"no target is called {target}; there are "
                         + ", ".join(known))
    failed, results = [], {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {pool.submit(run, target, options): target for target in targets}
        for done in concurrent.futures.as_completed(runs):
            target, watch = runs[done], done.result()
            print(describe(target, watch, options), flush=True)
            quiet = watch.executions - watch.last_new
            if (watch.crashed or not watch.ended or quiet < options.quiet
                    or watch.executions < options.executions):
                failed.append(target)
            results[target] = {
                "executions": watch.executions, "edges": watch.edges,
                "edges_of_corpus": watch.first_edges,
                "last_new_edge_after": watch.last_new,
                "seconds": round(time.monotonic() - watch.start)}
    with open(os.path.join(options.build, "campaign.json"), "w",
              encoding="utf-8") as file:
        json.dump(results, file, indent=1, sort_keys=True)
    if failed:
        sys.exit("error: a fault, still new edges, or too few executions, in "
                 + ", ".join(failed)
                 + "\nhint: BUILD/<target>.log tells; a failing input lies beside it")


if __name__ == "__main__":
    main()
