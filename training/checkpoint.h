#ifndef EDGETUNE_TRAINING_CHECKPOINT_H_
#define EDGETUNE_TRAINING_CHECKPOINT_H_

// A segment of training between two of its steps, as bytes. Little-endian:
//
//   8 bytes   "EDGETCP1"
//   32 bytes  SHA-256 of what makes the segment this one (SegmentDigest)
//   u64       n, coordinates trained
//   i64 x 2   steps done, tokens
//   f64 x 3   first loss, last loss, seconds of work
//   f32 x n   values
//   f32 x kn  the optimiser's k moments: AdamW's first and second; the buffer
//             of SGD with momentum, none without
//   32 bytes  SHA-256 of all before
//
// 120 + 4 (1 + k) n bytes: with AdamW 120 + 12 n. The order of examples is a
// function of seed and round and needs none. Functions without state; on the
// calling thread.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/hash.h"
#include "training/checkpoint_store.h"
#include "training/optimizer.h"
#include "training/trainer.h"

namespace edgetune {

inline constexpr std::string_view kCheckpointMagic = "EDGETCP1";

// What a trainer is asked to do. Not owned.
struct Segment {
  std::string engine;  // which one, in which precision
  const ModelConfig& model;
  const Adapter& adapter;
  const ExampleSource& examples;
  const TrainConfig& config;
  CheckpointStore* checkpoints = nullptr;  // null: nothing is kept
};

// How far a segment has come.
struct SegmentProgress {
  int64_t steps = 0;
  int64_t tokens = 0;
  double first_loss = 0, last_loss = 0;
  double seconds = 0;  // of work, over all starts
};

// Of everything that decides a segment's result, on one machine with one
// number of threads: task (CheckpointStore::task) and engine, config, incoming
// adapter, the examples that its steps take, and the build of this program.
Digest SegmentDigest(const Segment& segment, std::string_view task);

// What a trainer is asked to score. Not owned.
struct Scoring {
  std::string engine;  // as of Segment
  const Adapter& adapter;
  const ExampleSource& examples;
  int64_t max_examples = 0;  // 0: all
};
// The same of Trainer::Evaluate.
Digest ScoringDigest(const Scoring& scoring, std::string_view task);

void SaveCheckpoint(const Digest& segment, const SegmentProgress& progress,
                    std::span<const float> values, const Optimizer& optimizer,
                    CheckpointStore& store);

// Sets `values` and `optimizer`, both of the segment's size. DataLoss: not a
// whole checkpoint. FailedPrecondition: of another segment. After an error
// nothing is changed. `steps`: of the segment; at least one is left.
absl::StatusOr<SegmentProgress> ReadCheckpoint(std::span<const uint8_t> bytes,
                                               const Digest& segment,
                                               int64_t steps,
                                               std::span<float> values,
                                               Optimizer& optimizer);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_CHECKPOINT_H_
