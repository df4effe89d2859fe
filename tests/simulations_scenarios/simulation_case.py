"""What tests of `edgetune simulate` share: a small model, small data, one run."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "simulations/scenarios"
sys.path.insert(0, str(ROOT / "tests/tools"))
import program  # pylint: disable=wrong-import-position

OPTIONS = None
TOPICS = [f"topic{letter}" for letter in "abcdefghijkl"]
EXAMPLES = 14  # of each topic
# Scenarios on images, which images_test.py runs.
ON_IMAGES = ("mnist_2nn", "mnist_cnn")


class Log:
    """A run's events.jsonl."""

    def __init__(self, directory):
        self.bytes = (directory / "events.jsonl").read_bytes()
        self.events = [json.loads(line) for line in self.bytes.splitlines()]
        self.header = self.events[0]

    def all(self, kind):
        return [event for event in self.events if event["event"] == kind]

    def state(self):
        return self.events[-1].get("state")


class SimulationCase(unittest.TestCase):
    trained = "adapter/adapter_model.safetensors"  # in a run's directory
    # One `error:` line with these words, then at most one hint.
    assert_fails = program.ProgramCase.assert_fails

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "tiny.gguf"
        subprocess.run([OPTIONS.model_maker, self.model], check=True)
        self.data = self.folder / "data"
        self.data.mkdir()
        for topic in TOPICS:
            (self.data / f"{topic}.train.jsonl").write_text("".join(
                self.example(topic, number) for number in range(EXAMPLES)))

    @staticmethod
    def example(topic, number):
        return json.dumps({"topic": topic, "messages": [
            {"role": "user", "content": f"Say {topic} {number}"},
            {"role": "assistant", "content": f"{topic} is {number}"}]}) + "\n"

    def scenario(self, name):
        return SCENARIOS / f"{name}.toml"

    def command(self, run_file, *arguments, sets=()):
        """The command line; `sets` are "key=value"."""
        command = [OPTIONS.edgetune, "simulate", run_file, "--data", self.data]
        for text in (f"model.base={self.model}", *sets):
            command += ["--set", text]
        return [str(word) for word in (*command, *arguments)]

    def environment(self):
        return {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache"),
                "XDG_DATA_HOME": str(self.folder / "share")}

    def simulate(self, run_file, *arguments, sets=()):
        return subprocess.run(self.command(run_file, *arguments, sets=sets), check=False,
                              env=self.environment(), capture_output=True, text=True, timeout=300)

    def run_whole(self, run_file, out, *arguments, sets=()):
        """A run that must end well: its log."""
        result = self.simulate(run_file, "--out", self.folder / out, *arguments, sets=sets)
        self.assertEqual(result.returncode, 0, result.stderr)
        for name in (self.trained, "report/index.html"):
            self.assertTrue((self.folder / out / name).is_file(), name)
        return Log(self.folder / out)


def main():
    global OPTIONS
    parser = argparse.ArgumentParser()
    parser.add_argument("--edgetune", required=True)
    parser.add_argument("--model-maker", required=True)
    OPTIONS, rest = parser.parse_known_args()
    OPTIONS.edgetune = os.path.abspath(OPTIONS.edgetune)
    unittest.main(argv=[sys.argv[0], *rest])
