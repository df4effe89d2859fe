#!/usr/bin/env python3
"""Our adapters in PEFT and llama.cpp, and theirs in ours, on a real model.

A random adapter is written by PEFT itself; `edgetune adapter export` turns it
into a llama.cpp GGUF and back into a PEFT directory. Then, for the same texts:

  ours with adapter    = PeftModel.from_pretrained   (1e-3 relative)
  ours with adapter    = llama.cpp with --lora       (1e-3 on the same weights
                         as an F32 GGUF; 0.03 on the quantised file, with an
                         adapter on q and k, for the first text)
  the adapter CHANGES the probabilities, in all three
  an export with un-permuted rows of q and k FAILS the llama.cpp comparison
  a PEFT export with one `model.` missing in its names FAILS the PEFT one

Exit code 1 and a line for each comparison that does not hold.
"""

import shutil
import warnings

import gguf
import numpy as np
import peft
import safetensors.numpy
import torch

import hf_llama
import oracle
from gguf_f32 import write_f32

TEXTS = [
    "The capital of France is Paris.",
    "A dog is a domestic animal that has been bred by people for a long time.",
    "To move by running is faster than to walk, but it takes more energy.",
]
# Large enough that the adapter moves probabilities well beyond any rounding.
ALPHA = 32
# For the quantised base, where llama.cpp's rounding of activations alone moves
# probabilities by 0.02 (and by 0.05 with an adapter on every target): q and k
# only, which is where a wrong row order shows.
QK_TARGETS, QK_ALPHA = ["q_proj", "k_proj"], 192


class AdapterOracle(oracle.Oracle):
    @staticmethod
    def add_options(parser):
        parser.add_argument("--targets", nargs="+", default=hf_llama.TARGETS)

    # --- log p(token | before), one array a text

    def with_adapter(self, adapter):
        self.ids, values = self.ours(TEXTS, adapter)
        return values

    def from_peft(self, model):
        return [hf_llama.log_probs(model, ids).numpy() for ids in self.ids]

    # --- adapters

    def make_adapter(self, base, targets, alpha):
        model = hf_llama.add_adapter(base, 8, alpha, targets)
        hf_llama.set_flat(model, hf_llama.random_adapter(model, 8, seed=5))
        path = self.folder / f"made-by-peft-{alpha}"
        model.save_pretrained(path)
        model.unload()
        return path

    def export(self, adapter, form):
        path = self.folder / f"{adapter.name}-as-{form}"
        self.edgetune("adapter", "export", adapter, "--to", form, "--model", self.options.model,
                      "--out", path)
        return path

    def without_permutation(self, good):
        """The same GGUF with rows of B of q and k as Hugging Face has them."""
        bad = good.with_suffix(".unpermuted")
        shutil.copy(good, bad)
        reader = gguf.GGUFReader(bad, "r+")
        for tensor in reader.tensors:
            for part, heads in (("attn_q", self.heads), ("attn_k", self.kv_heads)):
                if tensor.name.endswith(f"{part}.weight.lora_b"):
                    tensor.data[:] = hf_llama.unpermute(np.array(tensor.data), heads)
        del reader
        return bad

    def with_wrong_prefix(self, good):
        bad = self.folder / "wrong-prefix"
        shutil.copytree(good, bad)
        file = bad / "adapter_model.safetensors"
        tensors = {name.replace("base_model.model.model.", "base_model.model."): value
                   for name, value in safetensors.numpy.load_file(file).items()}
        safetensors.numpy.save_file(tensors, file, {"format": "pt"})
        return bad

    # --- the comparisons

    def run(self):
        torch.manual_seed(1)
        # PEFT lists every tensor of the deliberately wrong export.
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        base = hf_llama.load_model(str(self.options.model))
        self.heads = base.config.num_attention_heads
        self.kv_heads = base.config.num_key_value_heads
        plain = self.with_adapter(None)
        made = self.make_adapter(base, self.options.targets, ALPHA)
        exported = {form: self.export(made, form) for form in ("gguf", "peft")}
        tuned = self.with_adapter(made)
        self.compare_peft(base, plain, tuned, exported["peft"])
        self.compare_llama_cpp(plain, tuned, exported["gguf"])
        self.compare_quantised(base)
        self.expect(all(np.array_equal(a, b) for a, b in zip(tuned, self.with_adapter(exported["gguf"]))),
                    "our GGUF export read by us gives the same numbers, bit for bit")

    def peft_with(self, base, directory):
        model = peft.PeftModel.from_pretrained(base, directory).float().eval()
        values = self.from_peft(model)
        model.unload()
        return values

    def compare_peft(self, base, plain, tuned, exported):
        base_theirs = self.from_peft(base)
        theirs = self.peft_with(base, exported)
        self.expect(distance(plain, base_theirs) < 2e-3, "base log-probabilities equal transformers' "
                    f"({distance(plain, base_theirs):.1e})")
        change = distance(theirs, base_theirs)
        error = distance(tuned, theirs)
        self.expect(change > 0.1, f"PEFT: the adapter changes log-probabilities (by {change:.2f})")
        self.expect(error < 1e-3 * change, f"PEFT: with adapter equal to ours ({error:.1e})")
        wrong = self.peft_with(base, self.with_wrong_prefix(exported))
        self.expect(distance(tuned, wrong) > 1e-3 * change,
                    "PEFT: seeded fault, one `model.` missing in the names, is seen")

    def compare_llama_cpp(self, plain, tuned, exported):
        if not self.options.node:
            return
        ours, ours_base = [np.exp(x) for x in tuned], [np.exp(x) for x in plain]
        change = distance(ours, ours_base)
        self.expect(change > 0.1, f"llama.cpp: the adapter changes probabilities (by {change:.3f})")
        f32 = self.folder / "f32.gguf"
        write_f32(self.options.model, f32)
        error = distance(ours, self.in_llama_cpp(f32, self.ids, exported))
        self.expect(error < 1e-3, f"llama.cpp: with adapter equal to ours, F32 base ({error:.1e})")
        wrong = distance(ours, self.in_llama_cpp(f32, self.ids, self.without_permutation(exported)))
        self.expect(wrong > 1e-2, f"llama.cpp: seeded fault, un-permuted rows, is seen ({wrong:.3f})")

    def compare_quantised(self, base):
        if not self.options.node:
            return
        made = self.make_adapter(base, QK_TARGETS, QK_ALPHA)
        exported = self.export(made, "gguf")
        ours = [np.exp(x) for x in self.with_adapter(made)][:1]
        model, ids = self.options.model, self.ids[:1]
        error = distance(ours, self.in_llama_cpp(model, ids, exported))
        self.expect(error < 0.03, f"llama.cpp: with adapter equal to ours, quantised base ({error:.4f})")
        wrong = distance(ours, self.in_llama_cpp(model, ids, self.without_permutation(exported)))
        self.expect(wrong > 0.03, f"llama.cpp: seeded fault, un-permuted rows, is seen there too ({wrong:.3f})")


def distance(left, right):
    return max(float(np.max(np.abs(a - b))) for a, b in zip(left, right))


if __name__ == "__main__":
    oracle.main(AdapterOracle, __doc__)
