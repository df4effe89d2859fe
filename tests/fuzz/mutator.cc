// libFuzzer's mutations, aware of the structure that a target states.

#include <cstring>
#include <string>
#include <utility>

#include "tests/fuzz/bend_message.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/target.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace edgetune::fuzz {
namespace {

// Empty: the rest is no message, or became too long.
std::string Bent(const InputShape& shape, std::span<const uint8_t> rest,
                 Choices& choices) {
  if (shape.message == nullptr || !Parse(rest, *shape.message)) return "";
  for (uint32_t left = 1 + choices.Below(3); left > 0; --left) {
    BendMessage(choices, *shape.message);
  }
  if (shape.repair && choices.Below(2) == 0) shape.repair(*shape.message);
  return shape.message->SerializeAsString();
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size,
                                          size_t max_size, unsigned int seed) {
  using namespace edgetune::fuzz;  // NOLINT
  SeededChoices choices(seed);
  const InputShape shape = ShapeOf({data, size});
  // Bytes without a structure must be met too.
  if (size < shape.prefix || choices.Below(8) == 0) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  if (shape.prefix > 0 && choices.Below(8) == 0) {
    LLVMFuzzerMutate(data, shape.prefix, shape.prefix);
  }
  const std::string bent =
      Bent(shape, {data + shape.prefix, size - shape.prefix}, choices);
  if (bent.empty() || shape.prefix + bent.size() > max_size) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  std::memcpy(data + shape.prefix, bent.data(), bent.size());
  return shape.prefix + bent.size();
}
