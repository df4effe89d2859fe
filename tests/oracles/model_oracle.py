#!/usr/bin/env python3
"""Base models of transformers in ours, and ours in transformers and llama.cpp.

Tiny models with random weights (llama; llama with Llama 3's rotary scaling and
heads of their own size; qwen2 with biases and a padded vocabulary) are made by
transformers itself, in one file and in shards. For each:

  our logits from the directory         = transformers'            (1e-4)
  our GGUF, read by the `gguf` package  = the reference permutation, bit by bit
  our logits from that GGUF             = those from the directory
  llama.cpp's probabilities on it       = transformers'            (1e-3)
  our directory made of that GGUF       = the first one: tensors bit by bit,
        configuration, tokenizer, and transformers' logits
  both round trips in F32, F16, BF16    = bit by bit

Faults are seeded, and each must be seen: no permutation, a permutation in
qwen2, a lost bias, frequencies that are not scaled. At last the real model:
GGUF -> directory -> transformers gives the published figures.

Exit code 1 and a line for each comparison that does not hold.
"""

import json
import pathlib
import shutil

import gguf
import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers

import oracle
import smollm2_oracle
from hf_llama import unpermute

TEXTS = [
    "The capital of France is Paris, and 1234 dogs live there.",
    "Café déjà vu\n\n  for (i = 0; i < 10; ++i) it's 3.14; they'll see 中文 text.",
    "the cat sat on the mat and the dog ran to the sea with the other dogs " * 3,
]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'"
          " + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1,
         "pad_token_id": 0}
# Of config.json: what must survive a round trip.
KEYS = ["architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
        "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "eos_token_id",
        "bos_token_id", "pad_token_id", "hidden_act", "rope_parameters"]


def make_tokenizer(kind):
    split = tokenizers.pre_tokenizers
    byte_level = split.ByteLevel(add_prefix_space=False, use_regex=kind == "llama")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=kind == "llama3"))
    first = {"llama": split.Digits(individual_digits=True),
             "llama3": split.Split(tokenizers.Regex(SPLIT % r"\p{N}{1,3}"), "isolated"),
             "qwen2": split.Split(tokenizers.Regex(SPLIT % r"\p{N}"), "isolated")}[kind]
    tokenizer.pre_tokenizer = split.Sequence([first, byte_level])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if kind == "qwen2":
        tokenizer.normalizer = tokenizers.normalizers.NFC()
    tokenizer.train_from_iterator(TEXTS, tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=split.ByteLevel.alphabet()))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|im_start|>",
        pad_token="<|endoftext|>", chat_template=CHATML)


def make_model(kind, vocab, sizes=SIZES):
    if kind == "qwen2":
        config = transformers.Qwen2Config(
            **sizes, vocab_size=vocab + 7, max_position_embeddings=256, eos_token_id=2,
            tie_word_embeddings=True, rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6})
        model = transformers.Qwen2ForCausalLM(config)
    else:
        extra, rope = {}, {"rope_type": "default", "rope_theta": 10000.0}
        if kind == "llama3":
            extra = {"head_dim": 32}
            rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                    "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64}
        config = transformers.LlamaConfig(
            **sizes, **extra, vocab_size=vocab, max_position_embeddings=512,
            eos_token_id=[2, 0] if kind == "llama3" else 2,
            tie_word_embeddings=kind == "llama", rms_norm_eps=1e-5, rope_parameters=rope)
        model = transformers.LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(len(kind))
    for name, parameter in model.named_parameters():
        mean = 1.0 if "norm" in name else 0.0
        # Large enough that attention looks at some places and not at others.
        width = {1: 0.3}.get(parameter.dim(), 1.5 * parameter.shape[-1] ** -0.5)
        if "embed" in name:
            width = 0.3
        with torch.no_grad():
            parameter.normal_(mean, width, generator=generator)
    return model.float().eval()


def tensors_of(directory):
    out = {}
    for file in sorted(pathlib.Path(directory).glob("*.safetensors")):
        out.update(safetensors.torch.load_file(file))
    return out


def same_tensors(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
        for name in left)


def permute(rows, heads):
    """gguf[h*hd + 2i + j] = hf[h*hd + j*(hd/2) + i]"""
    half = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape)


