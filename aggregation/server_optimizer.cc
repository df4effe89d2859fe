#include "aggregation/server_optimizer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/status.h"

namespace edgetune {
namespace {

using Ranges = std::span<const CoordinateRange>;

absl::Status CheckSizes(size_t update, Ranges ranges, size_t adapter) {
  size_t at = 0, next = 0;  // coordinates of update and adapter so far
  for (const CoordinateRange& range : ranges) {
    if (range.update_offset != at || range.adapter_offset < next ||
        range.adapter_offset > adapter ||
        range.count > adapter - range.adapter_offset) {
      return absl::InvalidArgumentError(fmt::format(
          "{} coordinates from {} of the update cannot stand at {} of an "
          "adapter of {}",
          range.count, range.update_offset, range.adapter_offset, adapter));
    }
    at += range.count;
    next = range.adapter_offset + range.count;
  }
  if (at == update) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("update has {} coordinates, wanted {}", update, at));
}

absl::Status CheckAdapter(size_t adapter, size_t wanted) {
  if (adapter == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("adapter has {} coordinates, wanted {}", adapter, wanted));
}

absl::Status CheckFinite(std::span<const float> values, const char* what) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return absl::DataLossError(
          fmt::format("{} is not finite at coordinate {}", what, i));
    }
  }
  return absl::OkStatus();
}

class Sgd final : public ServerOptimizer {
 public:
  Sgd(double lr, size_t coordinates) : lr_(lr), coordinates_(coordinates) {}

  absl::Status Step(std::span<const float> update, Ranges ranges,
                    ParameterVector& adapter) override {
    EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter.size(), coordinates_));
    EDGETUNE_RETURN_IF_ERROR(CheckSizes(update.size(), ranges, coordinates_));
    ParameterVector next = Gather(adapter, ranges);
    for (size_t i = 0; i < next.size(); ++i) {
      next[i] = static_cast<float>(next[i] + lr_ * update[i]);
    }
    EDGETUNE_RETURN_IF_ERROR(CheckFinite(next, "adapter after the sgd step"));
    Scatter(next, ranges, adapter);
    return absl::OkStatus();
  }
  std::string SaveState() const override { return ""; }

 private:
  const double lr_;
  const size_t coordinates_;
};

// FedAdam, Reddi et al. 2021, Algorithm 2, with the paper's symbols:
//   m_t = b1 m_{t-1} + (1 - b1) D_t      v_t = b2 v_{t-1} + (1 - b2) D_t^2
//   x_{t+1} = x_t + lr m_t / (sqrt(v_t) + tau)
// m_{-1} = 0 and v_{-1} = tau^2 as there; no bias correction, unlike Adam.
// tau is options.epsilon. Moments are float32, arithmetic is double.
class FedAdam final : public ServerOptimizer {
 public:
  FedAdam(const ServerOptimizerOptions& options, size_t coordinates)
      : options_(options),
        m_(coordinates, 0.0f),
        v_(coordinates, static_cast<float>(options.epsilon * options.epsilon)) {
  }

  absl::Status Step(std::span<const float> update, Ranges ranges,
                    ParameterVector& adapter) override;
  std::string SaveState() const override;
  absl::Status LoadState(std::string_view state);

 private:
  const ServerOptimizerOptions options_;
  ParameterVector m_;
  ParameterVector v_;
};

absl::Status FedAdam::Step(std::span<const float> update, Ranges ranges,
                           ParameterVector& adapter) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter.size(), m_.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(update.size(), ranges, m_.size()));
  ParameterVector m = Gather(m_, ranges), v = Gather(v_, ranges);
  ParameterVector next = Gather(adapter, ranges);
  const auto& [kind, lr, b1, b2, tau] = options_;
  for (size_t i = 0; i < update.size(); ++i) {
    const double d = update[i];
    m[i] = static_cast<float>(b1 * m[i] + (1 - b1) * d);
    v[i] = static_cast<float>(b2 * v[i] + (1 - b2) * d * d);
    next[i] = static_cast<float>(next[i] +
                                 lr * m[i] / (std::sqrt(double{v[i]}) + tau));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(m, "first moment of adam"));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(v, "second moment of adam"));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(next, "adapter after the adam step"));
  Scatter(m, ranges, m_);
  Scatter(v, ranges, v_);
  Scatter(next, ranges, adapter);
  return absl::OkStatus();
}

// State: the magic with its version, then m and v as float32 little-endian.
constexpr std::string_view kAdamMagic = "edgetune-fedadam/1\n";

std::string FedAdam::SaveState() const {
  return std::string(kAdamMagic) + SerializeParameters(m_) +
         SerializeParameters(v_);
}

absl::Status FedAdam::LoadState(std::string_view state) {
  if (!state.starts_with(kAdamMagic)) {
    return absl::InvalidArgumentError(
        "server optimiser state is not one of adam, version 1");
  }
  state.remove_prefix(kAdamMagic.size());
  const size_t bytes = m_.size() * sizeof(float);
  if (state.size() != 2 * bytes) {
    return absl::DataLossError(
        fmt::format("adam state holds {} bytes of moments, wanted {}",
                    state.size(), 2 * bytes));
  }
  std::memcpy(m_.data(), state.data(), bytes);
  std::memcpy(v_.data(), state.data() + bytes, bytes);
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(m_, "stored first moment"));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(v_, "stored second moment"));
  for (size_t i = 0; i < v_.size(); ++i) {
    if (v_[i] < 0) {
      return absl::DataLossError(
          fmt::format("stored second moment is negative at coordinate {}", i));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const ServerOptimizerOptions& options,
                          size_t coordinates) {
  auto share = [](double beta) { return beta >= 0 && beta < 1; };
  auto positive = [](double x) { return x > 0 && std::isfinite(x); };
  const bool adam = options.kind == ServerOptimizerOptions::Kind::kAdam;
  if (coordinates > 0 && positive(options.lr) &&
      (!adam || (share(options.beta1) && share(options.beta2) &&
                 positive(options.epsilon)))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "server optimiser of {} coordinates with lr {}, beta1 {}, beta2 {}, "
      "epsilon {} is not possible; wanted lr and epsilon above 0, betas in "
      "[0, 1)",
      coordinates, options.lr, options.beta1, options.beta2, options.epsilon));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerOptimizer>> MakeServerOptimizer(
    const ServerOptimizerOptions& options, size_t coordinates,
    std::string_view state) {
  EDGETUNE_RETURN_IF_ERROR(CheckOptions(options, coordinates));
  if (options.kind == ServerOptimizerOptions::Kind::kSgd) {
    if (!state.empty()) {
      return absl::InvalidArgumentError(fmt::format(
          "sgd keeps no state, but {} bytes of it are stored", state.size()));
    }
    return std::make_unique<Sgd>(options.lr, coordinates);
  }
  auto adam = std::make_unique<FedAdam>(options, coordinates);
  if (!state.empty()) EDGETUNE_RETURN_IF_ERROR(adam->LoadState(state));
  return adam;
}

}  // namespace edgetune
