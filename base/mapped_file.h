#ifndef EDGETUNE_BASE_MAPPED_FILE_H_
#define EDGETUNE_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace edgetune {

// A file mapped read-only. Resident memory grows only with the pages touched.
// Immutable, hence thread-safe; unmapped by the destructor. Open: NotFound,
// FailedPrecondition (not a regular file, no permission).
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(
      const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Lets whole pages of `part`, which lies in a MappedFile, leave memory until
  // they are touched again.
  static void Release(std::span<const uint8_t> part);

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, const uint8_t* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  const std::string path_;
  const uint8_t* const data_;
  const size_t size_;
};

}  // namespace edgetune

#endif  // EDGETUNE_BASE_MAPPED_FILE_H_
