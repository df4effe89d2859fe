#include "models/io/tokenizer/hf_tokenizer.h"

#include <filesystem>
#include <string_view>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/tokenizer/hf_tokenizer_parser.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxFile = 64 << 20;

// "" where there is no such file.
absl::StatusOr<std::string> ReadIfThere(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return "";
  return ReadFile(path, kMaxFile);
}

absl::StatusOr<TokenizerData> Read(const std::string& directory) {
  const auto path = [&](std::string_view name) {
    return directory + "/" + std::string(name);
  };
  std::error_code ignored;
  if (!std::filesystem::exists(path("tokenizer.json"), ignored) &&
      std::filesystem::exists(path("tokenizer.model"), ignored)) {
    return absl::InvalidArgumentError(
        "tokenizer.model is a sentencepiece tokenizer, which is not "
        "supported; byte-level BPE in a tokenizer.json is");
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::string tokenizer,
                            ReadFile(path("tokenizer.json"), kMaxFile));
  EDGETUNE_ASSIGN_OR_RETURN(std::string tokenizer_config,
                            ReadIfThere(path("tokenizer_config.json")));
  EDGETUNE_ASSIGN_OR_RETURN(std::string config,
                            ReadIfThere(path("config.json")));
  EDGETUNE_ASSIGN_OR_RETURN(std::string generation,
                            ReadIfThere(path("generation_config.json")));
  return ParseHfTokenizer(tokenizer, {tokenizer_config, config, generation});
}

}  // namespace

absl::StatusOr<TokenizerData> ReadHfTokenizer(const std::string& directory) {
  auto data = Read(directory);
  if (data.ok()) return data;
  std::string_view hint = "use a model with a byte-level BPE tokenizer";
  if (absl::IsNotFound(data.status())) {
    hint =
        "the directory needs a tokenizer.json: save the model's tokenizer "
        "there";
  } else if (absl::IsDataLoss(data.status())) {
    hint = "the file is damaged: fetch it again";
  }
  // A system error already names the path.
  const bool named =
      data.status().message().find(directory) != absl::string_view::npos;
  return Annotate(named ? data.status() : Prefix(data.status(), directory),
                  ErrorKind::kModel, hint);
}

}  // namespace edgetune
