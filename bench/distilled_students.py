#!/usr/bin/env python3
"""Does a teacher help? Students that learn from one beside the same students that
learn from labels alone: same data, steps, order and first weights, over seeds.

Text: edgetune-tiny, the model inside the program, teaches a Llama of 885,408
weights on 400 of its texts (models/tiny/texts.py); perplexity of the labels on
texts that neither has seen. Images: the CNN of McMahan et al. 2017, which one pass
over MNIST has trained, teaches the 2NN of that paper on 3,000 digits; accuracy on the 10,000 of the test set.

    distilled_students.py --edgetune PROGRAM --work DIRECTORY [--seeds 3]

Prints a table; what is in --work is not made again.
"""

import argparse
import json
import pathlib
import statistics
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "models/tiny"))
import texts  # pylint: disable=wrong-import-position

FEW_TEXTS, FEW_IMAGES = 400, 3000
SHAPE = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3,
         "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 32,
         "max_position_embeddings": 512}
TEXT = ("--steps", 150, "--batch", 16, "--micro-batch", 16, "--lr", "3e-3", "--warmup", 15,
        "--weight-decay", 0.1, "--max-length", 256, "--temperature", 1,
        "--top-k", 64)  # six passes
SGD = ("--optimizer", "sgd", "--momentum", 0.9, "--lr", 0.05, "--batch", 32,
       "--micro-batch", 32, "--warmup", 1)
IMAGES = (*SGD, "--steps", 940, "--temperature", 2)  # ten passes
ALPHAS = (0, 0.9)


class Experiment:
    def __init__(self, options):
        self.edgetune_program, self.work = options.edgetune, options.work
        self.seeds = range(1, options.seeds + 1)
        self.work.mkdir(parents=True, exist_ok=True)

    def edgetune(self, *arguments):
        done = subprocess.run([self.edgetune_program, *map(str, arguments), "--format", "json"],
                              stdout=subprocess.PIPE, check=False)
        if done.returncode != 0:
            sys.exit(f"edgetune {arguments[0]} failed: {done.stdout.decode()}")
        return json.loads(done.stdout)["data"]

    def once(self, name, *arguments):
        """What a command that writes --out said, when it was done."""
        told = self.work / f"{name}.json"
        if not told.exists():
            told.write_text(json.dumps(self.edgetune(*arguments, "--out", self.work / name)))
        return json.loads(told.read_text())

    def students(self, name, measure, of_seed):
        """{alpha: measures over the seeds}; of_seed(seed): arguments of distill."""
        return {alpha: [self.once(f"{name}-{alpha}-{seed}", "distill", *of_seed(seed),
                                  "--alpha", alpha, "--seed", seed)[measure]
                        for seed in self.seeds] for alpha in ALPHAS}

    def on_texts(self):
        if not (self.work / "few.jsonl").exists():
            texts.write(self.work, 1, 0.6)
            lines = (self.work / "train.jsonl").read_text().splitlines()
            (self.work / "few.jsonl").write_text("\n".join(lines[:FEW_TEXTS]) + "\n")
        self.edgetune("model", "fetch", "edgetune-tiny")
        self.once("tiny", "model", "export", "edgetune-tiny", "--to", "hf")
        shape = self.work / "student.json"
        shape.write_text(json.dumps(json.loads(
            (self.work / "tiny/config.json").read_text()) | SHAPE))
        return self.students("text", "perplexity", lambda seed: (
            "--teacher", "edgetune-tiny", "--student", shape, "--data", self.work / "few.jsonl",
            "--heldout", self.work / "heldout.jsonl", "--cache", self.work / "answers", *TEXT))

    def write_few_images(self):
        few = self.work / "few"
        few.mkdir(exist_ok=True)
        for name, size in [("images-idx3", 784), ("labels-idx1", 1)]:
            whole = (self.work / f"mnist/train-{name}-ubyte").read_bytes()
            head = 16 if size > 1 else 8
            (few / f"train-{name}-ubyte").write_bytes(
                whole[:4] + struct.pack(">I", FEW_IMAGES)
                + whole[8:head + FEW_IMAGES * size])
        return few

    def on_images(self):
        if not (self.work / "mnist").exists():
            self.edgetune("data", "mnist", "--out", self.work / "mnist")
        few = self.write_few_images()
        for seed in (0, *self.seeds):
            self.once(f"drawn-{seed}", "model", "init",
                      "mcmahan_2nn" if seed else "mcmahan_cnn", "--seed", seed)
        test = self.work / "mnist/t10k-images-idx3-ubyte"
        self.once("teacher", "distill", "--teacher", self.work / "drawn-0", "--student",
                  self.work / "drawn-0", "--data", self.work / "mnist", "--alpha", 0,
                  "--steps", 1875, *SGD)
        return self.students("image", "accuracy", lambda seed: (
            "--teacher", self.work / "teacher", "--student", self.work / f"drawn-{seed}",
            "--data", few, "--heldout", test, *IMAGES))

    def told(self, name, key):
        return json.loads((self.work / f"{name}.json").read_text())[key]


def spread(values):
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgetune", required=True, help="our program")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    experiment = Experiment(parser.parse_args())
    text, images = experiment.on_texts(), experiment.on_images()
    first = experiment.seeds[0]
    print("| student | labels alone | with the teacher | the teacher |\n|---|---|---|---|")
    print(f"| text, held-out perplexity | {spread(text[0])} | {spread(text[ALPHAS[1]])} |"
          f" {experiment.told(f'text-0-{first}', 'teacher_perplexity'):.2f} |")
    percent = {alpha: [100 * value for value in values] for alpha, values in images.items()}
    print(f"| images, accuracy in % | {spread(percent[0])} | {spread(percent[ALPHAS[1]])} |"
          f" {100 * experiment.told(f'image-0-{first}', 'teacher_accuracy'):.2f} |")


if __name__ == "__main__":
    main()
