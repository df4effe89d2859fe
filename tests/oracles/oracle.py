"""What every oracle does: compare, call programs, and say how it went.

An oracle prints a line for each comparison, `ok` or `FAILED`, and its exit code
is 1 when one did not hold. A program that fails ends it with what that said.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np


class Oracle:
    """The base of all: `run` makes the comparisons in a folder that goes."""

    PROGRAMS = ("edgetune",)  # of ours, each a required option

    def __init__(self, options, folder):
        self.options, self.folder, self.failures = options, folder, []

    @staticmethod
    def add_options(parser):
        """Further options of one oracle."""

    def run(self):
        raise NotImplementedError

    def expect(self, holds, what):
        print(("ok      " if holds else "FAILED  ") + what, flush=True)
        if not holds:
            self.failures.append(what)

    # --- programs

    def call(self, *arguments, given=None):
        """stdout of a program that gets `given` on stdin."""
        result = subprocess.run([*map(str, arguments)], input=given, capture_output=True,
                                text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"{arguments}: {result.stderr}")
        return result.stdout

    def edgetune(self, *arguments):
        return self.call(self.options.edgetune, *arguments)

    def ours(self, texts, adapter=None, model=None):
        """Ids of each text, and log p(token | before) from its second on, by
        `eval --per-token`: every token of a {"text"} line is labelled."""
        data, out = self.folder / "texts.jsonl", self.folder / "per-token.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        self.edgetune("eval", "--model", model or self.options.model, "--precision", "fp32",
                      *(["--adapter", adapter] if adapter else []),
                      "--data", data, "--per-token", out, "--format", "json")
        examples = {}
        for line in out.read_text().splitlines():
            row = json.loads(line)
            examples.setdefault(row["example"], []).append(row)
        return ([[row["id"] for row in rows] for rows in examples.values()],
                [np.array([row["logprob"] for row in rows[1:]]) for rows in examples.values()])

    def in_llama_cpp(self, model, texts, adapter=None):
        """p(token | before) of each text of ids, from its second on."""
        script = pathlib.Path(__file__).with_name("llama_cpp_probabilities.mjs")
        lora = ["--lora", adapter] if adapter else []
        return [np.array(row) for row in json.loads(
            self.call(self.options.node, script, model, *lora, given=json.dumps(texts)))]


def main(kind, description):
    """The program of the oracle `kind`."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="SmolLM2's GGUF")
    for program in kind.PROGRAMS:
        parser.add_argument(f"--{program}", required=True, help="our program")
    parser.add_argument("--node", default=os.environ.get("EDGETUNE_ORACLE_NODE"),
                        help="node >= 20; without it llama.cpp is left out")
    kind.add_options(parser)
    with tempfile.TemporaryDirectory() as folder:
        oracle = kind(parser.parse_args(), pathlib.Path(folder))
        oracle.run()
    sys.exit(1 if oracle.failures else 0)
