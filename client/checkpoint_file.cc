#include "client/checkpoint_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "base/atomic_file.h"
#include "base/log.h"
#include "base/status.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// The largest there can be: 2^31 coordinates have no place on a device.
constexpr uint64_t kLargest = uint64_t{1} << 30;

absl::Status WriteParts(const std::string& path,
                        std::span<const std::span<const uint8_t>> parts) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path, 0600));
  for (const std::span<const uint8_t> part : parts) {
    EDGETUNE_RETURN_IF_ERROR(file->Append(part));
  }
  return file->Commit();
}

void RemoveFile(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (!error) return;
  LogWarning(
      fmt::format("cannot remove {}: {}", path.string(), error.message()));
}

}  // namespace

std::string CheckpointFile::PathIn(const std::string& state_directory) {
  return state_directory.empty() ? ""
                                 : state_directory + "/training.checkpoint";
}

void CheckpointFile::RemoveParts(const std::string& path) {
  if (path.empty()) return;
  const fs::path whole(path);
  const std::string beginning = whole.filename().string() + ".part";
  std::vector<fs::path> parts;
  std::error_code error;
  for (fs::directory_iterator at(whole.parent_path(), error), end;
       !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with(beginning)) {
      parts.push_back(at->path());
    }
  }
  for (const fs::path& part : parts) RemoveFile(part);
}

void CheckpointFile::Remove(const std::string& path) {
  if (path.empty()) return;
  RemoveParts(path);
  RemoveFile(path);
}

std::string CheckpointFile::Load() {
  auto bytes = ReadFile(path_, kLargest);
  if (bytes.ok()) return *std::move(bytes);
  if (!absl::IsNotFound(bytes.status())) {
    Refused(std::string(bytes.status().message()));
  }
  return "";
}

void CheckpointFile::Resumed(int64_t step, int64_t steps) {
  LogInfo(fmt::format("{}: resumed at step {} of {}", name_, step, steps));
}

void CheckpointFile::Refused(const std::string& reason) {
  LogWarning(
      fmt::format("{}: the saved training is not resumed: {}", name_, reason));
  Remove(path_);
}

bool CheckpointFile::IsDue(double seconds) const {
  return absl::Seconds(seconds) >= every_;
}

void CheckpointFile::Save(std::span<const std::span<const uint8_t>> parts) {
  const absl::Status status = WriteParts(path_, parts);
  if (status.ok() || told_) return;
  told_ = true;
  LogWarning(
      fmt::format("{}: training cannot be saved, a stop would cost its "
                  "steps: {}",
                  name_, std::string(status.message())));
}

}  // namespace edgetune
