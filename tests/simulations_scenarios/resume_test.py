#!/usr/bin/env python3
"""`edgetune simulate --resume` from outside: SIGKILL at any moment, then the
same command again, gives every file of a run that was never killed."""

import json
import pathlib
import re
import subprocess
import time

import simulation_case
from simulation_case import SimulationCase

CLEAR = ("secagg.enabled=false", "simulation.clients=6", "train.steps=3")


def files_of(directory):
    """{name: bytes} of all that a run leaves."""
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class ResumeTest(SimulationCase):
    def setUp(self):
        super().setUp()
        self.file = self.folder / "run.toml"
        self.file.write_text(f'schema = 1\n[model]\nbase = "{self.model}"\n')

    def start(self, out, *arguments, sets=()):
        return subprocess.Popen(
            self.command(self.file, "--out", self.folder / out, *arguments, sets=sets),
            env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def kill_after(self, seconds, out, *arguments, sets=()):
        """Whether it was alive to be killed."""
        with self.start(out, *arguments, sets=sets) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stderr.read()
        return process.returncode == -9

    def unfinished(self, out="out", sets=CLEAR):
        """Killed when its log has begun."""
        with self.start(out, sets=sets) as process:
            log = self.folder / out / "events.jsonl"
            while not (log.exists() and log.stat().st_size) and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.stderr.read()
        self.assertTrue((self.folder / out / "unfinished.steps").exists())

    def expect_the_same_when_killed(self, sets):
        begun = time.monotonic()
        self.run_whole(self.file, "whole", sets=sets)
        length = time.monotonic() - begun
        wanted = files_of(self.folder / "whole")
        kills = 0
        for at in range(1, 12):
            out = f"killed{at}"
            kills += self.kill_after(length * at / 12, out, "--resume", sets=sets)
            # And once more, somewhere in what is resumed.
            kills += self.kill_after(length * (12 - at) / 12, out, "--resume", "--workers", "2",
                                     sets=sets)
            self.run_whole(self.file, out, "--resume", "--workers", str(1 + at % 3), sets=sets)
            found = files_of(self.folder / out)
            self.assertEqual(found.keys(), wanted.keys())
            for name in wanted:
                self.assertEqual(found[name], wanted[name], f"{name} at {at}/12")
        self.assertGreater(kills, 3)

    def test_KilledAtAnyMomentInTheClear(self):
        self.expect_the_same_when_killed((*CLEAR, "simulation.devices=phones", "rounds.quorum=3"))

    def test_KilledAtAnyMomentUnderMasking(self):
        self.expect_the_same_when_killed(("simulation.clients=5", "train.steps=3"))

    def test_KilledAtAnyMomentWithControlVariates(self):
        self.expect_the_same_when_killed((
            *CLEAR, "train.objective=scaffold", "train.optimizer=sgd", "train.grad_clip=0",
            "rounds.weights=equal", "fleet.devices=6"))

    def test_WhatIsNotFinishedIsNotBegunAnewUnasked(self):
        self.unfinished()
        result = self.simulate(self.file, "--out", self.folder / "out", sets=CLEAR)
        self.assert_fails(result, 4, "not finished", "--resume")
        self.assertTrue((self.folder / "out/events.jsonl").exists())

    def test_TheRoundIsTold(self):
        self.unfinished(sets=(*CLEAR, "rounds.count=40"))
        log = (self.folder / "out/events.jsonl").read_text().splitlines(keepends=True)
        done = sum(json.loads(line)["event"] == "round_committed"
                   for line in log if line.endswith("\n"))
        result = self.simulate(self.file, "--out", self.folder / "out", "--resume",
                               sets=(*CLEAR, "rounds.count=40"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, rf"resumed at round {done + 1}: \d+ finished steps")

    def test_AnotherRunFileOrOtherDataIsRefusedAndSaysWhatDiffers(self):
        self.unfinished()
        out = ("--out", self.folder / "out", "--resume")
        result = self.simulate(self.file, *out, sets=(*CLEAR, "train.lr=0.5"))
        self.assert_fails(result, 4, "another simulation", "train.lr was", "is 0.5")
        with open(self.data / "topicc.train.jsonl", "a", encoding="utf-8") as file:
            file.write(self.example("topicc", 99))
        result = self.simulate(self.file, *out, sets=CLEAR)
        self.assert_fails(result, 4, "data topicc.train.jsonl was SHA-256")
        self.assertTrue((self.folder / "out/events.jsonl").exists())

    def test_WhatIsFinishedIsToldAgain(self):
        self.run_whole(self.file, "out", sets=CLEAR)
        before = files_of(self.folder / "out")
        result = self.simulate(self.file, "--out", self.folder / "out", "--resume", sets=CLEAR)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("finished before", result.stderr)
        self.assertIn("rounds      3 of 3 committed", result.stdout)
        self.assertEqual(files_of(self.folder / "out"), before)

    def test_ADirectoryOfSomethingElseIsLeftAlone(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "mine").write_text("mine")
        result = self.simulate(self.file, "--out", out, "--resume", sets=CLEAR)
        self.assert_fails(result, 4, "exists already")
        self.assertEqual([path.name for path in out.iterdir()], ["mine"])

    def test_ASecondProcessIsKeptAway(self):
        sets = (*CLEAR, "rounds.count=9999")
        with self.start("out", sets=sets) as process:
            for line in process.stderr:
                if re.match("round ", line):
                    break
            result = self.simulate(self.file, "--out", self.folder / "out", "--resume", sets=sets)
            self.assert_fails(result, 4, "in use by another process")
            process.kill()
            process.stderr.read()

    def test_ASweepGoesOnWithEachOfItsRuns(self):
        sweep = ("--sweep", "train.seed=1,2,3")
        whole = self.simulate(self.file, *sweep, "--out", self.folder / "whole", sets=CLEAR)
        self.assertEqual(whole.returncode, 0, whole.stderr)
        killed = self.folder / "killed"
        with self.start("killed", *sweep, sets=CLEAR) as process:
            second = killed / "seed_2/events.jsonl"
            while not second.exists() and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.stderr.read()
        again = self.simulate(self.file, *sweep, "--out", killed, "--resume", sets=CLEAR)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout,
                         whole.stdout.replace(str(self.folder / "whole"), str(killed)))
        self.assertIn("finished before", again.stderr)
        self.assertEqual(files_of(killed / "seed_3"), files_of(self.folder / "whole/seed_3"))


if __name__ == "__main__":
    simulation_case.main()
