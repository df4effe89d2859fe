#!/usr/bin/env python3
"""`edgetune distill` from outside: students from a configuration and from a
model, caches that fit and that do not, and what the student becomes."""

import json
import struct

from program import ProgramCase, main

WORDS = ["stone", "river", "cloud", "ember", "north", "table", "green", "seven"]


def example(i):
    answer = f"{WORDS[i % 8]} and {WORDS[(3 * i + 1) % 8]}"
    return json.dumps({"messages": [
        {"role": "user", "content": f"Say {WORDS[i % 8]}"},
        {"role": "assistant", "content": answer}]})


class DistillCase(ProgramCase):
    def edgetune(self, *arguments, check=True):
        result = super().edgetune(*arguments)
        if check:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result


class DistillTest(DistillCase):
    def setUp(self):
        super().setUp()
        self.teacher = self.model
        self.data = self.folder / "data.jsonl"
        self.data.write_text("".join(example(i) + "\n" for i in range(40)))
        self.config = self.folder / "student.json"
        self.write_config()

    def write_config(self, **other):
        self.edgetune("model", "export", self.teacher, "--to", "hf", "--out",
                      self.folder / "exported", check=False)
        shape = json.loads((self.folder / "exported/config.json").read_text())
        shape |= {"hidden_size": 32, "intermediate_size": 48, "head_dim": 16,
                  "num_hidden_layers": 1, "num_attention_heads": 2,
                  "num_key_value_heads": 1} | other
        self.config.write_text(json.dumps(shape))

    def distill(self, *arguments, student=None, out="out", check=True):
        result = self.edgetune(
            "distill", "--teacher", self.teacher, "--student",
            student or self.config, "--data", self.data, "--out",
            self.folder / out, "--threads", 1, "--precision", "fp32",
            "--format", "json", "--batch", 4, *arguments, check=check)
        return json.loads(result.stdout)

    @staticmethod
    def linear_zeros(directory):
        """Places of the zeros of each linear of a float32 model."""
        data = (directory / "model.safetensors").read_bytes()
        size = int.from_bytes(data[:8], "little")
        out = {}
        for name, tensor in json.loads(data[8:8 + size]).items():
            if not name.endswith("_proj.weight"):
                continue
            begin, end = (8 + size + at for at in tensor["data_offsets"])
            values = memoryview(data[begin:end]).cast("f")
            out[name] = [i for i, value in enumerate(values) if value == 0]
        return out

    def assert_refused(self, answer, words):
        self.assertIn(words, answer["message"])

    def test_a_student_from_a_configuration_becomes_a_model(self):
        done = self.distill("--steps", 30, "--lr", "5e-3", "--warmup", 2)["data"]
        self.assertLess(done["last_loss"], done["first_loss"])
        self.assertLess(done["perplexity"], 0.5 * done["perplexity_before"])
        self.assertEqual(done["steps"], 30)
        scored = self.edgetune("eval", "--model", self.folder / "out", "--data",
                               self.data, "--format", "json")
        self.assertLess(json.loads(scored.stdout)["data"]["perplexity"],
                        done["perplexity_before"])

    def test_a_student_from_a_configuration_takes_the_tokens_of_a_model(self):
        few = self.folder / "few"
        self.edgetune("prune", self.teacher, "--vocab-size", 280, "--vocab-data",
                      self.data, "--out", few)
        tokens = json.loads((few / "config.json").read_text())["vocab_size"]
        self.assertLess(tokens, 300)
        self.write_config(vocab_size=tokens)
        done = self.distill("--tokens", few, "--steps", 30, "--lr", "5e-3")["data"]
        self.assertLess(done["perplexity"], 0.5 * done["perplexity_before"])
        self.assertEqual((self.folder / "out/tokenizer.json").read_bytes(),
                         (few / "tokenizer.json").read_bytes())

    def test_a_model_goes_on_from_its_own_weights_as_gguf(self):
        self.distill("--steps", 5, out="first")
        done = self.distill("--steps", 5, "--to", "gguf", out="second.gguf",
                            student=self.folder / "first")["data"]
        self.assertTrue((self.folder / "second.gguf").is_file())
        inspected = self.edgetune("model", "inspect",
                                  self.folder / "second.gguf")
        self.assertIn("llama", inspected.stdout)
        self.assertGreater(done["parameters"], 0)

    def test_a_sparse_model_recovers_and_stays_sparse(self):
        sparse = self.folder / "sparse"
        self.edgetune("prune", self.teacher, "--n-m", "2:4", "--calibrate", self.data,
                      "--out", sparse)
        before = self.linear_zeros(sparse)
        done = self.distill("--keep-zeros", "--steps", 20, "--lr", "5e-3",
                            student=sparse)["data"]
        self.assertLess(done["last_loss"], done["first_loss"])
        after = self.linear_zeros(self.folder / "out")
        self.assertEqual(after, before)
        self.assertGreater(sum(map(len, before.values())), 10000)

    def test_the_same_run_gives_the_same_model(self):
        one = self.distill("--steps", 5, out="one")["data"]
        two = self.distill("--steps", 5, out="two")["data"]
        self.assertEqual((self.folder / "one/model.safetensors").read_bytes(),
                         (self.folder / "two/model.safetensors").read_bytes())
        self.assertEqual(one["last_loss"], two["last_loss"])

    def test_a_cache_is_made_once_and_refused_where_it_does_not_fit(self):
        cache = self.folder / "teacher.logits"
        def cached(*arguments, **more):
            return self.distill("--steps", 3, "--cache", cache, *arguments,
                                **more)
        first = cached("--top-k", 8, out="a")["data"]
        self.assertIn("teacher_perplexity", first)
        made = cache.read_bytes()
        again = cached("--top-k", 8, out="b")["data"]
        self.assertEqual(again["last_loss"], first["last_loss"])
        self.assertNotIn("teacher_perplexity", again)  # nobody asked it
        for arguments, words in [
                (("--top-k", 9), "the 8 likeliest tokens, wanted 9"),
                (("--top-k", 8, "--temperature", 3), "temperature 2, wanted 3"),
                (("--top-k", 8, "--seed", 2), "other examples")]:
            self.assert_refused(cached(*arguments, out="c", check=False), words)
        cache.write_bytes(made[:-40])
        self.assert_refused(cached("--top-k", 8, out="c", check=False), "damaged")
        self.assertFalse((self.folder / "c").exists())

    def test_what_does_not_go_together_is_refused(self):
        def refused(words, *arguments):
            self.assert_refused(self.distill(*arguments, check=False), words)
            self.assertFalse((self.folder / "out").exists())
        refused("go together", "--top-k", 4)
        refused("go together", "--cache", self.folder / "c")
        refused("--hidden needs the teacher", "--hidden", 1, "--top-k", 4,
                "--cache", self.folder / "c")
        refused("temperature must lie", "--temperature", 0)
        refused("alpha must lie", "--alpha", 2)
        refused("steps must lie", "--steps", 0)
        self.write_config(vocab_size=77)
        refused("a vocab_size of 77, the teacher has 300")
        self.edgetune("prune", self.teacher, "--vocab-size", 280, "--vocab-data",
                      self.data, "--out", self.folder / "few")
        refused(f"a vocab_size of 77, {self.folder}/few has", "--tokens",
                self.folder / "few")
        answer = self.distill("--tokens", self.folder / "few", check=False,
                              student=self.folder / "few")
        self.assert_refused(answer, "a student without weights")

    def write_run(self, **train):
        run = self.folder / "run.toml"
        train = {"engine": "fused", "steps": 4, "batch": 4,
                 "teacher_alpha": 0.9, **train}
        lines = [f"{key} = {json.dumps(value)}" for key, value in train.items()]
        run.write_text(f"""schema = 1
[model]
base = "{self.student}"
precision = "fp32"
[lora]
rank = 2
alpha = 4
[data]
holdout = 0.2
[rounds]
count = 2
cohort = 1
[secagg]
enabled = false
[train]
""" + "\n".join(lines) + "\n")
        return run

    def adapter_of(self, directory):
        return (directory / "adapter_model.safetensors").read_bytes()

    def test_clients_of_a_fleet_learn_from_a_teacher_that_they_hold(self):
        self.student = self.folder / "student"
        self.distill("--steps", 1, out="student")
        def trained(engine, *arguments, out, **settings):
            run = self.write_run(engine=engine, **settings)
            done = self.edgetune(
                "train", run, "--data", self.data, "--out", self.folder / out,
                "--threads", 1, *arguments)
            return self.adapter_of(self.folder / out), done.stderr
        teacher = ("--teacher", self.teacher)
        taught, _ = trained("fused", *teacher, out="taught")
        self.assertEqual(trained("fused", *teacher, out="again")[0], taught)
        labels, said = trained("fused", out="labels")
        self.assertIn("no --teacher", said)
        self.assertNotEqual(labels, taught)
        self.assertEqual(
            trained("fused", out="never", teacher_alpha=0)[0], labels)
        other, _ = trained("reference", *teacher, out="other")
        self.assertNotEqual(other, labels)
        answer = self.edgetune(
            "train", self.write_run(teacher_alpha=0), "--data", self.data,
            "--out", self.folder / "x", *teacher, check=False)
        self.assertIn("asks no teachers", answer.stderr)
        # A fleet of one, as this machine alone.
        single = self.folder / "data.0.jsonl"
        single.write_text(self.data.read_text())
        self.edgetune(
            "simulate", self.write_run(), "--data", single, "--clients", 1,
            "--set", f"simulation.teacher={self.teacher}", "--out",
            self.folder / "fleet")
        self.edgetune(
            "simulate", self.write_run(), "--data", single, "--clients", 1,
            "--out", self.folder / "untaught")
        of = lambda name: self.adapter_of(self.folder / name / "adapter")
        self.assertNotEqual(of("fleet"), of("untaught"))