GGUF_PARTS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    top = {"model.embed_tokens.weight": "token_embd.weight",
           "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    part, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{GGUF_PARTS[part]}.{kind}"


class Case:
    """One tiny model of transformers and everything made of it."""

    def __init__(self, comparisons, kind):
        self.oracle, self.kind = comparisons, kind
        self.folder = comparisons.folder / kind
        self.tokenizer = make_tokenizer(kind)
        self.model = make_model(kind, len(self.tokenizer))
        self.hf = self.save("hf", self.model)
        self.ids = [self.tokenizer(text)["input_ids"] for text in TEXTS]
        self.truth = [self.from_transformers(self.model, ids) for ids in self.ids]

    def expect(self, holds, what):
        self.oracle.expect(holds, f"{self.kind}: {what}")

    def save(self, name, model, **options):
        path = self.folder / name
        model.save_pretrained(path, **options)
        self.tokenizer.save_pretrained(path)
        return path

    def from_transformers(self, model, ids):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()
        scores = torch.log_softmax(logits, -1)
        return {"next_logits": logits[-1].numpy(),
                "log_probs": scores[range(len(ids) - 1), ids[1:]].numpy()}

    def from_ours(self, model):
        given, out = self.folder / "ids.json", self.folder / "out.json"
        given.write_text(json.dumps(self.ids))
        self.oracle.call(self.oracle.options.dump, "--logits", model, given, out)
        got = json.loads(out.read_text())
        return [{key: np.array(got[key][i]) for key in got} for i in range(len(self.ids))]

    def distance(self, ours):
        return max(float(np.abs(a[key] - b[key]).max())
                   for a, b in zip(ours, self.truth, strict=True) for key in a)

    def llama_cpp_distance(self, model):
        return max(float(np.abs(got - np.exp(truth["log_probs"])).max())
                   for got, truth in zip(self.oracle.in_llama_cpp(model, self.ids), self.truth,
                                      strict=True))

    def export(self, model, form, name, *options):
        return self.oracle.export(model, form, self.folder / name, *options)

    def run(self):
        self.check_reading()
        self.gguf = self.export(self.hf, "gguf", "f32.gguf", "--type", "f32")
        self.check_gguf(self.gguf)
        self.check_back()
        self.check_round_trips()
        self.check_faults()

    def check_reading(self):
        error = self.distance(self.from_ours(self.hf))
        self.expect(error < 1e-4, f"our logits equal transformers' ({error:.1e})")
        sharded = self.save("sharded", self.model, max_shard_size="50KB")
        parts = len(list(sharded.glob("*.safetensors")))
        error = self.distance(self.from_ours(sharded))
        self.expect(parts > 1 and error < 1e-4, f"and from {parts} shards ({error:.1e})")

    def wrong_tensors(self, path):
        """Names of the GGUF's tensors that differ from the reference order."""
        config = self.model.config
        wanted = {}
        for name, value in tensors_of(self.hf).items():
            value = value.float().numpy()
            if self.kind != "qwen2" and name.endswith("q_proj.weight"):
                value = permute(value, config.num_attention_heads)
            if self.kind != "qwen2" and name.endswith("k_proj.weight"):
                value = permute(value, config.num_key_value_heads)
            wanted[gguf_name(name)] = value
        if self.kind == "llama3":
            frequencies = self.model.model.rotary_emb.inv_freq.double()
            half = len(frequencies)
            plain = 500000.0 ** -(torch.arange(half).double() / half)
            wanted["rope_freqs.weight"] = (plain / frequencies).numpy()
        got = {t.name: np.array(t.data) for t in gguf.GGUFReader(path).tensors}
        if got.keys() != wanted.keys():
            return sorted(got.keys() ^ wanted.keys())
        return [name for name in wanted if not (
            np.allclose(got[name], wanted[name], rtol=1e-5) if name == "rope_freqs.weight"
            else np.array_equal(got[name].view(np.uint32), wanted[name].view(np.uint32)))]

    def check_gguf(self, path):
        wrong = self.wrong_tensors(path)
        self.expect(not wrong, f"GGUF tensors are those of the reference order {wrong[:3]}")
        error = self.distance(self.from_ours(path))
        self.expect(error < 1e-4, f"our logits from the GGUF equal transformers' ({error:.1e})")
        error = self.llama_cpp_distance(path)
        self.expect(error < 1e-3, f"llama.cpp's probabilities equal transformers' ({error:.1e})")

    def check_back(self):
        back = self.export(self.gguf, "hf", "back")
        self.expect(same_tensors(tensors_of(self.hf), tensors_of(back)),
                    "directory -> GGUF -> directory keeps every bit")
        model = transformers.AutoModelForCausalLM.from_pretrained(back, dtype=torch.float32)
        error = self.distance([self.from_transformers(model.eval(), ids) for ids in self.ids])
        self.expect(error == 0, f"transformers opens it with the same logits ({error:.1e})")
        ours, theirs = model.config.to_dict(), self.model.config.to_dict()
        # head_dim may be spelt out.
        ours["head_dim"] = model.config.hidden_size // 4 if self.kind == "qwen2" else ours["head_dim"]
        theirs["head_dim"] = theirs.get("head_dim") or ours["head_dim"]
        theirs["architectures"] = ours["architectures"]
        different = [key for key in KEYS if ours.get(key) != theirs.get(key)]
        self.expect(not different, f"configuration survives {different}")
        tokenizer = transformers.AutoTokenizer.from_pretrained(back)
        same = all(tokenizer(text)["input_ids"] == ids for text, ids in zip(TEXTS, self.ids))
        self.expect(same and tokenizer.chat_template == CHATML and len(tokenizer) == len(self.tokenizer),
                    "tokenizer and chat template survive")

    def check_round_trips(self):
        for kind, dtype in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
            first = self.save(f"hf-{kind}", make_model(self.kind, len(self.tokenizer)).to(dtype))
            file = self.export(first, "gguf", f"{kind}.gguf.1")
            again = self.export(file, "hf", f"hf-{kind}-again")
            self.expect(same_tensors(tensors_of(first), tensors_of(again)),
                        f"directory -> GGUF -> directory keeps every bit in {kind}")
            other = self.export(self.export(file, "hf", f"hf-{kind}-2", "--shard-mb", "1"),
                                "gguf", f"{kind}.gguf.2")
            pairs = zip(gguf.GGUFReader(file).tensors, gguf.GGUFReader(other).tensors, strict=True)
            self.expect(all(a.name == b.name and a.tensor_type == b.tensor_type
                            and np.array_equal(a.data, b.data) for a, b in pairs),
                        f"GGUF -> directory -> GGUF keeps every bit in {kind}")

    def with_fault(self, name, change):
        """A copy of the GGUF with tensors changed in place."""
        bad = self.folder / f"{name}.gguf"
        shutil.copy(self.gguf, bad)
        reader = gguf.GGUFReader(bad, "r+")
        for tensor in reader.tensors:
            new = change(tensor.name, np.array(tensor.data))
            if new is not None:
                tensor.data[:] = new
        del reader
        return bad

    def check_faults(self):
        heads = {"attn_q.": self.model.config.num_attention_heads,
                 "attn_k.": self.model.config.num_key_value_heads}

        def reorder(order, kinds):
            def change(name, data):
                for part, count in heads.items():
                    if part in name and name.endswith(kinds):
                        return order(data, count)
            return change

        faults = {}
        if self.kind == "qwen2":
            faults["permutation in qwen2"] = reorder(permute, (".weight", ".bias"))
            faults["a lost bias"] = (lambda name, data: 0 * data
                                     if name == "blk.0.attn_q.bias" else None)
            faults["another lost bias"] = (lambda name, data: 0 * data
                                           if name == "blk.0.attn_v.bias" else None)
        else:
            faults["no permutation"] = reorder(unpermute, (".weight",))
        if self.kind == "llama3":
            faults["unscaled frequencies"] = (lambda name, data: data / data
                                              if name == "rope_freqs.weight" else None)
        for index, (what, change) in enumerate(faults.items()):
            bad = self.with_fault(f"fault-{index}", change)
            self.expect(self.wrong_tensors(bad), f"fault seen in the tensors: {what}")
            error = self.distance(self.from_ours(bad))
            self.expect(error > 1e-3, f"fault seen in our logits: {what} ({error:.1e})")
            error = self.llama_cpp_distance(bad)
            self.expect(error > 1e-3, f"fault seen in llama.cpp: {what} ({error:.1e})")


class ModelOracle(oracle.Oracle):
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

    def export(self, model, form, out, *options):
        self.edgetune("model", "export", model, "--to", form, "--out", out, "--quiet", *options)
        return out

    def check_real_model(self):
        """The published figures (formats design, section 9), by transformers."""
        path = self.export(self.options.model, "hf", self.folder / "smollm2", "--type", "f32")
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        ids = smollm2_oracle.FRANCE
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        nll = -torch.log_softmax(logits, -1)[range(4), ids[1:]]
        error = float((nll - torch.tensor(smollm2_oracle.FRANCE_NLL)).abs().max())
        self.expect(error < 1e-3, f"SmolLM2: GGUF -> directory -> transformers, NLL ({error:.1e})")
        error = max(abs(float(logits[-1, id]) - value)
                    for id, value in smollm2_oracle.FRANCE_LOGITS.items())
        self.expect(error < 1e-3, f"SmolLM2: and last logits ({error:.1e})")
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        self.expect(tokenizer("The capital of France is")["input_ids"] == ids
                    and tokenizer("a  1")["input_ids"] == [81, 256, 33],
                    "SmolLM2: transformers' ids with our tokenizer.json, digits alone")
        half = self.export(self.options.model, "hf", self.folder / "smollm2-bf16")
        size = (half / "model.safetensors").stat().st_size
        self.expect(268e6 < size < 270e6, f"SmolLM2: de-quantised to BF16 by default ({size} bytes)")


if __name__ == "__main__":
    oracle.main(ModelOracle, __doc__)
