#include "models/shrink/shrunk_model.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/model_tensors.h"
#include "models/shrink/block_tensors.h"
#include "models/shrink/small_vocabulary.h"

namespace edgetune {
namespace {

// Which rows or columns of a tensor stay; nullptr: all.
using Selection = std::shared_ptr<const std::vector<int64_t>>;

// Where the values of a tensor of the cut model come from.
struct TensorView {
  const TensorInfo* source = nullptr;
  Selection rows, columns;
};

// The numbers of a kept layer, spread over the rows or columns they stand for.
struct LayerSelections {
  Selection channels, queries, keys;
};

// Each number n of `kept` becomes n*width .. n*width + width - 1.
Selection Spread(const std::vector<int64_t>& kept, int64_t count,
                 int64_t width) {
  if (static_cast<int64_t>(kept.size()) == count) return nullptr;
  auto out = std::make_shared<std::vector<int64_t>>();
  out->reserve(kept.size() * static_cast<size_t>(width));
  for (const int64_t number : kept) {
    for (int64_t i = 0; i < width; ++i) out->push_back(number * width + i);
  }
  return out;
}

LayerSelections SelectionsOf(const ModelConfig& whole, const KeptLayer& layer) {
  const int64_t queries = whole.heads / whole.kv_heads * whole.head_dim;
  return {Spread(layer.channels, whole.ffn, 1),
          Spread(layer.groups, whole.kv_heads, queries),
          Spread(layer.groups, whole.kv_heads, whole.head_dim)};
}

// `part` of "model.layers.N.part.weight" and ".bias".
TensorView ViewOf(std::string_view part, const LayerSelections& kept) {
  if (part == "mlp.gate_proj" || part == "mlp.up_proj") {
    return {nullptr, kept.channels, nullptr};
  }
  if (part == "mlp.down_proj") return {nullptr, nullptr, kept.channels};
  if (part == "self_attn.q_proj") return {nullptr, kept.queries, nullptr};
  if (part == "self_attn.o_proj") return {nullptr, nullptr, kept.queries};
  if (part == "self_attn.k_proj" || part == "self_attn.v_proj") {
    return {nullptr, kept.keys, nullptr};
  }
  return {};
}

class ShrunkModel final : public ModelFile {
 public:
  ShrunkModel(const ModelFile& model, ModelConfig config,
              std::unique_ptr<Tokenizer> tokenizer)
      : model_(model),
        config_(std::move(config)),
        tokenizer_(std::move(tokenizer)) {}

