#!/usr/bin/env python3
"""The edgetune program from outside: output contract, exit codes, run files.

Every error is one line and a hint, has the right exit code, and leaves nothing
half-written; the tests beside this one ask that of the verbs they know.
"""

import json
import subprocess

from program import CHAT, OPTIONS, ProgramCase, main


class CommandLineTest(ProgramCase):
    # --- usage

    def test_UnknownVerbGetsASuggestion(self):
        self.assert_fails(self.edgetune("genrate"), 4, "genrate", "did you mean generate?")

    def test_UnknownFlagGetsASuggestion(self):
        result = self.edgetune("model", "inspect", self.model, "--fromat", "json")
        self.assert_fails(result, 4, "--fromat", "did you mean --format?")

    def test_MissingArgumentIsNamed(self):
        self.assert_fails(self.edgetune("eval", "--model", self.model), 4, "--data", "--help")

    def test_NoVerbIsAUsageError(self):
        self.assert_fails(self.edgetune(), 4, "--help")

    def test_HelpIsDataAndSucceeds(self):
        result = self.edgetune("--help")
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr, "")
        for verb in ("demo", "train", "eval", "generate", "provision", "run"):
            self.assertIn(verb, result.stdout)

    def test_JsonErrorsAreAnEnvelopeOnStdout(self):
        for arguments in (("modle", "--format", "json"),
                          ("model", "inspect", "nowhere.gguf", "--format", "json")):
            result = self.edgetune(*arguments)
            self.assertEqual(result.returncode, 4)
            envelope = json.loads(result.stdout)
            self.assertEqual(list(envelope), ["schema_version", "status", "error_code",
                                              "message", "hint"])
            self.assertEqual(envelope["status"], "error")

    def test_VersionInJsonIsTheEnvelope(self):
        envelope = json.loads(self.edgetune("version", "--format", "json").stdout)
        self.assertEqual(envelope["schema_version"], 1)
        self.assertEqual(envelope["status"], "ok")
        self.assertRegex(envelope["data"]["version"], r"^\d+\.\d+\.\d+$")

    def test_AFullStdoutIsAnError(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([OPTIONS.edgetune, "version"], stdout=full,
                                    stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("standard output", result.stderr)

    def test_WhatIsThereIsNeverOverwritten(self):
        there = self.write("there", "mine")
        base = ("--model", self.model)
        for verb in (("adapter", "export", "nowhere", *base, "--to", "gguf"),
                     ("adapter", "export", "nowhere", *base, "--to", "peft"),
                     ("adapter", "import", "nowhere", *base),
                     ("model", "export", self.model, "--to", "hf"),
                     ("train", self.run_file(), "--data", "nowhere.jsonl"),
                     ("run", "download", "0badcafe", "--kit", "nowhere"),
                     ("data", "split", self.write("data.jsonl", CHAT * 4))):
            with self.subTest(verb=verb):
                self.assert_fails(self.edgetune(*verb, "--out", there), 4,
                                  "there exists already", "name something new with --out")
        self.assertEqual(there.read_text(), "mine")

    # --- run files

    def test_UnknownKeyGetsASuggestion(self):
        run = self.run_file("[train]\nlearning_rat = 1\nstep = 3\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "run.toml:5")
        run = self.run_file("[train]\nstep = 3\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "run.toml:5", "steps")

    def test_PlanOfAGoodRunFileIsAccepted(self):
        result = self.edgetune("plan", "check", self.run_file(), "--format", "json")
        data = json.loads(result.stdout)["data"]
        self.assertTrue(data["accepted"])
        # Rank 8 on q, k, v, o of two layers: 64+64, 64+32, 64+32, 64+64.
        self.assertEqual(data["coordinates"], 2 * 8 * (128 + 96 + 96 + 128))
        # Under masking 4 bytes a lane: two canaries, weight, loss, tokens, share clamped.
        self.assertTrue(data["masked"])
        self.assertEqual(data["update_bytes"], [4 * (data["coordinates"] + 6)])
        # The defaults: cohort 4, t = floor(2 * 4 / 3) + 1.
        self.assertEqual([data["masking"][k] for k in ("n_min", "threshold", "bits", "groups")],
                         [4, 3, 32, 1])

    def test_PlanSaysWhatTheCoordinatorLearns(self):
        run = self.run_file()
        masked = self.edgetune("plan", "check", run).stdout
        self.assertIn("the coordinator learns sums", masked)
        self.assertIn("of 4 devices that sent keys 3 must stay", masked)
        clear = self.edgetune("plan", "check", run, "--set", "secagg.enabled=false").stdout
        self.assertIn("the coordinator sees each update", clear)
        self.assertNotIn("sums", clear)
        data = json.loads(self.edgetune("plan", "check", run, "--set", "secagg.enabled=false",
                                        "--format", "json").stdout)["data"]
        self.assertEqual((data["masked"], data["masking"]), (False, None))
        self.assertEqual(data["update_bytes"], [4 * data["coordinates"]])

    def test_TooFewClientsForMaskingAreRefused(self):
        run = self.run_file("[rounds]\ncohort = 2\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "n_min")

    def test_PlanSaysWhatARuleSends(self):
        # A is 8 x 64 on each of q, k, v, o; B is 8 x (64, 32, 32, 64).
        a, b = 4 * 2 * 8 * 4 * 64, 4 * 2 * 8 * (64 + 32 + 32 + 64)
        for rule, sent in [("ffa", [b]), ("rolora", [b, a]), ("fedsa", [a]),
                           ("fedsb", [4 * 2 * 4 * 8 * 8]), ("fedex", [a + b]),
                           ("flora", [a + b])]:
            result = self.edgetune("plan", "check", self.run_file(), "--set",
                                   f"lora.rule={rule}", "--set", "secagg.enabled=false",
                                   "--format", "json")
            self.assertEqual(json.loads(result.stdout)["data"]["update_bytes"], sent)

    def test_ImpossiblePlanIsRefused(self):
        run = self.run_file("[rounds]\ncohort = 2\nquorum = 5\n")
        self.assert_fails(self.edgetune("plan", "check", run), 4, "quorum")

    def test_PlanOfARobustRuleSaysWhatItCosts(self):
        run = self.run_file('[rounds]\naggregator = "krum"\ncohort = 5\n')
        self.assert_fails(self.edgetune("plan", "check", run), 4, "rounds.aggregator",
                          "masking leaves only sums")
        clear = ("--set", "secagg.enabled=false")
        text = self.edgetune("plan", "check", run, *clear).stdout
        self.assertIn("krum does not look at weights", text)
        self.assertIn("holds every update of a round", text)
        self.assert_fails(self.edgetune("plan", "check", run, *clear, "--set",
                                        "rounds.byzantine=2"), 4, "rounds.quorum", "at least 7")

    def test_MatrixSaysWhatGoesTogetherAndWhyNot(self):
        cells = self.json_of("plan", "matrix")["combinations"]
        self.assertEqual(len(cells), 8 * 2 * 9 * 5)
        for cell in cells:
            unmaskable = cell["masked"] and cell["aggregator"] != "mean"
            products = cell["lora_rule"] in ("flexlora", "fedex", "flora")
            own_mean = cell["lora_rule"] == "hetlora" or products
            new_factors = products and cell["server_optimizer"] != "sgd"
            if own_mean and (cell["masked"] or cell["aggregator"] != "mean") or new_factors:
                self.assertFalse(cell["accepted"], cell)
            else:
                self.assertEqual(cell["accepted"], not unmaskable, cell)
            self.assertEqual(cell["accepted"], cell["reason"] == "", cell)
            if unmaskable:
                self.assertIn("masking leaves only sums", cell["reason"])
            self.assertNotIn("\n", cell["reason"])
        lines = self.edgetune("plan", "matrix").stdout.splitlines()
        self.assertEqual(lines[0].split(), ["aggregator", "updates", "fedit", "ffa", "rolora",
                                            "fedsa", "hetlora", "flexlora", "fedsb",
                                            "fedex", "flora"])
        self.assertEqual(lines[1].split()[:7], ["mean", "clear"] + 5 * ["yes"])
        refused = next(line.split() for line in lines if line.split()[:2] == ["krum", "masked"])
        number = refused[3]
        self.assertEqual(refused[2], "no")
        self.assertTrue(any(line.startswith(f"{number} plan: field rounds.aggregator is krum")
                            for line in lines), lines)

    def test_ConfigShowSaysWhereValuesComeFrom(self):
        result = self.edgetune("config", "show", self.run_file("[train]\nsteps = 9\n"),
                               "--set", "train.lr=0.5", "--origin", "--format", "json")
        keys = {k["key"]: k for k in json.loads(result.stdout)["data"]["keys"]}
        self.assertEqual(keys["train.steps"]["value"], "9")
        self.assertIn("run.toml:5", keys["train.steps"]["origin"])
        self.assertEqual(keys["train.lr"]["origin"], "--set")
        self.assertEqual(keys["train.batch"]["origin"], "default")

    # --- kits, connections

    def test_KitsAreNotOverwritten(self):
        kits = self.folder / "kits"
        self.assertEqual(self.edgetune("provision", "--devices", 2, "--out", kits).returncode, 0)
        before = {p: p.read_bytes() for p in kits.rglob("*") if p.is_file()}
        self.assert_fails(self.edgetune("provision", "--devices", 2, "--out", kits), 4, "kits")
        self.assertEqual({p: p.read_bytes() for p in kits.rglob("*") if p.is_file()}, before)
        self.assertTrue(all(p.stat().st_mode & 0o077 == 0 for p in before))

    def test_NoServerIsAConnectionError(self):
        kits = self.folder / "kits"
        self.edgetune("provision", "--devices", 1, "--out", kits)
        result = self.edgetune("run", "list", "--kit", kits / "operator", "--server",
                               "localhost:1")
        self.assert_fails(result, 2, "localhost:1")

    def test_NoKitIsAnIdentityError(self):
        self.assert_fails(self.edgetune("run", "list", "--kit", self.folder / "none"), 2, "none")

    def test_RunIdIsChecked(self):
        self.assert_fails(self.edgetune("run", "show", "xyz", "--kit", self.folder), 4, "xyz")


if __name__ == "__main__":
    main()
