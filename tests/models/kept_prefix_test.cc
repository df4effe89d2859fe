#include "models/kept_prefix.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace edgetune {
namespace {

constexpr size_t kChunk = kPromptChunk;

// 0, 1, 2, ...
std::vector<int32_t> Text(size_t tokens) {
  std::vector<int32_t> ids(tokens);
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

class KeptPrefixTest : public ::testing::Test {
 protected:
  // As a model does for each prompt.
  size_t Feed(const std::vector<int32_t>& ids) {
    const size_t reused = prefix_.Reuse(ids);
    prefix_.Keep(ids);
    return reused;
  }

  KeptPrefix prefix_;
};

TEST_F(KeptPrefixTest, ALongerTextFeedsWhatIsBeyondTheWholeChunks) {
  EXPECT_EQ(Feed(Text(2 * kChunk + 5)), 0u);
  EXPECT_EQ(Feed(Text(3 * kChunk + 7)), 2 * kChunk);
  EXPECT_EQ(Feed(Text(3 * kChunk + 8)), 3 * kChunk);
}

TEST_F(KeptPrefixTest, TheLastTokenIsAlwaysFed) {
  Feed(Text(2 * kChunk));
  EXPECT_EQ(Feed(Text(2 * kChunk)), kChunk);
  EXPECT_EQ(Feed(Text(2 * kChunk + 1)), 2 * kChunk);
  EXPECT_EQ(Feed(Text(1)), 0u);
}

TEST_F(KeptPrefixTest, AShorterTextGivesUpTheRest) {
  Feed(Text(3 * kChunk));
  EXPECT_EQ(Feed(Text(kChunk + 9)), kChunk);
  EXPECT_EQ(Feed(Text(3 * kChunk)), kChunk);
}

TEST_F(KeptPrefixTest, AnEditedTextKeepsWhatIsBeforeTheChunkOfTheEdit) {
  std::vector<int32_t> edited = Text(4 * kChunk);
  Feed(edited);
  edited[2 * kChunk + 3] = -1;
  EXPECT_EQ(Feed(edited), 2 * kChunk);
  edited[0] = -1;
  EXPECT_EQ(Feed(edited), 0u);
}

TEST_F(KeptPrefixTest, ATextWhoseFeedingFailedKeepsWhatItUsedAgain) {
  Feed(Text(3 * kChunk));
  std::vector<int32_t> other = Text(3 * kChunk);
  other[kChunk] = -1;
  EXPECT_EQ(prefix_.Reuse(other), kChunk);  // and no Keep
  EXPECT_EQ(prefix_.Reuse(Text(3 * kChunk)), kChunk);
}

TEST_F(KeptPrefixTest, NothingIsLeftOfWhatWasDropped) {
  Feed(Text(3 * kChunk));
  prefix_.Drop();
  EXPECT_EQ(Feed(Text(3 * kChunk)), 0u);
}

}  // namespace
}  // namespace edgetune
