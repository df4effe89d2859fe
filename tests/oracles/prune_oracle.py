#!/usr/bin/env python3
"""Pruned models, against NumPy and transformers.

Tiny models with random weights (llama; llama with Llama 3's rotary scaling and
heads of their own size; qwen2 with biases and a padded vocabulary) are made by
transformers. For each:

  layers, channels, heads, tokens that stay  = NumPy's choice, tensors bit by bit
  transformers' logits on the pruned model   = our engine's                 (1e-3)
  its tokens on texts of kept tokens         = those of the whole tokenizer
  its tokens on other texts                  = ours, through transformers' files
  the GGUF of it, by our engine              = transformers' logits         (1e-3)
  and by llama.cpp                           = its probabilities            (1e-3)
  weights that become zero                   = NumPy's, bit by bit (of the model,
        of each matrix, of each row, 2:4), and as many as the program says
  with texts: what stays                     = Wanda's and Block Influence's choice,
        from what transformers' linears and layers are given in float64

Faults are seeded in the pruned model, and each must be seen in the logits. At
last the real model, with fewer layers and channels: transformers' logits are
our engine's.

Exit code 1 and a line for each comparison that does not hold.
"""

import json
import shutil
import subprocess

import numpy as np
import safetensors.torch
import torch
import transformers

import oracle
from model_oracle import TEXTS, make_model, make_tokenizer, tensors_of

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
         "num_attention_heads": 8, "num_key_value_heads": 4, "bos_token_id": 1,
         "pad_token_id": 0}
LAYERS, CHANNELS, HEADS = 3, 64, 4
ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def largest(scores, count):
    """Places of the largest, of equal ones the first, ascending."""
    return np.sort(np.argsort(-np.asarray(scores), kind="stable")[:count])


