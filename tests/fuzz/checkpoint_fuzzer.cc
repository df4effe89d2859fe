// A checkpoint that a restarted device finds: any bytes, and any bytes with the
// digests that make them look like one of the segment in question.

#include "training/checkpoint.h"

#include <algorithm>
#include <string>
#include <vector>

#include "privacy/crypto/secret.h"
#include "tests/fuzz/target.h"
#include "tests/training/memory_checkpoints.h"
#include "training/adam_w.h"

namespace edgetune::fuzz {
namespace {

constexpr int64_t kSteps = 6;

const Digest& TheSegment() {
  static const Digest digest = Sha256(std::string_view("a segment"));
  return digest;
}

void Check(const std::string& bytes) {
  const std::vector<float> before = {7, 8, 9};
  std::vector<float> values = before;
  AdamW optimizer(values.size(), 0);
  const auto read =
      ReadCheckpoint(ByteSpan(bytes), TheSegment(), kSteps, values, optimizer);
  if (!read.ok()) {
    Require(values == before, "what is refused changes no value");
    for (const std::span<const float> moment : optimizer.moments()) {
      Require(std::ranges::count(moment, 0.0f) == 3, "and no moment");
    }
    return;
  }
  Require(read->steps >= 1 && read->steps < kSteps, "a step is left");
  testing::MemoryCheckpoints store;
  SaveCheckpoint(TheSegment(), *read, values, optimizer, store);
  Require(store.saved.back() == bytes, "written again it is the same");
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;  // NOLINT
  std::string bytes(reinterpret_cast<const char*>(data), size);
  fuzz::Check(bytes);
  constexpr size_t kMagic = 8;
  const Digest& segment = fuzz::TheSegment();
  if (size >= kMagic + segment.size()) {
    std::ranges::copy(segment, bytes.begin() + kMagic);
  }
  fuzz::Check(bytes + Sha256Bytes(bytes));
  return 0;
}
