#ifndef EDGETUNE_TOOLS_PROGRESS_H_
#define EDGETUNE_TOOLS_PROGRESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tools/output.h"

namespace edgetune {

// What goes on, on stderr: a block of lines that is repainted in place on a
// terminal; elsewhere a plain line whenever it says something new, at most one
// in 10 s. Silent when quiet. Life: Show..., then Finish or destroy (the block
// is wiped). One thread.
class LiveBlock {
 public:
  explicit LiveBlock(const Output& output);
  ~LiveBlock() { Wipe(); }
  LiveBlock(const LiveBlock&) = delete;
  LiveBlock& operator=(const LiveBlock&) = delete;

  bool terminal() const { return terminal_; }
  // `block` for a terminal, `plain` for a log.
  void Show(const std::vector<std::string>& block, const std::string& plain);
  // A line that stays, above the block.
  void Say(const std::string& line);
  void Wipe();

 private:
  const bool quiet_;
  const bool terminal_;
  size_t painted_ = 0;  // lines on the screen
  std::string last_plain_;
  absl::Time last_plain_at_ = absl::InfinitePast();
};

// One task with a known (or, 0, unknown) amount of work: bar, rate, time left.
class Progress {
 public:
  enum class Unit { kBytes, kCount };
  Progress(const Output& output, std::string title, uint64_t total, Unit unit);
  void Update(uint64_t done, const std::string& note = "");

 private:
  std::string Line(uint64_t done, const std::string& note) const;

  LiveBlock block_;
  const std::string title_;
  const uint64_t total_;
  const Unit unit_;
  const absl::Time start_;
  absl::Time painted_at_ = absl::InfinitePast();
};

// "[#####.....]" of `width` characters inside.
std::string Bar(double share, int width);
// Seconds left after `elapsed` at `share` done; negative when unknown.
double SecondsLeft(double share, double elapsed);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_PROGRESS_H_
