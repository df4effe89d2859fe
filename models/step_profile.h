#ifndef EDGETUNE_MODELS_STEP_PROFILE_H_
#define EDGETUNE_MODELS_STEP_PROFILE_H_

// Where the time of training goes.

#include <array>
#include <chrono>
#include <cstddef>

namespace edgetune {

enum class StepPart : size_t {
  kProducts,   // with frozen weights
  kWeights,    // those read: de-quantised
  kAttention,  // with its own products
  kAdapters,   // LoRA, likewise
  kNorms,      // and activations, rotations, conversions
  kHead,       // last norm, projection, cross entropy
  kOptimiser,  // with clipping
  kBatches,    // examples read and packed
  kRest,
};
// For people and programs, by StepPart.
inline constexpr std::array<const char*, 9> kStepPartNames = {
    "products", "weights",   "attention", "adapters", "norms",
    "head",     "optimiser", "batches",   "rest"};

struct PartTime {
  double seconds = 0;
  double flops = 0;  // of kProducts; 0 elsewhere
};
using StepProfile = std::array<PartTime, kStepPartNames.size()>;

// Measures its thread while it lives: what no scope covers is kRest. One at a
// time on a thread, and not while a scope is open; other threads that help are
// not looked at.
class StepProfiler {
 public:
  StepProfiler();
  ~StepProfiler();
  StepProfiler(const StepProfiler&) = delete;

  // Until now. The parts are all of the time.
  StepProfile Read();

 private:
  friend class ProfileScope;
  using Clock = std::chrono::steady_clock;

  // The time since the last call was that part's.
  void Enter(StepPart part);

  static inline constinit thread_local StepProfiler* current_ = nullptr;

  StepPart part_ = StepPart::kRest;
  Clock::time_point since_;
  std::array<Clock::duration, kStepPartNames.size()> times_{};
  double flops_ = 0;
};

// Its lifetime is time of `part`, unless it lies within another scope, which
// has it all. Costs a look at a thread's variable where nothing measures.
class ProfileScope {
 public:
  // `flops`: what kProducts will compute, 2 M N K a product.
  explicit ProfileScope(StepPart part, double flops = 0) {
    StepProfiler* const profiler = StepProfiler::current_;
    if (profiler == nullptr || profiler->part_ != StepPart::kRest) return;
    profiler_ = profiler;
    profiler->flops_ += flops;
    profiler->Enter(part);
  }
  ~ProfileScope() {
    if (profiler_ != nullptr) profiler_->Enter(StepPart::kRest);
  }
  ProfileScope(const ProfileScope&) = delete;

 private:
  StepProfiler* profiler_ = nullptr;
};

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_STEP_PROFILE_H_
