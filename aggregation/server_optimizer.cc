#include "aggregation/server_optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <string>

#include "base/parameter_views.h"
#include "base/status.h"

namespace edgetune {
namespace {

using Kind = ServerOptimizerOptions::Kind;
using Ranges = std::span<const CoordinateRange>;

// In the order of Kind.
constexpr std::string_view kOptimizerNames[] = {"sgd", "momentum", "adam",
                                                "yogi", "adagrad"};

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

// The state of an optimiser: a magic with its version, then its moments as
// float32 little-endian, one after the other.
std::string SaveMoments(std::string_view magic,
                        std::initializer_list<const ParameterVector*> moments) {
  std::string state(magic);
  for (const ParameterVector* m : moments) state += SerializeParameters(*m);
  return state;
}

absl::Status LoadMoments(std::string_view state, std::string_view magic,
                         std::initializer_list<ParameterVector*> moments) {
  if (!state.starts_with(magic)) {
    return absl::InvalidArgumentError(
        fmt::format("server optimiser state does not begin with {}",
                    magic.substr(0, magic.size() - 1)));
  }
  state.remove_prefix(magic.size());
  const size_t bytes = (*moments.begin())->size() * sizeof(float);
  if (state.size() != moments.size() * bytes) {
    return absl::DataLossError(
        fmt::format("server optimiser state holds {} bytes of moments, wanted "
                    "{}",
                    state.size(), moments.size() * bytes));
  }
  for (ParameterVector* m : moments) {
    std::memcpy(m->data(), state.data(), bytes);
    state.remove_prefix(bytes);
    EDGETUNE_RETURN_IF_ERROR(CheckFinite(*m, "stored moment"));
  }
  return absl::OkStatus();
}

// Moments are float32, arithmetic is double, here and below.
class Momentum final : public ServerOptimizer {
 public:
  Momentum(const ServerOptimizerOptions& options, size_t coordinates)
      : lr_(options.lr), beta_(options.beta1), m_(coordinates, 0.0f) {}

  absl::Status Step(std::span<const float> update, Ranges ranges,
                    ParameterVector& adapter) override;
  std::string SaveState() const override { return SaveMoments(kMagic, {&m_}); }
  absl::Status LoadState(std::string_view state) {
    return LoadMoments(state, kMagic, {&m_});
  }

 private:
  static constexpr std::string_view kMagic = "edgetune-fedavgm/1\n";

  const double lr_;
  const double beta_;
  ParameterVector m_;
};

absl::Status Momentum::Step(std::span<const float> update, Ranges ranges,
                            ParameterVector& adapter) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter.size(), m_.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(update.size(), ranges, m_.size()));
  ParameterVector m = Gather(m_, ranges), next = Gather(adapter, ranges);
  for (size_t i = 0; i < update.size(); ++i) {
    m[i] = static_cast<float>(beta_ * m[i] + double{update[i]});
    next[i] = static_cast<float>(next[i] + lr_ * m[i]);
  }
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(m, "moment of momentum"));
  EDGETUNE_RETURN_IF_ERROR(
      CheckFinite(next, "adapter after the momentum step"));
  Scatter(m, ranges, m_);
  Scatter(next, ranges, adapter);
  return absl::OkStatus();
}

// FedAdam, FedYogi and FedAdagrad, Reddi et al. 2021, Algorithm 2. m_{-1} = 0
// and v_{-1} = tau^2 as there; no bias correction, unlike Adam. tau is
// options.epsilon.
class Adaptive final : public ServerOptimizer {
 public:
  Adaptive(const ServerOptimizerOptions& options, size_t coordinates)
      : options_(options),
        m_(coordinates, 0.0f),
        v_(coordinates, static_cast<float>(options.epsilon * options.epsilon)) {
  }

  absl::Status Step(std::span<const float> update, Ranges ranges,
                    ParameterVector& adapter) override;
  std::string SaveState() const override {
    return SaveMoments(Magic(), {&m_, &v_});
  }
  absl::Status LoadState(std::string_view state);

 private:
  std::string Magic() const {
    return fmt::format("edgetune-fed{}/1\n",
                       ServerOptimizerName(options_.kind));
  }
  // v_t of v_{t-1} and D_t^2.
  double NextV(double v, double square) const;

  const ServerOptimizerOptions options_;
  ParameterVector m_;
  ParameterVector v_;
};

