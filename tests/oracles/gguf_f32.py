"""A GGUF model with plain weights, written by the `gguf` package."""

import gguf
import numpy as np


def write_f32(source, target, layers=None):
    """The same model with every tensor as F32; of its layers the first ones."""
    reader = gguf.GGUFReader(source)
    depth = reader.get_field("llama.block_count").contents()
    layers = layers or depth
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in (
                "general.architecture", "general.file_type", "general.quantization_version"):
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        value = layers if field.name == "llama.block_count" else field.contents()
        writer.add_key_value(field.name, value, field.types[0], inner)
    left_out = tuple(f"blk.{i}." for i in range(layers, depth))
    for tensor in reader.tensors:
        if tensor.name.startswith(left_out):
            continue
        writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type)
                          .astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
