#ifndef EDGETUNE_CLIENT_CHECKPOINT_FILE_H_
#define EDGETUNE_CLIENT_CHECKPOINT_FILE_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "training/checkpoint_store.h"

namespace edgetune {

// One segment's checkpoint as a file in a device's state directory, readable
// by its user alone: what is in it would be the update, not masked. A device's
// flash bears it: 11 MB (SmolLM2-135M, rank 8) once a minute of training.
//
// A save that fails is told once; training goes on. Lines of the log begin
// with `name`. One thread.
class CheckpointFile final : public CheckpointStore {
 public:
  // `task`: see CheckpointStore. Saves after each `every` of work.
  CheckpointFile(std::string path, std::string name, std::string task,
                 absl::Duration every)
      : path_(std::move(path)),
        name_(std::move(name)),
        task_(std::move(task)),
        every_(every) {}

  // Where it lies; "": nowhere, of a client without a state directory.
  static std::string PathIn(const std::string& state_directory);
  // Removes it, if it is there, and what a save that was cut short left beside
  // it. A failure is a warning.
  static void Remove(const std::string& path);
  // The latter alone: a killed process leaves such parts.
  static void RemoveParts(const std::string& path);

  std::string task() const override { return task_; }
  std::string Load() override;
  void Resumed(int64_t step, int64_t steps) override;
  void Refused(const std::string& reason) override;
  bool IsDue(double seconds) const override;
  void Save(std::span<const std::span<const uint8_t>> parts) override;

 private:
  const std::string path_, name_, task_;
  const absl::Duration every_;
  bool told_ = false;  // that a save failed
};

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_CHECKPOINT_FILE_H_
