#include "models/shrink/importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "base/status.h"
#include "models/io/llama_names.h"

namespace edgetune {
namespace {

// Of kLlamaLinears.
enum Linear : size_t { kQuery, kKey, kValue, kOutput, kGate, kUp, kDown };

// Squares of a matrix's scores, added up by row and by column.
struct SquareSums {
  std::vector<double> rows, columns;
};

absl::StatusOr<SquareSums> SumSquares(const ModelConfig& config, int64_t layer,
                                      size_t linear, const InputNorms& norms,
                                      WeightReader* reader) {
  const LinearShape shape = LlamaLinearShape(config, linear);
  const std::string name = LinearName(layer, linear);
  const ColumnNorms columns(norms, name);
  SquareSums out;
  out.rows.resize(static_cast<size_t>(shape.out));
  out.columns.resize(static_cast<size_t>(shape.in));
  EDGETUNE_RETURN_IF_ERROR(
      reader->Read(fmt::format("model.{}.weight", name),
                   [&](int64_t row, std::span<const float> values) {
                     for (size_t i = 0; i < values.size(); ++i) {
                       const double score = double{values[i]} * columns.Of(i);
                       out.rows[row] += score * score;
                       out.columns[i] += score * score;
                     }
                   }));
  return out;
}

// Adds sums of rows or columns to the part they belong to, `width` to each.
void AddTo(const std::vector<double>& sums, std::vector<double>* parts) {
  const size_t width = sums.size() / parts->size();
  for (size_t i = 0; i < sums.size(); ++i) (*parts)[i / width] += sums[i];
}

// From sums of squares to norms.
std::vector<double> Roots(std::vector<double> sums) {
  for (double& sum : sums) sum = std::sqrt(sum);
  return sums;
}

absl::Status CheckNormsOf(const std::string& name, int64_t inputs,
                          const InputNorms& norms) {
  const auto found = norms.find(name);
  if (found == norms.end()) {
    return absl::InvalidArgumentError(
        fmt::format("there are no input norms for {}", name));
  }
  if (static_cast<int64_t>(found->second.size()) != inputs) {
    return absl::InvalidArgumentError(
        fmt::format("{} input norms for {}, which has {} inputs",
                    found->second.size(), name, inputs));
  }
  for (const float norm : found->second) {
    if (std::isfinite(norm) && norm >= 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("an input norm of {} is {}", name, norm));
  }
  return absl::OkStatus();
}

}  // namespace

std::string LinearName(int64_t layer, size_t linear) {
  return fmt::format("layers.{}.{}", layer, kLlamaLinears[linear].module);
}

InputNorms NormsOfKept(const ModelConfig& config, const KeptParts& kept,
                       const InputNorms& norms) {
  InputNorms out;
  if (norms.empty()) return out;
  const int64_t group = config.heads / config.kv_heads * config.head_dim;
  for (size_t i = 0; i < kept.layers.size(); ++i) {
    const KeptLayer& layer = kept.layers[i];
    for (size_t linear = 0; linear < std::size(kLlamaLinears); ++linear) {
      const auto& whole = norms.at(LinearName(layer.layer, linear));
      auto& some = out[LinearName(static_cast<int64_t>(i), linear)];
      if (linear == kOutput) {
        for (const int64_t at : layer.groups) {
          some.insert(some.end(), whole.begin() + at * group,
                      whole.begin() + (at + 1) * group);
        }
      } else if (linear == kDown) {
        for (const int64_t at : layer.channels) {
          some.push_back(whole[static_cast<size_t>(at)]);
        }
      } else {
        some = whole;
      }
    }
  }
  return out;
}

absl::Status CheckInputNorms(const ModelConfig& config,
                             const InputNorms& norms) {
  if (norms.empty()) return absl::OkStatus();
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
      EDGETUNE_RETURN_IF_ERROR(CheckNormsOf(
          LinearName(layer, i), LlamaLinearShape(config, i).in, norms));
    }
  }
  const size_t wanted =
      static_cast<size_t>(config.layers) * std::size(kLlamaLinears);
  if (norms.size() == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "input norms for {} linears, the model has {}", norms.size(), wanted));
}

ColumnNorms::ColumnNorms(const InputNorms& norms, const std::string& linear) {
  const auto found = norms.find(linear);
  if (found != norms.end()) norms_ = found->second;
}

uint64_t LinearValuesOf(const ModelConfig& config) {
  uint64_t out = 0;
  for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
    const LinearShape shape = LlamaLinearShape(config, i);
    out += static_cast<uint64_t>(shape.out * shape.in);
  }
  return out;
}

absl::StatusOr<double> LayerScore(const ModelConfig& config, int64_t layer,
                                  const InputNorms& norms,
                                  WeightReader* reader) {
  double sum = 0;
  for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(const SquareSums sums,
                              SumSquares(config, layer, i, norms, reader));
    sum = std::accumulate(sums.rows.begin(), sums.rows.end(), sum);
  }
  return std::sqrt(sum);
}

absl::StatusOr<std::vector<double>> ChannelScores(const ModelConfig& config,
                                                  int64_t layer,
                                                  const InputNorms& norms,
                                                  WeightReader* reader) {
  std::vector<double> out(static_cast<size_t>(config.ffn));
  for (const Linear linear : {kGate, kUp, kDown}) {
    EDGETUNE_ASSIGN_OR_RETURN(const SquareSums sums,
                              SumSquares(config, layer, linear, norms, reader));
    AddTo(linear == kDown ? sums.columns : sums.rows, &out);
  }
  return Roots(std::move(out));
}

absl::StatusOr<std::vector<double>> GroupScores(const ModelConfig& config,
                                                int64_t layer,
                                                const InputNorms& norms,
                                                WeightReader* reader) {
  std::vector<double> out(static_cast<size_t>(config.kv_heads));
  for (const Linear linear : {kQuery, kKey, kValue, kOutput}) {
    EDGETUNE_ASSIGN_OR_RETURN(const SquareSums sums,
                              SumSquares(config, layer, linear, norms, reader));
    AddTo(linear == kOutput ? sums.columns : sums.rows, &out);
  }
  return Roots(std::move(out));
}

std::vector<int64_t> LargestOf(std::span<const double> scores, int64_t count) {
  std::vector<int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace edgetune
