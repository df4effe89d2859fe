#ifndef EDGETUNE_TRAINING_CHECKPOINT_STORE_H_
#define EDGETUNE_TRAINING_CHECKPOINT_STORE_H_

#include <cstdint>
#include <span>
#include <string>

namespace edgetune {

// Keeps one segment of training while it is under way, so that after a stop or
// a crash Trainer::Train goes on from the last step saved. What is saved is
// opaque here (checkpoint.h); it holds an update in the making. Train calls it
// on its own thread, between optimiser steps.
class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;

  // What a trainer cannot see of its task, at least which base model: nothing
  // is resumed in another task than it was saved in.
  virtual std::string task() const = 0;

  // What was saved last; empty: nothing.
  virtual std::string Load() = 0;
  // What became of what Load gave: training goes on after step `step`, or
  // begins anew because of `reason`.
  virtual void Resumed(int64_t step, int64_t steps) = 0;
  virtual void Refused(const std::string& reason) = 0;

  // Whether to save, so many seconds of work after the last time. A stop saves
  // in any case.
  virtual bool IsDue(double seconds) const = 0;
  // Replaces what is there with the parts one after the other, whole or not at
  // all. A failure is the store's to tell: training goes on.
  virtual void Save(std::span<const std::span<const uint8_t>> parts) = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_CHECKPOINT_STORE_H_
