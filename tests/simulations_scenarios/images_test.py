#!/usr/bin/env python3
"""Scenarios on images at a small size: digits that are drawn here, one pattern a
class, in the four files that MNIST has.
"""

import json
import pathlib
import random
import struct
import subprocess

import simulation_case
from simulation_case import SimulationCase

SIDE, CLASSES, TRAIN, TEST = 12, 10, 400, 100


def write_idx(path, shape, elements):
    path.write_bytes(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
                     + bytes(elements))


def draw(kind, rng):
    """A bright row and a bright column, by class, among noise."""
    pixels = [rng.randrange(60) for _ in range(SIDE * SIDE)]
    for i in range(SIDE):
        pixels[(kind + 1) * SIDE + i] = 200 + rng.randrange(50)
        pixels[i * SIDE + (3 * kind) % SIDE] = 200 + rng.randrange(50)
    return pixels


def write_images(folder, name, count, rng):
    kinds = [i % CLASSES for i in range(count)]
    rng.shuffle(kinds)
    pixels = [p for kind in kinds for p in draw(kind, rng)]
    write_idx(folder / f"{name}-images-idx3-ubyte", (count, SIDE, SIDE), pixels)
    write_idx(folder / f"{name}-labels-idx1-ubyte", (count,), kinds)


class ImagesTest(SimulationCase):
    trained = "model/model.safetensors"

    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        self.data = self.folder / "images"
        self.data.mkdir()
        write_images(self.data, "train", TRAIN, rng)
        write_images(self.data, "t10k", TEST, rng)
        self.init("mcmahan_2nn")

    def init(self, architecture, *arguments):
        self.model = self.folder / architecture
        return subprocess.run(
            [simulation_case.OPTIONS.edgetune, "model", "init", architecture,
             "--height", str(SIDE), "--width", str(SIDE), "--out", self.model,
             *arguments], check=True, capture_output=True, text=True,
            env=self.environment())

    SETS = ("simulation.clients=10", "rounds.cohort=5")

    def run_twice(self, name, *sets):
        """The log of a run that was repeated to the byte."""
        logs, models = [], []
        for workers in (1, 2):
            out = f"{name}-{workers}"
            logs.append(self.run_whole(self.scenario(name), out, "--workers", workers,
                                       sets=(*self.SETS, *sets)))
            models.append((self.folder / out / "model/model.safetensors").read_bytes())
        self.assertEqual(logs[0].bytes, logs[1].bytes)
        self.assertEqual(models[0], models[1])
        return logs[0]

    def accuracies(self, log):
        for test in log.all("test"):
            self.assertEqual(test["tokens"], TEST)
        return {test["round"]: test["correct"] / TEST for test in log.all("test")}

    def test_TheTwoLayerNetworkLearnsItsImages(self):
        log = self.run_twice("mnist_2nn", "rounds.count=8", "train.epochs=5")
        told = self.accuracies(log)
        self.assertEqual(sorted(told), list(range(9)))
        self.assertLess(told[0], 0.4)
        self.assertGreater(told[8], 0.9)
        self.assertEqual([c["updates"] for c in log.all("round_committed")], [5] * 8)
        rows = (self.folder / "mnist_2nn-1/report/rounds.csv").read_text().splitlines()
        self.assertEqual(len(rows), 10)
        self.assertEqual(float(rows[-1].split(",")[-2]), told[8])
        page = (self.folder / "mnist_2nn-1/report/index.html").read_text()
        self.assertIn("Accuracy by round", page)

    def test_TheConvolutionalNetworkLearnsThem(self):
        self.init("mcmahan_cnn")
        told = self.accuracies(self.run_twice("mnist_cnn", "rounds.count=4"))
        self.assertGreater(told[4], 0.9)

    def test_AModelThatWasTrainedCanBeTrainedOn(self):
        log = self.run_whole(self.scenario("mnist_2nn"), "first",
                             sets=(*self.SETS, "rounds.count=6", "train.epochs=5"))
        self.model = self.folder / "first/model"
        again = self.run_whole(self.scenario("mnist_2nn"), "second",
                               sets=(*self.SETS, "rounds.count=1"))
        self.assertEqual(self.accuracies(again)[0], self.accuracies(log)[6])

    def test_ShardsGiveEachClientTwoKinds(self):
        log = self.run_twice("mnist_2nn", "rounds.count=2", "simulation.partition=shards")
        self.assertTrue({e["group"] for e in log.all("selected")}
                        <= {str(kind) for kind in range(CLASSES)})

    def test_AMaskedRunReachesWhatAClearOneDoes(self):
        log = self.run_whole(self.scenario("mnist_2nn"), "masked", sets=(
            *self.SETS, "rounds.count=8", "train.epochs=5", "secagg.enabled=true",
            "secagg.bound=1", "rounds.weight_cap=40"))
        self.assertTrue(log.header["masked"])
        self.assertGreater(self.accuracies(log)[8], 0.9)

    def test_HeldOutImagesAreMeasuredByTheirClients(self):
        log = self.run_whole(self.scenario("mnist_2nn"), "held", sets=(
            *self.SETS, "rounds.count=6", "train.epochs=5", "data.holdout=0.25",
            "simulation.test_every=4"))
        self.assertEqual(sorted(self.accuracies(log)), [0, 4, 6])
        last = [m for m in log.all("client_measure") if m["round"] == 6]
        self.assertGreater(len(last), 0)
        self.assertEqual({m["tokens"] for m in last}, {10})
        self.assertGreater(sum(m["correct"] for m in last) / (10 * len(last)), 0.85)

    def test_TrainTakesTheSameRunFile(self):
        result = subprocess.run(
            [simulation_case.OPTIONS.edgetune, "train", self.scenario("mnist_2nn"),
             "--set", f"model.base={self.model}", "--set", "rounds.count=5",
             "--data", self.data, "--heldout", self.data / "t10k-images-idx3-ubyte",
             "--set", "rounds.eval_examples=100", "--out", self.folder / "local"],
            check=False, capture_output=True, text=True, env=self.environment())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.folder / "local/model.safetensors").exists())
        config = json.loads((self.folder / "local/config.json").read_text())
        self.assertEqual(config["architecture"], "mcmahan_2nn")

    def test_WhatCannotBeIsToldBeforeAnythingRuns(self):
        for words, sets in (
                ('lora.rule = "full"', ("lora.rule=fedit", "lora.targets=[\"q_proj\"]")),
                ("data.schema", ("data.schema=auto",)),
                ("train.engine", ("train.engine=auto",)),
                ("model.precision", ("model.precision=bf16",)),
                ("owners", ("simulation.partition=natural",)),
                ("plants a text", ("simulation.adversary=backdoor",))):
            result = self.simulate(self.scenario("mnist_2nn"), "--out",
                                   self.folder / "never", sets=(*self.SETS, *sets))
            self.assertEqual(result.returncode, 4, result.stderr)
            self.assertIn(words, result.stderr)
            self.assertFalse((self.folder / "never").exists())

    def test_ImagesOfAnotherSizeAreRefusedByName(self):
        self.model = pathlib.Path(self.folder / "other")
        subprocess.run([simulation_case.OPTIONS.edgetune, "model", "init", "mcmahan_2nn",
                        "--out", self.model], check=True, capture_output=True)
        result = self.simulate(self.scenario("mnist_2nn"), "--out", self.folder / "never",
                               sets=self.SETS)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("the model takes [1,28,28]", result.stderr)

    def test_VerbsForTextsRefuseAModelOfImages(self):
        result = subprocess.run(
            [simulation_case.OPTIONS.edgetune, "generate", "--model", self.model,
             "--prompt", "Say"], check=False, capture_output=True, text=True,
            env=self.environment())
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("model of images", result.stderr)


if __name__ == "__main__":
    simulation_case.main()
