#ifndef EDGETUNE_MODELS_CALIBRATOR_H_
#define EDGETUNE_MODELS_CALIBRATOR_H_

// What a model's layers and linears are given while it reads texts, for whoever
// weighs weights by what they meet. Plain structs: no engine.

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace edgetune {

// A place in a layer, and who reads what stands there.
enum class LayerInput {
  kLayer,   // the residual stream [n, hidden]: the layer itself
  kQkv,     // q, k and v [n, hidden]
  kOut,     // o [n, heads * head_dim]
  kGateUp,  // gate and up [n, hidden]
  kDown,    // down [n, ffn]
};

// Some rows, one a token. kLayer also comes with `layer` = the number of
// layers: what the last one leaves.
struct ObservedInput {
  int64_t layer = 0;
  LayerInput place = LayerInput::kLayer;
  std::span<const float> rows;  // [n, width]
  int64_t width = 0;
};

// Sends texts through a frozen model without an adapter. One thread at a time.
class Calibrator {
 public:
  virtual ~Calibrator() = default;

  // Tells `take` of some texts at a time, layer by layer and place by place in
  // the order of LayerInput; what it returns ends this unless OK. `progress`,
  // which may be empty, is told how many texts are done. InvalidArgument: an
  // empty text, one longer than the context, an id outside the vocabulary;
  // Cancelled, stopped; ResourceExhausted.
  virtual absl::Status Run(
      std::span<const std::vector<int32_t>> texts,
      const std::function<absl::Status(const ObservedInput&)>& take,
      const std::atomic<bool>& stop,
      const std::function<void(int64_t)>& progress) = 0;

  // gram [width,width] += rows^T rows, while these are there.
  virtual void AddGram(const ObservedInput& seen, std::span<float> gram) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_CALIBRATOR_H_