double Adaptive::NextV(double v, double square) const {
  const double fresh = 1 - options_.beta2;
  switch (options_.kind) {
    case Kind::kYogi:
      if (v == square) return v;
      return v > square ? v - fresh * square : v + fresh * square;
    case Kind::kAdagrad:
      return v + square;
    default:
      return options_.beta2 * v + fresh * square;
  }
}

absl::Status Adaptive::Step(std::span<const float> update, Ranges ranges,
                            ParameterVector& adapter) {
  EDGETUNE_RETURN_IF_ERROR(CheckAdapter(adapter.size(), m_.size()));
  EDGETUNE_RETURN_IF_ERROR(CheckSizes(update.size(), ranges, m_.size()));
  ParameterVector m = Gather(m_, ranges), v = Gather(v_, ranges);
  ParameterVector next = Gather(adapter, ranges);
  const double b1 = options_.beta1, lr = options_.lr, tau = options_.epsilon;
  for (size_t i = 0; i < update.size(); ++i) {
    const double d = update[i];
    m[i] = static_cast<float>(b1 * m[i] + (1 - b1) * d);
    v[i] = static_cast<float>(NextV(v[i], d * d));
    next[i] = static_cast<float>(next[i] +
                                 lr * m[i] / (std::sqrt(double{v[i]}) + tau));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(m, "first moment"));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(v, "second moment"));
  EDGETUNE_RETURN_IF_ERROR(CheckFinite(next, "adapter after the server step"));
  Scatter(m, ranges, m_);
  Scatter(v, ranges, v_);
  Scatter(next, ranges, adapter);
  return absl::OkStatus();
}

absl::Status Adaptive::LoadState(std::string_view state) {
  EDGETUNE_RETURN_IF_ERROR(LoadMoments(state, Magic(), {&m_, &v_}));
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
  const Kind kind = options.kind;
  const bool has_m = kind != Kind::kSgd;
  const bool has_v = has_m && kind != Kind::kMomentum;
  const bool has_beta2 = kind == Kind::kAdam || kind == Kind::kYogi;
  if (coordinates > 0 && positive(options.lr) &&
      (!has_m || share(options.beta1)) &&
      (!has_beta2 || share(options.beta2)) &&
      (!has_v || positive(options.epsilon))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "server optimiser of {} coordinates with lr {}, beta1 {}, beta2 {}, "
      "epsilon {} is not possible; wanted lr and epsilon above 0, betas in "
      "[0, 1)",
      coordinates, options.lr, options.beta1, options.beta2, options.epsilon));
}

template <typename Optimizer>
absl::StatusOr<std::unique_ptr<ServerOptimizer>> MakeWithState(
    const ServerOptimizerOptions& options, size_t coordinates,
    std::string_view state) {
  auto optimizer = std::make_unique<Optimizer>(options, coordinates);
  if (!state.empty()) EDGETUNE_RETURN_IF_ERROR(optimizer->LoadState(state));
  return optimizer;
}

}  // namespace

std::span<const std::string_view> ServerOptimizerNames() {
  return kOptimizerNames;
}

std::string_view ServerOptimizerName(Kind kind) {
  return kOptimizerNames[static_cast<size_t>(kind)];
}

absl::StatusOr<Kind> ParseServerOptimizer(std::string_view name) {
  const auto* at =
      std::find(std::begin(kOptimizerNames), std::end(kOptimizerNames), name);
  if (at == std::end(kOptimizerNames)) {
    return absl::InvalidArgumentError(
        fmt::format("no server optimiser has the name \"{}\"", name));
  }
  return static_cast<Kind>(at - std::begin(kOptimizerNames));
}

absl::StatusOr<std::unique_ptr<ServerOptimizer>> MakeServerOptimizer(
    const ServerOptimizerOptions& options, size_t coordinates,
    std::string_view state) {
  EDGETUNE_RETURN_IF_ERROR(CheckOptions(options, coordinates));
  if (options.kind == Kind::kSgd) {
    if (!state.empty()) {
      return absl::InvalidArgumentError(fmt::format(
          "sgd keeps no state, but {} bytes of it are stored", state.size()));
    }
    return std::make_unique<Sgd>(options.lr, coordinates);
  }
  if (options.kind == Kind::kMomentum) {
    return MakeWithState<Momentum>(options, coordinates, state);
  }
  return MakeWithState<Adaptive>(options, coordinates, state);
}

}  // namespace edgetune
