#!/usr/bin/env python3
"""The model inside the program: fetched without a network, whole, and good for a
demo from end to end."""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

OPTIONS = None
# Nobody listens there.
NO_NETWORK = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1",
              "PIP_CONFIG_FILE": os.devnull, "PIP_TIMEOUT": "3"}


class TinyModelTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.cached = self.folder / "cache/edgetune/models/edgetune-tiny/model.gguf"

    def edgetune(self, *arguments):
        result = subprocess.run(
            [OPTIONS.edgetune, *map(str, arguments)], capture_output=True, text=True,
            timeout=280, env=os.environ | NO_NETWORK | {
                "XDG_CACHE_HOME": str(self.folder / "cache"),
                "XDG_DATA_HOME": str(self.folder / "data")})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def fetch(self):
        return json.loads(self.edgetune("model", "fetch", "edgetune-tiny", "--format", "json").stdout)["data"]

    def test_it_is_fetched_from_the_program_itself(self):
        whole = OPTIONS.model.read_bytes()
        told = self.fetch()
        self.assertEqual(told["sha256"], hashlib.sha256(whole).hexdigest())
        self.assertFalse(told["was_cached"])
        self.assertEqual(self.cached.read_bytes(), whole)
        self.assertLess(len(whole), 5_000_000)
        self.assertTrue(self.fetch()["was_cached"])
        self.cached.write_bytes(whole[:-1])
        self.assertFalse(self.fetch()["was_cached"])
        self.assertEqual(self.cached.read_bytes(), whole)

    def test_it_says_more_than_chance(self):
        """A tenth of its vocabulary's perplexity is what a uniform guess is far from."""
        self.fetch()
        data = self.folder / "texts.jsonl"
        data.write_text("".join(json.dumps({"messages": [
            {"role": "user", "content": f"Define: {word}"},
            {"role": "assistant", "content": gloss}]}) + "\n" for word, gloss in [
                ("happiness", "a state of well-being"), ("red", "the color of blood"),
                ("winter", "the coldest season of the year")]))
        scored = json.loads(self.edgetune("eval", "--model", "edgetune-tiny", "--data", data, "--format",
                                          "json").stdout)["data"]
        self.assertLess(scored["perplexity"], 600)

    def demo(self, *arguments):
        result = self.edgetune("demo", "--rounds", 2, "--out", self.folder / "out", "--format",
                               "json", *arguments)
        told = json.loads(result.stdout)["data"]
        self.assertEqual(len(told["perplexity"]), 3)
        self.assertLess(told["perplexity"][-1], 0.8 * told["perplexity"][0])
        self.assertTrue((self.folder / "out/adapter/adapter_model.safetensors").is_file())
        self.assertTrue(told["masked"])
        return result

    def test_a_demo_needs_no_network(self):
        self.demo("--offline")

    def test_a_demo_that_finds_no_network_says_so_and_goes_on(self):
        self.assertIn("going on with the small model inside this program", self.demo().stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--edgetune", required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0]] + rest)
