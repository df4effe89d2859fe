#include "simulations/report/event_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr size_t kMostBuffered = 1 << 20;

std::string_view LineAt(std::string_view text, size_t from) {
  return text.substr(from, text.find('\n', from) - from);
}

bool EndsAPart(EventKind kind) {
  return kind == EventKind::kRoundCommitted ||
         kind == EventKind::kRoundAbandoned || kind == EventKind::kRunFinished;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Create(
    const std::string& path, const RunHeader& header) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string line, FormatHeader(header));
  const int fd =
      open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) {
    return Annotate(
        absl::AlreadyExistsError(fmt::format("{} is there already", path)),
        ErrorKind::kUsage, "a log is of one run: choose another directory");
  }
  if (fd < 0) return ErrnoStatus(errno, "cannot create", path);
  std::unique_ptr<EventLog> log(new EventLog(path, fd));
  EDGETUNE_RETURN_IF_ERROR(log->Begin(line));
  return log;
}

absl::StatusOr<std::unique_ptr<EventLog>> EventLog::Repeat(
    const std::string& path, const RunHeader& header) {
  EDGETUNE_ASSIGN_OR_RETURN(const std::string line, FormatHeader(header));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "cannot open", path);
  std::unique_ptr<EventLog> log(new EventLog(path, fd));
  EDGETUNE_RETURN_IF_ERROR(log->CutLastLine());
  EDGETUNE_RETURN_IF_ERROR(log->Begin(line));
  return log;
}

absl::Status EventLog::Begin(const std::string& line) {
  buffer_ = line + "\n";
  return Flush();
}

absl::Status EventLog::CutLastLine() {
  const off_t size = lseek(fd_, 0, SEEK_END);
  off_t end = size;
  char last = '\n';
  while (end > 0) {
    if (pread(fd_, &last, 1, end - 1) != 1) {
      return ErrnoStatus(errno, "cannot read", path_);
    }
    if (last == '\n') break;
    --end;
  }
  if ((end < size && ftruncate(fd_, end) != 0) ||
      lseek(fd_, 0, SEEK_SET) != 0) {
    return ErrnoStatus(errno, "cannot cut", path_);
  }
  old_ = static_cast<uint64_t>(end);
  return absl::OkStatus();
}

// As much of the buffer as the log before has, which the file is read along
// with, so that writing goes on at its end.
absl::Status EventLog::Compare() {
  std::string old(std::min<uint64_t>(old_, buffer_.size()), '\0');
  size_t have = 0;
  while (have < old.size()) {
    const ssize_t got = read(fd_, old.data() + have, old.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return ErrnoStatus(errno, "cannot read", path_);
    have += static_cast<size_t>(got);
  }
  const std::string_view now(buffer_.data(), old.size());
  if (now != old) {
    const auto at = std::mismatch(now.begin(), now.end(), old.begin()).first;
    const auto begin = now.rfind('\n', static_cast<size_t>(at - now.begin()));
    const size_t from = begin == now.npos ? 0 : begin + 1;
    differs_ = Annotate(
        absl::FailedPreconditionError(fmt::format(
            "the run does not repeat itself: {} said {}, and now it is {}",
            path_, LineAt(old, from), LineAt(now, from))),
        ErrorKind::kFailed,
        "was it begun by another build or on another machine? Begin it anew "
        "in another directory");
    return differs_;
  }
  old_ -= old.size();
  buffer_.erase(0, old.size());
  return absl::OkStatus();
}

EventLog::~EventLog() {
  if (fd_ < 0) return;
  Flush().IgnoreError();  // nobody is left to tell
  close(fd_);
}

absl::Status EventLog::Append(const RunEvent& event) {
  EDGETUNE_CHECK(fd_ >= 0);
  EDGETUNE_ASSIGN_OR_RETURN(const std::string line, FormatEvent(event));
  buffer_ += line;
  buffer_ += '\n';
  if (EndsAPart(event.kind) || buffer_.size() >= kMostBuffered) return Flush();
  return absl::OkStatus();
}

absl::Status EventLog::Flush() {
  EDGETUNE_RETURN_IF_ERROR(differs_);
  if (old_ > 0) EDGETUNE_RETURN_IF_ERROR(Compare());
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t wrote = write(fd_, left.data(), left.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      const int error = errno;
      buffer_.erase(0, buffer_.size() - left.size());
      return ErrnoStatus(error, "cannot write", path_);
    }
    left.remove_prefix(static_cast<size_t>(wrote));
  }
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status EventLog::Close() {
  EDGETUNE_RETURN_IF_ERROR(Flush());
  if (old_ > 0) {
    return Annotate(absl::FailedPreconditionError(fmt::format(
                        "the run does not repeat itself: {} has {} bytes more",
                        path_, old_)),
                    ErrorKind::kFailed, "begin it anew in another directory");
  }
  if (fsync(fd_) != 0) return ErrnoStatus(errno, "cannot write", path_);
  const int fd = std::exchange(fd_, -1);
  if (close(fd) != 0) return ErrnoStatus(errno, "cannot write", path_);
  return absl::OkStatus();
}

EventReader::EventReader(std::unique_ptr<MappedFile> file)
    : file_(std::move(file)),
      rest_(reinterpret_cast<const char*>(file_->bytes().data()),
            file_->bytes().size()) {}

absl::StatusOr<std::unique_ptr<EventReader>> EventReader::Open(
    const std::string& path) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) {
    return Annotate(file.status(), ErrorKind::kData,
                    "a run's directory holds its events.jsonl");
  }
  std::unique_ptr<EventReader> reader(new EventReader(*std::move(file)));
  const auto line = reader->NextLine();
  if (!line) {
    return Annotate(absl::InvalidArgumentError(
                        fmt::format("{}:1: there is no whole line", path)),
                    ErrorKind::kData, "the run had not begun");
  }
  auto header = ParseHeader(*line);
  if (!header.ok()) {
    return Annotate(Prefix(header.status(), reader->Where()), ErrorKind::kData,
                    "docs/reference/report.md has the format");
  }
  reader->header_ = *std::move(header);
  return reader;
}

std::string EventReader::Where() const {
  return fmt::format("{}:{}", file_->path(), line_);
}

std::optional<std::string_view> EventReader::NextLine() {
  if (rest_.empty()) return std::nullopt;
  const size_t end = rest_.find('\n');
  if (end == rest_.npos) {
    cut_ = true;
    return std::nullopt;
  }
  std::string_view line = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  ++line_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

absl::StatusOr<std::optional<RunEvent>> EventReader::Next() {
  while (const auto line = NextLine()) {
    auto event = ParseEvent(*line);
    if (event.ok() && finished_) {
      event = absl::InvalidArgumentError("an event after run_finished");
    }
    if (!event.ok()) {
      return Annotate(Prefix(event.status(), Where()), ErrorKind::kData,
                      "docs/reference/report.md has the format");
    }
    if (event->has_value()) {
      finished_ = (*event)->kind == EventKind::kRunFinished;
      return *std::move(event);
    }
    ++unknown_;
  }
  return std::nullopt;
}

}  // namespace edgetune
