#ifndef EDGETUNE_TRAINING_LINE_READER_H_
#define EDGETUNE_TRAINING_LINE_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "training/byte_source.h"

namespace edgetune {

inline constexpr size_t kMaxLineBytes = 16 << 20;

// The lines of a text file, plain or packed (by its name: .gz, .zst), one at a
// time: a file is never in memory whole. UTF-8 without NUL; a byte order mark
// before the first line and a CR before an LF are no part of the text.
//
// Life: Open, Next until it yields nothing or an error. One thread. Errors
// carry kData and name file:line, never what stands there: InvalidArgument (not
// UTF-8, a line above the limit, packed without saying so in the name),
// DataLoss (archive damaged or cut short), and those of the disk.
class LineReader {
 public:
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(
      const std::string& path);
  // Of bytes that are in memory, for tests: `name` stands in errors.
  LineReader(std::unique_ptr<ByteSource> source, Compression compression,
             std::string name, size_t max_line);

  // Valid until the next call. nullopt: the end.
  absl::StatusOr<std::optional<std::string_view>> Next();

  int64_t line() const { return line_; }  // number of the last one, from 1
  std::string Where() const;              // "file:line"
  // Bytes of the file on disk, for progress; 0 in memory.
  uint64_t bytes() const { return file_ == nullptr ? 0 : file_->size(); }
  uint64_t bytes_read() const {
    return file_ == nullptr ? 0 : file_->position();
  }

 private:
  absl::Status Fill();
  absl::Status CheckText(std::string_view text) const;
  absl::Status CheckMagic() const;
  absl::Status Fault(absl::Status status) const;

  std::unique_ptr<ByteSource> source_;
  std::unique_ptr<ByteSource> unpacked_;  // null: not packed
  const FileSource* file_ = nullptr;      // source_, when it is one
  const std::string name_;
  const size_t max_line_;
  std::string buffer_;  // [begin_, size) not handed out yet
  size_t begin_ = 0;
  size_t searched_ = 0;  // no LF in [begin_, searched_)
  bool ended_ = false;
  int64_t line_ = 0;
};

// By the name's end.
Compression CompressionOf(std::string_view path);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_LINE_READER_H_
