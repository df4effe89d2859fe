#include <fmt/format.h>

#include <cmath>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "models/io/block_types.h"
#include "models/io/gguf.h"
#include "models/io/llama_names.h"
#include "models/io/model_file.h"
#include "models/io/pre_tokenizer.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxDimension = uint64_t{1} << 24;
constexpr char kTokens[] = "tokenizer.ggml.tokens";

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string out;
  for (int64_t dim : shape)
    out += fmt::format("{}{}", out.empty() ? "" : ",", dim);
  return "[" + out + "]";
}

// Reads what the keys of a file say about the architecture.
class ConfigReader {
 public:
  explicit ConfigReader(const GgufFile& file) : file_(file) {}

  absl::StatusOr<ModelConfig> Read() {
    EDGETUNE_RETURN_IF_ERROR(ReadIdentity());
    ModelConfig& c = config_;
    EDGETUNE_ASSIGN_OR_RETURN(c.layers, Dimension("llama.block_count"));
    EDGETUNE_ASSIGN_OR_RETURN(c.context, Dimension("llama.context_length"));
    EDGETUNE_ASSIGN_OR_RETURN(c.hidden, Dimension("llama.embedding_length"));
    EDGETUNE_ASSIGN_OR_RETURN(c.ffn, Dimension("llama.feed_forward_length"));
    EDGETUNE_RETURN_IF_ERROR(ReadHeads());
    EDGETUNE_ASSIGN_OR_RETURN(
        c.rms_eps, Positive("llama.attention.layer_norm_rms_epsilon", 0));
    // 10000 is what the format means by an absent base.
    EDGETUNE_ASSIGN_OR_RETURN(c.rope_theta,
                              Positive("llama.rope.freq_base", 10000));
    EDGETUNE_RETURN_IF_ERROR(RefuseVariants());
    EDGETUNE_ASSIGN_OR_RETURN(auto tokens, file_.Strings(kTokens));
    c.vocab = static_cast<int64_t>(tokens.size());
    EDGETUNE_RETURN_IF_ERROR(
        Expect("llama.vocab_size", c.vocab, "the number of tokens"));
    c.tied = file_.FindTensor("output.weight") == nullptr;
    return std::move(config_);
  }

 private:
  absl::Status ReadIdentity() {
    EDGETUNE_ASSIGN_OR_RETURN(auto architecture,
                              file_.String("general.architecture"));
    if (architecture != "llama") {
      return absl::InvalidArgumentError(fmt::format(
          "architecture '{}' is not supported, 'llama' is", architecture));
    }
    config_.architecture = architecture;
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
    EDGETUNE_ASSIGN_OR_RETURN(c.heads, Dimension("llama.attention.head_count"));
    c.kv_heads = c.heads;
    if (file_.Has("llama.attention.head_count_kv")) {
      EDGETUNE_ASSIGN_OR_RETURN(c.kv_heads,
                                Dimension("llama.attention.head_count_kv"));
    }
    c.head_dim = c.hidden / c.heads;
    if (file_.Has("llama.attention.key_length")) {
      EDGETUNE_ASSIGN_OR_RETURN(c.head_dim,
                                Dimension("llama.attention.key_length"));
    } else if (c.hidden % c.heads != 0) {
      return absl::InvalidArgumentError(fmt::format(
          "{} heads do not divide an embedding of {}", c.heads, c.hidden));
    }
    if (c.heads % c.kv_heads != 0 || c.head_dim % 2 != 0) {
      return absl::InvalidArgumentError(
          fmt::format("{} heads over {} key/value heads of {} elements cannot "
                      "be grouped and rotated",
                      c.heads, c.kv_heads, c.head_dim));
    }
    EDGETUNE_RETURN_IF_ERROR(
        Expect("llama.attention.value_length", c.head_dim, "the key length"));
    return Expect("llama.rope.dimension_count", c.head_dim,
                  "the size of a head");
  }

