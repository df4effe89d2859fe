// Configurations of others. First byte even: config.json of a model, which is
// written again and means the same; odd: adapter_config.json of PEFT.

#include <string>

#include "models/io/adapter/peft_config.h"
#include "models/io/hf/hf_config.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

void FeedModel(std::string_view text) {
  const auto config = ParseHfConfig(text);
  if (!config.ok()) return;
  const ModelConfig& model = config->model;
  Require(model.hidden > 0 && model.layers > 0 && model.heads > 0 &&
              model.kv_heads > 0 && model.heads % model.kv_heads == 0 &&
              model.head_dim > 0 && model.vocab > 0 && model.context > 0,
          "sizes that can be");
  TokenizerData tokenizer;
  tokenizer.bos = config->bos;
  tokenizer.padding = config->padding;
  const auto written = HfConfigText(model, tokenizer, "float32");
  if (!written.ok()) return;  // divisors that no parameters describe
  const auto again = ParseHfConfig(*written);
  Require(again.ok(), "what was written can be read");
  Require(again->model.hidden == model.hidden &&
              again->model.ffn == model.ffn &&
              again->model.layers == model.layers &&
              again->model.heads == model.heads &&
              again->model.kv_heads == model.kv_heads &&
              again->model.head_dim == model.head_dim &&
              again->model.vocab == model.vocab &&
              again->model.rope_theta == model.rope_theta &&
              again->model.rms_eps == model.rms_eps &&
              again->model.rope_scaling == model.rope_scaling &&
              again->model.tied == model.tied &&
              again->model.architecture == model.architecture,
          "and means the same");
}

void FeedAdapter(std::string_view text) {
  const auto config = ReadPeftConfig(text);
  if (!config.ok()) return;
  for (const char* module :
       {"layers.0.self_attn.q_proj", "layers.11.mlp.down_proj", ""}) {
    const LoraShape shape = config->Of(module);
    Require(shape.rank >= 1, "ranks are positive");
  }
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  data[0] % 2 == 0 ? edgetune::fuzz::FeedModel(text)
                   : edgetune::fuzz::FeedAdapter(text);
  return 0;
}
