#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/atomic_directory.h"
#include "base/status.h"
#include "models/io/adapter/adapter_file.h"
#include "models/io/hf/hf_config.h"
#include "models/io/hf/safetensors.h"
#include "models/io/tensor_stream.h"
#include "models/io/tokenizer/hf_tokenizer.h"
#include "models/io/tokenizer/pre_tokenizer.h"

namespace edgetune {
namespace {

using nlohmann::ordered_json;

using Shard = std::vector<PlannedTensor>;

// In order, each of at most `limit` bytes or of one tensor.
std::vector<Shard> CutShards(std::vector<PlannedTensor> tensors,
                             uint64_t limit) {
  std::vector<Shard> out;
  uint64_t bytes = 0;
  for (PlannedTensor& planned : tensors) {
    if (out.empty() || bytes + planned.bytes > limit) {
      out.emplace_back();
      bytes = 0;
    }
    bytes += planned.bytes;
    out.back().push_back(std::move(planned));
  }
  return out;
}

std::string ShardName(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

std::string IndexText(const std::vector<Shard>& shards, uint64_t total) {
  ordered_json out;
  out["metadata"] = {{"total_size", total}};
  ordered_json& map = out["weight_map"] = ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const PlannedTensor& planned : shards[i]) {
      map[planned.tensor.name] = ShardName(i, shards.size());
    }
  }
  return out.dump(2) + "\n";
}

// What a GGUF adds and leaves out: tokens that only pad the vocabulary have no
// place in tokenizer.json, and every qwen2 tokenizer normalises to NFC.
TokenizerData AsPublished(TokenizerData data) {
  if (PreTokenizerOf(data.pre) == PreTokenizer::kQwen2) data.nfc = true;
  while (!data.tokens.empty() &&
         data.tokens.back() == fmt::format("[PAD{}]", data.tokens.size() - 1)) {
    data.tokens.pop_back();
    data.types.pop_back();
  }
  return data;
}

absl::Status WriteShard(const std::string& path, const Shard& shard,
                        TensorStream* stream) {
  std::vector<SafeTensor> tensors;
  for (const PlannedTensor& planned : shard) {
    tensors.push_back({planned.tensor.name,
                       std::string(BlockShapeOf(planned.type).name),
                       planned.tensor.shape,
                       {}});
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::string header, SafetensorsHeader(tensors));
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path));
  EDGETUNE_RETURN_IF_ERROR(file->Append(header));
  for (const PlannedTensor& planned : shard) {
    EDGETUNE_RETURN_IF_ERROR(
        stream->Append(planned, /*head_dim=*/0, file.get()));
  }
  return file->Commit();
}

// What transformers calls the type of most tensors.
std::string_view DtypeName(BlockType type) {
  if (type == BlockType::kF32) return "float32";
  return type == BlockType::kF16 ? "float16" : "bfloat16";
}

absl::Status WriteTexts(const ModelDescription& model, BlockType type,
                        AtomicDirectory* out) {
  const TokenizerData tokenizer = AsPublished(model.tokenizer);
  EDGETUNE_ASSIGN_OR_RETURN(
      std::string config,
      HfConfigText(model.config, tokenizer, DtypeName(type)));
  EDGETUNE_RETURN_IF_ERROR(out->Write("config.json", config));
  EDGETUNE_ASSIGN_OR_RETURN(auto files,
                            HfTokenizerFiles(tokenizer, model.chat_template));
  for (const auto& [name, text] : files) {
    EDGETUNE_RETURN_IF_ERROR(out->Write(name, text));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteHfModel(const std::string& directory,
                          const ModelDescription& model,
                          const TensorSource& source,
                          const TensorEncoder& encoder,
                          const WriteOptions& options) {
  EDGETUNE_ASSIGN_OR_RETURN(auto tensors, PlanTensors(model, source, encoder));
  uint64_t total = 0;
  for (const PlannedTensor& planned : tensors) {
    if (BlockShapeOf(planned.type).elements != 1) {
      return absl::InvalidArgumentError(fmt::format(
          "cannot write tensor {} as {} into a Hugging Face directory",
          planned.tensor.name, std::string(BlockShapeOf(planned.type).name)));
    }
    total += planned.bytes;
  }
  const BlockType type = tensors[0].type;  // of the embedding
  const auto shards = CutShards(std::move(tensors), options.shard_bytes);
  EDGETUNE_ASSIGN_OR_RETURN(auto out, AtomicDirectory::Create(directory));
  EDGETUNE_RETURN_IF_ERROR(WriteTexts(model, type, out.get()));
  if (!options.provenance.empty()) {
    EDGETUNE_RETURN_IF_ERROR(out->Write(kProvenanceFile, options.provenance));
  }
  TensorStream stream(source, encoder, options, total);
  for (size_t i = 0; i < shards.size(); ++i) {
    EDGETUNE_RETURN_IF_ERROR(WriteShard(
        out->PathOf(ShardName(i, shards.size())), shards[i], &stream));
  }
  if (shards.size() > 1) {
    EDGETUNE_RETURN_IF_ERROR(
        out->Write("model.safetensors.index.json", IndexText(shards, total)));
  }
  return out->Commit();
}

}  // namespace edgetune
