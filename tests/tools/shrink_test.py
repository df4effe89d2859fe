#!/usr/bin/env python3
"""Models made smaller, from outside: weights rounded by examples, `edgetune
compress`, `edgetune prune`."""

import json

from program import ProgramCase, main


class ShrinkTest(ProgramCase):
    def test_WeightsAreRoundedByExamples(self):
        data = self.write("texts.jsonl", "".join(
            json.dumps({"text": f"the {i} other and the {i * 7} things"}) + "\n" for i in range(40)))
        def quantize(name, *options):
            return self.edgetune("model", "quantize", self.model, "--out", self.folder / name,
                                 *options)
        for mix in ("q4_0", "q5_1", "q8_0"):
            self.assertEqual(quantize(f"{mix}.gguf", "--to", mix).returncode, 0)
            result = quantize(f"{mix}-seen.gguf", "--to", mix, "--calibrate", data)
            self.assertEqual(result.returncode, 0, result.stderr)
            plain, seen = ((self.folder / f"{mix}{kind}.gguf").read_bytes()
                           for kind in ("", "-seen"))
            self.assertEqual(len(plain), len(seen))
            self.assertNotEqual(plain, seen)
            again = self.edgetune("model", "quantize", self.folder / f"{mix}-seen.gguf", "--to",
                                  mix, "--out", self.folder / f"{mix}-again.gguf")
            self.assertEqual(again.returncode, 0, again.stderr)
            # Blocks that are of the type already stay as they are.
            self.assertEqual((self.folder / f"{mix}-again.gguf").read_bytes(), seen)
        self.assert_fails(quantize("none", "--calibration-tokens", 5), 4, "--calibrate")
        self.assert_fails(quantize("none", "--to", "q4_0", "--calibrate", self.folder / "no"), 4,
                          "no")
        self.assertFalse((self.folder / "none").exists())

    def test_CompressionTriesWaysAndKeepsTheBest(self):
        data = self.write("texts.jsonl", "".join(
            json.dumps({"text": f"the {i} other and the things"}) + "\n" for i in range(12)))
        def compress(out, *options):
            return self.edgetune("compress", self.model, "--data", data, "--calibrate", data,
                                 "--prompt", 8, "--tokens", 2, "--out", self.folder / out, *options)
        result = compress("all", "--types", "f16,q8_0,q4_0", "--layers", "2,1", "--format", "json")
        self.assertEqual(result.returncode, 0, result.stderr)
        models = json.loads(result.stdout)["data"]["models"]
        self.assertEqual({model["name"] for model in models}, {
            f"{layers} layers, {how}" for layers in (1, 2)
            for how in ("f16", "q8_0 by examples", "q4_0 by examples")})
        kept = {path.name for path in (self.folder / "all").iterdir()}
        frontier = {model["file"] for model in models if model["on_frontier"]}
        self.assertEqual(kept, frontier | {"frontier.json", "frontier.svg"})
        for model in models:
            if model["on_frontier"]:
                path = self.folder / "all" / model["file"]
                self.assertEqual(path.stat().st_size, model["bytes"])
                scored = json.loads(self.edgetune("eval", "--model", path, "--data", data,
                                                  "--format", "json").stdout)["data"]
                self.assertAlmostEqual(scored["perplexity"], model["perplexity"], places=3)
        size = min(model["bytes"] for model in models)
        result = compress("one", "--types", "q8_0,q4_0", "--layers", 1, "--target-size",
                          f"{(size + 999) // 1000}kB")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("best within the target", result.stdout)
        self.assertEqual({path.name for path in (self.folder / "one").iterdir()},
                         {"1-layers-q4_0-by-examples.gguf", "frontier.json", "frontier.svg"})
        self.assertIn("no model meets the target",
                      compress("none", "--types", "q4_0", "--target-size", "1kB").stdout)

    def test_CompressionRefusesWhatCannotBe(self):
        data = self.write("texts.jsonl", '{"text": "the other"}\n')
        for options, words in ((("--types", "q9"), "no mix q9"),
                               (("--layers", 3), "--layers 3: the model has 2"),
                               (("--target-size", "small"), "wanted a size like 60MB"),
                               (("--data", self.folder / "no.jsonl"), "no.jsonl")):
            with self.subTest(options=options):
                given = () if "--data" in options else ("--data", data)
                result = self.edgetune("compress", self.model, "--out", self.folder / "out",
                                       *given, *options)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(words, result.stderr)
                self.assertFalse((self.folder / "out").exists())

    def pruned(self, *options):
        out = self.folder / f"pruned-{len(list(self.folder.iterdir()))}"
        result = self.edgetune("prune", self.model, "--out", out, "--format", "json", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out, json.loads(result.stdout)["data"]

    def test_PruningLeavesASmallerModelThatOpens(self):
        tokens = self.write("tokens.txt", "\u0120the\n\u0120and\n")
        for options in (("--to", "hf"), ("--to", "gguf", "--type", "q8_0")):
            out, data = self.pruned("--layers", 1, "--ffn", 64, "--heads", 2, "--vocab", tokens,
                                    *options)
            inspected = json.loads(self.edgetune("model", "inspect", out, "--format",
                                                 "json").stdout)["data"]
            # 259 specials and bytes; "\u0120 t", "h e", "\u0120t he"; "\u0120 a", "n d", "\u0120a nd".
            self.assertEqual([inspected[key] for key in ("layers", "ffn", "heads", "kv_heads",
                                                         "vocabulary")], [1, 64, 2, 1, 265])
            self.assertEqual(inspected["digest"], data["digest"])
            # q, o: 32 x 64; k, v: 16 x 64; gate, up, down: 64 x 64; three norms.
            self.assertEqual(data["parameters"],
                             265 * 64 + 2 * 32 * 64 + 2 * 16 * 64 + 3 * 64 * 64 + 3 * 64)
            result = self.edgetune("generate", "--model", out, "--prompt", "the", "--raw",
                                   "--max-tokens", 2, "--quiet")
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_PruningKeepsTheTokensThatExamplesUse(self):
        data = self.write("texts.jsonl", '{"text": " the the the"}\n{"text": " and the"}\n')
        for most, vocabulary in ((400, 265), (263, 262), (262, 262)):
            out, said = self.pruned("--vocab-size", most, "--vocab-data", data)
            self.assertEqual(said["kept"]["vocabulary"], vocabulary)
            tokens = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
            self.assertIn("\u0120the", tokens)
            self.assertEqual("\u0120and" in tokens, most == 400)

    def test_PruningSaysWhereItsModelComesFrom(self):
        out, data = self.pruned("--ffn-ratio", 0.7)
        source = json.loads(self.edgetune("model", "inspect", self.model, "--format",
                                          "json").stdout)["data"]["digest"]
        written = json.loads((out / "edgetune_provenance.json").read_text())
        self.assertEqual(data["source_digest"], source)
        self.assertEqual(written["source_digest"], source)
        # 0.7 of 96 is nearest to two blocks of 32.
        self.assertEqual(written["kept"], {"layers": [0, 1], "ffn": 64, "heads": 4,
                                           "kv_heads": 2, "vocabulary": 300})
        self.assertTrue(written["made_by"].startswith("edgetune prune "))

    def test_PrunedWeightsAreCounted(self):
        values = 2 * (3 * 64 * 64 + 3 * 64 * 96)
        for options in (("--sparsity", 0.5, "--by-layer"),
                        ("--n-m", "2:4", "--type", "f16")):
            _, data = self.pruned(*options)
            width = 2 if "f16" in options else 4
            self.assertEqual(data["sparsity"], {
                "linear_values": values, "zeros": values // 2, "dense_bytes": width * values,
                "sparse_bytes": values // 8 + width * values // 2})

    def test_PruningRefusesWhatCannotBe(self):
        unknown = self.write("unknown.txt", "\u0120the\nno such token\n")
        texts = self.write("texts.jsonl", '{"text": "the other"}\n')
        for options, words in (
                ((), ("nothing is to be pruned", "--layers")),
                (("--layers", 3), ("cannot keep 3 layers: the model has 2",)),
                (("--layers", 0), ("cannot keep 0 layers",)),
                (("--layers", "many"), ("--layers",)),
                (("--ffn", 40), ("they go in 32s", "take 32 or 64")),
                (("--ffn", 64, "--ffn-ratio", 0.5), ("--ffn",)),
                (("--ffn-ratio", 1), ("cannot keep 1 of the feed-forward channels",)),
                (("--ffn-ratio", -0.5), ("cannot keep -0.5",)),
                (("--heads", 3), ("cannot keep 3 attention heads", "take 2 or 4")),
                (("--heads", 6), ("the model has 4",)),
                (("--vocab", unknown), ("unknown.txt", "line 2", "no such token")),
                (("--vocab", self.folder / "none.txt"), ("none.txt",)),
                (("--vocab-size", 300), ("--vocab-data",)),
                (("--vocab-data", texts), ("--vocab-size",)),
                (("--vocab", unknown, "--vocab-size", 300, "--vocab-data", texts), ("--vocab",)),
                (("--vocab-size", 258, "--vocab-data", texts),
                 ("--vocab-size", "258 tokens are too few: 259 always stay")),
                (("--vocab-size", 300, "--vocab-data", self.folder / "none.jsonl"),
                 ("none.jsonl",)),
                (("--sparsity", 0), ("cannot make 0 of the weights zero",)),
                (("--sparsity", 1), ("cannot make 1 of the weights zero",)),
                (("--sparsity", 0.5, "--n-m", "2:4"), ("--n-m",)),
                (("--sparsity", 0.5, "--by-layer", "--by-row"), ("--by-",)),
                (("--sparsity", 0.5, "--to", "gguf", "--type", "q4_0"),
                 ("zeros do not stay zeros", "f32, f16, bf16")),
                (("--by-layer", "--layers", 1), ("belong to --sparsity",)),
                (("--n-m", "2-4"), ("'2-4' is not N:M", "2:4")),
                (("--n-m", "4:4"), ("cannot keep 4 of every 4",)),
                (("--n-m", "2:5"), ("2:5 does not divide the 64 columns",)),
                (("--layers", 1, "--type", "q4_0"), ("Hugging Face directory",)),
                (("--layers", 1, "--type", "f12"), ("f12",))):
            with self.subTest(options=options):
                self.assert_fails(self.edgetune("prune", self.model, "--quiet", "--out",
                                                self.folder / "none", *options), 4, *words)
                self.assertFalse((self.folder / "none").exists())
        self.assert_fails(self.edgetune("prune", self.model, "--layers", 1, "--out", self.folder),
                          4, "exists already")


if __name__ == "__main__":
    main()
