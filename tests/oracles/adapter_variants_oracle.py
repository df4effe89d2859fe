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

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import peft
import torch
import transformers

import hf_llama
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


class Oracle:
    def __init__(self, options, folder):
        self.options, self.folder, self.failures = options, pathlib.Path(folder), []
        self.data = self.folder / "text.jsonl"
        self.data.write_text(json.dumps({"text": TEXT}) + "\n")

    def expect(self, holds, what):
        print(("ok      " if holds else "FAILED  ") + what, flush=True)
        if not holds:
            self.failures.append(what)

    def edgetune(self, *arguments):
        return subprocess.run([self.options.edgetune, *map(str, arguments)], check=True,
                              capture_output=True, text=True).stdout

    # --- log p(token | before), from the second token on

    def ours(self, adapter):
        out = self.folder / "per-token.jsonl"
        extra = ["--adapter", adapter] if adapter else []
        self.edgetune("eval", "--model", self.options.model, "--precision", "fp32", *extra,
                      "--data", self.data, "--per-token", out, "--format", "json")
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        self.ids = [row["id"] for row in rows]
        return np.array([row["logprob"] for row in rows[1:]])

    def in_torch(self, model):
        return hf_llama.log_probs(model.float().eval(), self.ids).numpy()

    def in_llama_cpp(self, model, adapter=None):
        script = pathlib.Path(__file__).with_name("llama_cpp_probabilities.mjs")
        lora = ["--lora", str(adapter)] if adapter else []
        result = subprocess.run([self.options.node, str(script), str(model), *lora],
                                input=json.dumps([self.ids]), check=True, text=True,
                                stdout=subprocess.PIPE)
        return np.array(json.loads(result.stdout)[0])

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
        ours = self.ours(adapter)
        change = np.abs(theirs - self.plain).max()
        error = np.abs(ours - theirs).max()
        self.expect(change > 0.1, f"{name}: changes log-probabilities (by {change:.2f})")
        self.expect(error < 1e-3 * change, f"{name}: PEFT's numbers are ours ({error:.1e})")
        copies = {form: self.copy_as(form, adapter) for form in ("peft", "gguf")}
        self.expect(np.array_equal(self.ours(copies["peft"]), ours),
                    f"{name}: imported, the same numbers bit for bit")
        error = np.abs(self.ours(copies["gguf"]) - ours).max()
        limit = 0 if name in ONE_ALPHA else 1e-4 * change
        self.expect(error <= limit, f"{name}: as GGUF the same numbers ({error:.1e})")
        if self.options.node and name in IN_LLAMA_CPP:
            error = np.abs(self.in_llama_cpp(self.f32, copies["gguf"]) - np.exp(ours)).max()
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
        error = np.abs(self.ours(bad) - theirs).max()
        self.expect(error > 1e-2 * change, f"{name}: seeded fault, {key}, is seen ({error:.1e})")

    def check_merged(self, adapter, ours, theirs, change):
        merged = {"gguf": self.folder / "merged.gguf", "hf": self.folder / "merged-hf"}
        for form, out in merged.items():
            self.edgetune("adapter", "merge", adapter, "--model", self.options.model,
                          "--to", form, "--type", "f32", "--out", out)
        if self.options.node:
            error = np.abs(self.in_llama_cpp(merged["gguf"]) - np.exp(ours)).max()
            self.expect(error < 1e-3, f"merged GGUF in llama.cpp equals ours ({error:.1e})")
        model = transformers.AutoModelForCausalLM.from_pretrained(merged["hf"])
        error = np.abs(self.in_torch(model) - theirs).max()
        self.expect(error < 1e-3 * change, f"merged directory in transformers equals PEFT ({error:.1e})")

    def run(self):
        self.base = hf_llama.load_model(str(self.options.model))
        self.plain = self.ours(None)
        self.f32 = self.folder / "f32.gguf"
        write_f32(self.options.model, self.f32)
        for name, options in VARIANTS.items():
            self.check(name, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--edgetune", required=True, help="the program")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="base GGUF")
    parser.add_argument("--node", default=os.environ.get("EDGETUNE_ORACLE_NODE"),
                        help="node >= 20; without it llama.cpp is left out")
    options = parser.parse_args()
    torch.manual_seed(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(options, folder)
        oracle.run()
    return 1 if oracle.failures else 0


if __name__ == "__main__":
    sys.exit(main())