class WholeModel:
    """Tensors of a directory in NumPy, and what pruning by hand makes of them."""

    def __init__(self, directory):
        self.tensors = {name: tensor.numpy() for name, tensor in tensors_of(directory).items()}
        self.config = json.loads((directory / "config.json").read_text())
        self.groups = self.config["num_key_value_heads"]
        self.layers = self.config["num_hidden_layers"]

    def linear(self, layer, part):
        return self.tensors[f"model.layers.{layer}.{part}.weight"].astype(np.float64)

    def layer_scores(self):
        return [sum((self.linear(layer, part) ** 2).sum() for part in ATTENTION + MLP) ** 0.5
                for layer in range(self.layers)]

    def channel_scores(self, layer):
        gate, up, down = (self.linear(layer, part) for part in MLP)
        return np.sqrt((gate ** 2).sum(1) + (up ** 2).sum(1) + (down ** 2).sum(0))

    def group_scores(self, layer):
        q, k, v, o = (self.linear(layer, part) for part in ATTENTION)
        parts = [rows.reshape(self.groups, -1) for rows in (q, k, v, o.T)]
        return np.sqrt(sum((part ** 2).sum(1) for part in parts))

    def heads(self, rows, groups):
        """Rows of whole groups."""
        width = rows.shape[0] // self.groups
        return rows.reshape(self.groups, width, -1)[groups].reshape(
            len(groups) * width, *rows.shape[1:])

    def cut(self, tokens):
        """The tensors that stay."""
        out = {}
        for name, tensor in self.tensors.items():
            if not name.startswith("model.layers."):
                out[name] = tensor if name == "model.norm.weight" else tensor[tokens]
        for new, old in enumerate(largest(self.layer_scores(), LAYERS)):
            channels = largest(self.channel_scores(old), CHANNELS)
            groups = largest(self.group_scores(old), HEADS * self.groups
                             // self.config["num_attention_heads"])
            for name, tensor in self.tensors.items():
                prefix = f"model.layers.{old}."
                if not name.startswith(prefix):
                    continue
                part = name[len(prefix):]
                if part.startswith(("mlp.gate", "mlp.up")):
                    tensor = tensor[channels]
                elif part.startswith("mlp.down"):
                    tensor = tensor[:, channels]
                elif part.startswith("self_attn.o"):
                    tensor = self.heads(tensor.T, groups).T
                elif part.startswith("self_attn."):
                    tensor = self.heads(tensor, groups)
                out[f"model.layers.{new}.{part}"] = tensor
        return out

    def thinned(self, share=None, scope=None, pattern=None):
        """The tensors with the smallest weights of the linears zero."""
        out = {name: tensor.copy() for name, tensor in self.tensors.items()}
        names = [f"model.layers.{layer}.{part}.weight"
                 for layer in range(self.layers) for part in ATTENTION + MLP]
        if scope == "model":
            flat = np.concatenate([out[name].ravel() for name in names])
            flat[np.argsort(np.abs(flat), kind="stable")[:int(share * flat.size)]] = 0
            for name in names:
                size = out[name].size
                out[name], flat = flat[:size].reshape(out[name].shape), flat[size:]
            return out
        for name in names:
            shape = out[name].shape
            if pattern:
                rows = out[name].reshape(-1, pattern[1])
                zeros = pattern[1] - pattern[0]
            else:
                rows = out[name].reshape(1 if scope == "matrix" else shape[0], -1)
                zeros = int(share * rows.shape[1])
            order = np.argsort(np.abs(rows), axis=1, kind="stable")
            np.put_along_axis(rows, order[:, :zeros], 0, axis=1)
            out[name] = rows.reshape(shape)
        return out


def same(ours, wanted):
    """Names of tensors that differ in shape or in a bit (of -0 the sign aside)."""
    if ours.keys() != wanted.keys():
        return sorted(ours.keys() ^ wanted.keys())
    return [name for name in wanted if not np.array_equal(ours[name], wanted[name])]


class Case:
    """One tiny model of transformers and everything made of it."""

    def __init__(self, comparisons, kind):
        self.oracle, self.kind = comparisons, kind
        self.folder = comparisons.folder / kind
        self.tokenizer = make_tokenizer(kind)
        self.hf = self.folder / "hf"
        make_model(kind, len(self.tokenizer), SIZES).save_pretrained(self.hf)
        self.tokenizer.save_pretrained(self.hf)
        self.whole = WholeModel(self.hf)

    def expect(self, holds, what):
        self.oracle.expect(holds, f"{self.kind}: {what}")

    def prune(self, out, *options):
        """The directory or file, and what the program says of it."""
        out = self.folder / out
        text = self.oracle.edgetune("prune", self.hf, "--out", out, "--type", "f32",
                                    "--format", "json", "--quiet", *options)
        return out, json.loads(text)["data"]

    def write_vocabulary(self):
        """The tokens of all texts but the last."""
        ids = sorted({i for text in TEXTS[:-1] for i in self.tokenizer(text)["input_ids"]})
        path = self.folder / "tokens.txt"
        path.write_text("".join(token + "\n" for token in
                                self.tokenizer.convert_ids_to_tokens(ids)))
        return path

    def run(self):
        vocabulary = self.write_vocabulary()
        options = ["--layers", LAYERS, "--ffn", CHANNELS, "--heads", HEADS, "--vocab", vocabulary]
        self.cut, said = self.prune("cut", *options)
        self.small = transformers.AutoTokenizer.from_pretrained(self.cut)
        self.check_tensors(said)
        self.check_tokens()
        self.ids = [self.small(text)["input_ids"] for text in TEXTS]
        self.check_logits(options)
        self.check_faults()
        self.check_sparsity()
        self.check_calibration()

    def check_tensors(self, said):
        kept = self.tokenizer.convert_tokens_to_ids(
            self.small.convert_ids_to_tokens(range(len(self.small))))
        self.expect(kept == sorted(kept), "tokens keep their order")
        self.expect(said["kept"]["layers"] == largest(self.whole.layer_scores(), LAYERS).tolist(),
                    "the layers are NumPy's")
        wrong = same(WholeModel(self.cut).tensors, self.whole.cut(kept))
        self.expect(not wrong, f"every tensor is NumPy's, bit by bit {wrong[:3]}")
        config = json.loads((self.cut / "config.json").read_text())
        sizes = [config[key] for key in ("num_hidden_layers", "intermediate_size",
                                         "num_attention_heads", "num_key_value_heads",
                                         "head_dim", "vocab_size", "hidden_size")]
        self.expect(sizes == [LAYERS, CHANNELS, HEADS, 2, 32 if self.kind == "llama3" else 8,
                              len(kept), 64], f"config.json says so {sizes}")
        values = sum(tensor.size for tensor in WholeModel(self.cut).tensors.values())
        self.expect(said["parameters"] == values, f"{values} parameters, as the program says")

    def check_tokens(self):
        texts = TEXTS[:-1]
        self.expect(all(self.small.convert_ids_to_tokens(self.small(text)["input_ids"])
                        == self.tokenizer.convert_ids_to_tokens(self.tokenizer(text)["input_ids"])
                        for text in texts), "texts of kept tokens have the same tokens")
        self.expect(all(self.small.decode(self.small(text)["input_ids"]) == text
                        for text in TEXTS), "every text comes back")
        self.expect(len(self.small) < len(self.tokenizer),
                    f"{len(self.small)} of {len(self.tokenizer)} tokens")

    def from_transformers(self, model):
        out = []
        for ids in self.ids:
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0].double()
            scores = torch.log_softmax(logits, -1)
            out.append({"next_logits": logits[-1].numpy(),
                        "log_probs": scores[range(len(ids) - 1), ids[1:]].numpy()})
        return out

    def distance(self, model, truth):
        ours = self.oracle.logits(model, self.ids)
        return max(float(np.abs(a[key] - b[key]).max())
                   for a, b in zip(ours, truth, strict=True) for key in b)

    def in_transformers(self, directory):
        return self.from_transformers(transformers.AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32).eval())

    def check_logits(self, options):
        self.truth = truth = self.in_transformers(self.cut)
        error = self.distance(self.cut, truth)
        self.expect(error < 1e-3, f"our logits equal transformers' ({error:.1e})")
        if self.kind == "qwen2":
            # llama.cpp wants the heads of this architecture to fill the embedding.
            refused = subprocess.run(
                [self.oracle.options.edgetune, "prune", self.hf, "--to", "gguf", "--heads",
                 str(HEADS), "--out", self.folder / "none"],
                capture_output=True, text=True, check=False)
            self.expect(refused.returncode == 4 and "llama.cpp" in refused.stderr,
                        "heads that llama.cpp does not load are refused")
            at = options.index("--heads")
            options = options[:at] + options[at + 2:]
            truth = self.in_transformers(self.prune("all-heads", *options)[0])
        gguf, _ = self.prune("cut.gguf", "--to", "gguf", *options)
        error = self.distance(gguf, truth)
        self.expect(error < 1e-3, f"our logits from the GGUF equal transformers' ({error:.1e})")
        if not self.oracle.options.node:
            return
        theirs = self.oracle.in_llama_cpp(gguf, self.ids)
        error = max(float(np.abs(np.asarray(a) - np.exp(b["log_probs"])).max())
                    for a, b in zip(theirs, truth, strict=True))
        self.expect(error < 1e-3, f"llama.cpp's probabilities equal transformers' ({error:.1e})")

    def check_faults(self):
        name = "model.layers.0.mlp.down_proj.weight"
        query = "model.layers.0.self_attn.q_proj.weight"
        faults = {
            "columns of down one channel off": {name: lambda t: t.roll(1, 1)},
            "query heads in another order": {query: lambda t: t.roll(t.shape[0] // HEADS, 0)},
            "another layer first": {key: None for key in tensors_of(self.cut)
                                    if key.startswith("model.layers.0.")},
        }
        for index, (what, changes) in enumerate(faults.items()):
            bad = self.folder / f"fault-{index}"
            shutil.copytree(self.cut, bad)
            tensors = tensors_of(self.cut)
            for key, change in changes.items():
                other = tensors[key.replace("layers.0", "layers.1")]
                tensors[key] = (change(tensors[key]) if change else other).clone()
            safetensors.torch.save_file(tensors, bad / "model.safetensors")
            error = self.distance(bad, self.truth)
            self.expect(error > 1e-3, f"fault seen in the logits: {what} ({error:.1e})")

    def check_sparsity(self):
        cases = {"model": (["--sparsity", 0.5], {"share": 0.5, "scope": "model"}),
                 "matrix": (["--sparsity", 0.3, "--by-layer"], {"share": 0.3, "scope": "matrix"}),
                 "row": (["--sparsity", 0.7, "--by-row"], {"share": 0.7, "scope": "row"}),
                 "2of4": (["--n-m", "2:4"], {"pattern": (2, 4)})}
        for name, (options, wanted) in cases.items():
            out, said = self.prune(f"sparse-{name}", *options)
            ours = WholeModel(out).tensors
            wrong = same(ours, self.whole.thinned(**wanted))
            self.expect(not wrong, f"zeros of --{' '.join(map(str, options))[2:]} are NumPy's "
                        f"{wrong[:3]}")
            linears = [ours[name] for name in ours if "_proj.weight" in name]
            zeros = sum(int((tensor == 0).sum()) for tensor in linears)
            self.expect(zeros == said["sparsity"]["zeros"], f"{zeros} zeros, as the program says")


    def observe(self, texts):
        """Norms of inputs by linear and Block Influence by layer over lists of
        ids, by transformers in float64."""
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self.hf, dtype=torch.float64).eval()
        squares, distance = {}, np.zeros(self.whole.layers)

        def linear(name):
            def see(_, given):
                squares[name] = squares.get(name, 0) + (given[0][0] ** 2).sum(0).numpy()
            return see

        def layer(index):
            def see(_, given, out):
                out = out[0] if isinstance(out, tuple) else out
                cosine = torch.nn.functional.cosine_similarity(given[0][0], out[0], dim=-1)
                distance[index] += float((1 - cosine).sum())
            return see

        for name, module in model.named_modules():
            if name.endswith("_proj"):
                module.register_forward_pre_hook(linear(name))
        for index, module in enumerate(model.model.layers):
            module.register_forward_hook(layer(index))
        with torch.no_grad():
            for ids in texts:
                model(torch.tensor([ids]))
        return {name: np.sqrt(sum_) for name, sum_ in squares.items()}, distance

    def check_calibration(self):
        """Wanda's choice, and the layers that change the stream most."""
        data = self.folder / "calibration.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        texts, _ = self.oracle.ours(TEXTS, model=self.hf)
        norms, distance = self.observe(texts)
        _, said = self.prune("calibrated-layers", "--layers", LAYERS, "--calibrate", data)
        self.expect(said["kept"]["layers"] == largest(distance, LAYERS).tolist(),
                    f"layers are kept by transformers' Block Influence {distance}")
        out, _ = self.prune("calibrated-2of4", "--n-m", "2:4", "--calibrate", data)
        ours, wrong, moved, count = WholeModel(out).tensors, 0, 0, 0
        for name, norm in norms.items():
            weight = self.whole.tensors[f"{name}.weight"]
            scores = np.abs(weight.astype(np.float64)) * norm
            order = np.argsort(scores.reshape(-1, 4), axis=1, kind="stable")
            keeps = np.ones_like(order, dtype=bool)
            np.put_along_axis(keeps, order[:, :2], False, axis=1)
            got = ours[f"{name}.weight"].reshape(-1, 4) != 0
            wrong += int((got != keeps).sum())
            plain = np.argsort(np.abs(weight).reshape(-1, 4), axis=1, kind="stable")
            moved += int((np.sort(plain[:, :2]) != np.sort(order[:, :2])).any(1).sum())
            count += weight.size
        self.expect(wrong <= 1e-4 * count,
                    f"2:4 keeps what |w| ||x|| of transformers says ({wrong} of {count} differ)")
        self.expect(moved > 0.02 * count / 4, f"which is not |w| alone ({moved} groups differ)")


class PruneOracle(oracle.Oracle):
    PROGRAMS = ("edgetune", "dump")

    @staticmethod
    def add_options(parser):
        parser.add_argument("--kinds", nargs="+", default=["llama", "llama3", "qwen2"])

    def run(self):
        torch.set_num_threads(1)
        transformers.utils.logging.disable_progress_bar()
        for kind in self.options.kinds:
            Case(self, kind).run()
        self.check_real_model()

    def logits(self, model, texts):
        """Of our engine, for each list of ids."""
        given, out = self.folder / "ids.json", self.folder / "out.json"
        given.write_text(json.dumps(texts))
        self.call(self.options.dump, "--logits", model, given, out)
        got = json.loads(out.read_text())
        return [{key: np.array(got[key][i]) for key in got} for i in range(len(texts))]

    def check_real_model(self):
        path = self.folder / "smollm2"
        self.edgetune("prune", self.options.model, "--layers", 24, "--ffn-ratio", 0.66,
                      "--heads", 6, "--type", "f32", "--out", path, "--quiet")
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        ids = tokenizer(TEXTS[0])["input_ids"]
        with torch.no_grad():
            wanted = model(torch.tensor([ids])).logits[0, -1].numpy()
        error = float(np.abs(self.logits(path, [ids])[0]["next_logits"] - wanted).max())
        config = model.config
        self.expect((config.num_hidden_layers, config.intermediate_size,
                     config.num_attention_heads, config.num_key_value_heads)
                    == (24, 1024, 6, 2), "SmolLM2: 24 layers, 1024 channels, 6 heads over 2")
        self.expect(error < 1e-3, f"SmolLM2: our logits equal transformers' ({error:.1e})")


if __name__ == "__main__":
    oracle.main(PruneOracle, __doc__)
