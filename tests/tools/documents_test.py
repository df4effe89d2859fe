#!/usr/bin/env python3
"""What runs leave to be read: receipts that are verified, logs that become reports."""

import fcntl
import json
import pathlib
import subprocess

from program import OPTIONS, ProgramCase, main


class DocumentsTest(ProgramCase):
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


if __name__ == "__main__":
    main()
