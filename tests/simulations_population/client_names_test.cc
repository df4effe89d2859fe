#include "simulations/population/client_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "base/random.h"

namespace edgetune {
namespace {

using ::testing::ElementsAre;

using Values = std::vector<std::string_view>;

void ExpectSafeAndDistinct(const std::vector<std::string>& names) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    ASSERT_FALSE(name.empty());
    // As a roster wants the names of devices: privacy/identity/party.h.
    EXPECT_LE(name.size(), 64u) << name;
    EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(name[0]))) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz"
                                     "0123456789._-"),
              name.npos)
        << name;
    EXPECT_TRUE(seen.insert(name).second) << name;
  }
}

TEST(NumberedNamesTest, SortAsTheyAreNumbered) {
  EXPECT_THAT(NumberedNames(2), ElementsAre("client-0001", "client-0002"));
  const auto names = NumberedNames(10000);
  EXPECT_EQ(names.front(), "client-00001");
  EXPECT_EQ(names.back(), "client-10000");
  EXPECT_TRUE(std::ranges::is_sorted(names));
}

TEST(NamesOfTest, KeepsWhatIsAName) {
  EXPECT_THAT(NamesOf(Values{"ward-7", "a.b_c", "42"}),
              ElementsAre("ward-7", "a.b_c", "42"));
}

TEST(NamesOfTest, ReplacesWhatCouldLeaveAFolderOrALine) {
  EXPECT_THAT(NamesOf(Values{"../etc/passwd", "a b\n", "\x1b[2Jx", "-rf", ""}),
              ElementsAre("x.._etc_passwd", "a_b_", "x__2jx", "x-rf", "x"));
}

TEST(NamesOfTest, TellsEqualOnesApartAndLeavesNamesToTheirOwners) {
  EXPECT_THAT(NamesOf(Values{"a b", "a/b", "a_b", "a_b-2"}),
              ElementsAre("a_b-3", "a_b-4", "a_b", "a_b-2"));
  EXPECT_THAT(NamesOf(Values{"Ann", "ann", "ANN"}),
              ElementsAre("ann-2", "ann", "ann-3"));
}

TEST(NamesOfTest, CutsLongOnes) {
  const std::string one = std::string(300, 'q') + "1";
  const std::string two = std::string(300, 'q') + "2";
  const auto names = NamesOf(Values{one, two});
  EXPECT_EQ(names[0], std::string(48, 'q'));
  EXPECT_EQ(names[1], std::string(48, 'q') + "-2");
}

TEST(NamesOfTest, AreSafeAndDistinctForAnyBytes) {
  Random random(3);
  std::set<std::string> values;
  while (values.size() < 3000) {
    std::string value(random.Below(5), '\0');
    // Few different bytes, so that many values look alike.
    for (char& c : value) c = "aA1-_ ./\xc3\xa9\x7f"[random.Below(11)];
    values.insert(value);
  }
  const Values views(values.begin(), values.end());
  const auto names = NamesOf(views);
  ASSERT_EQ(names.size(), views.size());
  ExpectSafeAndDistinct(names);
}

}  // namespace
}  // namespace edgetune
