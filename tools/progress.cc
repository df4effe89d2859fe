#include "tools/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"
#include "base/terminal_text.h"
#include "base/units.h"

namespace edgetune {
namespace {

constexpr absl::Duration kPlainEvery = absl::Seconds(10);
constexpr absl::Duration kPaintEvery = absl::Milliseconds(100);

// A line longer than the terminal would wrap and break the repainting.
std::string Cut(const std::string& line, size_t width) {
  size_t columns = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if ((line[i] & 0xc0) != 0x80 && ++columns > width) return line.substr(0, i);
  }
  return line;
}

}  // namespace

LiveBlock::LiveBlock(const Output& output)
    : quiet_(output.quiet), terminal_(IsTerminal(2)) {}

void LiveBlock::Show(const std::vector<std::string>& block,
                     const std::string& plain) {
  if (quiet_) return;
  if (!terminal_) {
    const absl::Time now = absl::Now();
    if (plain == last_plain_ || now - last_plain_at_ < kPlainEvery) return;
    last_plain_ = plain;
    last_plain_at_ = now;
    WriteStderr(plain + "\n");
    return;
  }
  const size_t width = TerminalWidth(2) - 1;
  std::string out = painted_ == 0 ? "" : fmt::format("\033[{}A", painted_);
  for (const std::string& line : block) {
    out += "\r\033[K" + Cut(TerminalLine(line), width) + "\n";
  }
  out += "\033[J";
  painted_ = block.size();
  PaintStderr(out);
}

void LiveBlock::Say(const std::string& line) {
  if (quiet_) return;
  Wipe();
  WriteStderr(line + "\n");
}

void LiveBlock::Wipe() {
  if (painted_ > 0) PaintStderr(fmt::format("\033[{}A\r\033[J", painted_));
  painted_ = 0;
}

Progress::Progress(const Output& output, std::string title, uint64_t total,
                   Unit unit)
    : block_(output),
      title_(std::move(title)),
      total_(total),
      unit_(unit),
      start_(absl::Now()) {}

void Progress::Update(uint64_t done, const std::string& note) {
  const absl::Time now = absl::Now();
  if (done < total_ && now - painted_at_ < kPaintEvery) return;
  painted_at_ = now;
  const std::string line = Line(done, note);
  block_.Show({line}, line);
}

std::string Progress::Line(uint64_t done, const std::string& note) const {
  const double elapsed = absl::ToDoubleSeconds(absl::Now() - start_);
  const double rate = elapsed > 0 ? done / elapsed : 0;
  std::string amount, speed;
  if (unit_ == Unit::kBytes) {
    amount = FormatBytes(done);
    if (total_ > 0) amount += " of " + FormatBytes(total_);
    speed = FormatBytes(static_cast<uint64_t>(rate)) + "/s";
  } else {
    amount = total_ > 0 ? fmt::format("{} of {}", done, total_)
                        : fmt::format("{}", done);
    speed = fmt::format("{:.1f}/s", rate);
  }
  std::string line = title_ + " ";
  const double share =
      total_ > 0 ? std::min(1.0, static_cast<double>(done) / total_) : 0;
  if (total_ > 0) line += Bar(share, 20) + " ";
  line += amount;
  // The first moments say nothing about the rest.
  const bool measured = elapsed >= 0.3;
  if (measured) line += ", " + speed;
  const double left = total_ > 0 && measured ? SecondsLeft(share, elapsed) : -1;
  if (left > 0) line += ", " + FormatSeconds(left) + " left";
  if (!note.empty()) line += ", " + note;
  return line;
}

std::string Bar(double share, int width) {
  const int full = std::clamp(static_cast<int>(share * width), 0, width);
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

double SecondsLeft(double share, double elapsed) {
  if (!(share > 0) || share >= 1) return share >= 1 ? 0 : -1;
  return elapsed * (1 - share) / share;
}

}  // namespace edgetune
