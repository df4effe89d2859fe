#ifndef EDGETUNE_BASE_ATOMIC_DIRECTORY_H_
#define EDGETUNE_BASE_ATOMIC_DIRECTORY_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/atomic_file.h"

namespace edgetune {

// A directory of files that appears whole or not at all: made beside its final
// place, renamed by Commit, removed unless committed. Life: Create or
// CreateReplacing, Write or PathOf (to write there with an AtomicFile)...,
// Commit. One thread. Errors: AlreadyExists (something is at the final place,
// in Create or Commit) and those of AtomicFile.
class AtomicDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicDirectory>> Create(
      const std::string& path);
  // Commit removes what is at the place by then, which the caller has made sure
  // may go. For a moment neither is there, never a part of one.
  static absl::StatusOr<std::unique_ptr<AtomicDirectory>> CreateReplacing(
      const std::string& path);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  absl::Status Write(std::string_view name, std::string_view text);
  // Where a file of that name lies before Commit.
  std::string PathOf(std::string_view name) const;
  absl::Status Commit();

 private:
  AtomicDirectory(std::string path, std::string temporary)
      : path_(std::move(path)), temporary_(std::move(temporary)) {}
  absl::Status Replace();  // leaves the older one as temporary_

  const std::string path_;
  bool replaces_ = false;
  std::string temporary_;  // empty once renamed
};

}  // namespace edgetune

#endif  // EDGETUNE_BASE_ATOMIC_DIRECTORY_H_
