#include "training/line_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"

namespace edgetune {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kGzipMagic = "\x1f\x8b";
constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";

}  // namespace

Compression CompressionOf(std::string_view path) {
  if (path.ends_with(".gz")) return Compression::kGzip;
  if (path.ends_with(".zst")) return Compression::kZstd;
  return Compression::kNone;
}

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(std::unique_ptr<FileSource> file,
                            FileSource::Open(path));
  const FileSource* source = file.get();
  auto reader = std::make_unique<LineReader>(
      std::move(file), CompressionOf(path), path, kMaxLineBytes);
  reader->file_ = source;
  return reader;
}

LineReader::LineReader(std::unique_ptr<ByteSource> source,
                       Compression compression, std::string name,
                       size_t max_line)
    : source_(std::move(source)), name_(std::move(name)), max_line_(max_line) {
  if (compression != Compression::kNone) {
    unpacked_ = Unpack(*source_, compression);
  }
}

std::string LineReader::Where() const {
  return fmt::format("{}:{}", name_, line_);
}

absl::Status LineReader::Fault(absl::Status status) const {
  return Annotate(Prefix(status, Where()), ErrorKind::kData);
}

absl::StatusOr<std::optional<std::string_view>> LineReader::Next() {
  ++line_;
  size_t end = std::string::npos;
  while ((end = buffer_.find('\n', searched_)) == std::string::npos &&
         !ended_) {
    searched_ = buffer_.size();
    if (buffer_.size() - begin_ > max_line_) break;
    EDGETUNE_RETURN_IF_ERROR(Fill());
  }
  const size_t stop = std::min(end, buffer_.size());
  if (stop - begin_ > max_line_) {
    return Fault(absl::InvalidArgumentError(
        fmt::format("the line is longer than {} bytes", max_line_)));
  }
  if (end == std::string::npos && begin_ == buffer_.size()) return std::nullopt;
  if (line_ == 1) EDGETUNE_RETURN_IF_ERROR(CheckMagic());
  std::string_view text(buffer_.data() + begin_, stop - begin_);
  begin_ = searched_ = std::min(stop + 1, buffer_.size());
  if (line_ == 1 && text.starts_with(kByteOrderMark)) {
    text.remove_prefix(kByteOrderMark.size());
  }
  if (text.ends_with('\r')) text.remove_suffix(1);
  EDGETUNE_RETURN_IF_ERROR(CheckText(text));
  return text;
}

absl::Status LineReader::Fill() {
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  std::array<uint8_t, kSourceBlock> block;
  ByteSource& from = unpacked_ != nullptr ? *unpacked_ : *source_;
  const absl::StatusOr<size_t> got = from.Read(block);
  if (!got.ok()) return Fault(got.status());
  ended_ = *got == 0;
  buffer_.append(reinterpret_cast<const char*>(block.data()), *got);
  return absl::OkStatus();
}

absl::Status LineReader::CheckMagic() const {
  if (unpacked_ != nullptr) return absl::OkStatus();
  const std::string_view start = std::string_view(buffer_).substr(begin_, 4);
  const bool gzip = start.starts_with(kGzipMagic);
  if (!gzip && !start.starts_with(kZstdMagic)) return absl::OkStatus();
  const auto status = absl::InvalidArgumentError("no text but a packed file");
  return Annotate(
      Prefix(status, Where()), ErrorKind::kData,
      gzip ? "let its name end in .gz" : "let its name end in .zst");
}

absl::Status LineReader::CheckText(std::string_view text) const {
  for (size_t at = 0; at < text.size();) {
    const Utf8Char c = DecodeUtf8(text.substr(at));
    if (c.code <= 0) {
      return Fault(absl::InvalidArgumentError(fmt::format(
          "{} (byte {} of the line)",
          c.code == 0 ? "a NUL byte, this is no text" : "not UTF-8", at + 1)));
    }
    at += c.length;
  }
  return absl::OkStatus();
}

}  // namespace edgetune
