#!/usr/bin/env python3
"""Our quantised models against llama.cpp's own quantiser, on a real model.

The `gguf` package writes the model's first layers (with EDGETUNE_LONG=1 all of
them) as an F32 GGUF. For each mix, `edgetune model quantize` and
`llama_model_quantize` of the library in npm's node-llama-cpp make a file of it. Then

  every tensor has the same type, shape and bytes in both (so the two files have
  the same perplexity, exactly)
  llama.cpp loads ours and gives the same probabilities as for its own
  `edgetune model export --type f32` de-quantises every block to the very floats
  that the `gguf` package makes of it, in all eight types of blocks
  a file of another mix, and one with a single flipped bit, FAIL the comparison

Exit code 1 and a line for each comparison that does not hold.
"""

import ctypes
import os
import pathlib

import gguf
import numpy as np

import oracle
from gguf_f32 import write_f32

# Our name and the number of llama.cpp's file type.
MIXES = {"q8_0": 7, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "q4_k_s": 14,
         "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18}
# Between them they hold blocks of every type.
DEQUANTISED = {"q4_0", "q4_1", "q4_k_m", "q5_k_m"}
LOADED = {"q4_0", "q4_k_m"}
# Mixes give layers other types by their place: enough for each rule to apply.
LAYERS = None if os.environ.get("EDGETUNE_LONG") == "1" else 8
# SmolLM2's tokens of "The capital of France is Paris."
IDS = [504, 3575, 282, 4649, 314, 7042, 30]


class Parameters(ctypes.Structure):
    """llama_model_quantize_params as far as it is set here, with room."""
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32),
                ("rest", ctypes.c_byte * 248)]


class LlamaCpp:
    def __init__(self, node_modules):
        kind = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}[os.uname().machine]
        folder = pathlib.Path(node_modules, "@node-llama-cpp", kind, "bins", kind)
        # Each needs the ones before it.
        for pattern in ("libggml-base*.so*", "libggml.*so*", "libllama.*so*"):
            file = next(folder.glob(pattern))
            self.library = ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        self.library.llama_model_quantize_default_params.restype = Parameters
        self.library.llama_model_quantize.restype = ctypes.c_uint32
        self.library.llama_model_quantize.argtypes = [
            ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
        silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.silent = silent(lambda level, text, data: None)
        self.library.llama_log_set(self.silent, None)

    def quantise(self, source, out, file_type):
        parameters = self.library.llama_model_quantize_default_params()
        parameters.nthread, parameters.ftype = os.cpu_count(), file_type
        code = self.library.llama_model_quantize(
            str(source).encode(), str(out).encode(), ctypes.byref(parameters))
        if code != 0:
            raise RuntimeError(f"llama_model_quantize returned {code}")


def tensors_of(path):
    return {tensor.name: (tensor.tensor_type.name, tuple(tensor.shape), tensor.data.tobytes())
            for tensor in gguf.GGUFReader(path).tensors}


def differing(ours, theirs):
    """Names of the tensors that are not the same in both."""
    return sorted(name for name in ours.keys() | theirs.keys()
                  if ours.get(name) != theirs.get(name))


class QuantiseOracle(oracle.Oracle):
    @staticmethod
    def add_options(parser):
        parser.add_argument("--node-modules", default=os.environ.get("EDGETUNE_NODE_MODULES"))

    def __init__(self, options, folder):
        super().__init__(options, folder)
        self.llama_cpp = LlamaCpp(options.node_modules)
        self.types = set()

    def check_blocks(self, mix, ours):
        """Every value of the model, read by us and by the gguf package."""
        out = self.folder / "floats.gguf"
        out.unlink(missing_ok=True)
        self.edgetune("model", "export", ours, "--to", "gguf", "--type", "f32", "--out", out)
        floats = {tensor.name: tensor.data for tensor in gguf.GGUFReader(out).tensors}
        wrong = []
        for tensor in gguf.GGUFReader(ours).tensors:
            self.types.add(tensor.tensor_type.name)
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            if values.astype("<f4").tobytes() != floats[tensor.name].tobytes():
                wrong.append(tensor.name)
        self.expect(not wrong, f"{mix}: every value is what the gguf package reads {wrong[:3] or ''}")

    def check_mix(self, mix, file_type):
        ours, theirs = self.folder / "ours.gguf", self.folder / "theirs.gguf"
        ours.unlink(missing_ok=True)
        self.edgetune("model", "quantize", self.f32, "--to", mix, "--out", ours)
        self.llama_cpp.quantise(self.f32, theirs, file_type)
        mine, reference = tensors_of(ours), tensors_of(theirs)
        wrong = differing(mine, reference)
        self.expect(not wrong, f"{mix}: {len(mine)} tensors have the bytes of llama.cpp's own "
                               f"quantiser {wrong[:3] if wrong else ''}")
        return ours, theirs, mine, reference

    def run(self):
        self.f32 = self.folder / "f32.gguf"
        write_f32(self.options.model, self.f32, LAYERS)
        made = {}
        for mix, file_type in MIXES.items():
            ours, theirs, made[mix], reference = self.check_mix(mix, file_type)
            if mix in DEQUANTISED:
                self.check_blocks(mix, ours)
            if mix in LOADED:
                self.check_llama_cpp(mix, ours, theirs)
        self.expect(self.types == {"F32", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K",
                                   "Q6_K"}, f"blocks of {', '.join(sorted(self.types))} were read")
        self.expect(differing(made["q4_k_s"], made["q4_k_m"]), "another mix is seen")
        name, (kind, shape, data) = next(iter(reference.items()))
        flipped = reference | {name: (kind, shape, bytes([data[0] ^ 1]) + data[1:])}
        self.expect(differing(reference, flipped) == [name], "a flipped bit is seen")
        print(f"{len(self.failures)} comparisons failed")

    def check_llama_cpp(self, mix, ours, theirs):
        [mine], [reference] = (self.in_llama_cpp(model, [IDS]) for model in (ours, theirs))
        off = np.abs(mine - reference).max()
        self.expect(off == 0, f"{mix}: llama.cpp loads ours like its own ({off:.1e})")


if __name__ == "__main__":
    oracle.main(QuantiseOracle, __doc__)
