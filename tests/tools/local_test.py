#!/usr/bin/env python3
"""What trains and evaluates on this machine, from outside: `edgetune train`,
`eval` and `check`, bad data, budgets of memory, questions."""

import json
import pathlib

from program import CHAT, OPTIONS, ProgramCase, main


class LocalTest(ProgramCase):
    # --- data

    def evaluate(self, text):
        data = self.write("data.jsonl", text)
        return self.edgetune("eval", "--model", self.model, "--data", data, "--quiet")

    def test_BadLineIsNamed(self):
        self.assert_fails(self.evaluate(CHAT + CHAT + "{broken\n"), 4, "data.jsonl:3")
        self.assert_fails(self.evaluate(CHAT + '{"text":"another schema"}\n'), 4,
                          "data.jsonl:2")

    def test_EmptyDataIsAnError(self):
        self.assert_fails(self.evaluate(""), 4, "data.jsonl")

    def test_MissingDataIsAnError(self):
        self.assert_fails(self.edgetune("eval", "--model", self.model, "--data",
                                        self.folder / "nothing.jsonl"), 4, "nothing.jsonl")

    def test_BadDataForTrainingWritesNothing(self):
        data = self.write("data.jsonl", CHAT + "[1]\n")
        out = self.folder / "adapter"
        self.assert_fails(self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                        "--quiet"), 4, "data.jsonl:2")
        self.assertFalse(out.exists())

    # --- training

    def train(self, *options):
        data = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(6)))
        result = self.edgetune("train", self.run_file(), "--data", data, "--heldout", data,
                               "--out", self.folder / f"adapter{len(options)}", "--quiet",
                               "--set", "rounds.count=2", "--set", "train.steps=2", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_TrainingShowsWhereTheTimeWent(self):
        fused = ("--set", "train.engine=fused")
        self.assertNotIn("ms a step", self.train(*fused))
        table = self.train(*fused, "--profile").splitlines()
        head = next(i for i, line in enumerate(table) if line.startswith("part "))
        self.assertEqual([line.split()[0] for line in table[head + 1:]],
                         ["products", "weights", "attention", "adapters", "norms", "head", "optimiser",
                          "batches", "rest", "all"])
        profile = json.loads(self.train(*fused, "--profile", "--format", "json"))["data"]["profile"]
        self.assertEqual(profile["steps"], 4)
        self.assertAlmostEqual(sum(p["share"] for p in profile["parts"]), 1)
        self.assertGreater(profile["parts"][0]["gflop_a_step"], 0)

    def test_AnEngineThatDoesNotMeasureIsNamed(self):
        if not (pathlib.Path(OPTIONS.edgetune).parent.parent / "lib/libedgetune_torch.so").exists():
            self.skipTest("built without the reference engine")
        reference = ("--set", "train.engine=reference", "--profile")
        self.assertIn("the engine reference does not measure", self.train(*reference))
        data = json.loads(self.train(*reference, "--format", "json"))["data"]
        self.assertIsNone(data["profile"])

    def test_APlaceThatCannotBeWrittenIsFoundBeforeTheWork(self):
        closed = self.folder / "closed"
        closed.mkdir(mode=0o500)
        beneath_a_file = self.model / "adapter"
        # Bad data would be the next thing to be told.
        data = self.write("data.jsonl", "[1]\n")
        for out in (closed / "adapter", beneath_a_file):
            result = self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                   unprivileged=True)
            self.assert_fails(result, 4, str(out.parent), "--out")
            result = self.edgetune("demo", "--model", self.model, "--out", out,
                                   unprivileged=True)
            self.assert_fails(result, 4, str(out.parent), "--out")
        self.assertEqual(list(closed.iterdir()), [])

    def test_AnAdapterOfNothingIsRefused(self):
        self.assert_fails(self.edgetune("adapter", "inspect", self.model, "--model", self.model),
                          4, "tiny.gguf")

    # --- memory

    def test_CheckPrintsThePlanAndWhatItMeasured(self):
        data = self.write("data.jsonl", CHAT * 4)
        result = self.edgetune("check", self.run_file(), "--data", data,
                               "--memory-budget", "1GB", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        plan = json.loads(result.stdout)["data"]
        self.assertEqual((plan["weights"], plan["micro_batch"], plan["recompute"],
                          plan["max_length"]), ("mapped", 4, False, 0))
        self.assertEqual(sum(part["bytes"] for part in plan["parts"]), plan["predicted_peak"])
        self.assertLessEqual(plan["predicted_peak"], plan["memory_budget"])
        self.assertGreater(plan["measured_peak"], 1_000_000)
        self.assertGreater(plan["step_seconds"], 0)

    def test_CheckWithoutMeasuringMakesNoStep(self):
        data = self.write("data.jsonl", CHAT * 4)
        result = self.edgetune("check", "--model", self.model, "--data", data, "--rank", "4",
                               "--targets", "q_proj,v_proj", "--no-measure")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("predicted peak", result.stdout)
        self.assertNotIn("measured", result.stdout)

    def test_ABudgetThatCannotBeMetSaysWhatWould(self):
        data = self.write("data.jsonl", CHAT * 4)
        wanted = ("training needs at least", "budget is 2.0 MB", "a memory budget of", "lora.rank")
        self.assert_fails(self.edgetune("check", self.run_file(), "--data", data,
                                        "--memory-budget", "2MB"), 1, *wanted)
        out = self.folder / "adapter"
        self.assert_fails(self.edgetune("train", self.run_file(), "--data", data, "--out", out,
                                        "--memory-budget", "2MB"), 1, *wanted)
        self.assertFalse(out.exists())

    def test_AMemoryBudgetIsASize(self):
        data = self.write("data.jsonl", CHAT)
        self.assert_fails(self.edgetune("check", self.run_file(), "--data", data,
                                        "--memory-budget", "lots"), 4,
                          "--set train.memory_budget=lots", "450MB")

    # --- questions

    def evaluate_questions(self, text, *arguments):
        data = self.write("questions.jsonl", text)
        return self.edgetune("eval", "--model", self.model, "--data", data, "--quiet",
                             "--format", "json", *arguments)

    def test_QuestionsAreCountedByThreeNorms(self):
        out = self.folder / "scores.jsonl"
        result = self.evaluate_questions(
            '{"question":"a or b?","choices":["a","bb"],"answer":"A"}\n'
            '{"prompt":"1 2","choices":[" 3"," 45","6"],"answer":2}\n', "--per-question", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        data = json.loads(result.stdout)["data"]
        self.assertEqual(data["questions"], 2)
        scores = [json.loads(line) for line in out.read_text().splitlines()]
        self.assertEqual([s["answer"] for s in scores], [0, 2])
        self.assertEqual(scores[1]["bytes"], [2, 3, 1])
        for name, divisor in (("sum", None), ("per_token", "tokens"), ("per_byte", "bytes")):
            right = 0
            for s in scores:
                values = [p / (s[divisor][i] if divisor else 1)
                          for i, p in enumerate(s["logprobs"])]
                right += values.index(max(values)) == s["answer"]
            self.assertEqual(data["accuracy"][name]["right"], right)
            self.assertLessEqual(data["accuracy"][name]["low"], right / 2)

    def test_BadQuestionsAreNamed(self):
        good = '{"question":"q","choices":["a","b"],"answer":0}\n'
        for bad, words in (('{"question":"q","choices":["a"],"answer":0}', "2 to 26"),
                           ('{"question":"q","choices":["a","b"],"answer":2}', "2 choices"),
                           ('{"question":"q","choices":["a","b"]}', 'no \\"answer\\"'),
                           ('{"choices":["a","b"],"answer":0}', "has none of"),
                           ('{"question":"q","choices":["a",""],"answer":0}', "choices[1]")):
            result = self.evaluate_questions(good + bad + "\n")
            self.assertEqual(result.returncode, 4, bad)
            self.assertIn("questions.jsonl:2", result.stdout)
            self.assertIn(words, result.stdout)
        long = json.dumps({"question": "x1" * 300, "choices": ["a", "b"], "answer": 0})
        result = self.evaluate_questions(good + long + "\n")
        self.assertEqual(result.returncode, 4)
        self.assertIn("question 2: ", result.stdout)


if __name__ == "__main__":
    main()
