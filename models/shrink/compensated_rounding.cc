#include "models/shrink/compensated_rounding.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <utility>

#include "models/io/quantise/quantise.h"

namespace edgetune {
namespace {

constexpr size_t kBlock = 32;

absl::Status NotDefinite() {
  return absl::InvalidArgumentError(
      "the inputs that were seen leave no positive definite matrix");
}

}  // namespace

absl::StatusOr<CompensatedRounding> CompensatedRounding::Make(
    std::span<const float> gram, int64_t inputs, double damping) {
  const auto n = static_cast<size_t>(std::max<int64_t>(inputs, 0));
  if (n == 0 || gram.size() != n * n) {
    return absl::InvalidArgumentError(fmt::format(
        "{} numbers are no square of {} inputs", gram.size(), inputs));
  }
  using Matrix =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  Matrix h(inputs, inputs);
  std::copy(gram.begin(), gram.end(), h.data());
  const double mean = h.diagonal().mean();
  if (!h.allFinite() || !(mean >= 0)) return NotDefinite();
  // An input that never came: whatever its weight says, nobody hears it.
  for (int64_t i = 0; i < inputs; ++i) {
    h(i, i) += mean > 0 ? damping * mean : 1;
  }
  const Eigen::LLT<Matrix> whole(h);
  if (whole.info() != Eigen::Success) return NotDefinite();
  const Eigen::LLT<Matrix> inverse(
      whole.solve(Matrix::Identity(inputs, inputs)));
  if (inverse.info() != Eigen::Success) return NotDefinite();
  std::vector<float> factor(n * n, 0.0f);
  const Matrix upper = inverse.matrixU();
  for (size_t i = 0; i < n; ++i) {
    const auto row = static_cast<Eigen::Index>(i);
    for (size_t j = i; j < n; ++j) {
      factor[i * n + j] = static_cast<float>(
          upper(row, static_cast<Eigen::Index>(j)) / upper(row, row));
    }
  }
  return CompensatedRounding(std::move(factor), n);
}

absl::Status CompensatedRounding::Encode(BlockType type, std::span<float> row,
                                         std::vector<uint8_t>* out) const {
  const size_t bytes = BlockShapeOf(type).bytes;
  int levels[kBlock];
  for (size_t begin = 0; begin < inputs_; begin += kBlock) {
    const auto weights = row.subspan(begin, kBlock);
    const bool finite = std::ranges::all_of(
        weights, [](float weight) { return std::isfinite(weight); });
    const LevelGrid grid = finite ? GridFor(type, weights) : LevelGrid();
    if (!finite || !std::isfinite(grid.scale) || !std::isfinite(grid.offset)) {
      return absl::InvalidArgumentError(fmt::format(
          "inputs {} to {} have weights that {} cannot hold", begin,
          begin + kBlock - 1, std::string(BlockShapeOf(type).name)));
    }
    for (size_t i = begin; i < begin + kBlock; ++i) {
      const int level = levels[i - begin] = grid.Nearest(row[i]);
      const float error = row[i] - grid.ValueOf(level);
      if (error == 0) continue;
      const float* const factor = &factor_[i * inputs_];
      for (size_t j = i + 1; j < inputs_; ++j) row[j] -= error * factor[j];
    }
    out->resize(out->size() + bytes);
    StoreLevels(type, grid, levels, std::span(*out).last(bytes));
  }
  return absl::OkStatus();
}

}  // namespace edgetune
