#include "training/fused/taught_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/fused/kernels.h"
#include "models/fused/parallel.h"

namespace edgetune {
namespace {

using fused::Rows;

// Below every logarithm of a probability that a student has: in the place of
// that of an outcome that underflows.
constexpr double kLowest = -1e30;

// exp(row - its greatest), and how these sum up.
struct Exponentials {
  double most = 0, sum = 0;
};
Exponentials Exponentiate(std::span<const float> row, std::span<float> out) {
  float most = std::numeric_limits<float>::lowest(), sum = 0, unused = 0;
  const int32_t no_target = -1;
  fused::AddSoftmaxColumns<float>({row.data(), 1, row.size(), row.size()},
                                  &no_target, 0, {&most, &sum, &unused}, {},
                                  {out.data(), 1, out.size(), out.size()});
  return {most, sum};
}

// The targets' probabilities: of each token, and of the others together.
struct Wanted {
  std::vector<double> p;
  double rest = 0;

  void Set(const TopTokens& target) {
    const double most =
        std::max(double{target.log_rest},
                 double{*std::ranges::max_element(target.log_probabilities)});
    p.clear();
    for (const float value : target.log_probabilities) {
      p.push_back(std::exp(double{value} - most));
    }
    rest = std::exp(double{target.log_rest} - most);
    const double sum = std::accumulate(p.begin(), p.end(), rest);
    for (double& value : p) value /= sum;
    rest /= sum;
  }
};

// p log (p / q), of a q whose logarithm is given.
double Divergence(double p, double log_q) {
  return p > 0 ? p * (std::log(p) - std::max(log_q, kLowest)) : 0;
}

}  // namespace

// One row after the other, on one thread.
class TaughtLoss::RowLoss {
 public:
  RowLoss(const TaughtLoss& loss, size_t vocabulary)
      : loss_(loss), scaled_(vocabulary), exps_(vocabulary) {}

  double Take(std::span<float> logits, int32_t label, const TopTokens& target) {
    const double sum = loss_.alpha_ > 0 ? TakeTeacher(logits, target) : 0.0;
    if (loss_.alpha_ == 0) std::ranges::fill(scaled_, 0.0f);
    return sum + TakeLabel(logits, static_cast<size_t>(label));
  }

 private:
  // alpha T^2 of the divergence; its gradient into scaled_.
  double TakeTeacher(std::span<const float> logits, const TopTokens& target) {
    const double t = loss_.temperature_;
    const double weight = loss_.alpha_ * t;
    const auto scale = static_cast<float>(1 / t);
    for (size_t j = 0; j < logits.size(); ++j) scaled_[j] = logits[j] * scale;
    const Exponentials all = Exponentiate(scaled_, exps_);
    wanted_.Set(target);
    double divergence = 0;
    own_.clear();
    for (size_t i = 0; i < target.ids.size(); ++i) {
      const auto id = static_cast<size_t>(target.ids[i]);
      own_.push_back(double{exps_[id]} / all.sum);
      divergence += Divergence(
          wanted_.p[i], double{scaled_[id]} - all.most - std::log(all.sum));
      exps_[id] = 0;
    }
    // Summed by itself: as a difference it would be lost where the likeliest
    // have nearly all.
    const double rest = std::accumulate(exps_.begin(), exps_.end(), 0.0);
    divergence += Divergence(wanted_.rest, std::log(rest) - std::log(all.sum));
    const double share = rest > 0 ? wanted_.rest / rest : 0;
    const auto factor = static_cast<float>(weight * (1 / all.sum - share));
    for (size_t j = 0; j < exps_.size(); ++j) scaled_[j] = exps_[j] * factor;
    for (size_t i = 0; i < target.ids.size(); ++i) {
      scaled_[static_cast<size_t>(target.ids[i])] =
          static_cast<float>(weight * (own_[i] - wanted_.p[i]));
    }
    return weight * t * divergence;
  }

  // (1 - alpha) of the label's; its gradient and scaled_ into the logits.
  double TakeLabel(std::span<float> logits, size_t label) {
    const double weight = 1 - loss_.alpha_;
    const double logit = logits[label];
    const Exponentials all = Exponentiate(logits, exps_);
    const double nll = std::log(all.sum) + all.most - logit;
    const auto factor = static_cast<float>(weight / all.sum);
    exps_[label] = 0;
    for (size_t j = 0; j < logits.size(); ++j) {
      logits[j] = exps_[j] * factor + scaled_[j];
    }
    logits[label] += static_cast<float>(weight * std::expm1(-nll));
    return weight * nll;
  }

  const TaughtLoss& loss_;
  std::vector<float> scaled_, exps_;  // [V]
  Wanted wanted_;
  std::vector<double> own_;  // the student's, of the targets' tokens
};

double TaughtLoss::operator()(size_t first, const Rows<float>& logits) {
  losses_.assign(logits.rows, 0.0);
  fused::ForRows(logits.rows, [&](size_t begin, size_t end) {
    RowLoss row(*this, logits.width);
    for (size_t i = begin; i < end; ++i) {
      losses_[i] = row.Take({logits.row(i), logits.width}, labels_[first + i],
                            targets_[first + i]);
    }
  });
  return std::accumulate(losses_.begin(), losses_.end(), 0.0);
}

}  // namespace edgetune
