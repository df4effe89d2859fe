#ifndef EDGETUNE_TOOLS_OUTPUT_H_
#define EDGETUNE_TOOLS_OUTPUT_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace edgetune {

// The output contract of every verb: stdout is data, stderr is progress and
// errors. Filled from the flags before the verb runs; one thread.
struct Output {
  std::string format = "txt";  // or "json"
  bool quiet = false;
  bool no_color = false;

  bool json() const { return format == "json"; }

  // The verb's result, once: `data` in the JSON envelope, or `text` for people
  // (made safe for a terminal; a newline is added unless it ends in one).
  // kDiskFull and the like when stdout cannot take it.
  absl::Status Finish(const nlohmann::json& data,
                      const std::string& text) const;
  // A remark on stderr unless quiet.
  void Note(const std::string& line) const;
  // "error: ..." and "hint: ..." on stderr; with --format json the envelope on
  // stdout too.
  void Error(const absl::Status& status) const;
};

// Version of the JSON envelope: raised when a field changes its meaning.
inline constexpr int kJsonSchemaVersion = 1;

std::string SuccessEnvelope(const nlohmann::json& data);
std::string ErrorEnvelope(const absl::Status& status);

// A model's text, as it comes or whole (each a piece of whole characters), to
// stdout: made safe for a terminal, and exact for a file or another program.
absl::Status WriteAnswer(std::string_view text);
// To stderr, made safe for a terminal; a failure to tell is no failure of the
// work.
void WriteStderr(std::string_view text);
// To stderr as it is: for control sequences of our own.
void PaintStderr(std::string_view sequences);
// What was asked for cannot be done: InvalidArgument, kUsage.
absl::Status UsageError(const std::string& what, const std::string& hint = "");
// An unusable --out is found before the work, not after; all kUsage. Nothing
// may be at `path` yet (AlreadyExists);
absl::Status CheckAbsent(const std::string& path, const std::string& hint =
                                                      "name something new with "
                                                      "--out");
// its parent is made, and can be written in (`option` is the one that named
// it);
absl::Status CheckWritableParent(const std::string& path,
                                 const std::string& option = "--out");
// both.
absl::Status CheckNew(const std::string& path);
// A file of ours that is used, replaced and removed, as --checkpoint names it:
// its parent as above, and what is there already begins with `magic`.
absl::Status CheckOwnFile(const std::string& path, std::string_view magic,
                          const std::string& option);

// Whether this stream (1, 2) is a terminal; its width (80 when unknown).
bool IsTerminal(int fd);
int TerminalWidth(int fd);

std::string TimeText(absl::Time time);  // "2026-11-28T02:34:00Z"
// Columns padded to their widest cell, two spaces between; the first row is
// the head. Columns named in `right` (by position) are aligned right. No cell
// can begin a line or leave its column: it is a TerminalLine.
std::string FormatTable(const std::vector<std::vector<std::string>>& cells,
                        const std::vector<size_t>& right = {});
// Two texts, made safe for a terminal, wrapped into columns beside each other,
// with heads.
std::string SideBySide(std::string_view left_head, std::string_view left,
                       std::string_view right_head, std::string_view right,
                       int width);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_OUTPUT_H_
