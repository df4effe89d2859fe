#!/usr/bin/env python3
"""`mpirun -n N edgetune simulate` with real processes: the bytes of one process,
whatever N; ranks that differ or die; interrupts.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "simulations_scenarios"))
import simulation_case  # pylint: disable=wrong-import-position
from simulation_case import Log, SimulationCase  # pylint: disable=wrong-import-position

MPIRUN = None
CLEAR = ("secagg.enabled=false", "rounds.count=2", "rounds.cohort=6", "simulation.clients=12")
ENDLESS = (CLEAR[0], "rounds.count=9999", *CLEAR[2:])


class MpirunTest(SimulationCase):
    def run_file(self, text=""):
        path = self.folder / "run.toml"
        path.write_text(f'schema = 1\n[model]\nbase = "{self.model}"\n{text}')
        return path

    def ranks(self, count, command):
        """The command on so many ranks, which a busy machine lets end for 5 s, not 1."""
        return [MPIRUN, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
                "--mca", "odls_base_sigkill_timeout", "5", "-n", str(count), *command]

    def ranked(self, count, out, *arguments, sets=()):
        command = self.command(self.run_file(), "--out", self.folder / out, *arguments, sets=sets)
        return subprocess.run(self.ranks(count, command), check=False, env=self.environment(),
                              capture_output=True, text=True, timeout=300)

    def files(self, out):
        """{path: bytes} of everything that a run left."""
        root = self.folder / out
        return {str(path.relative_to(root)): path.read_bytes()
                for path in sorted(root.rglob("*")) if path.is_file()}

    def assert_ranks_change_nothing(self, name, sets):
        self.run_whole(self.run_file(), f"{name}-alone", sets=sets)
        alone = self.files(f"{name}-alone")
        self.assertIn("adapter/adapter_model.safetensors", alone)
        self.assertIn("events.jsonl", alone)
        for count in (1, 2, 4):
            out = f"{name}-{count}"
            result = self.ranked(count, out, "--workers", "1", sets=sets)
            self.assertEqual(result.returncode, 0, result.stderr)
            files = self.files(out)
            self.assertEqual(sorted(files), sorted(alone))
            for path, data in alone.items():
                self.assertEqual(files[path], data, f"{count} ranks: {path}")
            # Rank 0 alone speaks.
            if count > 1:
                self.assertIn(f"{count} ranks on ", result.stderr)
            self.assertEqual(result.stderr.count("clients hold"), 1)
            self.assertEqual(result.stdout.count("simulated in"), 1)

    # --- the same bytes

    def test_ClearRun(self):
        self.assert_ranks_change_nothing("clear", CLEAR)

    def test_MaskedRun(self):
        self.assert_ranks_change_nothing("masked", CLEAR[1:])

    def test_Scaffold(self):
        self.assert_ranks_change_nothing("scaffold", (
            *CLEAR, "train.objective=scaffold", "fleet.devices=12", "train.optimizer=sgd",
            "train.lr=0.1", "train.schedule=constant", "train.warmup=0", "train.grad_clip=0",
            "rounds.weights=equal"))

    def test_BackdoorWithItsSuccessMeasured(self):
        self.assert_ranks_change_nothing("backdoor", (
            *CLEAR, "simulation.adversary=backdoor", "simulation.adversary_share=0.3",
            "simulation.adversary_trigger=zebra", "simulation.adversary_target=stripes",
            "data.holdout=0.2"))

    def test_PhonesThatComeAndGo(self):
        self.assert_ranks_change_nothing("phones", (
            *CLEAR, "simulation.devices=phones", "simulation.partition=dirichlet",
            "rounds.quorum=3", "rounds.over_select=1.5"))

    def test_NullTrainer(self):
        self.assert_ranks_change_nothing("null", (*CLEAR, "simulation.trainer=null"))

    def test_BaselinesAreTheSameFigures(self):
        one = self.simulate(self.run_file(), "--out", self.folder / "one", "--baselines",
                            "--format", "json", sets=(*CLEAR, "data.holdout=0.2"))
        two = self.ranked(2, "two", "--baselines", "--format", "json", "--workers", "1",
                          sets=(*CLEAR, "data.holdout=0.2"))
        self.assertEqual(two.returncode, 0, two.stderr)
        one, two = (json.loads(r.stdout)["data"]["baselines"] for r in (one, two))
        self.assertEqual(one, two)
        self.assertEqual(self.files("one")["events.jsonl"], self.files("two")["events.jsonl"])

    # --- what does not fit

    def test_AnErrorIsToldOnce(self):
        result = self.ranked(2, "out", sets=("train.lrr=1",))
        self.assertEqual(result.stderr.count("error:"), 1, result.stderr)
        self.assertIn("did you mean train.lr?", result.stderr)
        self.assertNotEqual(result.returncode, 0)
        self.assertFalse((self.folder / "out").exists())

    def mixed(self, *commands):
        """Ranks that were started with different command lines."""
        line = [MPIRUN, "--allow-run-as-root", "--oversubscribe"]
        for command in commands:
            line += [":"] if len(line) > 3 else []
            line += ["-n", "1", *command]
        return subprocess.run(line, check=False, env=self.environment(), capture_output=True,
                              text=True, timeout=300)

    def assert_mixed_is_refused(self, result, *words):
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("error:"), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_AnotherRunFileIsToldWithItsRank(self):
        command = self.command(self.run_file(), "--out", self.folder / "out", sets=CLEAR)
        other = self.command(self.run_file(), "--out", self.folder / "out",
                             sets=(*CLEAR, "train.lr=0.5"))
        self.assert_mixed_is_refused(self.mixed(command, command, other),
                                     "rank 2 on", "another run file")

    def test_AnotherModelIsToldWithItsRank(self):
        data = bytearray(self.model.read_bytes())
        data[-1] ^= 1  # of a weight
        other_model = self.folder / "other" / "tiny.gguf"
        other_model.parent.mkdir()
        other_model.write_bytes(data)
        command = self.command(self.run_file(), "--out", self.folder / "out", sets=CLEAR)
        other = [word.replace(str(self.model), str(other_model)) for word in command]
        self.assert_mixed_is_refused(self.mixed(command, other),
                                     "rank 1 on", "another base model")

    def test_ARankWithoutTheModelIsToldWithItsRank(self):
        command = self.command(self.run_file(), "--out", self.folder / "out", sets=CLEAR)
        other = [word.replace("tiny.gguf", "none.gguf") for word in command]
        self.assert_mixed_is_refused(self.mixed(command, other), "rank 1 on", "none.gguf")

    def test_ASweepIsRefused(self):
        result = self.ranked(2, "out", "--sweep", "train.seed=1,2", sets=CLEAR)
        self.assertEqual(result.stderr.count("error:"), 1, result.stderr)
        self.assertIn("--sweep", result.stderr)

    def test_WithoutItsLibraryNobodySimulatesTwice(self):
        empty = self.folder / "empty"
        empty.mkdir()
        command = self.command(self.run_file(), "--out", self.folder / "out", sets=CLEAR)
        environment = {**self.environment(), "OMPI_COMM_WORLD_SIZE": "2",
                       "OMPI_COMM_WORLD_RANK": "0", "EDGETUNE_ENGINE_DIR": str(empty)}
        result = subprocess.run(command, env=environment, check=False, capture_output=True,
                                text=True, timeout=60)
        self.assert_fails(result, 1, "no MPI library", "libopenmpi-dev")

    # --- ends

    def start(self, count, out, sets=ENDLESS):
        """A run that does not end by itself, in its first round."""
        command = self.command(self.run_file(), "--out", self.folder / out, "--workers", "1",
                               sets=sets)
        process = subprocess.Popen(self.ranks(count, command), env=self.environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        self.addCleanup(self.reap, process)
        for line in process.stderr:
            if line.startswith("round "):
                return process
        self.fail("the run did not begin")

    def reap(self, process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def simulations(self, process):
        """{rank: process id} of what mpirun started."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            for word in environment:
                if word.startswith(b"OMPI_COMM_WORLD_RANK=") and parent == str(process.pid):
                    found[int(word.partition(b"=")[2])] = int(entry.name)
        return found

    def assert_all_gone(self, pids):
        end = time.monotonic() + 30
        while any(os.path.exists(f"/proc/{pid}") for pid in pids):
            self.assertLess(time.monotonic(), end, "ranks are left")
            time.sleep(0.05)

    def test_AnInterruptEndsAllRanksAndLeavesALog(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            out = f"out-{number}"
            process = self.start(3, out)
            pids = self.simulations(process)
            self.assertEqual(sorted(pids), [0, 1, 2])
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            self.assertNotEqual(process.returncode, 0)
            self.assert_all_gone(pids.values())
            self.assertIn("the simulation was stopped", errors)
            self.assertNotIn("is lost", errors)
            log = Log(self.folder / out)
            self.assertIsNone(log.state())
            self.assertEqual(log.all("declined"), [])

    def test_ARankThatIsKilledEndsTheRun(self):
        process = self.start(3, "out")
        pids = self.simulations(process)
        os.kill(pids[1], signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assert_all_gone(pids.values())
        self.assertRegex(errors, r"error: rank 1 on \S+ is lost")
        self.assertEqual(errors.count("error:"), 1, errors)
        self.assertEqual(Log(self.folder / "out").all("declined"), [])

    def test_Rank0ThatIsKilledEndsTheOthers(self):
        process = self.start(3, "out")
        pids = self.simulations(process)
        os.kill(pids[0], signal.SIGKILL)
        process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assert_all_gone(pids.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mpirun", default="")
    found, rest = parser.parse_known_args()
    if not found.mpirun:
        print("MPI is not there (Debian's libopenmpi-dev and openmpi-bin)")
        sys.exit(77)
    MPIRUN = found.mpirun
    sys.argv[1:] = rest
    simulation_case.main()
