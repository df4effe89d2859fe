#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "models/io/hf/hf_config.h"
#include "models/io/hf/safetensors.h"
#include "models/io/mapped_model.h"
#include "models/io/strict_json.h"
#include "models/io/tokenizer/hf_tokenizer.h"
#include "models/io/vision/vision_model.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

bool Exists(const std::string& directory, const std::string& name) {
  std::error_code ignored;
  return fs::exists(directory + "/" + name, ignored);
}

// A file beside the index, whatever the index says.
bool IsPlainName(std::string_view name) {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  return plain && !name.starts_with('.') && name.ends_with(".safetensors");
}

// The weights' files of a directory and which tensor lies where.
class Shards {
 public:
  explicit Shards(std::string directory) : directory_(std::move(directory)) {}

  absl::Status Open() {
    if (Exists(directory_, kSingleFile)) return AddFile(kSingleFile);
    if (!Exists(directory_, kIndexFile)) return NoWeights();
    EDGETUNE_RETURN_IF_ERROR(ReadIndex());
    for (const auto& [tensor, file] : map_) {
      if (Exists(directory_, file)) continue;
      return absl::InvalidArgumentError(
          fmt::format("{} is missing, {} names it", file, kIndexFile));
    }
    for (const auto& [tensor, file] : map_) {
      if (files_.count(file) > 0) continue;
      EDGETUNE_RETURN_IF_ERROR(AddFile(file));
    }
    for (const auto& [tensor, file] : map_) {
      if (found_.count(tensor) > 0) continue;
      return absl::InvalidArgumentError(fmt::format(
          "tensor {} is not in {}, where {} has it", tensor, file, kIndexFile));
    }
    return absl::OkStatus();
  }

  // Of the weights, the index among them.
  absl::StatusOr<std::set<std::string>> FileNames() {
    if (Exists(directory_, kSingleFile))
      return std::set<std::string>{kSingleFile};
    if (!Exists(directory_, kIndexFile)) return NoWeights();
    EDGETUNE_RETURN_IF_ERROR(ReadIndex());
    std::set<std::string> out = {kIndexFile};
    for (const auto& [tensor, file] : map_) out.insert(file);
    return out;
  }

  std::unordered_map<std::string, StoredTensor> TakeTensors() {
    return std::move(tensors_);
  }
  std::map<std::string, std::unique_ptr<SafetensorsFile>> TakeFiles() {
    return std::move(files_);
  }

 private:
  absl::Status NoWeights() const {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory_, ignored)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".bin" && extension != ".pt" && extension != ".pth") {
        continue;
      }
      return absl::InvalidArgumentError(fmt::format(
          "{} is a pickle, which is never read; save the model as safetensors",
          entry.path().filename().string()));
    }
    return absl::NotFoundError(fmt::format(
        "{} has neither {} nor {}", directory_, kSingleFile, kIndexFile));
  }

  absl::Status ReadIndex() {
    EDGETUNE_ASSIGN_OR_RETURN(std::string text,
                              ReadFile(directory_ + "/" + kIndexFile));
    EDGETUNE_ASSIGN_OR_RETURN(json root, ParseStrictJson(text, kIndexFile));
    auto map = root.find("weight_map");
    if (!root.is_object() || map == root.end() || !map->is_object()) {
      return absl::InvalidArgumentError(
          fmt::format("{} has no weight_map", kIndexFile));
    }
    for (const auto& [tensor, file] : map->items()) {
      if (!file.is_string() || !IsPlainName(file.get<std::string>())) {
        return absl::InvalidArgumentError(fmt::format(
            "{} has tensor {} in {}, wanted the plain name of a .safetensors "
            "file",
            kIndexFile, tensor, file.dump().substr(0, 200)));
      }
      map_.emplace(tensor, file.get<std::string>());
    }
    return absl::OkStatus();
  }

  absl::Status AddFile(const std::string& name) {
    auto file = SafetensorsFile::Open(directory_ + "/" + name);
    if (!file.ok()) return Prefix(file.status(), name);
    for (const SafeTensor& tensor : (*file)->tensors()) {
      EDGETUNE_RETURN_IF_ERROR(AddTensor(name, tensor));
    }
    files_.emplace(name, std::move(*file));
    return absl::OkStatus();
  }

  absl::Status AddTensor(const std::string& file, const SafeTensor& tensor) {
    found_.insert(tensor.name);
    auto it = map_.find(tensor.name);
    if (!map_.empty() && (it == map_.end() || it->second != file)) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is in {}, where {} does not have it",
                      tensor.name, file, kIndexFile));
    }
    // What old checkpoints stored though it follows from the configuration.
    if (tensor.name.ends_with("rotary_emb.inv_freq")) return absl::OkStatus();
    for (BlockType type :
         {BlockType::kF32, BlockType::kF16, BlockType::kBF16}) {
      if (BlockShapeOf(type).name != tensor.dtype) continue;
      tensors_.emplace(tensor.name,
                       StoredTensor{type, tensor.shape, tensor.data});
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is of dtype {}, wanted F32, F16 or BF16",
                    tensor.name, tensor.dtype));
  }

  const std::string directory_;
  std::map<std::string, std::string> map_;  // tensor -> file, when sharded
  std::map<std::string, std::unique_ptr<SafetensorsFile>> files_;
  std::set<std::string> found_;
  std::unordered_map<std::string, StoredTensor> tensors_;
};

