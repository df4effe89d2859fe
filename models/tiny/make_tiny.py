#!/usr/bin/env python3
"""Makes edgetune-tiny, a Llama of four million weights that learnt from
SmolLM2-135M (README.md beside this).

    make_tiny.py --edgetune PROGRAM --work DIRECTORY --out FILE [--share 0.06]

Everything in between lies in --work, where a run that was stopped goes on: texts,
tokens, the teacher's likeliest tokens, a checkpoint a minute. The same seed,
share, program and number of threads give the same file.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

import texts

TEACHER = "smollm2-135m"
TOKENS = 6144
SHAPE = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 7,
         "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32,
         "max_position_embeddings": 2048, "rope_theta": 10000.0}
PASSES = 4  # over all texts
TRAINING = {"batch": 16, "micro-batch": 16, "lr": "3e-3", "warmup": 100, "weight-decay": "0.1",
            "max-length": 448, "top-k": 32, "temperature": 1, "alpha": "0.7",
            "evaluate-every": 250}


class Maker:
    def __init__(self, options):
        self.options, self.work = options, options.work

    def edgetune(self, *arguments):
        """What a command says as JSON; its progress goes to stderr."""
        done = subprocess.run([self.options.edgetune, *map(str, arguments), "--format", "json"],
                              stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            sys.exit(f"edgetune {arguments[0]} failed: {done.stdout.decode()}")
        return json.loads(done.stdout)["data"]

    def make(self):
        self.work.mkdir(parents=True, exist_ok=True)
        count = self.write_texts()
        tokens = self.cut_tokens()
        student = self.write_shape(tokens)
        told = self.distil(student, tokens, round(PASSES * count / TRAINING["batch"]))
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        written = self.edgetune("model", "quantize", self.work / "student", "--to", "q8_0",
                                "--out", self.options.out)
        print(json.dumps({"texts": count, "distill": told, "model": written}, indent=2))

    def write_texts(self):
        stamp = self.work / "texts.json"
        wanted = {"seed": self.options.seed, "share": self.options.share}
        if stamp.exists():
            told = json.loads(stamp.read_text())
            if {key: told[key] for key in wanted} != wanted:
                sys.exit(f"{self.work} holds a run of other texts ({told}); take another --work")
            return told["train"]
        train, _ = texts.write(self.work, self.options.seed, self.options.share)
        stamp.write_text(json.dumps(wanted | {"train": train}))
        return train

    def cut_tokens(self):
        """The teacher with fewer tokens, of which only these are used."""
        out = self.work / "tokens"
        if not out.exists():
            self.edgetune("prune", TEACHER, "--layers", 1, "--vocab-size", TOKENS, "--vocab-data",
                          self.work / "train.jsonl", "--type", "f16", "--out", out)
        return out

    def write_shape(self, tokens):
        config = json.loads((tokens / "config.json").read_text()) | SHAPE
        path = self.work / "student.json"
        path.write_text(json.dumps(config))
        return path

    def distil(self, student, tokens, steps):
        out, told = self.work / "student", self.work / "distill.json"
        if out.exists() and not told.exists():
            shutil.rmtree(out)
        if not out.exists():
            options = [word for name, value in TRAINING.items() for word in (f"--{name}", value)]
            data = self.edgetune("distill", "--teacher", TEACHER, "--student", student, "--tokens",
                                 tokens, "--data", self.work / "train.jsonl", "--heldout",
                                 self.work / "heldout.jsonl", "--cache",
                                 self.work / "teacher.logits", "--checkpoint",
                                 self.work / "student.checkpoint", "--steps", steps, "--seed",
                                 self.options.seed, "--out", out, *options)
            told.write_text(json.dumps(data))
        return json.loads(told.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgetune", required=True, help="our program")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="what lies in between")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the GGUF file")
    parser.add_argument("--share", type=float, default=0.6,
                        help="of the texts; 0.6 takes two cores with bf16 an hour")
    parser.add_argument("--seed", type=int, default=1)
    Maker(parser.parse_args()).make()


if __name__ == "__main__":
    main()
