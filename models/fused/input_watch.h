#ifndef EDGETUNE_MODELS_FUSED_INPUT_WATCH_H_
#define EDGETUNE_MODELS_FUSED_INPUT_WATCH_H_

#include <functional>

#include "models/calibrator.h"
#include "models/fused/buffer.h"
#include "models/fused/kernels.h"

namespace edgetune::fused {

// Tells somebody, while there is somebody, what stands at the places of a
// forward pass. One thread.
class InputWatch {
 public:
  using Take = std::function<void(const ObservedInput&)>;

  // Until `work` has returned or thrown, Tell calls `take`.
  template <typename Work>
  void During(const Take& take, const Work& work) {
    struct End {
      const Take*& take;
      ~End() { take = nullptr; }
    } end{take_};
    take_ = &take;
    work();
  }

  template <typename T>
  void Tell(size_t layer, LayerInput place, const Rows<const T>& rows) {
    if (take_ == nullptr) return;
    const auto out = rows_.Make(rows.rows, rows.width);
    for (size_t i = 0; i < rows.rows; ++i) {
      Widen(rows.row(i), rows.width, out.row(i));
    }
    (*take_)({static_cast<int64_t>(layer),
              place,
              {out.data, rows.rows * rows.width},
              static_cast<int64_t>(rows.width)});
  }

 private:
  const Take* take_ = nullptr;
  Buffer<float> rows_;
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_INPUT_WATCH_H_
