#!/usr/bin/env python3
"""Every file of simulations/scenarios at a small size: the outcome that its
header promises, read from events.jsonl, and the same bytes again with another
number of workers.
"""

import simulation_case
from simulation_case import ON_IMAGES, SCENARIOS, TOPICS, Log, SimulationCase

# How each is made small. Chances that a claim below fails at another seed are
# under 1e-4.
SMALL = {
    "quick_start": ("simulation.clients=12",),
    "non_iid": ("simulation.clients=12", "rounds.cohort=6", "rounds.count=2"),
    "drop_out_storm": ("simulation.clients=30", "rounds.count=2"),
    # As many as the file has rows: exactly one is slow.
    "stragglers": ("simulation.clients=4", "rounds.cohort=4", "rounds.quorum=3",
                   "rounds.count=2"),
    "heterogeneous_devices": ("simulation.clients=40", "rounds.count=2"),
    "robust_mean": ("rounds.count=2",),
    "masked": ("rounds.count=2",),
    "large_null_fleet": ("simulation.clients=60", "rounds.cohort=20", "rounds.quorum=10"),
    "fedprox": ("simulation.clients=12", "rounds.cohort=6", "rounds.count=2"),
    "fednova": ("simulation.clients=12", "rounds.cohort=6", "rounds.count=2"),
}


class ScenariosTest(SimulationCase):
    def small(self, name):
        """The log of a run that was repeated to the byte."""
        logs, adapters = [], []
        for workers in (1, 2):
            out = f"{name}-{workers}"
            logs.append(self.run_whole(self.scenario(name), out, "--workers", workers,
                                       sets=SMALL[name]))
            adapters.append(
                (self.folder / out / "adapter/adapter_model.safetensors").read_bytes())
        self.assertEqual(logs[0].bytes, logs[1].bytes)
        self.assertEqual(adapters[0], adapters[1])
        return logs[0]

    def assert_all_committed(self, log):
        """Each round once, after as many abandoned attempts as it says."""
        self.assertEqual(log.state(), "finished")
        committed = log.all("round_committed")
        self.assertEqual([c["round"] for c in committed],
                         list(range(1, log.header["rounds"] + 1)))
        abandoned = log.all("round_abandoned")
        self.assertEqual(len(abandoned), sum(c["attempt"] for c in committed))
        self.assertEqual(log.events[-1]["adapter"], committed[-1]["adapter"])

    def assert_no_device_lost(self, log):
        self.assertEqual(len(log.all("reported")), len(log.all("selected")))

    def training_times(self, log):
        return [event["train_s"] for event in log.all("reported")]

    def test_EveryScenarioIsRunHereAndSaysWhatItShows(self):
        files = sorted(SCENARIOS.glob("*.toml"))
        self.assertEqual([f.stem for f in files], sorted([*SMALL, *ON_IMAGES]))
        for file in files:
            header = file.read_text().partition("schema = 1")[0]
            self.assertIn(f"edgetune simulate simulations/scenarios/{file.name}",
                          header.replace("\\\n#", ""))
            self.assertIn("\n# Expect: ", header)

    def test_QuickStartRunsEveryRoundAndLearns(self):
        log = self.small("quick_start")
        self.assert_all_committed(log)
        self.assert_no_device_lost(log)
        self.assertEqual(len(log.all("selected")), 12)
        losses = [m["nll_sum"] / m["tokens"] for m in log.all("measure")]
        self.assertEqual(len(losses), 4)
        self.assertEqual(losses, sorted(losses, reverse=True))

    def test_NonIidClientsHaveATopicOfTheirOwn(self):
        log = self.small("non_iid")
        self.assert_all_committed(log)
        groups = {event["group"] for event in log.all("selected")}
        self.assertLessEqual(groups, set(TOPICS))
        # 12 clients selected of 12; at alpha 0.1 more than two topics lead.
        self.assertGreater(len(groups), 2)

    def test_DropOutStormLosesDevicesAndCommitsEveryRound(self):
        log = self.small("drop_out_storm")
        self.assert_all_committed(log)
        self.assertGreater(len(log.all("dropped")), 0)
        for event in log.all("round_committed"):
            self.assertGreaterEqual(event["updates"], 8)

    def test_StormWithoutAnotherAttemptMayEndTheRunAndLeavesAReport(self):
        # Nobody stays: certain at every seed.
        devices = self.folder / "gone.csv"
        rows = (SCENARIOS / "drop_out_storm.csv").read_text()
        devices.write_text(rows.replace(",0.4,1", ",1,1"))
        out = self.folder / "out"
        result = self.simulate(self.scenario("drop_out_storm"), "--out", out, "--quiet", sets=(
            *SMALL["drop_out_storm"], "rounds.attempts=1", f"simulation.devices={devices}"))
        self.assert_fails(result, 3, "not enough clients")
        log = Log(out)
        self.assertEqual(log.state(), "failed")
        self.assertEqual(len(log.all("round_abandoned")), 1)
        self.assertTrue((out / "report/index.html").is_file())

    def test_StragglersAreLateAndTheRoundTakesItsDeadline(self):
        log = self.small("stragglers")
        self.assert_all_committed(log)
        self.assertGreater(len(log.all("late")), 0)
        committed = log.all("round_committed")[0]
        started = log.all("round_started")[0]
        self.assertEqual(committed["updates"], 3)
        self.assertAlmostEqual(committed["t"] - started["t"], 300, delta=1)  # 5m

    def test_HeterogeneousDevicesNeedVeryDifferentTimes(self):
        log = self.small("heterogeneous_devices")
        self.assert_all_committed(log)
        times = self.training_times(log)
        self.assertGreater(max(times), 3 * min(times))

    def test_RobustMeanCommitsFromEveryUpdate(self):
        log = self.small("robust_mean")
        self.assert_all_committed(log)
        self.assertEqual(log.header["settings"]["aggregator"], "trimmed_mean")
        self.assertEqual({c["updates"] for c in log.all("round_committed")}, {10})

    def test_MaskedShowsNothingOfASingleClient(self):
        log = self.small("masked")
        self.assert_all_committed(log)
        self.assertTrue(log.header["masked"])
        self.assertEqual(log.all("client_measure"), [])
        for event in log.all("reported"):
            self.assertNotIn("train_loss", event)
            self.assertNotIn("examples", event)
        self.assertEqual(len(log.all("measure")), 3)

    def test_LargeNullFleetMovesTheBytesOfItsAdapter(self):
        log = self.small("large_null_fleet")
        self.assert_all_committed(log)
        self.assertEqual(log.header["settings"]["trainer"], "null")
        self.assertEqual({s["asked"] for s in log.all("round_started")}, {22})
        # Rank 2 on q, k, v, o of two layers of the tiny model, in fp32: A is
        # 2 x 64 on each, B is 2 x (64, 32, 32, 64).
        update = 4 * 2 * 2 * (4 * 64 + 64 + 32 + 32 + 64)
        self.assertEqual({r["bytes_up"] for r in log.all("reported")}, {update})

    def assert_uneven(self, log):
        self.assert_all_committed(log)
        self.assert_no_device_lost(log)
        times = self.training_times(log)
        self.assertGreater(max(times), 1.5 * min(times))

    def test_FedProxTrainsAsLongAsAClientHasExamples(self):
        self.assert_uneven(self.small("fedprox"))

    def test_FedNovaTrainsAsLongAsAClientHasExamples(self):
        self.assert_uneven(self.small("fednova"))


if __name__ == "__main__":
    simulation_case.main()