  // Features that would change the result without changing a tensor's shape.
  absl::Status RefuseVariants() {
    if (file_.Has("llama.rope.scaling.type")) {
      EDGETUNE_ASSIGN_OR_RETURN(auto type,
                                file_.String("llama.rope.scaling.type"));
      if (type != "none") {
        return absl::InvalidArgumentError(
            fmt::format("RoPE scaling '{}' is not supported", type));
      }
    }
    for (const char* key :
         {"llama.expert_count", "llama.rope.scale_linear",
          "llama.rope.scaling.factor", "llama.attention.sliding_window"}) {
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

  absl::StatusOr<int64_t> Dimension(const char* key) {
    EDGETUNE_ASSIGN_OR_RETURN(uint64_t value, file_.Count(key));
    if (value < 1 || value > kMaxDimension) {
      return absl::InvalidArgumentError(fmt::format(
          "GGUF key {} is {}, wanted 1 to {}", key, value, kMaxDimension));
    }
    return static_cast<int64_t>(value);
  }

  // `absent` 0: the key is required.
  absl::StatusOr<double> Positive(const char* key, double absent) {
    if (absent > 0 && !file_.Has(key)) return absent;
    EDGETUNE_ASSIGN_OR_RETURN(double value, file_.Number(key));
    if (!std::isfinite(value) || value <= 0) {
      return absl::InvalidArgumentError(fmt::format(
          "GGUF key {} is {}, wanted a positive number", key, value));
    }
    return value;
  }

  absl::Status Expect(const char* key, int64_t wanted, const char* what) {
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
  if (!file.Has("tokenizer.chat_template")) return ChatTemplate::Recognise("");
  EDGETUNE_ASSIGN_OR_RETURN(auto source,
                            file.String("tokenizer.chat_template"));
  return ChatTemplate::Recognise(source);
}

class GgufModelFile final : public ModelFile {
 public:
  explicit GgufModelFile(std::unique_ptr<GgufFile> file)
      : file_(std::move(file)) {}

  absl::Status Prepare() {
    EDGETUNE_ASSIGN_OR_RETURN(config_, ConfigReader(*file_).Read());
    EDGETUNE_RETURN_IF_ERROR(FindTensors());
    EDGETUNE_ASSIGN_OR_RETURN(tokenizer_, ReadTokenizer(*file_));
    EDGETUNE_ASSIGN_OR_RETURN(chat_template_, ReadChatTemplate(*file_));
    return absl::OkStatus();
  }

  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const ChatTemplate& chat_template() const override { return chat_template_; }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    auto it = index_.find(name);
    if (it == index_.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    const Source& source = sources_[it->second];
    const auto& shape = source.tensor->shape;
    const int64_t rows = shape.size() == 1 ? 1 : shape[0];
    const int64_t columns = shape.back();
    if (row_begin < 0 || row_begin > row_end || row_end > rows ||
        out.size() != static_cast<size_t>((row_end - row_begin) * columns)) {
      return absl::InvalidArgumentError(
          fmt::format("rows {} to {} of {} {} do not fit {} elements",
                      row_begin, row_end, name, ShapeText(shape), out.size()));
    }
    const size_t row_bytes = source.tensor->data.size() / rows;
    if (!source.rotated) {
      Dequantise(source.tensor->type,
                 source.tensor->data.subspan(row_begin * row_bytes,
                                             (row_end - row_begin) * row_bytes),
                 out);
      return absl::OkStatus();
    }
    for (int64_t row = row_begin; row < row_end; ++row) {
      const int64_t at = GgufRowOf(row, config_.head_dim);
      Dequantise(source.tensor->type,
                 source.tensor->data.subspan(at * row_bytes, row_bytes),
                 out.subspan((row - row_begin) * columns, columns));
    }
    return absl::OkStatus();
  }

 private:
  struct Source {
    const GgufTensor* tensor;
    bool rotated;
  };

  absl::Status FindTensors() {
    const ModelConfig& c = config_;
    // Before the loop over layers, whose number the file merely claims.
    if (static_cast<uint64_t>(c.layers) > file_->tensors().size()) {
      return absl::InvalidArgumentError(
          fmt::format("{} layers are claimed, the file has {} tensors",
                      c.layers, file_->tensors().size()));
    }
    EDGETUNE_RETURN_IF_ERROR(Add("token_embd.weight",
                                 "model.embed_tokens.weight",
                                 {c.vocab, c.hidden}, false));
    for (int64_t layer = 0; layer < c.layers; ++layer) {
      EDGETUNE_RETURN_IF_ERROR(AddLayer(layer));
    }
    EDGETUNE_RETURN_IF_ERROR(
        Add("output_norm.weight", "model.norm.weight", {c.hidden}, false));
    if (!c.tied) {
      EDGETUNE_RETURN_IF_ERROR(
          Add("output.weight", "lm_head.weight", {c.vocab, c.hidden}, false));
    }
    return RefuseOthers();
  }

  absl::Status AddLayer(int64_t layer) {
    const std::string gguf = fmt::format("blk.{}.", layer);
    const std::string name = fmt::format("model.layers.{}.", layer);
    EDGETUNE_RETURN_IF_ERROR(Add(gguf + "attn_norm.weight",
                                 name + "input_layernorm.weight",
                                 {config_.hidden}, false));
    EDGETUNE_RETURN_IF_ERROR(Add(gguf + "ffn_norm.weight",
                                 name + "post_attention_layernorm.weight",
                                 {config_.hidden}, false));
    for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
      const LlamaLinear& linear = kLlamaLinears[i];
      const LinearShape shape = LlamaLinearShape(config_, i);
      EDGETUNE_RETURN_IF_ERROR(
          Add(fmt::format("{}{}.weight", gguf, linear.gguf),
              fmt::format("{}{}.weight", name, linear.module),
              {shape.out, shape.in}, linear.rotated));
    }
    return absl::OkStatus();
  }

  absl::Status Add(const std::string& gguf, const std::string& name,
                   std::vector<int64_t> shape, bool rotated) {
    const GgufTensor* tensor = file_->FindTensor(gguf);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} is missing", gguf));
    }
    if (tensor->shape != shape) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {} has shape {}, wanted {}", gguf,
                      ShapeText(tensor->shape), ShapeText(shape)));
    }
    index_.emplace(name, infos_.size());
    infos_.push_back({name, std::move(shape),
                      std::string(BlockShapeOf(tensor->type).name),
                      tensor->data.size()});
    sources_.push_back({tensor, rotated});
    return absl::OkStatus();
  }

  absl::Status RefuseOthers() const {
    if (file_->tensors().size() == sources_.size()) return absl::OkStatus();
    std::unordered_set<std::string_view> known;
    for (const Source& source : sources_) known.insert(source.tensor->name);
    for (const GgufTensor& tensor : file_->tensors()) {
      if (known.count(tensor.name) > 0) continue;
      return absl::InvalidArgumentError(
          tensor.name == "rope_freqs.weight"
              ? "tensor rope_freqs.weight (Llama 3 RoPE scaling) is not "
                "supported in this version"
              : fmt::format("tensor {} does not belong to this architecture",
                            tensor.name));
    }
    return absl::OkStatus();
  }

  const std::unique_ptr<GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  ChatTemplate chat_template_;
  std::vector<TensorInfo> infos_;
  std::vector<Source> sources_;  // beside infos_
  std::unordered_map<std::string, size_t> index_;
};

absl::StatusOr<std::unique_ptr<ModelFile>> OpenGguf(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, GgufFile::Open(path));
  auto model = std::make_unique<GgufModelFile>(std::move(file));
  EDGETUNE_RETURN_IF_ERROR(model->Prepare());
  return model;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> ModelFile::Open(
    const std::string& path) {
  auto model = OpenGguf(path);
  if (model.ok()) return model;
  std::string_view hint = "use a GGUF file of the llama architecture";
  if (absl::IsNotFound(model.status())) hint = "check the path";
  if (absl::IsDataLoss(model.status())) {
    hint = "the file is damaged: fetch it again";
  }
  // A system error already names the path.
  const bool named =
      model.status().message().find(path) != absl::string_view::npos;
  return Annotate(named ? model.status() : Prefix(model.status(), path),
                  ErrorKind::kModel, hint);
}

}  // namespace edgetune
