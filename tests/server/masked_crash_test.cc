// A26: kills the coordinator of a masked run at every transaction, and at every
// call that changes a file (before it, in its middle, after it), starts it
// again and expects the run to finish as if nothing had been.

#include <gmock/gmock.h>

#include "base/log.h"
#include "base/status.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

using testing::FileFaults;
using Kind = FileFaults::Kind;

std::string NameOfKind(Kind kind) {
  return kind == Kind::kKill        ? "before"
         : kind == Kind::kKillTorn  ? "inside"
         : kind == Kind::kKillAfter ? "after"
                                    : "";
}

// Calls of an undisturbed run from its submission on.
std::vector<std::string> CallsOf(uint32_t seed) {
  MaskedFleet fleet(seed);
  FileFaults faults({.directory = fleet.server.directory()});
  fleet.Submit();
  EXPECT_TRUE(fleet.Run());
  EXPECT_EQ(fleet.BrokenInvariant(), "") << "seed " << seed;
  return faults.calls();
}

// Empty, or what went wrong.
std::string RunWithKill(uint32_t seed, int64_t at, Kind kind) {
  MaskedFleet fleet(seed);
  {
    FileFaults faults(
        {.directory = fleet.server.directory(), .kind = kind, .at = at});
    fleet.faults = &faults;
    fleet.Submit();
    if (!faults.killed()) (void)fleet.Run();
    if (!faults.killed()) return "nothing was killed";
    fleet.server.CloseFiles();
    fleet.faults = nullptr;
  }
  fleet.NoteFreeze();
  const FileFaults quick({.directory = fleet.server.directory()});
  if (!fleet.Restart()) return "does not start again";
  if (!fleet.Run()) return "does not end: " + fleet.status().ShortDebugString();
  if (fleet.overrides > 0) {
    return "devices were spent for nothing: " +
           fleet.status().ShortDebugString();
  }
  return fleet.BrokenInvariant();
}

class MaskedKillTest : public ::testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, MaskedKillTest, ::testing::Range(0u, 5u));

TEST_P(MaskedKillTest, EveryCallThatChangesAFileMayBeTheLast) {
  const auto calls = CallsOf(GetParam());
  const auto count = static_cast<int64_t>(calls.size());
  ASSERT_GT(count, 200);
  const int64_t stride = Stride(3 * count, 16, 400);
  for (int64_t point = GetParam() % stride; point < 3 * count;
       point += stride) {
    const int64_t at = point / 3;
    const Kind kind = point % 3 == 0   ? Kind::kKill
                      : point % 3 == 1 ? Kind::kKillTorn
                                       : Kind::kKillAfter;
    EXPECT_EQ(RunWithKill(GetParam(), at, kind), "")
        << "seed " << GetParam() << ", " << NameOfKind(kind) << " call " << at
        << ": " << calls[static_cast<size_t>(at)];
  }
}

}  // namespace
}  // namespace edgetune
