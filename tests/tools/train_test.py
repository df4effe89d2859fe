#!/usr/bin/env python3
"""`edgetune train` stopped and killed: with --checkpoint it goes on to the same
adapter, bit for bit."""

import json
import signal
import subprocess
import time

from program import OPTIONS, ProgramCase, main

ROUNDS = 4


def example(i):
    return json.dumps({"messages": [
        {"role": "user", "content": f"Say {i}"},
        {"role": "assistant", "content": f"{3 * i} and {7 * i % 11}"}]})


class TrainTest(ProgramCase):
    def setUp(self):
        super().setUp()
        self.data = self.write("data.jsonl",
                               "".join(example(i) + "\n" for i in range(60)))
        self.training = self.run_file(f"""
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
            [OPTIONS.edgetune, "train", self.training, "--data", self.data,
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
        self.training.write_text(
            self.training.read_text().replace("batch = 8", "batch = 4"))
        whole, _ = self.finish("whole")
        done, _ = self.finish("out", "--checkpoint", self.checkpoint)
        self.assertEqual(done["adapter_sha256"], whole["adapter_sha256"])

    def test_a_checkpoint_that_cannot_be_written_is_refused_first(self):
        process = self.begin("out", "--checkpoint", self.data / "point")
        said, _ = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn(str(self.data), json.loads(said)["message"])

    def test_a_file_of_somebody_else_is_no_checkpoint(self):
        for name in ("point", "point.rounds"):
            path = self.write(name, "a letter")
            process = self.begin("out", "--checkpoint", self.checkpoint)
            said, _ = process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
            self.assertIn(f"{path} is there", json.loads(said)["message"])
            self.assertEqual(path.read_text(), "a letter")
            path.unlink()


if __name__ == "__main__":
    main()
