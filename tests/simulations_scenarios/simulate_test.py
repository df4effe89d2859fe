#!/usr/bin/env python3
"""`edgetune simulate` from outside: partitions of files, bad inputs.

Every error is one line and a hint, has the right exit code, and leaves nothing
half-written.
"""

import json
import os
import signal
import subprocess

import simulation_case
from simulation_case import EXAMPLES, TOPICS, Log, SimulationCase

CLEAR = ("secagg.enabled=false", "rounds.count=1")


class SimulateTest(SimulationCase):
    def run_file(self, text=""):
        path = self.folder / "run.toml"
        path.write_text(f'schema = 1\n[model]\nbase = "{self.model}"\n{text}')
        return path

    def refused(self, code, *words, sets=(), run_file=None, out="out"):
        """Refused at once: nothing is left."""
        result = self.simulate(run_file or self.run_file(), "--out", self.folder / out, sets=sets)
        self.assert_fails(result, code, *words)
        self.assertFalse((self.folder / out).exists())

    # --- data and clients

    def test_WithoutClientsThereAreAsManyAsAreAsked(self):
        log = self.run_whole(self.run_file(), "out", sets=(*CLEAR, "rounds.over_select=1.5"))
        self.assertEqual(log.header["clients"], 6)  # cohort 4 x 1.5

    def test_FilesOfOneNameAreOneClient(self):
        (self.data / "topica.heldout.jsonl").write_text(self.example("topica", 99))
        (self.data / "Topic B.jsonl").write_text(self.example("b", 1) * EXAMPLES)
        log = self.run_whole(self.run_file(), "out", sets=(
            *CLEAR, "simulation.partition=natural", "data.holdout=0", "rounds.cohort=13",
            "train.epochs=1"))
        self.assertEqual(log.header["clients"], len(TOPICS) + 1)
        groups = {e["client"]: e["group"] for e in log.all("reported")}
        self.assertEqual(groups["topic_b"], "Topic B")
        self.assertEqual(groups["topica"], "topica")

    def test_OwnersWithCapitalsTakePartUnderMasking(self):
        for topic in TOPICS[:4]:
            (self.data / f"{topic}.train.jsonl").rename(self.data / f"X.{topic.upper()}.jsonl")
        log = self.run_whole(self.run_file(), "out", sets=(
            "rounds.count=1", "rounds.cohort=12", "simulation.partition=natural"))
        self.assertEqual(log.all("round_committed")[0]["updates"], 12)

    def test_LabelsAreAFieldOrTheFile(self):
        of_files = self.run_whole(self.run_file(), "files", sets=(
            *CLEAR, "simulation.partition=shards", "simulation.clients=6"))
        of_field = self.run_whole(self.run_file(), "field", sets=(
            *CLEAR, "simulation.partition=shards", "simulation.clients=6",
            "simulation.field=topic"))
        # The topic of a line here is the name of its file.
        self.assertEqual(of_files.bytes, of_field.bytes)

    def test_FilesThatARunFileNamesAreBesideIt(self):
        devices = "device_class,speed,memory_mb,down_mbit,up_mbit,latency_ms,dropout,available\n"
        (self.folder / "own.csv").write_text(devices + "own,50,2000,50,10,50,0,1\n")
        file = self.run_file('[simulation]\ndata = "data"\ndevices = "own.csv"\n')
        command = self.command(file, "--out", self.folder / "out", sets=CLEAR)
        at = command.index("--data")
        del command[at:at + 2]
        result = subprocess.run(command, env=self.environment(), cwd="/", check=False,
                                capture_output=True, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)

    # --- what is refused

    def test_NoDataIsToldHowToBeNamed(self):
        command = [simulation_case.OPTIONS.edgetune, "simulate", self.run_file(), "--out",
                   self.folder / "out"]
        result = subprocess.run(command, env=self.environment(), check=False,
                                capture_output=True, text=True)
        self.assert_fails(result, 4, "no data", "--data")
        self.assertFalse((self.folder / "out").exists())

    def test_DataThatIsNotThereIsNamed(self):
        self.data = self.folder / "nowhere"
        self.refused(4, "nowhere")
        self.data.mkdir()
        self.refused(4, "nowhere")  # nothing in it

    def test_ABadLineIsNamedByFileAndNumber(self):
        with open(self.data / "topicc.train.jsonl", "a", encoding="utf-8") as file:
            file.write('{"messages": \n')
        self.refused(4, f"topicc.train.jsonl:{EXAMPLES + 1}")

    def test_AFieldThatALineLacksIsNamed(self):
        self.refused(4, "topica.train.jsonl:1", "colour", sets=(
            "simulation.partition=dirichlet", "simulation.field=colour"))

    def test_OneFileHasNoLabelsOfItsOwn(self):
        self.data = self.data / "topica.train.jsonl"
        for partition in ("dirichlet", "shards"):
            self.refused(4, "simulation.field is empty", "topica",
                         sets=(f"simulation.partition={partition}",))

    def test_MoreClientsThanThereAreIsRefusedWithNumbers(self):
        self.refused(4, "a round wants 9 clients", "the fleet has 5", sets=(
            "rounds.cohort=9", "simulation.clients=5"))
        self.refused(4, "13 clients", "12 owners", sets=(
            "simulation.partition=natural", "simulation.clients=13"))
        self.refused(4, str(len(TOPICS) * EXAMPLES), "1000", sets=("simulation.clients=1000",))

    def test_UnknownKeysAndWordsGetASuggestion(self):
        self.refused(4, "did you mean simulation.clients?", sets=("simulation.client=5",))
        self.refused(4, "run.toml:5:1", "did you mean simulation.partition?",
                     run_file=self.run_file('[simulation]\npartitio = "iid"\n'))
        self.refused(4, '"dirichlet"', sets=("simulation.partition=dirichle",))
        self.refused(4, 'did you mean "phones"?', sets=("simulation.devices=phone",))
        self.refused(4, "simulation.alpha", sets=("simulation.alpha=0",))

    def test_ADevicesFileIsReadBeforeAnythingIsWritten(self):
        self.refused(4, "none.csv", sets=(f"simulation.devices={self.folder}/none.csv",))
        (self.folder / "bad.csv").write_text("speed\n1\n")
        self.refused(4, "bad.csv:1", sets=(f"simulation.devices={self.folder}/bad.csv",))

    def test_AModelThatIsNotThereSaysWhatToDo(self):
        self.refused(4, "edgetune model fetch smollm2-135m", sets=("model.base=smollm2-135m",))
        self.refused(4, "nowhere.gguf", sets=("model.base=nowhere.gguf",))

    def test_ARunFileThatIsNotThereIsNamed(self):
        self.refused(4, "none.toml", run_file=self.folder / "none.toml")

    def test_AMemoryBudgetIsADevices(self):
        self.refused(4, "train.memory_budget", sets=("train.memory_budget=450MB",))

    def test_AnOldDirectoryIsLeftAlone(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "mine").write_text("mine")
        self.assert_fails(self.simulate(self.run_file(), "--out", out), 4, "exists already", "--out")
        self.assertEqual([p.name for p in out.iterdir()], ["mine"])

    def test_APlaceThatCannotBeWrittenIsToldBeforeTheWork(self):
        (self.folder / "file").write_text("")
        result = self.simulate(self.run_file(), "--out", self.folder / "file/out")
        self.assert_fails(result, 4, "file")

    def test_AnUnknownLogLevelIsAUsageError(self):
        result = self.simulate(self.run_file(), "--log", "loud", "--out", self.folder / "out")
        self.assert_fails(result, 4, "loud", "debug, info, warning")

    # --- results

    def test_JsonIsOneEnvelope(self):
        result = self.simulate(self.run_file(), "--out", self.folder / "out", "--format", "json",
                               sets=CLEAR)
        data = json.loads(result.stdout)["data"]
        self.assertEqual(data["trainings"], 4)
        self.assertEqual(data["run"]["funnel"]["reported"], 4)
        self.assertTrue(os.path.isfile(data["report"] + "/index.html"))

    def test_AnInterruptLeavesALogThatCanBeReported(self):
        out = self.folder / "out"
        command = self.command(self.run_file(), "--out", out, sets=(CLEAR[0], "rounds.count=9999"))
        with subprocess.Popen(command, env=self.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            for line in process.stderr:
                if line.startswith("round "):
                    process.send_signal(signal.SIGINT)
                    break
            self.assertIn(f"edgetune report {out}", process.stderr.read())
        self.assertEqual(process.returncode, 1)
        self.assertIsNone(Log(out).state())
        report = subprocess.run([simulation_case.OPTIONS.edgetune, "report", out], check=False,
                                capture_output=True, text=True)
        self.assertEqual(report.returncode, 0, report.stderr)


if __name__ == "__main__":
    simulation_case.main()
