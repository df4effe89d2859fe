#ifndef EDGETUNE_MODELS_FUSED_LORA_H_
#define EDGETUNE_MODELS_FUSED_LORA_H_

// Low-rank adapters (Hu et al., 2021): W x becomes W x + s B A x, with A
// [r,in] and B [out,r] trained and W frozen.

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/factors.h"
#include "models/fused/block_kernels.h"
#include "models/fused/buffer.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune::fused {

// The seven linears of a block, in the order of LoraTargets().
inline constexpr size_t kLinears = 7;

// Linears that read the same input, side by side in one product.
enum Group : size_t { kQkv, kOut, kGateUp, kDown, kGroups };
struct GroupLinears {
  size_t first, count;
};
inline constexpr std::array<GroupLinears, kGroups> kGroupLinears = {
    {{0, 3}, {3, 1}, {4, 2}, {6, 1}}};

// An adapter's values and their gradient, flat, in the adapter's layout. One
// thread at a time.
class LoraFactors {
 public:
  struct Factor {
    size_t rank = 0;  // 0: no LoRA on this linear
    size_t in = 0, out = 0;
    size_t a = 0, b = 0;  // first coordinates
    float scale = 0;
  };

  // The gradient starts at zero. InvalidArgument: the adapter is not of this
  // model.
  static absl::StatusOr<LoraFactors> Make(const ModelConfig& model,
                                          const Adapter& adapter);

  const Factor& at(size_t layer, size_t linear) const {
    return factors_[layer][linear];
  }
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  std::span<float> gradient() { return gradient_; }

 private:
  ParameterVector values_, gradient_;
  std::vector<std::array<Factor, kLinears>> factors_;
};

// The adapters of one group of linears of one layer, ready for products. R is
// the sum of the group's ranks, M tokens. One thread at a time.
template <typename T>
class LoraGroup {
 public:
  // Takes the factors as they are now; without `lora` there are none.
  void Prepare(const LoraFactors* lora, size_t layer, Group group);
  size_t rank() const { return rank_; }  // R

  // y [M, out of all linears side by side] += s B A x for x [M, in]. C is T or
  // float. down [M,R] keeps s A x for Backward.
  template <typename C>
  void Forward(const Rows<const T>& x, const Rows<T>& down,
               const Rows<C>& y) const;

  // The same for one row, x [in], y [out of all], with factors as they are,
  // which need no Prepare, and nothing kept.
  template <typename C>
  void ForwardRow(const LoraFactors& lora, size_t layer, Group group,
                  const T* x, C* y);

  // Adds the gradients of the trained factors to `lora`, and that of x to dx
  // [M, in] unless its data is null, given dy [M, out of all]. C as above.
  template <typename C>
  void Backward(const Rows<const T>& x, const Rows<const T>& down,
                const Rows<const T>& dy, Factors trained, const Rows<C>& dx,
                LoraFactors& lora);

 private:
  struct Part {
    LoraFactors::Factor factor;
    size_t rank_begin = 0;  // its columns of `down`
    size_t out_begin = 0;   // and of y
    size_t b_begin = 0;     // its B in b_
  };

  Rows<const T> B(const Part& part) const {
    return {b_.data() + part.b_begin, part.factor.out, part.factor.rank,
            part.factor.rank};
  }

  // The gradients of `down` and of B, as Backward has them.
  void BackwardTogether(const Rows<const T>& down, const Rows<const T>& dy,
                        Factors trained, float* gradient);
  void BackwardApart(const Rows<const T>& down, const Rows<const T>& dy,
                     Factors trained, float* gradient);

  size_t rank_ = 0, in_ = 0, out_ = 0;
  bool together_ = false;
  std::vector<Part> parts_;
  Buffer<T> a_;                 // [R, in], scaled
  Buffer<T> b_;                 // [out, r] of each part
  Buffer<float> b_transposed_;  // [r, out] of each part
  Buffer<T> all_b_;             // every B in its own rows and columns [out, R]
  Buffer<float> all_db_;        // and its gradient [out, R]
  Buffer<T> ddown_;             // [M,R]
  Buffer<float> da_;            // [R, in]
  DotVector vector_;            // of ForwardRow
  Buffer<float> row_;           // of ForwardRow [in + r + out]
};

}  // namespace edgetune::fused

#endif  // EDGETUNE_MODELS_FUSED_LORA_H_
