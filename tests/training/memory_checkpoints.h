#ifndef EDGETUNE_TESTS_TRAINING_MEMORY_CHECKPOINTS_H_
#define EDGETUNE_TESTS_TRAINING_MEMORY_CHECKPOINTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "training/checkpoint_store.h"

namespace edgetune::testing {

// Keeps every checkpoint in memory. One thread.
class MemoryCheckpoints final : public CheckpointStore {
 public:
  std::string its_task = "a plan";
  bool due = false;
  std::vector<std::string> saved;  // the last one is what is there
  std::vector<int64_t> resumed;    // steps
  std::vector<std::string> refused;

  std::string task() const override { return its_task; }
  std::string Load() override { return saved.empty() ? "" : saved.back(); }
  void Resumed(int64_t step, int64_t) override { resumed.push_back(step); }
  void Refused(const std::string& reason) override {
    refused.push_back(reason);
  }
  bool IsDue(double) const override { return due; }
  void Save(std::span<const std::span<const uint8_t>> parts) override {
    std::string& all = saved.emplace_back();
    for (const auto part : parts) all.append(part.begin(), part.end());
  }
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TRAINING_MEMORY_CHECKPOINTS_H_
