#include "models/shrink/sparse_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/status.h"
#include "models/io/llama_names.h"
#include "models/shrink/block_tensors.h"
#include "models/shrink/score_cut.h"

namespace edgetune {
namespace {

// One of the matrices that lose weights.
struct SparseMatrix {
  std::string name;    // of the tensor
  std::string linear;  // as norms name it
  int64_t rows = 0, columns = 0;
  uint64_t begin = 0;  // its first place among the weights it competes with
  ScoreCut cut;        // unless rows decide for themselves
};

std::vector<SparseMatrix> MatricesOf(const ModelConfig& config) {
  std::vector<SparseMatrix> out;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
      const LinearShape shape = LlamaLinearShape(config, i);
      SparseMatrix matrix;
      matrix.linear =
          fmt::format("layers.{}.{}", layer, kLlamaLinears[i].module);
      matrix.name = fmt::format("model.{}.weight", matrix.linear);
      matrix.rows = shape.out;
      matrix.columns = shape.in;
      out.push_back(std::move(matrix));
    }
  }
  return out;
}

absl::Status CheckPatternFits(const NOfM& pattern,
                              std::span<const SparseMatrix> matrices) {
  for (const SparseMatrix& matrix : matrices) {
    if (matrix.columns % pattern.of == 0) continue;
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "{}:{} does not divide the {} columns of {}",
                        pattern.kept, pattern.of, matrix.columns, matrix.name)),
                    ErrorKind::kUsage, "take an M that does");
  }
  return absl::OkStatus();
}

// Zero become the `count` smallest of some weights of a row, of equal ones the
// first.
void ZeroSmallest(std::span<float> weights, std::span<const uint32_t> scores,
                  size_t count, std::vector<uint32_t>* order) {
  order->resize(weights.size());
  std::iota(order->begin(), order->end(), 0u);
  std::nth_element(order->begin(), order->begin() + static_cast<int64_t>(count),
                   order->end(), [&](uint32_t a, uint32_t b) {
                     return std::pair(scores[a], a) < std::pair(scores[b], b);
                   });
  for (size_t i = 0; i < count; ++i) weights[(*order)[i]] = 0;
}

class SparseModel final : public ModelFile {
 public:
  SparseModel(const ModelFile& model, const Sparsity& sparsity,
              InputNorms norms)
      : model_(model), sparsity_(sparsity), norms_(std::move(norms)) {
    for (SparseMatrix& matrix : MatricesOf(model.config())) {
      index_[matrix.name] = matrices_.size();
      matrices_.push_back(std::move(matrix));
    }
    for (TensorInfo info : model.tensors()) {
      if (index_.contains(info.name) && IsOfBlocks(info)) ShowAsFloats(&info);
      infos_.push_back(std::move(info));
    }
  }

  absl::Status Prepare(ReadProgress progress) {
    if (sparsity_.pattern.has_value()) {
      return CheckPatternFits(*sparsity_.pattern, matrices_);
    }
    if (sparsity_.scope == SparseScope::kRow) return absl::OkStatus();
    constexpr uint64_t kScans = 3;
    WeightReader reader(model_, kScans * SparseValuesOf(model_.config()),
                        std::move(progress));
    if (sparsity_.scope == SparseScope::kModel) return Cut(matrices_, &reader);
    for (SparseMatrix& matrix : matrices_) {
      EDGETUNE_RETURN_IF_ERROR(Cut({&matrix, 1}, &reader));
    }
    return absl::OkStatus();
  }

  const ModelConfig& config() const override { return model_.config(); }
  const Tokenizer& tokenizer() const override { return model_.tokenizer(); }
  const ChatTemplate& chat_template() const override {
    return model_.chat_template();
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }

  absl::Status ReadRows(const std::string& name, int64_t row_begin,
                        int64_t row_end, std::span<float> out) const override {
    EDGETUNE_RETURN_IF_ERROR(model_.ReadRows(name, row_begin, row_end, out));
    const auto found = index_.find(name);
    if (found == index_.end()) return absl::OkStatus();
    const SparseMatrix& matrix = matrices_[found->second];
    const ColumnNorms norms(norms_, matrix.linear);
    std::vector<uint32_t> scores, order;
    for (int64_t row = row_begin; row < row_end; ++row) {
      const std::span<float> weights =
          out.subspan(static_cast<size_t>((row - row_begin) * matrix.columns),
                      static_cast<size_t>(matrix.columns));
      Score(weights, norms, &scores);
      ZeroIn(matrix, row, weights, scores, &order);
    }
    return absl::OkStatus();
  }

