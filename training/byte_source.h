#ifndef EDGETUNE_TRAINING_BYTE_SOURCE_H_
#define EDGETUNE_TRAINING_BYTE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace edgetune {

inline constexpr size_t kSourceBlock = 64 << 10;  // bytes read at a time

// Bytes in order, a block at a time, whatever they are packed in. One thread.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills a part of `out` (not empty) and says how much: 0 at the end only.
  virtual absl::StatusOr<size_t> Read(std::span<uint8_t> out) = 0;
};

enum class Compression { kNone, kGzip, kZstd };

// A file, read once. Progress counts the bytes of the file as it lies on the
// disk. Errors of the disk, and a path that is no regular file, carry kData.
class FileSource final : public ByteSource {
 public:
  static absl::StatusOr<std::unique_ptr<FileSource>> Open(
      const std::string& path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  absl::StatusOr<size_t> Read(std::span<uint8_t> out) override;
  uint64_t size() const { return size_; }
  uint64_t position() const { return position_; }

 private:
  FileSource(std::string path, int fd, uint64_t size)
      : path_(std::move(path)), fd_(fd), size_(size) {}

  const std::string path_;
  const int fd_;
  const uint64_t size_;
  uint64_t position_ = 0;
};

// Unpacks what `packed` yields: one or more gzip members (RFC 1952), or
// Zstandard frames (RFC 8878) whose window is at most 8 MiB, as that document
// asks of readers; checksums are verified. Holds 64 KiB, and for Zstandard the
// window. DataLoss: damaged, cut short (an empty file too), or followed by
// other bytes. `packed` must outlive the result.
std::unique_ptr<ByteSource> Unpack(ByteSource& packed, Compression compression);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_BYTE_SOURCE_H_
