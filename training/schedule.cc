#include "training/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {
namespace {

// Positions of a run are counted in int64: far beyond any use, far from
// overflow.
constexpr int64_t kMaxCount = int64_t{1} << 20;

int64_t WarmUpSteps(const TrainConfig& c) {
  if (c.epochs == 0) return c.warmup;
  return (c.warmup * c.steps + c.epochs - 1) / c.epochs;
}

}  // namespace

absl::Status CheckTrainConfig(const TrainConfig& c) {
  std::string wrong;
  const auto count = [&](const char* name, int64_t value, int64_t least) {
    if (value >= least && value <= kMaxCount) return;
    wrong = fmt::format("{} must lie between {} and {}, got {}", name, least,
                        kMaxCount, value);
  };
  const auto amount = [&](const char* name, double value) {
    if (std::isfinite(value) && value >= 0) return;
    wrong =
        fmt::format("{} must be finite and not negative, got {}", name, value);
  };
  count("steps", c.steps, 1);
  count("epochs", c.epochs, 0);
  count("batch", c.batch, 1);
  count("micro_batch", c.micro_batch, 1);
  count("warmup", c.warmup, 0);
  count("rounds", c.rounds, 1);
  count("round", c.round, 0);
  amount("lr", c.lr);
  amount("grad_clip", c.grad_clip);
  amount("weight_decay", c.weight_decay);
  amount("momentum", c.momentum);
  amount("prox_mu", c.prox_mu);
  // Not so of NaN.
  if (!(c.teacher_alpha >= 0 && c.teacher_alpha <= 1)) {
    wrong = fmt::format("teacher_alpha must lie between 0 and 1, got {}",
                        c.teacher_alpha);
  }
  if (wrong.empty() && c.momentum >= 1) {
    wrong = fmt::format("momentum must be below 1, got {}", c.momentum);
  }
  if (wrong.empty() && c.round >= c.rounds) {
    wrong =
        fmt::format("round {} of {}: rounds count from 0", c.round, c.rounds);
  }
  if (wrong.empty()) return absl::OkStatus();
  return Annotate(absl::InvalidArgumentError(wrong), ErrorKind::kConfig);
}

int64_t EpochSteps(const TrainConfig& c, int64_t examples) {
  return (c.epochs * examples + c.batch - 1) / c.batch;
}

double LearningRate(const TrainConfig& c, int64_t step) {
  const auto t = static_cast<double>(c.round * c.steps + step);
  const auto total = static_cast<double>(c.rounds * c.steps);
  const auto warmup = static_cast<double>(WarmUpSteps(c));
  if (t < warmup) return c.lr * (t + 1) / warmup;
  if (c.schedule == Schedule::kConstant) return c.lr;
  const double done = (t - warmup) / (total - warmup);
  return c.lr * (1 + std::cos(std::numbers::pi * done)) / 2;
}

std::vector<int64_t> ExampleOrder::Batch(const TrainConfig& config,
                                         int64_t step) {
  int64_t first = (config.round * config.steps + step) * config.batch;
  int64_t count = config.batch;
  if (config.epochs > 0) {
    const int64_t round = config.epochs * examples_;
    first = config.round * round + step * config.batch;
    count = std::min(count, round - step * config.batch);
  }
  std::vector<int64_t> batch;
  batch.reserve(static_cast<size_t>(count));
  for (int64_t j = 0; j < count; ++j) batch.push_back(At(first + j));
  return batch;
}

int64_t ExampleOrder::At(int64_t position) {
  const int64_t pass = position / examples_;
  if (pass != pass_) {
    pass_ = pass;
    order_.resize(static_cast<size_t>(examples_));
    std::iota(order_.begin(), order_.end(), 0);
    Random random =
        Random(seed_).Split("example order", static_cast<uint64_t>(pass));
    random.Shuffle(order_);
  }
  return order_[static_cast<size_t>(position % examples_)];
}

}  // namespace edgetune
