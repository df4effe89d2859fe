#include "privacy/crypto/secret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace {

// What a watched array held at the moment when it was given back.
constexpr size_t kWatched = 48;
const void* watched = nullptr;
std::array<uint8_t, kWatched> last_seen;

void LookAndFree(void* array) noexcept {
  if (array != nullptr && array == watched) {
    std::copy_n(static_cast<const uint8_t*>(array), kWatched,
                last_seen.begin());
  }
  std::free(array);
}

}  // namespace

void* operator new[](size_t n) {
  void* array = std::malloc(n == 0 ? 1 : n);
  if (array == nullptr) throw std::bad_alloc();
  return array;
}
void operator delete[](void* array) noexcept { LookAndFree(array); }
void operator delete[](void* array, size_t) noexcept { LookAndFree(array); }

namespace edgetune {
namespace {

SecretBytes Watched() {
  SecretBytes secret = SecretBytes::Copy(ByteSpan(std::string(kWatched, 's')));
  watched = secret.bytes().data();
  last_seen.fill('?');
  return secret;
}

bool SeenWiped() {
  return std::all_of(last_seen.begin(), last_seen.end(),
                     [](uint8_t byte) { return byte == 0; });
}

TEST(SecretBytesTest, BeginWithZerosAndKeepWhatIsWritten) {
  SecretBytes secret(3);
  EXPECT_TRUE(secret.Equals(std::array<uint8_t, 3>{0, 0, 0}));
  secret.bytes()[1] = 7;
  EXPECT_TRUE(std::as_const(secret).Equals(std::array<uint8_t, 3>{0, 7, 0}));
  EXPECT_EQ(secret.size(), 3u);
  EXPECT_EQ(SecretBytes().size(), 0u);
  EXPECT_TRUE(SecretBytes(0).bytes().empty());
}

TEST(SecretBytesTest, EqualMeansEveryByteAndTheSize) {
  const SecretBytes secret = SecretBytes::Copy(ByteSpan("secret"));
  EXPECT_TRUE(secret.Equals(ByteSpan("secret")));
  for (const char* other : {"secre", "secret!", "Secret", "secreT", ""}) {
    EXPECT_FALSE(secret.Equals(ByteSpan(other))) << other;
  }
  EXPECT_TRUE(SecretBytes().Equals({}));
}

TEST(SecretBytesTest, AreWipedWhenTheyGo) {
  { const SecretBytes secret = Watched(); }
  EXPECT_TRUE(SeenWiped());
}

TEST(SecretBytesTest, AreWipedWhenAnotherValueTakesTheirPlace) {
  SecretBytes secret = Watched();
  secret = SecretBytes::Copy(ByteSpan("other"));
  EXPECT_TRUE(SeenWiped());
  EXPECT_TRUE(secret.Equals(ByteSpan("other")));
}

TEST(SecretBytesTest, TheWatchSeesBytesThatNobodyWipes) {
  auto* const array = new uint8_t[kWatched];
  std::fill_n(array, kWatched, uint8_t{'s'});
  watched = array;
  delete[] array;
  EXPECT_FALSE(SeenWiped());
}

TEST(SecretBytesTest, MovingLeavesNothingBehind) {
  SecretBytes from = Watched();
  SecretBytes to = std::move(from);
  EXPECT_EQ(to.bytes().data(), watched) << "moved, not copied";
  EXPECT_EQ(from.size(), 0u);  // NOLINT: what is asked
  SecretBytes& same = to;
  to = std::move(same);
  EXPECT_EQ(to.size(), kWatched);
  static_assert(!std::is_copy_constructible_v<SecretBytes>);
  static_assert(!std::is_copy_assignable_v<SecretBytes>);
}

TEST(WipeStringTest, LeavesNothing) {
  std::string secret(100, 's');
  const char* const where = secret.data();
  WipeString(secret);
  EXPECT_TRUE(secret.empty());
  // A string keeps its memory when cleared: look at it.
  const volatile char* const memory = where;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(memory[i], '\0') << i;
}

}  // namespace
}  // namespace edgetune
