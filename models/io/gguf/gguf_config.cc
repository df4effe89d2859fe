#include "models/io/gguf/gguf_config.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/status.h"
#include "models/io/model_tensors.h"

namespace edgetune {
namespace {

class GgufConfigReader {
 public:
  explicit GgufConfigReader(const GgufFile& file) : file_(file) {}

  absl::StatusOr<ModelConfig> Read() {
    EDGETUNE_RETURN_IF_ERROR(ReadIdentity());
    ModelConfig& c = config_;
    EDGETUNE_ASSIGN_OR_RETURN(c.layers, Dimension("block_count"));
    EDGETUNE_ASSIGN_OR_RETURN(c.context, Dimension("context_length"));
    EDGETUNE_ASSIGN_OR_RETURN(c.hidden, Dimension("embedding_length"));
    EDGETUNE_ASSIGN_OR_RETURN(c.ffn, Dimension("feed_forward_length"));
    EDGETUNE_RETURN_IF_ERROR(ReadHeads());
    EDGETUNE_ASSIGN_OR_RETURN(c.rms_eps,
                              Positive("attention.layer_norm_rms_epsilon", 0));
    // 10000 is what the format means by an absent base.
    EDGETUNE_ASSIGN_OR_RETURN(c.rope_theta, Positive("rope.freq_base", 10000));
    EDGETUNE_RETURN_IF_ERROR(RefuseVariants());
    EDGETUNE_RETURN_IF_ERROR(ReadDivisors());
    EDGETUNE_ASSIGN_OR_RETURN(auto tokens,
                              file_.Strings("tokenizer.ggml.tokens"));
    c.vocab = static_cast<int64_t>(tokens.size());
    EDGETUNE_RETURN_IF_ERROR(
        Expect(Key("vocab_size"), c.vocab, "the number of tokens"));
    c.tied = file_.FindTensor("output.weight") == nullptr;
    EDGETUNE_RETURN_IF_ERROR(CheckModelConfig(c));
    return std::move(config_);
  }

 private:
  std::string Key(std::string_view name) const {
    return fmt::format("{}.{}", config_.architecture, name);
  }

