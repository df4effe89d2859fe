#include "tools/output.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/terminal_text.h"

namespace edgetune {
namespace {

using Json = nlohmann::ordered_json;

// Bytes that are no UTF-8 (a path, a model's token) must not end the program.
std::string Dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status WriteStdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    return ErrnoStatus(errno, "cannot write", "standard output");
  }
  return absl::OkStatus();
}

// UTF-8 characters, taken as one column each.
size_t Columns(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (c & 0xc0) != 0x80; });
}

std::string Pad(std::string_view text, size_t width, bool right) {
  const size_t columns = Columns(text);
  const std::string space(width > columns ? width - columns : 0, ' ');
  return right ? space + std::string(text) : std::string(text) + space;
}

std::vector<std::string> Wrap(std::string_view text, size_t width) {
  std::vector<std::string> lines(1);
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '\n') {
      lines.emplace_back();
      ++at;
      continue;
    }
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    const size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string word(text.substr(at, end - at));
    if (!lines.back().empty() &&
        Columns(lines.back()) + 1 + Columns(word) > width) {
      lines.emplace_back();
    }
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    at = end;
  }
  return lines;
}

}  // namespace

std::string SuccessEnvelope(const nlohmann::json& data) {
  return Dump(Json{{"schema_version", kJsonSchemaVersion},
                   {"status", "ok"},
                   {"data", Json(data)}});
}

std::string ErrorEnvelope(const absl::Status& status) {
  return Dump(Json{{"schema_version", kJsonSchemaVersion},
                   {"status", "error"},
                   {"error_code", std::string(ErrorCodeName(KindOf(status)))},
                   {"message", std::string(status.message())},
                   {"hint", HintOf(status)}});
}

absl::Status Output::Finish(const nlohmann::json& data,
                            const std::string& text) const {
  if (json()) return WriteStdout(SuccessEnvelope(data));
  const bool complete = text.empty() || text.back() == '\n';
  return WriteStdout(TerminalText(text) + (complete ? "" : "\n"));
}

void Output::Note(const std::string& line) const {
  if (!quiet) WriteStderr(line + "\n");
}

void Output::Error(const absl::Status& status) const {
  const char* no_color_wish = std::getenv("NO_COLOR");
  const bool color = IsTerminal(2) && !no_color &&
                     (no_color_wish == nullptr || *no_color_wish == 0);
  PaintStderr(color ? "\033[1;31merror:\033[0m " : "error: ");
  WriteStderr(std::string(status.message()) + "\n");
  const std::string hint = HintOf(status);
  if (!hint.empty()) WriteStderr("hint: " + hint + "\n");
  // The exit code already tells of a failure to write this.
  if (json()) WriteStdout(ErrorEnvelope(status)).IgnoreError();
}

absl::Status WriteAnswer(std::string_view text) {
  return IsTerminal(1) ? WriteStdout(TerminalText(text)) : WriteStdout(text);
}

void WriteStderr(std::string_view text) { PaintStderr(TerminalText(text)); }

void PaintStderr(std::string_view sequences) {
  (void)!std::fwrite(sequences.data(), 1, sequences.size(), stderr);
}

absl::Status UsageError(const std::string& what, const std::string& hint) {
  return Annotate(absl::InvalidArgumentError(what), ErrorKind::kUsage, hint);
}

absl::Status CheckAbsent(const std::string& path, const std::string& hint) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return absl::OkStatus();
  return Annotate(absl::AlreadyExistsError(path + " exists already"),
                  ErrorKind::kUsage, hint);
}

absl::Status CheckWritableParent(const std::string& path,
                                 const std::string& option) {
  std::filesystem::path target = std::filesystem::path(path).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  std::string parent = target.parent_path();
  if (parent.empty()) parent = ".";
  const std::string hint = "name another place with " + option;
  EDGETUNE_RETURN_IF_ERROR(
      Annotate(MakeDirectories(parent), ErrorKind::kUsage, hint));
  if (access(parent.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return Annotate(ErrnoStatus(errno, "cannot write in", parent),
                  ErrorKind::kUsage, hint);
}

absl::Status CheckOwnFile(const std::string& path, std::string_view magic,
                          const std::string& option) {
  EDGETUNE_RETURN_IF_ERROR(CheckWritableParent(path, option));
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return absl::OkStatus();
  std::string begin(magic.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  // An empty file is what a process that was killed at once leaves.
  if (file.gcount() == 0 && std::filesystem::is_empty(path, ignored)) {
    return absl::OkStatus();
  }
  if (file && begin == magic) return absl::OkStatus();
  return Annotate(
      absl::AlreadyExistsError(path + " is there and was not written by this"),
      ErrorKind::kUsage, "name another file with " + option);
}

absl::Status CheckNew(const std::string& path) {
  EDGETUNE_RETURN_IF_ERROR(CheckAbsent(path));
  return CheckWritableParent(path);
}

bool IsTerminal(int fd) { return isatty(fd) == 1; }

int TerminalWidth(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string FormatTable(const std::vector<std::vector<std::string>>& cells,
                        const std::vector<size_t>& right) {
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> widths;
  for (const auto& row : cells) {
    rows.emplace_back();
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      rows.back().push_back(TerminalLine(row[i]));
      widths[i] = std::max(widths[i], Columns(rows.back()[i]));
    }
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool flush_right =
          std::find(right.begin(), right.end(), i) != right.end();
      line += (i == 0 ? "" : "  ") + Pad(row[i], widths[i], flush_right);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string SideBySide(std::string_view left_head, std::string_view left,
                       std::string_view right_head, std::string_view right,
                       int width) {
  const size_t column = std::max(20, (std::min(width, 120) - 3) / 2);
  std::vector<std::string> l = Wrap(TerminalText(left), column);
  std::vector<std::string> r = Wrap(TerminalText(right), column);
  l.insert(l.begin(), std::string(left_head));
  r.insert(r.begin(), std::string(right_head));
  l.resize(std::max(l.size(), r.size()));
  r.resize(l.size());
  std::string out;
  for (size_t i = 0; i < l.size(); ++i) {
    out += Pad(l[i], column, false) + " | " + r[i] + "\n";
  }
  return out;
}

}  // namespace edgetune
