#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "models/io/gguf/gguf.h"
#include "models/io/gguf/gguf_config.h"
#include "models/io/mapped_model.h"
#include "models/io/model_tensors.h"
#include "models/io/tokenizer/pre_tokenizer.h"

namespace edgetune {
namespace {

constexpr char kTokens[] = "tokenizer.ggml.tokens";

template <typename T>
std::vector<std::string> Copies(const std::vector<T>& views) {
  return std::vector<std::string>(views.begin(), views.end());
}

absl::StatusOr<int32_t> SpecialId(const GgufFile& file, const char* key,
                                  size_t vocabulary) {
  if (!file.Has(key)) return -1;
  EDGETUNE_ASSIGN_OR_RETURN(uint64_t id, file.Count(key));
  if (id >= vocabulary) {
    return absl::InvalidArgumentError(
        fmt::format("GGUF key {} is {}, outside the vocabulary of {}", key, id,
                    vocabulary));
  }
  return static_cast<int32_t>(id);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const GgufFile& file) {
  EDGETUNE_ASSIGN_OR_RETURN(auto model, file.String("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return absl::InvalidArgumentError(
        fmt::format("tokenizer model '{}' is not supported, 'gpt2' is", model));
  }
  TokenizerData data;
  EDGETUNE_ASSIGN_OR_RETURN(data.pre, file.String("tokenizer.ggml.pre"));
  EDGETUNE_ASSIGN_OR_RETURN(auto tokens, file.Strings(kTokens));
  data.tokens = Copies(tokens);
  EDGETUNE_ASSIGN_OR_RETURN(data.types,
                            file.Int32s("tokenizer.ggml.token_type"));
  EDGETUNE_ASSIGN_OR_RETURN(auto merges, file.Strings("tokenizer.ggml.merges"));
  data.merges = Copies(merges);
  const std::pair<const char*, int32_t*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &data.bos},
      {"tokenizer.ggml.eos_token_id", &data.eos},
      {"tokenizer.ggml.unknown_token_id", &data.unknown},
      {"tokenizer.ggml.padding_token_id", &data.padding}};
  for (const auto& [key, id] : ids) {
    EDGETUNE_ASSIGN_OR_RETURN(*id, SpecialId(file, key, data.tokens.size()));
  }
  // llama.cpp's defaults for this pre-tokenizer; false for the others. It
  // knows no normaliser.
  data.ignore_merges = PreTokenizerOf(data.pre) == PreTokenizer::kLlamaBpe;
  data.add_bos = data.ignore_merges;
  if (file.Has("tokenizer.ggml.add_bos_token")) {
    EDGETUNE_ASSIGN_OR_RETURN(data.add_bos,
                              file.Bool("tokenizer.ggml.add_bos_token"));
  }
  return Tokenizer::Make(std::move(data));
}

absl::StatusOr<ChatTemplate> ReadChatTemplate(const GgufFile& file) {
  if (!file.Has("tokenizer.chat_template")) return ChatTemplate();
  EDGETUNE_ASSIGN_OR_RETURN(auto source,
                            file.String("tokenizer.chat_template"));
  return ChatTemplate::Recognise(source);
}

// End of text, of turn and of message, as llama.cpp names them.
absl::StatusOr<std::vector<int32_t>> ReadEndTokens(const GgufFile& file,
                                                   size_t vocabulary) {
  std::vector<int32_t> out;
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id"}) {
    EDGETUNE_ASSIGN_OR_RETURN(int32_t id, SpecialId(file, key, vocabulary));
    if (id >= 0 && std::find(out.begin(), out.end(), id) == out.end()) {
      out.push_back(id);
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> OpenGgufModel(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto opened, GgufFile::Open(path));
  const std::shared_ptr<const GgufFile> file = std::move(opened);
  MappedModelParts parts;
  parts.format = ModelFormat::kGguf;
  EDGETUNE_ASSIGN_OR_RETURN(parts.config, ReadGgufConfig(*file));
  EDGETUNE_ASSIGN_OR_RETURN(
      parts.config.end_tokens,
      ReadEndTokens(*file, static_cast<size_t>(parts.config.vocab)));
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.name == kRopeFreqsTensor) continue;
    parts.tensors.emplace(tensor.name,
                          StoredTensor{tensor.type, tensor.shape, tensor.data});
  }
  EDGETUNE_ASSIGN_OR_RETURN(parts.tokenizer, ReadTokenizer(*file));
  EDGETUNE_ASSIGN_OR_RETURN(parts.chat_template, ReadChatTemplate(*file));
  parts.files = file;
  return MakeMappedModel(std::move(parts));
}

}  // namespace edgetune