  absl::Status ReadIdentity() {
    EDGETUNE_ASSIGN_OR_RETURN(auto architecture,
                              file_.String("general.architecture"));
    if (architecture != "llama" && architecture != "qwen2") {
      return absl::InvalidArgumentError(fmt::format(
          "architecture '{}' is not supported, 'llama' and 'qwen2' are",
          architecture));
    }
    config_.architecture = architecture;
    config_.qkv_bias = architecture == "qwen2";
    if (file_.Has("general.type")) {
      EDGETUNE_ASSIGN_OR_RETURN(auto type, file_.String("general.type"));
      if (type != "model") {
        return absl::InvalidArgumentError(
            fmt::format("the file holds a '{}', wanted a model", type));
      }
    }
    if (file_.Has("general.name")) {
      EDGETUNE_ASSIGN_OR_RETURN(config_.name, file_.String("general.name"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadHeads() {
    ModelConfig& c = config_;
    EDGETUNE_ASSIGN_OR_RETURN(c.heads, Dimension("attention.head_count"));
    c.kv_heads = c.heads;
    if (file_.Has(Key("attention.head_count_kv"))) {
      EDGETUNE_ASSIGN_OR_RETURN(c.kv_heads,
                                Dimension("attention.head_count_kv"));
    }
    c.head_dim = c.hidden / c.heads;
    if (file_.Has(Key("attention.key_length"))) {
      EDGETUNE_ASSIGN_OR_RETURN(c.head_dim, Dimension("attention.key_length"));
    } else if (c.hidden % c.heads != 0) {
      return absl::InvalidArgumentError(fmt::format(
          "{} heads do not divide an embedding of {}", c.heads, c.hidden));
    }
    EDGETUNE_RETURN_IF_ERROR(
        Expect(Key("attention.value_length"), c.head_dim, "the key length"));
    return Expect(Key("rope.dimension_count"), c.head_dim,
                  "the size of a head");
  }

  // Features that would change the result without changing a tensor's shape.
  absl::Status RefuseVariants() {
    if (file_.Has(Key("rope.scaling.type"))) {
      EDGETUNE_ASSIGN_OR_RETURN(auto type,
                                file_.String(Key("rope.scaling.type")));
      if (type != "none") {
        return absl::InvalidArgumentError(
            fmt::format("RoPE scaling '{}' is not supported", type));
      }
    }
    for (const char* name :
         {"expert_count", "rope.scale_linear", "rope.scaling.factor",
          "attention.sliding_window"}) {
      const std::string key = Key(name);
      if (!file_.Has(key)) continue;
      auto count = file_.Count(key);
      if (count.ok() && *count == 0) continue;
      auto number = file_.Number(key);
      if (number.ok() && (*number == 1 || *number == 0)) continue;
      return absl::InvalidArgumentError(
          fmt::format("the model uses {}, which is not supported", key));
    }
    return Expect("split.count", 1,
                  "one: a model in several files is not read");
  }

  // Llama 3's scaling, which GGUF keeps as what frequencies are divided by.
  absl::Status ReadDivisors() {
    const GgufTensor* tensor = file_.FindTensor(kRopeFreqsTensor);
    if (tensor == nullptr) return absl::OkStatus();
    ModelConfig& c = config_;
    if (c.architecture != "llama") {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is not supported in architecture '{}'",
                      tensor->name, c.architecture));
    }
    if (tensor->shape != std::vector<int64_t>{c.head_dim / 2} ||
        tensor->type != BlockType::kF32) {
      return absl::InvalidArgumentError(fmt::format(
          "tensor {} is {} of {}, wanted [{}] of F32", tensor->name,
          ShapeText(tensor->shape),
          std::string(BlockShapeOf(tensor->type).name), c.head_dim / 2));
    }
    c.rope_divisors.resize(static_cast<size_t>(c.head_dim / 2));
    Dequantise(tensor->type, tensor->data, c.rope_divisors);
    for (const float divisor : c.rope_divisors) {
      if (std::isfinite(divisor) && divisor > 0) continue;
      return absl::InvalidArgumentError(
          fmt::format("tensor {} holds {}, wanted positive numbers",
                      tensor->name, divisor));
    }
    c.rope_scaling = RopeScalingOf(c.rope_divisors, c.rope_theta);
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> Dimension(std::string_view name) {
    const std::string key = Key(name);
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t value, file_.Count(key));
    if (value < 1 || value > kMaxDimension) {
      return absl::InvalidArgumentError(fmt::format(
          "GGUF key {} is {}, wanted 1 to {}", key, value, kMaxDimension));
    }
    return static_cast<int64_t>(value);
  }

  // `absent` 0: the key is required.
  absl::StatusOr<double> Positive(std::string_view name, double absent) {
    const std::string key = Key(name);
    if (absent > 0 && !file_.Has(key)) return absent;
    EDGETUNE_ASSIGN_OR_RETURN(double value, file_.Number(key));
    if (!std::isfinite(value) || value <= 0) {
      return absl::InvalidArgumentError(fmt::format(
          "GGUF key {} is {}, wanted a positive number", key, value));
    }
    return value;
  }

  absl::Status Expect(const std::string& key, int64_t wanted,
                      const char* what) {
    if (!file_.Has(key)) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t value, file_.Count(key));
    if (value == static_cast<uint64_t>(wanted)) return absl::OkStatus();
    // split.count is 0 in some files that were never split.
    if (value == 0 && wanted == 1) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "GGUF key {} is {}, wanted {} ({})", key, value, wanted, what));
  }

  const GgufFile& file_;
  ModelConfig config_;
};

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file) {
  return GgufConfigReader(file).Read();
}

}  // namespace edgetune
