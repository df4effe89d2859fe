#ifndef EDGETUNE_TESTS_FUZZ_CHOICES_H_
#define EDGETUNE_TESTS_FUZZ_CHOICES_H_

// Where a fuzzer's decisions come from.

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace edgetune::fuzz {

class Choices {
 public:
  virtual ~Choices() = default;
  virtual uint8_t Byte() = 0;
  // One of 0 .. n - 1; n in [1, 256].
  uint32_t Below(uint32_t n) { return Byte() % n; }
};

// The input of a target, from its front on; zeros when it has ended. Borrows.
class Input final : public Choices {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}

  uint8_t Byte() override {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  uint64_t Word(int bytes) {
    uint64_t word = 0;
    for (int i = 0; i < bytes; ++i) word |= uint64_t{Byte()} << (8 * i);
    return word;
  }
  // At most `n` bytes.
  std::span<const uint8_t> Take(size_t n) {
    const auto taken = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string Text(size_t n) {
    const auto taken = Take(n);
    return {taken.begin(), taken.end()};
  }
  std::span<const uint8_t> rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::span<const uint8_t> rest_;
};

// For mutations: the same choices for the same seed.
class SeededChoices final : public Choices {
 public:
  explicit SeededChoices(uint32_t seed) : engine_(seed) {}
  uint8_t Byte() override { return static_cast<uint8_t>(engine_() >> 16); }

 private:
  std::minstd_rand engine_;
};

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_CHOICES_H_