  std::optional<StoredRows> Stored(const std::string& name) const override {
    if (index_.contains(name)) return std::nullopt;
    return model_.Stored(name);
  }

  void Release(const std::string& name) const override { model_.Release(name); }

 private:
  static void Score(std::span<const float> weights, const ColumnNorms& norms,
                    std::vector<uint32_t>* scores) {
    scores->resize(weights.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      (*scores)[i] = ScoreBits(weights[i], norms.Of(i));
    }
  }

  // The cut for matrices whose weights compete with one another.
  absl::Status Cut(std::span<SparseMatrix> matrices, WeightReader* reader) {
    uint64_t values = 0;
    for (SparseMatrix& matrix : matrices) {
      matrix.begin = values;
      values += static_cast<uint64_t>(matrix.rows * matrix.columns);
    }
    std::vector<uint32_t> scores;
    const ScoreScan scan = [&](const auto& visit) -> absl::Status {
      for (const SparseMatrix& matrix : matrices) {
        const ColumnNorms norms(norms_, matrix.linear);
        EDGETUNE_RETURN_IF_ERROR(reader->Read(
            matrix.name, [&](int64_t, std::span<const float> weights) {
              Score(weights, norms, &scores);
              visit(scores);
            }));
      }
      return absl::OkStatus();
    };
    EDGETUNE_ASSIGN_OR_RETURN(
        const ScoreCut cut, CutBelow(ZeroedBy(*sparsity_.share, values), scan));
    for (SparseMatrix& matrix : matrices) matrix.cut = cut;
    return absl::OkStatus();
  }

  void ZeroIn(const SparseMatrix& matrix, int64_t row, std::span<float> weights,
              std::span<const uint32_t> scores,
              std::vector<uint32_t>* order) const {
    if (sparsity_.pattern.has_value()) {
      const auto of = static_cast<size_t>(sparsity_.pattern->of);
      const auto zeros = of - static_cast<size_t>(sparsity_.pattern->kept);
      for (size_t i = 0; i < weights.size(); i += of) {
        ZeroSmallest(weights.subspan(i, of), scores.subspan(i, of), zeros,
                     order);
      }
      return;
    }
    if (sparsity_.scope == SparseScope::kRow) {
      const uint64_t zeros = ZeroedBy(*sparsity_.share, weights.size());
      return ZeroSmallest(weights, scores, zeros, order);
    }
    uint64_t place = matrix.begin + static_cast<uint64_t>(row * matrix.columns);
    for (size_t i = 0; i < weights.size(); ++i, ++place) {
      if (matrix.cut.IsBelow(scores[i], place)) weights[i] = 0;
    }
  }

  const ModelFile& model_;
  const Sparsity sparsity_;
  const InputNorms norms_;
  std::vector<SparseMatrix> matrices_;
  std::unordered_map<std::string, size_t> index_;  // by name of the tensor
  std::vector<TensorInfo> infos_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelFile>> MakeSparseModel(
    const ModelFile& model, const Sparsity& sparsity, InputNorms norms,
    ReadProgress progress) {
  if (model.config().image.has_value()) {
    return absl::InvalidArgumentError("a model of images cannot be pruned");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckSparsity(sparsity));
  EDGETUNE_RETURN_IF_ERROR(CheckInputNorms(model.config(), norms));
  auto sparse =
      std::make_unique<SparseModel>(model, sparsity, std::move(norms));
  EDGETUNE_RETURN_IF_ERROR(sparse->Prepare(std::move(progress)));
  return sparse;
}

uint64_t SparseValuesOf(const ModelConfig& config) {
  return LinearValuesOf(config) * static_cast<uint64_t>(config.layers);
}

uint64_t ZerosOf(const ModelConfig& config, const Sparsity& sparsity) {
  const uint64_t values = SparseValuesOf(config);
  if (sparsity.pattern.has_value()) {
    const auto [kept, of] = *sparsity.pattern;
    return values / of * (of - kept);
  }
  if (sparsity.scope == SparseScope::kModel) {
    return ZeroedBy(*sparsity.share, values);
  }
  uint64_t out = 0;
  for (const SparseMatrix& matrix : MatricesOf(config)) {
    const auto rows = static_cast<uint64_t>(matrix.rows);
    const auto columns = static_cast<uint64_t>(matrix.columns);
    out += sparsity.scope == SparseScope::kRow
               ? rows * ZeroedBy(*sparsity.share, columns)
               : ZeroedBy(*sparsity.share, rows * columns);
  }
  return out;
}

}  // namespace edgetune
