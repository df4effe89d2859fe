#!/usr/bin/env python3
"""`edgetune train` stopped and killed: with --checkpoint it goes on to the same
adapter, bit for bit."""

import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

OPTIONS = None
ROUNDS = 4


def example(i):
    return json.dumps({"messages": [
        {"role": "user", "content": f"Say {i}"},
        {"role": "assistant", "content": f"{3 * i} and {7 * i % 11}"}]})


class TrainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = self.folder / "model.gguf"
        subprocess.run([OPTIONS.model_maker, self.model], check=True)
        self.data = self.folder / "data.jsonl"
        self.data.write_text("".join(example(i) + "\n" for i in range(60)))
        self.run_file = self.folder / "run.toml"
        self.run_file.write_text(f"""schema = 1
[model]
base = "{self.model}"
precision = "fp32"
[lora]
rank = 4
alpha = 8
[train]
engine = "fused"
steps = 150
batch = 8
[rounds]
count = {ROUNDS}
cohort = 1
server_optimizer = "momentum"
[secagg]
enabled = false
""")
        self.checkpoint = self.folder / "point"
        self.journal = self.folder / "point.rounds"

    def begin(self, out, *arguments):
        return subprocess.Popen(
            [OPTIONS.edgetune, "train", self.run_file, "--data", self.data,
             "--out", self.folder / out, "--threads", "1", "--format", "json",
             *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, out, *arguments):
        process = self.begin(out, *arguments)
        said, noted = process.communicate(timeout=250)
        self.assertEqual(process.returncode, 0, noted)
        return json.loads(said)["data"], noted

    def stop_in_the_middle(self, number):
        """Once a round is done, which is more than evaluations are."""
        process = self.begin("out", "--checkpoint", self.checkpoint)
        deadline = time.monotonic() + 200
        while not self.journal.exists() or self.journal.stat().st_size < 2000:
            self.assertIsNone(process.poll(), "it ended before it was stopped")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertFalse((self.folder / "out").exists())
        return said

    def test_a_stopped_and_a_killed_training_go_on_to_the_same_adapter(self):
        whole, _ = self.finish("whole")
        said, _ = self.stop_in_the_middle(signal.SIGINT)
        self.assertIn(f"goes on from {self.checkpoint}", said)
        self.assertTrue(self.checkpoint.exists())
        self.stop_in_the_middle(signal.SIGKILL)
        done, noted = self.finish("out", "--checkpoint", self.checkpoint)
        self.assertIn("finished steps are kept", noted)
        for key in ["adapter_sha256", "perplexity", "train_loss"]:
            self.assertEqual(done[key], whole[key])
        self.assertEqual(len(done["perplexity"]), ROUNDS + 1)
        self.assertFalse(self.checkpoint.exists())
        self.assertFalse(self.journal.exists())

    def test_what_was_kept_of_another_training_is_not_used(self):
        self.stop_in_the_middle(signal.SIGINT)
        self.run_file.write_text(
            self.run_file.read_text().replace("batch = 8", "batch = 4"))
        whole, _ = self.finish("whole")
        done, _ = self.finish("out", "--checkpoint", self.checkpoint)
        self.assertEqual(done["adapter_sha256"], whole["adapter_sha256"])

    def test_a_checkpoint_that_cannot_be_written_is_refused_first(self):
        process = self.begin("out", "--checkpoint", self.data / "point")
        said, _ = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn(str(self.data), json.loads(said)["message"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--edgetune", required=True)
    parser.add_argument("--model-maker", required=True)
    OPTIONS, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0]] + rest)
