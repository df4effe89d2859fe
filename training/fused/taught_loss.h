#ifndef EDGETUNE_TRAINING_FUSED_TAUGHT_LOSS_H_
#define EDGETUNE_TRAINING_FUSED_TAUGHT_LOSS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/fused/loss_of_logits.h"
#include "training/distillation/targets.h"

namespace edgetune {

// What a student minimises whose examples have targets, as
// models/torch/shrink/distillation_loss.h defines it over a teacher's likeliest
// tokens and the bucket of all others:
//
//   alpha T^2 KL(teacher at T || student at T) + (1 - alpha) cross entropy
//
// One batch of labelled positions after the other. V the student's vocabulary,
// N positions. One thread at a time; uses the engine's threads.
class TaughtLoss {
 public:
  // alpha as TrainConfig::teacher_alpha.
  TaughtLoss(double temperature, double alpha)
      : temperature_(temperature), alpha_(alpha) {}

  // The targets and labels [N] of a batch, before its logits; borrows the
  // labels.
  std::vector<TopTokens>& targets() { return targets_; }
  void SetLabels(std::span<const int32_t> labels) { labels_ = labels; }

  // A LossOfLogits.
  double operator()(size_t first, const fused::Rows<float>& logits);

 private:
  class RowLoss;

  const double temperature_, alpha_;
  std::vector<TopTokens> targets_;
  std::span<const int32_t> labels_;
  std::vector<double> losses_;  // of the rows at hand
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_FUSED_TAUGHT_LOSS_H_
