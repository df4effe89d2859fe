#include "models/shrink/input_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "models/shrink/linear_inputs.h"

namespace edgetune {
namespace {

bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values,
                             [](float value) { return std::isfinite(value); });
}

// 1 - cos of two vectors; 1 where one of them is 0.
double Distance(std::span<const float> a, std::span<const float> b) {
  double product = 0, left = 0, right = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += double{a[i]} * b[i];
    left += double{a[i]} * a[i];
    right += double{b[i]} * b[i];
  }
  const double norms = std::sqrt(left * right);
  return norms > 0 ? 1 - product / norms : 1;
}

}  // namespace

InputStatistics::InputStatistics(const ModelConfig& config)
    : config_(config), layers_(static_cast<size_t>(config.layers)) {
  for (Layer& layer : layers_) {
    for (const InputReaders& readers : AllInputReaders()) {
      layer.squares[static_cast<size_t>(readers.place)].resize(
          static_cast<size_t>(InputWidth(config_, readers.place)));
    }
  }
}

absl::Status InputStatistics::Add(const ObservedInput& seen) {
  EDGETUNE_RETURN_IF_ERROR(CheckObserved(config_, seen));
  if (!AllFinite(seen.rows)) {
    return absl::DataLossError(
        fmt::format("layer {} is given values that are no numbers: weights of "
                    "the model are damaged",
                    seen.layer));
  }
  if (seen.place == LayerInput::kLayer) return Compare(seen);
  std::vector<double>& squares = layers_[static_cast<size_t>(seen.layer)]
                                     .squares[static_cast<size_t>(seen.place)];
  const float* value = seen.rows.data();
  for (size_t row = 0; row < seen.rows.size() / squares.size(); ++row) {
    for (double& sum : squares) {
      sum += double{*value} * *value;
      ++value;
    }
  }
  return absl::OkStatus();
}

absl::Status InputStatistics::Compare(const ObservedInput& output) {
  const auto width = static_cast<size_t>(output.width);
  if (output.layer == 0) {
    tokens_ += static_cast<int64_t>(output.rows.size() / width);
  } else if (stream_.size() != output.rows.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} values come out of layer {}, {} went in",
                    output.rows.size(), output.layer - 1, stream_.size()));
  } else {
    double& sum = layers_[static_cast<size_t>(output.layer - 1)].distance;
    for (size_t at = 0; at < stream_.size(); at += width) {
      sum += Distance(std::span(stream_).subspan(at, width),
                      output.rows.subspan(at, width));
    }
  }
  stream_.assign(output.rows.begin(), output.rows.end());
  return absl::OkStatus();
}

absl::StatusOr<ShrinkEvidence> InputStatistics::Evidence() const {
  if (tokens_ == 0) {
    return absl::FailedPreconditionError("nothing was observed");
  }
  ShrinkEvidence out;
  for (size_t i = 0; i < layers_.size(); ++i) {
    for (const InputReaders& readers : AllInputReaders()) {
      std::vector<float> norms;
      for (const double sum :
           layers_[i].squares[static_cast<size_t>(readers.place)]) {
        norms.push_back(static_cast<float>(std::sqrt(sum)));
      }
      for (const size_t linear : readers.linears) {
        out.norms[LinearName(static_cast<int64_t>(i), linear)] = norms;
      }
    }
    out.layers.push_back(layers_[i].distance / static_cast<double>(tokens_));
  }
  return out;
}

}  // namespace edgetune