  absl::Status Prepare(const KeptParts& kept) {
    for (const TensorInfo& info : model_.tensors()) sources_[info.name] = &info;
    for (const KeptLayer& layer : kept.layers) {
      layers_.push_back(SelectionsOf(model_.config(), layer));
    }
    if (kept.tokens.has_value()) {
      tokens_ = std::make_shared<std::vector<int64_t>>(kept.tokens->begin(),
                                                       kept.tokens->end());
    }
    return ForEachTensor(
        config_, [&](const ModelTensor& tensor) { return Add(tensor, kept); });
  }

  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override {
    return tokenizer_ != nullptr ? *tokenizer_ : model_.tokenizer();
  }
  const ChatTemplate& chat_template() const override {
    return model_.chat_template();
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    const auto found = views_.find(name);
    if (found == views_.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    const TensorInfo& info = infos_[found->second.first];
    EDGETUNE_RETURN_IF_ERROR(
        CheckRowRange(info, row_begin, row_end, out.size()));
    const TensorView& view = found->second.second;
    if (view.columns != nullptr) {
      return ReadColumns(view, row_begin, row_end, out);
    }
    return ReadRuns(view, row_begin, row_end, info.columns(), out);
  }

  std::optional<StoredRows> Stored(const std::string& name) const override {
    const auto found = views_.find(name);
    if (found == views_.end()) return std::nullopt;
    const TensorView& view = found->second.second;
    if (view.rows != nullptr || view.columns != nullptr) return std::nullopt;
    return model_.Stored(view.source->name);
  }

  void Release(const std::string& name) const override {
    const auto found = views_.find(name);
    if (found != views_.end())
      model_.Release(found->second.second.source->name);
  }

 private:
  absl::Status Add(const ModelTensor& tensor, const KeptParts& kept) {
    std::string name = tensor.name;
    TensorView view;
    constexpr std::string_view kLayers = "model.layers.";
    if (name.starts_with(kLayers)) {
      const size_t dot = name.find('.', kLayers.size());
      size_t layer = 0;
      std::from_chars(name.data() + kLayers.size(), name.data() + dot, layer);
      const std::string rest = name.substr(dot + 1);
      view = ViewOf(rest.substr(0, rest.rfind('.')), layers_[layer]);
      name = fmt::format("{}{}.{}", kLayers, kept.layers[layer].layer, rest);
    } else if (name != "model.norm.weight") {
      view.rows = tokens_;
    }
    // A bias is one row: what a matrix loses in rows it loses in columns.
    if (tensor.shape.size() < 2) std::swap(view.rows, view.columns);
    const auto source = sources_.find(name);
    if (source == sources_.end()) {
      return absl::InvalidArgumentError(
          fmt::format("the model has no tensor {}", name));
    }
    view.source = source->second;
    views_[tensor.name] = {infos_.size(), view};
    infos_.push_back(InfoOf(tensor, view));
    return absl::OkStatus();
  }

  static TensorInfo InfoOf(const ModelTensor& tensor, const TensorView& view) {
    const TensorInfo& whole = *view.source;
    TensorInfo info = {tensor.name, tensor.shape, whole.type, 0};
    if (view.columns != nullptr && IsOfBlocks(whole)) {
      ShowAsFloats(&info);
    } else if (view.columns != nullptr) {
      info.bytes = whole.bytes / (whole.rows() * whole.columns()) *
                   (info.rows() * info.columns());
    } else {
      info.bytes = whole.bytes / whole.rows() * info.rows();
    }
    return info;
  }

  // Rows that stand beside each other are read together.
  absl::Status ReadRuns(const TensorView& view, int64_t begin, int64_t end,
                        int64_t columns, std::span<float> out) const {
    const std::string& name = view.source->name;
    if (view.rows == nullptr) return model_.ReadRows(name, begin, end, out);
    const std::vector<int64_t>& rows = *view.rows;
    for (int64_t row = begin, last; row < end; row = last) {
      for (last = row + 1; last < end && rows[last] == rows[last - 1] + 1;) {
        ++last;
      }
      EDGETUNE_RETURN_IF_ERROR(model_.ReadRows(
          name, rows[row], rows[last - 1] + 1,
          out.subspan(static_cast<size_t>((row - begin) * columns),
                      static_cast<size_t>((last - row) * columns))));
    }
    return absl::OkStatus();
  }

  absl::Status ReadColumns(const TensorView& view, int64_t begin, int64_t end,
                           std::span<float> out) const {
    std::vector<float> whole(static_cast<size_t>(view.source->columns()));
    float* value = out.data();
    for (int64_t row = begin; row < end; ++row) {
      EDGETUNE_RETURN_IF_ERROR(
          model_.ReadRows(view.source->name, row, row + 1, whole));
      for (const int64_t column : *view.columns) *value++ = whole[column];
    }
    return absl::OkStatus();
  }

  const ModelFile& model_;
  const ModelConfig config_;
  const std::unique_ptr<Tokenizer> tokenizer_;  // nullptr: the model's own
  std::unordered_map<std::string, const TensorInfo*> sources_;
  std::vector<LayerSelections> layers_;
  Selection tokens_;
  std::vector<TensorInfo> infos_;
  // By name: its place in infos_.
  std::unordered_map<std::string, std::pair<size_t, TensorView>> views_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> MakeShrunkModel(
    const ModelFile& model, const KeptParts& kept) {
  if (model.config().image.has_value()) {
    return absl::InvalidArgumentError("a model of images cannot be cut");
  }
  EDGETUNE_ASSIGN_OR_RETURN(ModelConfig config,
                            ConfigOfKept(model.config(), kept));
  std::unique_ptr<Tokenizer> tokenizer;
  if (kept.tokens.has_value()) {
    EDGETUNE_ASSIGN_OR_RETURN(
        TokenizerData data, KeepTokens(model.tokenizer().data(), *kept.tokens));
    EDGETUNE_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Make(std::move(data)));
  }
  auto shrunk = std::make_unique<ShrunkModel>(model, std::move(config),
                                              std::move(tokenizer));
  EDGETUNE_RETURN_IF_ERROR(shrunk->Prepare(kept));
  return shrunk;
}

}  // namespace edgetune
