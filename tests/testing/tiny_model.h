#ifndef EDGETUNE_TESTS_TESTING_TINY_MODEL_H_
#define EDGETUNE_TESTS_TESTING_TINY_MODEL_H_

// A llama or qwen2 model with random weights, small enough for unit tests:
// vocabulary of three ChatML specials (0 <|endoftext|>, 1 <|im_start|>, 2
// <|im_end|>), the 256 byte tokens (3..258) and some English merges;
// pre-tokenizer "smollm"; the ChatML template of SmolLM2 with its own default
// system text. A function of the options alone. Stateless.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/quantise/block_types.h"

namespace edgetune::testing {

// All dimensions are multiples of 32 when a quantised type is chosen.
struct TinyModelOptions {
  std::string architecture = "llama";  // or "qwen2", which has biases
  int64_t hidden = 64;
  int64_t ffn = 96;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t kv_heads = 2;
  int64_t context = 256;
  double rope_theta = 10000;
  std::vector<float> rope_divisors = {};  // of hidden/heads/2 frequencies, or none
  bool tied = true;
  BlockType linear_type = BlockType::kF32;     // F32 or a quantised type
  BlockType embedding_type = BlockType::kF32;  // likewise; head too
  uint64_t seed = 1;
};

inline constexpr char kTinyDefaultSystem[] = "You are a small test model";

// Ready to be changed before it is written, for tests of bad files.
GgufWriter MakeTinyModel(const TinyModelOptions& options = {});
absl::Status WriteTinyModel(const std::string& path,
                            const TinyModelOptions& options = {});
// The same as a Hugging Face directory, which must not be there yet.
absl::Status WriteTinyHfModel(const std::string& directory,
                              const TinyModelOptions& options = {});

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_TINY_MODEL_H_
