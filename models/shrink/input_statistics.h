#ifndef EDGETUNE_MODELS_SHRINK_INPUT_STATISTICS_H_
#define EDGETUNE_MODELS_SHRINK_INPUT_STATISTICS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "models/calibrator.h"
#include "models/io/model_file.h"
#include "models/shrink/shrink_plan.h"

namespace edgetune {

// Adds up, over texts, what a Calibrator shows of a model: evidence of what its
// parts do. Sums in double. Memory: a number for each input of each layer, and
// the residual stream of the texts that are seen together. One thread.
class InputStatistics {
 public:
  explicit InputStatistics(const ModelConfig& config);

  // In a Calibrator's order. InvalidArgument: a layer or width that the model
  // does not have, a residual stream of another length than the one before it;
  // DataLoss: a value that is not finite.
  absl::Status Add(const ObservedInput& seen);

  int64_t tokens() const { return tokens_; }
  // The L2 norm of each input over all tokens (Sun et al. 2023, arXiv
  // 2306.11695), and of each layer the mean over tokens of 1 - cos(input,
  // output) (Men et al. 2024, arXiv 2403.03853). FailedPrecondition: no token.
  absl::StatusOr<ShrinkEvidence> Evidence() const;

 private:
  static constexpr size_t kPlaces = 5;  // of LayerInput
  struct Layer {
    std::array<std::vector<double>, kPlaces> squares;  // by place and input
    double distance = 0;                               // sum of 1 - cos
  };

  absl::Status Compare(const ObservedInput& output);

  const ModelConfig config_;
  std::vector<Layer> layers_;
  std::vector<float> stream_;  // what came into the layer before
  int64_t tokens_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_INPUT_STATISTICS_H_
