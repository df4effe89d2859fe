#ifndef EDGETUNE_TRAINING_FUSED_PACKED_EXAMPLES_H_
#define EDGETUNE_TRAINING_FUSED_PACKED_EXAMPLES_H_

// What a trainer and a teacher over fused::Llama do alike.

#include <cstddef>
#include <cstdint>

#include "models/exception_guard.h"
#include "models/fused/llama.h"
#include "models/fused/parallel.h"
#include "models/step_profile.h"
#include "training/local_training.h"

namespace edgetune {

// Batches are filled up to multiples of so many tokens: oneDNN generates code
// for every shape, which takes longer than a few tokens more.
inline constexpr size_t kTokenStep = 64;

// Into the memory of an earlier batch.
inline void Pack(ExampleBatch examples, fused::PackedBatch& batch) {
  const ProfileScope scope(StepPart::kBatches);
  batch.tokens.clear();
  batch.lengths.clear();
  for (const LabelledTokens* example : examples) {
    batch.tokens.insert(batch.tokens.end(), example->tokens.begin(),
                        example->tokens.end());
    batch.lengths.push_back(example->tokens.size());
  }
  const size_t rest = batch.tokens.size() % kTokenStep;
  if (rest != 0) {
    // A sequence of its own, which nothing else sees and no label follows.
    batch.lengths.push_back(kTokenStep - rest);
    batch.tokens.resize(batch.tokens.size() + kTokenStep - rest, 0);
  }
  batch.label_rows.clear();
  batch.label_tokens.clear();
  ForTargets(examples, [&](size_t row, int32_t token) {
    batch.label_rows.push_back(row);
    batch.label_tokens.push_back(token);
  });
}

// OpenMP's setting is the calling thread's, which may be another than the one
// that made whoever does the work.
template <typename Work>
auto Guarded(int threads, const Work& work) {
  return CatchExceptions([&] {
    fused::UseThreads(threads);
    return work();
  });
}

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_FUSED_PACKED_EXAMPLES_H_
