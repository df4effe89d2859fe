// block_bench [--threads N] [--target NAME] [--kib N]: weights used as a model
// file stores them, beside reading memory. For each type the product of all
// rows with one vector (DotRows, as in generation), and a matrix de-quantised
// (DequantiseRow, as in training). NAME is an instruction set of Highway's
// (AVX3, AVX2, SSE4 ...), by default the best one. The rows take as much as
// SmolLM2-135M in Q4_1, more than caches hold, or N KiB. Prints one JSON
// object.

#include <hwy/targets.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "bench/arguments.h"
#include "bench/timing.h"
#include "models/fused/block_kernels.h"
#include "models/fused/parallel.h"
#include "models/io/quantise/quantise.h"

namespace edgetune {
namespace {

using fused::BFloat16;
using nlohmann::json;

constexpr size_t kWidth = 576;    // of four in five of its weights
constexpr size_t kMatrix = 3072;  // rows of its largest matrix
constexpr BlockType kTypes[] = {
    BlockType::kF32,  BlockType::kF16,  BlockType::kBF16, BlockType::kQ8_0,
    BlockType::kQ4_0, BlockType::kQ4_1, BlockType::kQ6_K};
constexpr int kRuns = 1000;
constexpr double kLongest = 1;  // seconds after which runs end

std::vector<float> Numbers(size_t count) {
  Random random(1);
  std::vector<float> numbers(count);
  for (float& number : numbers) {
    number = static_cast<float>(random.Uniform() - 0.5);
  }
  return numbers;
}

// About `size` bytes of rows, the same few of them again and again.
struct Matrix {
  std::vector<uint8_t> bytes;
  StoredRows rows;
};
Matrix MatrixOf(BlockType type, size_t size) {
  constexpr size_t kFew = 64;
  const BlockShape shape = BlockShapeOf(type);
  const size_t width = kWidth / shape.elements * shape.elements;
  const size_t row_bytes = width / shape.elements * shape.bytes;
  std::vector<uint8_t> few(kFew * row_bytes);
  Quantise(type, Numbers(kFew * width), few);
  Matrix out;
  out.bytes.resize((size / few.size() + 1) * few.size());
  for (size_t at = 0; at < out.bytes.size(); at += few.size()) {
    std::copy(few.begin(), few.end(), out.bytes.begin() + at);
  }
  out.rows = {.type = type,
              .data = out.bytes.data(),
              .rows = out.bytes.size() / row_bytes,
              .width = width,
              .row_bytes = row_bytes};
  return out;
}

json Rates(double weights, double bytes, double seconds) {
  return {{"weights_per_s", weights / seconds},
          {"gb_per_s", bytes / seconds / 1e9}};
}

json DotRate(const StoredRows& rows) {
  const std::vector<float> x = Numbers(rows.width);
  std::vector<float> y(rows.rows);
  fused::DotVector vector;
  const double seconds = bench::Quickest(kRuns, kLongest, [&] {
    vector.Set(x.data(), x.size());
    fused::ForRows(rows.rows, [&](size_t begin, size_t end) {
      fused::DotRows(rows, begin, end, vector, y.data() + begin);
    });
  });
  return Rates(static_cast<double>(rows.rows * rows.width),
               static_cast<double>(rows.rows * rows.row_bytes), seconds);
}

// Into the same place again and again; the bytes are those written.
template <typename T>
json DequantiseRate(const StoredRows& rows) {
  const size_t count = std::min(kMatrix, rows.rows);
  std::vector<T> out(count * rows.width);
  const double seconds = bench::Quickest(kRuns, kLongest, [&] {
    fused::ForRows(count, [&](size_t begin, size_t end) {
      for (size_t row = begin; row < end; ++row) {
        fused::DequantiseRow(rows, row, out.data() + row * rows.width);
      }
    });
  });
  return Rates(static_cast<double>(out.size()),
               static_cast<double>(out.size() * sizeof(T)), seconds);
}

absl::Status Choose(const std::string& target) {
  if (target.empty()) return absl::OkStatus();
  for (const int64_t known : hwy::SupportedAndGeneratedTargets()) {
    if (target != hwy::TargetName(known)) continue;
    hwy::SetSupportedTargetsForTest(known);
    hwy::GetChosenTarget().DeInit();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("this processor has no " + target);
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const bench::Arguments arguments,
      bench::ParseArguments(
          argc, argv, 0, {{"threads", "1"}, {"target", ""}, {"kib", "86016"}}));
  EDGETUNE_RETURN_IF_ERROR(Choose(arguments.Text("target")));
  fused::UseThreads(static_cast<int>(arguments.Number("threads")));
  const size_t size = static_cast<size_t>(arguments.Number("kib")) << 10;
  json types;
  for (const BlockType type : kTypes) {
    const Matrix matrix = MatrixOf(type, size);
    types[std::string(BlockShapeOf(type).name)] = {
        {"dot", DotRate(matrix.rows)},
        {"dequantise_float", DequantiseRate<float>(matrix.rows)},
        {"dequantise_bf16", DequantiseRate<BFloat16>(matrix.rows)}};
  }
  std::cout << json{{"target", fused::VectorTarget()},
                    {"read_gb_per_s", bench::ReadRate(size)},
                    {"types", types}}
            << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  return edgetune::bench::ExitCodeOf("block_bench", edgetune::Run(argc, argv));
}