absl::StatusOr<HfConfig> ReadHfConfig(const std::string& directory) {
  if (!Exists(directory, "config.json")) {
    const bool adapter = Exists(directory, "adapter_config.json");
    return absl::InvalidArgumentError(
        fmt::format("the directory {} {}, wanted a base model", directory,
                    adapter ? "holds an adapter" : "has no config.json"));
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::string text,
                            ReadFile(directory + "/config.json", kMaxConfig));
  return ParseHfConfig(text);
}

// From tokenizer_config.json: one template, or the "default" of several.
absl::StatusOr<std::string> TemplateOfConfig(const std::string& directory) {
  constexpr char kName[] = "tokenizer_config.json";
  if (!Exists(directory, kName)) return "";
  EDGETUNE_ASSIGN_OR_RETURN(std::string text,
                            ReadFile(directory + "/" + kName));
  EDGETUNE_ASSIGN_OR_RETURN(json root, ParseStrictJson(text, kName));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{} is no object", kName));
  }
  const json source = root.value("chat_template", json());
  if (source.is_string()) return source.get<std::string>();
  for (const json& one : source.is_array() ? source : json::array()) {
    const bool wanted =
        one.is_object() && one.value("name", json()) == "default";
    if (wanted && one.value("template", json()).is_string()) {
      return one["template"].get<std::string>();
    }
  }
  return "";
}

absl::StatusOr<ChatTemplate> ReadChatTemplate(const std::string& directory) {
  constexpr char kName[] = "chat_template.jinja";
  std::string source;
  if (Exists(directory, kName)) {
    EDGETUNE_ASSIGN_OR_RETURN(source,
                              ReadFile(directory + "/" + kName, kMaxConfig));
  } else {
    EDGETUNE_ASSIGN_OR_RETURN(source, TemplateOfConfig(directory));
  }
  return ChatTemplate::Recognise(source);
}

// Ids that the tokenizer's files leave open are the configuration's.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerData data,
                                                         HfConfig* config) {
  const int64_t size = static_cast<int64_t>(data.tokens.size());
  if (size > config->model.vocab) {
    return absl::InvalidArgumentError(fmt::format(
        "the tokenizer has {} tokens, config.json a vocab_size of {}", size,
        config->model.vocab));
  }
  std::vector<int32_t>& ends = config->model.end_tokens;
  auto fill = [size](int32_t* id, int32_t from) {
    if (*id < 0 && from < size) *id = from;
  };
  fill(&data.bos, config->bos);
  fill(&data.padding, config->padding);
  if (!ends.empty()) fill(&data.eos, ends[0]);
  if (data.eos >= 0) {
    ends.erase(std::remove(ends.begin(), ends.end(), data.eos), ends.end());
    ends.insert(ends.begin(), data.eos);
  }
  return Tokenizer::Make(std::move(data));
}

std::string NameOf(const std::string& directory) {
  std::error_code ignored;
  fs::path path = fs::absolute(directory, ignored).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ModelFile::FilesOf(
    const std::string& directory) {
  if (IsVisionModel(directory)) {
    return std::vector<std::string>{"config.json", kSingleFile};
  }
  EDGETUNE_ASSIGN_OR_RETURN(auto names, Shards(directory).FileNames());
  names.insert({"config.json", "tokenizer.json"});
  for (const char* name : {"chat_template.jinja", "generation_config.json",
                           "tokenizer_config.json"}) {
    if (Exists(directory, name)) names.insert(name);
  }
  return std::vector<std::string>(names.begin(), names.end());
}

absl::StatusOr<std::unique_ptr<ModelFile>> OpenHfModel(
    const std::string& directory) {
  EDGETUNE_ASSIGN_OR_RETURN(HfConfig config, ReadHfConfig(directory));
  Shards shards(directory);
  EDGETUNE_RETURN_IF_ERROR(shards.Open());
  MappedModelParts parts;
  parts.format = ModelFormat::kHuggingFace;
  parts.tensors = shards.TakeTensors();
  // transformers, too, lets the embedding stand for it.
  if (config.model.tied) parts.tensors.erase("lm_head.weight");
  EDGETUNE_ASSIGN_OR_RETURN(TokenizerData data, ReadHfTokenizer(directory));
  EDGETUNE_ASSIGN_OR_RETURN(parts.tokenizer,
                            MakeTokenizer(std::move(data), &config));
  EDGETUNE_ASSIGN_OR_RETURN(parts.chat_template, ReadChatTemplate(directory));
  parts.config = std::move(config.model);
  parts.config.name = NameOf(directory);
  parts.files = std::make_shared<
      const std::map<std::string, std::unique_ptr<SafetensorsFile>>>(
      shards.TakeFiles());
  return MakeMappedModel(std::move(parts));
}

}  // namespace edgetune