class ImageDistillTest(DistillCase):
    """Students of images; two classes of IDX files that a ruler tells apart."""

    def setUp(self):
        super().setUp()
        self.write_images("train", 240)
        self.write_images("t10k", 60)
        for name, seed in [("teacher", 1), ("student", 2)]:
            self.edgetune("model", "init",
                          "mcmahan_cnn" if name == "teacher" else "mcmahan_2nn",
                          "--seed", seed, "--out", self.folder / name)

    def write_images(self, name, count):
        pixels, labels = bytearray(), bytearray()
        for i in range(count):
            label = i % 10
            for row in range(28):
                for column in range(28):
                    lit = row // 3 == label
                    pixels.append((200 if lit else 30)
                                  + (31 * i + 7 * row + 3 * column) % 50)
            labels.append(label)
        (self.folder / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">IIII", 0x803, count, 28, 28) + pixels)
        (self.folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 0x801, count) + labels)

    def distill(self, *arguments, teacher="taught", out="out", check=True):
        result = self.edgetune(
            "distill", "--teacher", self.folder / teacher, "--student",
            self.folder / "student", "--data", self.folder, "--out",
            self.folder / out, "--threads", 1, "--format", "json",
            "--batch", 20, "--micro-batch", 20, "--warmup", 1, *arguments,
            check=check)
        return json.loads(result.stdout)

    def teach(self):
        """The teacher learns from labels, taught by itself."""
        self.edgetune(
            "distill", "--teacher", self.folder / "teacher", "--student",
            self.folder / "teacher", "--data", self.folder, "--out",
            self.folder / "taught", "--alpha", 0, "--steps", 40, "--batch", 20,
            "--micro-batch", 20, "--warmup", 1, "--threads", 1)

    def test_a_student_of_images_learns_what_its_teacher_sees(self):
        self.teach()
        done = self.distill("--steps", 60, "--alpha", 1)["data"]
        self.assertGreater(done["teacher_accuracy"], 0.9)
        self.assertGreater(done["accuracy"], 0.9)
        self.assertLess(done["accuracy_before"], 0.5)
        self.assertEqual((done["examples"], done["held_out"]), (240, 60))
        # An ordinary model, for everything else.
        shown = json.loads(self.edgetune(
            "model", "inspect", self.folder / "out", "--format",
            "json").stdout)["data"]
        self.assertEqual(shown["parameters"], 199210)

    def test_a_cache_and_a_checkpoint_change_nothing(self):
        self.teach()
        cache = self.folder / "answers"
        def weights(out, *arguments):
            self.distill("--steps", 6, *arguments, out=out)
            return (self.folder / out / "model.safetensors").read_bytes()
        cached = ("--cache", cache, "--top-k", 4)
        one = weights("one", *cached)
        made = cache.read_bytes()
        self.assertEqual(weights("two", *cached), one)
        self.assertEqual(cache.read_bytes(), made)
        self.assertNotEqual(weights("all"), one)
        answer = self.distill("--cache", cache, "--top-k", 5, out="x", check=False)
        self.assertIn("likeliest", answer["message"])

    def test_options_of_texts_are_refused(self):
        for arguments in [("--hidden", 1), ("--entropy", 0.1), ("--keep-zeros",),
                          ("--to", "gguf"), ("--type", "f16"), ("--precision", "bf16"),
                          ("--evaluate-every", 2), ("--tokens", "x")]:
            answer = self.distill(*arguments, teacher="teacher", check=False)
            self.assertIn("is for models of texts", answer["message"])
            self.assertFalse((self.folder / "out").exists())
        answer = self.distill(teacher=self.model.name, check=False)
        self.assertIn("model of images", answer["message"])


if __name__ == "__main__":
    main()
