#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/tensor_stream.h"
#include "models/io/tokenizer/pre_tokenizer.h"

namespace edgetune {
namespace {

constexpr int32_t kUnusedToken = 5;

void SetConfig(const ModelConfig& c, GgufWriter* writer) {
  const std::string prefix = c.architecture + ".";
  auto count = [&](const char* key, int64_t value) {
    writer->Set(prefix + key, static_cast<uint32_t>(value));
  };
  count("vocab_size", c.vocab);
  count("block_count", c.layers);
  count("context_length", c.context);
  count("embedding_length", c.hidden);
  count("feed_forward_length", c.ffn);
  count("attention.head_count", c.heads);
  count("attention.head_count_kv", c.kv_heads);
  if (c.head_dim * c.heads != c.hidden) {
    count("attention.key_length", c.head_dim);
    count("attention.value_length", c.head_dim);
  }
  count("rope.dimension_count", c.head_dim);
  writer->Set(prefix + "rope.freq_base", static_cast<float>(c.rope_theta));
  writer->Set(prefix + "attention.layer_norm_rms_epsilon",
              static_cast<float>(c.rms_eps));
}

// Every row of the embedding has a token: rows that only pad it get one too.
void PadTokens(int64_t vocab, TokenizerData* data) {
  while (data->tokens.size() < static_cast<size_t>(vocab)) {
    data->tokens.push_back(fmt::format("[PAD{}]", data->tokens.size()));
    data->types.push_back(kUnusedToken);
  }
}

// What would give other ids once only `pre` is left of it.
absl::Status CheckTokenizer(const TokenizerData& data) {
  const auto pre = PreTokenizerOf(data.pre);
  const bool whole_pieces = pre == PreTokenizer::kLlamaBpe;
  if (data.ignore_merges != whole_pieces ||
      (data.nfc && pre != PreTokenizer::kQwen2)) {
    return absl::InvalidArgumentError(fmt::format(
        "a GGUF cannot describe this tokenizer: {} with ignore_merges {} and "
        "NFC {}",
        data.pre, data.ignore_merges, data.nfc));
  }
  return absl::OkStatus();
}

void SetTokenizer(const ModelDescription& model, GgufWriter* writer) {
  TokenizerData data = model.tokenizer;
  PadTokens(model.config.vocab, &data);
  writer->Set("tokenizer.ggml.model", "gpt2");
  writer->Set("tokenizer.ggml.pre", data.pre);
  writer->SetArray("tokenizer.ggml.tokens", std::move(data.tokens));
  writer->SetArray("tokenizer.ggml.token_type", std::move(data.types));
  writer->SetArray("tokenizer.ggml.merges", std::move(data.merges));
  auto id = [&](const char* key, int32_t value) {
    if (value >= 0) writer->Set(key, static_cast<uint32_t>(value));
  };
  id("tokenizer.ggml.bos_token_id", data.bos);
  id("tokenizer.ggml.eos_token_id", data.eos);
  id("tokenizer.ggml.unknown_token_id", data.unknown);
  id("tokenizer.ggml.padding_token_id", data.padding);
  // llama.cpp has places for two more ids that end a text.
  const auto& ends = model.config.end_tokens;
  if (ends.size() > 1) id("tokenizer.ggml.eot_token_id", ends[1]);
  if (ends.size() > 2) id("tokenizer.ggml.eom_token_id", ends[2]);
  writer->Set("tokenizer.ggml.add_bos_token", data.add_bos);
  writer->Set("tokenizer.ggml.add_space_prefix", false);
  if (!model.chat_template.empty()) {
    writer->Set("tokenizer.chat_template", model.chat_template);
  }
}

void SetGeneral(const ModelDescription& model, const TensorEncoder& encoder,
                const std::vector<PlannedTensor>& tensors, GgufWriter* writer) {
  writer->Set("general.architecture", model.config.architecture);
  writer->Set("general.type", "model");
  if (!model.config.name.empty()) {
    writer->Set("general.name", model.config.name);
  }
  writer->Set("general.file_type", encoder.file_type());
  const bool quantised = std::any_of(
      tensors.begin(), tensors.end(),
      [](const PlannedTensor& t) { return BlockShapeOf(t.type).elements > 1; });
  if (quantised) writer->Set("general.quantization_version", uint32_t{2});
}

// Bytes of the tensors' data, all declared in the order they are streamed in.
uint64_t DeclareTensors(const std::vector<PlannedTensor>& tensors,
                        std::span<const float> divisors, GgufWriter* writer) {
  if (!divisors.empty()) {
    writer->DeclareTensor(kRopeFreqsTensor,
                          {static_cast<int64_t>(divisors.size())},
                          BlockType::kF32);
  }
  uint64_t total = 0;
  for (const PlannedTensor& planned : tensors) {
    writer->DeclareTensor(planned.tensor.gguf, planned.tensor.shape,
                          planned.type);
    total += planned.bytes;
  }
  return total;
}

absl::Status Pad(uint64_t size, AtomicFile* file) {
  return file->Append(std::string(GgufPadding(size), '\0'));
}

}  // namespace

absl::Status WriteGgufModel(const std::string& path,
                            const ModelDescription& model,
                            const TensorSource& source,
                            const TensorEncoder& encoder,
                            const WriteOptions& options) {
  EDGETUNE_ASSIGN_OR_RETURN(auto tensors, PlanTensors(model, source, encoder));
  EDGETUNE_RETURN_IF_ERROR(CheckTokenizer(model.tokenizer));
  const std::span<const float> divisors = model.config.rope_divisors;
  GgufWriter writer;
  SetGeneral(model, encoder, tensors, &writer);
  SetConfig(model.config, &writer);
  SetTokenizer(model, &writer);
  const uint64_t total = DeclareTensors(tensors, divisors, &writer);
  EDGETUNE_ASSIGN_OR_RETURN(std::string header, writer.SerialiseHeader());
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path));
  EDGETUNE_RETURN_IF_ERROR(file->Append(header));
  EDGETUNE_RETURN_IF_ERROR(
      file->Append({reinterpret_cast<const uint8_t*>(divisors.data()),
                    divisors.size_bytes()}));
  EDGETUNE_RETURN_IF_ERROR(Pad(divisors.size_bytes(), file.get()));
  TensorStream stream(source, encoder, options, total);
  for (const PlannedTensor& planned : tensors) {
    const int64_t permuted =
        planned.tensor.permuted ? model.config.head_dim : 0;
    EDGETUNE_RETURN_IF_ERROR(stream.Append(planned, permuted, file.get()));
    EDGETUNE_RETURN_IF_ERROR(Pad(planned.bytes, file.get()));
  }
  return file->Commit();
}

}  // namespace edgetune
