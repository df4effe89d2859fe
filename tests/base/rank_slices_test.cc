#include "base/rank_slices.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

// Two modules of rank 2: A [2, 3], B [2, 2] and B [1, 2], A [2, 1].
const ParameterLayout kLayout = *ParameterLayout::Make({{"p.lora_A", {2, 3}},
                                                        {"p.lora_B", {2, 2}},
                                                        {"q.lora_B", {1, 2}},
                                                        {"q.lora_A", {2, 1}}});
const ParameterVector kValues = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

TEST(RankSlicesTest, AreRowsOfAAndColumnsOfB) {
  EXPECT_THAT(SlicesOf(kLayout),
              ElementsAre(0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1));
}

TEST(RankSlicesTest, TheFirstAreAnAdapterOfASmallerRank) {
  const ParameterLayout narrow = LayoutOfRank(kLayout, 1);
  EXPECT_EQ(narrow, *ParameterLayout::Make({{"p.lora_A", {1, 3}},
                                            {"p.lora_B", {2, 1}},
                                            {"q.lora_B", {1, 1}},
                                            {"q.lora_A", {1, 1}}}));
  const ParameterVector first = FirstSlices(kValues, kLayout, 1);
  EXPECT_THAT(first, ElementsAre(1, 2, 3, 7, 9, 11, 13));
  EXPECT_EQ(first.size(), narrow.size());
  EXPECT_THAT(PadSlices(first, kLayout, 1),
              ElementsAre(1, 2, 3, 0, 0, 0, 7, 0, 9, 0, 11, 0, 13, 0));
}

TEST(RankSlicesTest, TheRestIsWhatIsLeftWithoutTheFirst) {
  const ParameterVector rest = WithoutSlices(kValues, kLayout, 0, 1);
  EXPECT_THAT(rest, ElementsAre(4, 5, 6, 8, 10, 12, 14));
  const ParameterVector first = FirstSlices(kValues, kLayout, 1);
  EXPECT_EQ(JoinSlices(first, rest, kLayout, 1), kValues);
}

TEST(RankSlicesTest, SlicesFromTheMiddleAreLeftOut) {
  const ParameterLayout wide =
      *ParameterLayout::Make({{"p.lora_A", {3, 1}}, {"p.lora_B", {2, 3}}});
  const ParameterVector values = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(SliceCount(wide), 3);
  EXPECT_THAT(WithoutSlices(values, wide, 1, 2), ElementsAre(1, 3, 4, 6, 7, 9));
  EXPECT_EQ(WithoutSlices(values, wide, 1, 1), values);
}

TEST(RankSlicesTest, RangesGatherTheFirst) {
  EXPECT_THAT(SliceRanges(kLayout, 1),
              ElementsAre(CoordinateRange{0, 0, 3}, CoordinateRange{6, 3, 1},
                          CoordinateRange{8, 4, 1}, CoordinateRange{10, 5, 1},
                          CoordinateRange{12, 6, 1}));
  EXPECT_EQ(Gather(kValues, SliceRanges(kLayout, 1)),
            FirstSlices(kValues, kLayout, 1));
  EXPECT_THAT(SliceRanges(kLayout, 2), ElementsAre(CoordinateRange{0, 0, 14}));
}

TEST(RankSlicesTest, AllOfThemAreTheAdapter) {
  EXPECT_EQ(LayoutOfRank(kLayout, 2), kLayout);
  EXPECT_EQ(FirstSlices(kValues, kLayout, 2), kValues);
  EXPECT_EQ(PadSlices(kValues, kLayout, 2), kValues);
}

}  // namespace
}  // namespace edgetune
