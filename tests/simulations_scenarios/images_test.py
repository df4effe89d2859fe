#!/usr/bin/env python3
"""Scenarios on images at a small size: digits that are drawn here, one pattern a
class, in the four files that MNIST has or as PNG files in folders.
"""

import json
import pathlib
import random
import shutil
import struct
import subprocess
import zlib

import simulation_case
from simulation_case import SimulationCase

VECTORS = simulation_case.ROOT / "tests/training/images/vectors"
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


def png(pixels):
    """A grey image, by hand."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = b"".join(b"\0" + bytes(pixels[i:i + SIDE])
                    for i in range(0, SIDE * SIDE, SIDE))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_both(idx, name, folders, count, rng):
    """The same images in both forms and in the same order, by class."""
    kinds = sorted(i % CLASSES for i in range(count))
    images = [draw(kind, rng) for kind in kinds]
    write_idx(idx / f"{name}-images-idx3-ubyte", (count, SIDE, SIDE),
              [p for image in images for p in image])
    write_idx(idx / f"{name}-labels-idx1-ubyte", (count,), kinds)
    for number, (kind, image) in enumerate(zip(kinds, images)):
        folder = folders / f"digit {kind}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04}.png").write_bytes(png(image))


def tensors(path):
    """Bytes of each tensor of a safetensors file, in the file's order."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: data[8 + size + begin:8 + size + end]
            for name, (begin, end) in sorted(
                ((name, entry["data_offsets"]) for name, entry in header.items()),
                key=lambda item: item[1])}


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
    MASKED = (*SETS, "secagg.enabled=true", "secagg.bound=1", "rounds.weight_cap=40")

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
            *self.MASKED, "rounds.count=8", "train.epochs=5"))
        self.assertTrue(log.header["masked"])
        self.assertGreater(self.accuracies(log)[8], 0.9)

    def test_LightNetworksAreTrainedUnderMasks(self):
        for architecture in ("mobilenet_v2", "shufflenet_v2_x0_5", "efficientnet_b0"):
            with self.subTest(architecture):
                self.init(architecture, "--width-multiplier", "0.25")
                before = tensors(self.model / "model.safetensors")
                out = architecture + "-run"
                log = self.run_whole(self.scenario("mnist_cnn"), out, sets=(
                    *self.MASKED, "rounds.count=1", "train.epochs=1", "train.lr=0.01"))
                self.assertEqual(log.all("round_committed")[0]["updates"], 5)
                self.assertEqual(sorted(self.accuracies(log)), [0, 1])
                after = tensors(self.folder / out / "model/model.safetensors")
                self.assertEqual(before.keys(), after.keys())
                # No weight is left out: all differ from where they began.
                self.assertEqual([n for n in before if before[n] == after[n]], [])

    def test_AHeadIsTrainedOnAFrozenBase(self):
        self.init("shufflenet_v2_x0_5", "--width-multiplier", "0.25")
        before = tensors(self.model / "model.safetensors")
        log = self.run_whole(self.scenario("mnist_cnn"), "head", sets=(
            *self.MASKED, "rounds.count=1", "train.epochs=1", 'lora.parts=fc'))
        after = tensors(self.folder / "head/model/model.safetensors")
        self.assertEqual([n for n in before if before[n] != after[n]],
                         ["fc.weight", "fc.bias"])
        # Each sends what is trained, and little besides.
        trained = 4 * (1024 * CLASSES + CLASSES)
        self.assertLess(log.all("round_committed")[0]["bytes_up"], 5 * trained * 1.5)
        self.assert_fails(
            self.simulate(self.scenario("mnist_cnn"), "--out", self.folder / "none",
                          sets=(*self.MASKED, "lora.parts=head")),
            4, 'no parameter is of a part "head"; there are conv1, stage2')

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

    def test_FoldersOfPngFilesTrainTheSameModelAsIdxFiles(self):
        rng = random.Random(9)
        idx, folders = self.folder / "idx", self.folder / "folders"
        idx.mkdir()
        write_both(idx, "train", folders / "train", TRAIN, rng)
        write_both(idx, "t10k", folders / "test", TEST, rng)
        logs, models = [], []
        for self.data in (idx, folders):
            out = f"from-{self.data.name}"
            logs.append(self.run_whole(self.scenario("mnist_2nn"), out, sets=(
                *self.SETS, "rounds.count=4", "train.epochs=5")))
            models.append((self.folder / out / "model/model.safetensors").read_bytes())
        self.assertEqual(models[0], models[1])
        self.assertEqual(logs[0].all("test"), logs[1].all("test"))
        self.assertGreater(self.accuracies(logs[1])[4], 0.8)
        # What a resumed run must find again is the content of every file.
        facts = json.loads((self.folder / "from-folders/run.json").read_text())["facts"]
        self.assertEqual([key for key in facts if key.startswith("data,")],
                         [f"data, {TRAIN + TEST} images"])
        (folders / "test/digit 3/0031.png").write_bytes(png([7] * SIDE * SIDE))
        again = self.simulate(self.scenario("mnist_2nn"), "--resume", "--out",
                              self.folder / "from-folders", sets=(
                                  *self.SETS, "rounds.count=4", "train.epochs=5"))
        self.assertEqual(again.returncode, 4, again.stderr)
        self.assertIn(f"data, {TRAIN + TEST} images was", again.stderr)

    def folders_of_vectors(self):
        self.data = self.folder / "pictures"
        for kind in range(CLASSES):
            folder = self.data / f"digit {kind}"
            folder.mkdir(parents=True)
            for number in range(3):
                (folder / f"{number}.png").write_bytes(
                    png(draw(kind, random.Random(number))))
            shutil.copy(VECTORS / "baseline.jpg", folder / "photo.JPG")
        (self.data / "licence.txt").write_text("free")

    def test_FoldersMayHoldOtherSizesAndJpegFiles(self):
        self.folders_of_vectors()
        log = self.run_whole(self.scenario("mnist_2nn"), "mixed",
                             sets=(*self.SETS, "rounds.count=1", "train.epochs=1"))
        self.assertEqual([c["updates"] for c in log.all("round_committed")], [5])
        result = subprocess.run(
            [simulation_case.OPTIONS.edgetune, "data", "inspect", self.data,
             "--format", "json"], check=True, capture_output=True, text=True)
        found = json.loads(result.stdout)["data"]
        self.assertEqual(found["examples"], 4 * CLASSES)
        self.assertEqual((found["png"], found["jpeg"]), (3 * CLASSES, CLASSES))
        self.assertEqual((found["grey"], found["colour"]), (3 * CLASSES, CLASSES))
        self.assertEqual(found["width"], {"least": SIDE, "most": 13})
        self.assertEqual(found["height"], {"least": 9, "most": SIDE})
        self.assertEqual(found["classes"][9], {"name": "digit 9", "images": 4})
        self.assertEqual((found["left_out"], found["faults"]), (1, []))

    def test_AnImageThatCannotBeReadIsNamed(self):
        self.folders_of_vectors()
        shutil.copy(VECTORS / "bad-bomb.png", self.data / "digit 4/bomb.png")
        result = self.simulate(self.scenario("mnist_2nn"), "--out", self.folder / "never",
                               sets=self.SETS)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("digit 4/bomb.png: a PNG of 5000 by 5000 pixels", result.stderr)
        result = subprocess.run(
            [simulation_case.OPTIONS.edgetune, "data", "inspect", self.data],
            check=True, capture_output=True, text=True)
        self.assertIn("unreadable  1\n", result.stdout)
        self.assertIn("bomb.png: a PNG of 5000 by 5000 pixels", result.stdout)
        shutil.rmtree(self.data / "digit 4")
        result = self.simulate(self.scenario("mnist_2nn"), "--out", self.folder / "never",
                               sets=self.SETS)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("9 folders of classes, the model tells 10 apart", result.stderr)

    def test_VerbsForTextsRefuseAModelOfImages(self):
        result = subprocess.run(
            [simulation_case.OPTIONS.edgetune, "generate", "--model", self.model,
             "--prompt", "Say"], check=False, capture_output=True, text=True,
            env=self.environment())
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("model of images", result.stderr)


if __name__ == "__main__":
    simulation_case.main()
