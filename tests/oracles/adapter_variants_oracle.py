#!/usr/bin/env python3
"""LoRA adapters of every kind that is read, against PEFT and llama.cpp.

PEFT makes and saves an adapter with random factors; for one text

  ours with it                     = PeftModel               (1e-3 of the change)
  ours with our own PEFT and GGUF copies of it = ours with it, bit for bit where
                                     one alpha serves all modules
  llama.cpp on an F32 base with our GGUF       = ours         (1e-3)
  the merged F32 GGUF in llama.cpp             = ours         (1e-3)
  the merged F32 directory in transformers     = PeftModel    (1e-3 of the change)
  the adapter CHANGES the probabilities
  with its alphas lost, or its ranks' scale, the comparison FAILS

for ranks 1, 8 and 64, all seven targets, rank-stabilised scale, ranks and
alphas by module. Exit code 1 and a line for each that does not hold.
"""

import json
import shutil
import warnings

import numpy as np
import peft
import torch
import transformers

import hf_llama
import oracle
from gguf_f32 import write_f32

TEXT = "A dog is a domestic animal that has been bred by people for a long time."
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Alphas move probabilities well beyond any rounding.
VARIANTS = {
    "rank-1": {"r": 1, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "rank-64-all-seven": {"r": 64, "lora_alpha": 48, "target_modules": SEVEN},
    "rank-stabilised": {"r": 16, "lora_alpha": 8, "target_modules": SEVEN, "use_rslora": True},
    "ranks-by-module": {
        "r": 8, "lora_alpha": 32, "target_modules": SEVEN,
        "rank_pattern": {"layers.3.self_attn.q_proj": 2, "down_proj": 16}},
    "ranks-and-alphas-by-module": {
        "r": 8, "lora_alpha": 32, "target_modules": SEVEN,
        "rank_pattern": {"k_proj": 4}, "alpha_pattern": {"k_proj": 96, "up_proj": 8}},
}
ONE_ALPHA = {"rank-1", "rank-64-all-seven", "rank-stabilised", "ranks-by-module"}
IN_LLAMA_CPP = {"rank-stabilised", "ranks-by-module", "ranks-and-alphas-by-module"}
MERGED = {"ranks-and-alphas-by-module"}


class VariantsOracle(oracle.Oracle):
    # --- log p(token | before) of TEXT

    def with_adapter(self, adapter):
        [self.ids], [values] = self.ours([TEXT], adapter)
        return values

    def in_torch(self, model):
        return hf_llama.log_probs(model.float().eval(), self.ids).numpy()

    def llama_cpp_distance(self, ours, model, adapter=None):
        [theirs] = self.in_llama_cpp(model, [self.ids], adapter)
        return np.abs(theirs - np.exp(ours)).max()

    # --- one variant

    def make(self, name, options):
        model = peft.get_peft_model(
            self.base, peft.LoraConfig(lora_dropout=0.0, task_type="CAUSAL_LM", **options)).float()
        hf_llama.set_flat(model, hf_llama.random_adapter(model, options["r"], seed=7))
        path = self.folder / name
        model.save_pretrained(path)
        theirs = self.in_torch(model)
        model.unload()
        return path, theirs

    def copy_as(self, form, adapter):
        out = self.folder / f"{adapter.name}-{form}"
        self.edgetune("adapter", "import" if form == "peft" else "export", adapter,
                      *(["--to", "gguf"] if form == "gguf" else []),
                      "--model", self.options.model, "--out", out)
        return out

    def check(self, name, options):
        adapter, theirs = self.make(name, options)
        ours = self.with_adapter(adapter)
        change = np.abs(theirs - self.plain).max()
        error = np.abs(ours - theirs).max()
        self.expect(change > 0.1, f"{name}: changes log-probabilities (by {change:.2f})")
        self.expect(error < 1e-3 * change, f"{name}: PEFT's numbers are ours ({error:.1e})")
        copies = {form: self.copy_as(form, adapter) for form in ("peft", "gguf")}
        self.expect(np.array_equal(self.with_adapter(copies["peft"]), ours),
                    f"{name}: imported, the same numbers bit for bit")
        error = np.abs(self.with_adapter(copies["gguf"]) - ours).max()
        limit = 0 if name in ONE_ALPHA else 1e-4 * change
        self.expect(error <= limit, f"{name}: as GGUF the same numbers ({error:.1e})")
        if self.options.node and name in IN_LLAMA_CPP:
            error = self.llama_cpp_distance(ours, self.f32, copies["gguf"])
            self.expect(error < 1e-3, f"{name}: llama.cpp's numbers are ours ({error:.1e})")
        self.check_fault(name, adapter, options, theirs, change)
        if name in MERGED:
            self.check_merged(adapter, ours, theirs, change)

    def check_fault(self, name, adapter, options, theirs, change):
        """The same factors with one line of the configuration changed."""
        faults = {"alpha_pattern": ("alpha_pattern", {}), "use_rslora": ("use_rslora", False)}
        key, value = next((faults[k] for k in faults if k in options),
                          ("lora_alpha", options["lora_alpha"] / 2))
        bad = self.folder / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(adapter, bad)
        config = json.loads((bad / "adapter_config.json").read_text())
        config[key] = value
        (bad / "adapter_config.json").write_text(json.dumps(config))
        error = np.abs(self.with_adapter(bad) - theirs).max()
        self.expect(error > 1e-2 * change, f"{name}: seeded fault, {key}, is seen ({error:.1e})")

    def check_merged(self, adapter, ours, theirs, change):
        merged = {"gguf": self.folder / "merged.gguf", "hf": self.folder / "merged-hf"}
        for form, out in merged.items():
            self.edgetune("adapter", "merge", adapter, "--model", self.options.model,
                          "--to", form, "--type", "f32", "--out", out)
        if self.options.node:
            error = self.llama_cpp_distance(ours, merged["gguf"])
            self.expect(error < 1e-3, f"merged GGUF in llama.cpp equals ours ({error:.1e})")
        model = transformers.AutoModelForCausalLM.from_pretrained(merged["hf"])
        error = np.abs(self.in_torch(model) - theirs).max()
        self.expect(error < 1e-3 * change, f"merged directory in transformers equals PEFT ({error:.1e})")

    def run(self):
        torch.manual_seed(1)
        warnings.filterwarnings("ignore")
        self.base = hf_llama.load_model(str(self.options.model))
        self.plain = self.with_adapter(None)
        self.f32 = self.folder / "f32.gguf"
        write_f32(self.options.model, self.f32)
        for name, options in VARIANTS.items():
            self.check(name, options)


if __name__ == "__main__":
    oracle.main(VariantsOracle, __doc__)
