#ifndef EDGETUNE_TESTS_FUZZ_TARGET_H_
#define EDGETUNE_TESTS_FUZZ_TARGET_H_

// What every fuzz target is made of. A target is one file that defines
// LLVMFuzzerTestOneInput; a target whose inputs hold a message also defines
// ShapeOf, by which mutator.cc bends that message field by field.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>

#include "google/protobuf/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace edgetune::fuzz {

// A promise of the code under test; broken, it is as bad as a crash.
inline void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// An input is `prefix` bytes of choices, then `message` (null: bytes without a
// structure).
struct InputShape {
  size_t prefix = 0;
  std::unique_ptr<google::protobuf::Message> message = nullptr;
  // Makes digests and links fit again after a field was bent, as a liar would.
  std::function<void(google::protobuf::Message&)> repair = nullptr;
};
// The shape of an input that begins like this.
InputShape ShapeOf(std::span<const uint8_t> input);

template <typename Message>
bool Parse(std::span<const uint8_t> bytes, Message& message) {
  return message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_TARGET_H_
