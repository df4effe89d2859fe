#!/usr/bin/env python3
"""`edgetune simulate --sweep`: every combination, its directory, what is told of
them together; what is refused before anything runs; failures and interrupts.
"""

import csv
import json
import signal
import statistics
import subprocess

import simulation_case
from simulation_case import Log, SimulationCase

SMALL = ("rounds.count=1", "rounds.cohort=3", "simulation.clients=12")


class SweepTest(SimulationCase):
    def sweep(self, *flags, out="sweep", sets=SMALL, options=()):
        words = [word for flag in flags for word in ("--sweep", flag)]
        return self.simulate(self.scenario("quick_start"), "--out", self.folder / out, *words,
                             *options, sets=sets)

    def names(self, out="sweep"):
        return sorted(path.name for path in (self.folder / out).iterdir())

    def compared(self):
        with open(self.folder / "sweep/comparison/comparison.csv", encoding="utf-8") as table:
            return list(csv.DictReader(table))

    def test_EveryCombinationHasAWholeDirectory(self):
        result = self.sweep("train.lr=1e-3,1e-2", "rounds.eval_examples=2,4")
        self.assertEqual(result.returncode, 0, result.stderr)
        points = [f"lr_{lr}-eval_examples_{n}" for lr in ("1e-3", "1e-2") for n in (2, 4)]
        self.assertEqual(self.names(), sorted([*points, "comparison"]))
        for point in points:
            self.assertEqual(Log(self.folder / "sweep" / point).state(), "finished")
            self.assertTrue((self.folder / "sweep" / point / "report/index.html").is_file())
            self.assertIn(point, result.stdout)
        self.assertEqual([row["label"] for row in self.compared()], points)
        self.assertEqual(self.compared()[0]["settings"],
                         "rounds.eval_examples=2; train.lr=1e-3")
        self.assertIn("run 4 of 4, lr_1e-2-eval_examples_4: ", result.stderr)

    def test_APointIsTheRunThatSetWouldMake(self):
        self.sweep("train.lr=1e-2")
        alone = self.run_whole(self.scenario("quick_start"), "alone",
                               sets=(*SMALL, "train.lr=1e-2"))
        point = Log(self.folder / "sweep/lr_1e-2")
        self.assertEqual(point.events[1:], alone.events[1:])
        self.assertEqual(point.header["run"], alone.header["run"])

    def test_SeedsAreSummedUpForEachCombinationOfTheOthers(self):
        flags = ("train.seed=1,2,3", "train.lr=1e-3,1e-2")
        result = self.sweep(*flags, options=("--format", "json"))
        data = json.loads(result.stdout)["data"]
        for seeds in data["seeds"]:
            known = [run["perplexity"] for run in data["runs"]
                     if f"lr_{run['values']['train.lr']}" == seeds["name"]]
            self.assertEqual((len(known), seeds["runs"]), (3, 3))
            # A sum of three in another order: a few last bits.
            self.assertAlmostEqual(seeds["mean"], statistics.mean(known), delta=1e-9)
            self.assertAlmostEqual(seeds["deviation"], statistics.stdev(known), delta=1e-9)
        self.assertEqual([s["name"] for s in data["seeds"]], ["lr_1e-3", "lr_1e-2"])

    def test_AFailedRunLosesNoOther(self):
        # In a second nobody has the model.
        result = self.sweep("rounds.deadline=1s,10m", options=("--quiet",))
        self.assertEqual(result.returncode, 1)
        self.assertIn("error: 1 of 2 runs failed, the first: deadline_1s: ", result.stderr)
        self.assertIn("not enough clients", result.stderr)
        self.assertIn("\ndeadline_1s failed: ", result.stdout)
        self.assertEqual([row["label"] for row in self.compared()], ["deadline_10m"])
        self.assertEqual(Log(self.folder / "sweep/deadline_1s").state(), "failed")
        self.assertTrue((self.folder / "sweep/deadline_1s/report/index.html").is_file())

    def test_WhatCannotBeginIsAFailedRunToo(self):
        result = self.sweep("simulation.clients=4,2", options=("--format", "json"))
        self.assertEqual(result.returncode, 1)
        self.assertEqual(json.loads(result.stdout)["error_code"], "failed")
        self.assertIn("a round wants 3 clients", result.stderr)
        self.assertEqual(self.names(), ["clients_4", "comparison"])

    def test_NothingRunsUnlessEveryCombinationIsInOrder(self):
        for flag, words in [
                ("train.lrr=1,2", ("train.lrr", "did you mean train.lr?")),
                ("train.lr=1e-3,fast", ("run lr_fast", "train.lr", '"fast"')),
                ("rounds.quorum=2,9", ("run quorum_9", "rounds.quorum = 9")),
                ("rounds.aggregator=mean,krum", ("run aggregator_krum", "rounds.quorum")),
                ("simulation.devices=uniform,phone", ('"phone"', 'did you mean "phones"?')),
                ("train.lr", ("--sweep train.lr", "wanted section.key=v1,v2")),
                ("=1", ("wanted section.key=v1,v2",)),
                ("train.lr=1e-3,,2", ("a value is empty",)),
                ("train.lr=1e-3,1e-3", ("1e-3 stands there twice",))]:
            result = self.sweep(flag)
            self.assert_fails(result, 4, *words)
            self.assertFalse((self.folder / "sweep").exists(), flag)
        self.assert_fails(self.sweep("train.lr=1", "train.lr=2"), 4, "train.lr is asked for twice")

    def test_AThousandRunsAreTheMost(self):
        seeds = "train.seed=" + ",".join(map(str, range(1, 101)))
        ranks = "lora.rank=" + ",".join(map(str, range(1, 12)))
        self.assert_fails(self.sweep(seeds, ranks), 4, "100 x 11 combinations", "at most 1000 runs")

    def test_AnOlderDirectoryIsLeftAlone(self):
        (self.folder / "sweep").mkdir()
        self.assert_fails(self.sweep("train.lr=1e-3"), 4, "sweep", "exists already")
        self.assertEqual(self.names(), [])

    def test_AnInterruptKeepsWhatFinished(self):
        command = self.command(self.scenario("quick_start"), "--out", self.folder / "sweep",
                               "--sweep", "rounds.count=1,9999", sets=SMALL[1:])
        # Its own group, so that nothing else hears the signal.
        with subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            for line in process.stderr:
                if line.startswith("run 2 of 2, count_9999: round"):
                    process.send_signal(signal.SIGINT)
                    break
            text = process.stdout.read()
            self.assertIn("the sweep was stopped: 1 of 2 runs finished", process.stderr.read())
        self.assertEqual(process.returncode, 1)
        self.assertIn("count_1 ", text)
        self.assertEqual([row["label"] for row in self.compared()], ["count_1"])
        # Of the one that was stopped the log, in which every line is whole.
        log = Log(self.folder / "sweep/count_9999")
        self.assertIsNone(log.state())


if __name__ == "__main__":
    simulation_case.main()
