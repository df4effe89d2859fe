#ifndef EDGETUNE_MODELS_IO_LLAMA_NAMES_H_
#define EDGETUNE_MODELS_IO_LLAMA_NAMES_H_

// The linear layers of llama and qwen2 as Hugging Face and as GGUF name
// them, and their shapes (formats design, section 3). Stateless.

#include <cstdint>

#include "models/io/model_file.h"

namespace edgetune {

struct LlamaLinear {
  const char* target;  // as a LoRA target
  const char* module;  // below "layers.N."
  const char* gguf;    // below "blk.N."
  bool rotated;        // by rotary embeddings
};

inline constexpr LlamaLinear kLlamaLinears[] = {
    {"q_proj", "self_attn.q_proj", "attn_q", true},
    {"k_proj", "self_attn.k_proj", "attn_k", true},
    {"v_proj", "self_attn.v_proj", "attn_v", false},
    {"o_proj", "self_attn.o_proj", "attn_output", false},
    {"gate_proj", "mlp.gate_proj", "ffn_gate", false},
    {"up_proj", "mlp.up_proj", "ffn_up", false},
    {"down_proj", "mlp.down_proj", "ffn_down", false},
};

struct LinearShape {
  int64_t out, in;
};

// Of kLlamaLinears[index].
inline LinearShape LlamaLinearShape(const ModelConfig& config, size_t index) {
  const int64_t query = config.heads * config.head_dim;
  const int64_t key = config.kv_heads * config.head_dim;
  switch (index) {
    case 0:
      return {query, config.hidden};
    case 1:
    case 2:
      return {key, config.hidden};
    case 3:
      return {config.hidden, query};
    case 6:
      return {config.hidden, config.ffn};
    default:
      return {config.ffn, config.hidden};
  }
}

// Whether GGUF keeps the rotated rows in another order; qwen2 never does.
inline bool PermutesRows(const ModelConfig& config) {
  return config.architecture == "llama";
}

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_LLAMA_NAMES_H_
