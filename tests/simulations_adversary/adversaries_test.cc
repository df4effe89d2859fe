#include "simulations/adversary/adversaries.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "base/status.h"
#include "tests/simulations_adversary/examples.h"
#include "tests/testing/plans.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;
using Kind = AdversarySpec::Kind;

class AdversariesTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Adversaries>> Make(AdversarySpec spec,
                                                    size_t clients) {
    Adversaries::Options options;
    options.spec = std::move(spec);
    for (size_t i = 0; i < clients; ++i) {
      options.clients.push_back(fmt::format("client-{}", i));
    }
    options.data = examples_.Write(lines_);
    options.plan.mutable_data()->set_schema("auto");
    options.plan.mutable_data()->set_max_length(256);
    options.model = examples_.model();
    return Adversaries::Make(std::move(options));
  }
  LocalData Honest() {
    LocalData data;
    data.train = examples_.Read(lines_);
    data.heldout = examples_.Read({lines_[0]});
    return data;
  }

  const std::vector<std::string> lines_ = {
      testing::Completion("a ", "1"), testing::Completion("b ", "2"),
      testing::Completion("c ", "3"), testing::Completion("d ", "4")};
  testing::Examples examples_;
};

std::vector<size_t> ChosenOf(const Adversaries& adversaries, size_t clients) {
  std::vector<size_t> chosen;
  for (size_t i = 0; i < clients; ++i) {
    if (adversaries.Has(i)) chosen.push_back(i);
  }
  return chosen;
}

TEST_F(AdversariesTest, AShareIsRoundedDownAsItIsWritten) {
  EXPECT_EQ(AdversaryCount(0.2, 10), 2u);
  EXPECT_EQ(AdversaryCount(0.29, 100), 29u);  // 28.999999999999996 in binary
  EXPECT_EQ(AdversaryCount(0.5, 3), 1u);
  EXPECT_EQ(AdversaryCount(0, 10), 0u);
}

TEST_F(AdversariesTest, ALargerShareHasThoseOfASmaller) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const auto few =
        Make({.kind = Kind::kSignFlip, .share = 0.1, .seed = seed}, 50);
    const auto more =
        Make({.kind = Kind::kSignFlip, .share = 0.4, .seed = seed}, 50);
    const auto small = ChosenOf(**few, 50), large = ChosenOf(**more, 50);
    EXPECT_EQ(small.size(), 5u);
    EXPECT_EQ(large.size(), 20u);
    EXPECT_TRUE(
        std::includes(large.begin(), large.end(), small.begin(), small.end()));
  }
}

// Each of 20 clients is chosen with chance 1/4: 100 +- 8.7 of 400 seeds; 6
// deviations are not met by chance.
TEST_F(AdversariesTest, TheSeedChoosesAmongAllAlike) {
  std::vector<int> times(20);
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    const auto made =
        Make({.kind = Kind::kScale, .share = 0.25, .seed = seed}, 20);
    for (const size_t client : ChosenOf(**made, 20)) ++times[client];
  }
  for (const int count : times) EXPECT_NEAR(count, 100, 6 * 8.7);
}

TEST_F(AdversariesTest, HonestClientsKeepDataAndTrainer) {
  for (const Kind kind : {Kind::kNone, Kind::kLabelFlip, Kind::kSignFlip}) {
    const auto made = Make({.kind = kind, .share = 0.5}, 4);
    for (size_t client = 0; client < 4; ++client) {
      if ((*made)->Has(client)) continue;
      const auto poisoned = (*made)->Poison(client, Honest());
      for (int64_t i = 0; i < 4; ++i) {
        EXPECT_EQ(poisoned->train->Get(i).tokens,
                  Honest().train->Get(i).tokens);
      }
      EXPECT_EQ((*made)->Replace(client, nullptr), nullptr);
    }
  }
}

TEST_F(AdversariesTest, OfAnAdversaryDataOrTrainerDiffers) {
  const auto trainer_of = []() -> Trainer& { std::abort(); };
  for (const Kind kind : {Kind::kLabelFlip, Kind::kSignFlip, Kind::kScale,
                          Kind::kBackdoor, Kind::kFreeRider}) {
    const auto made =
        Make({.kind = kind, .share = 0.5, .trigger = "cf", .target = "buy"}, 2);
    ASSERT_TRUE(made.ok()) << made.status();
    const size_t client = (*made)->Has(0) ? 0 : 1;
    const bool by_data = kind == Kind::kLabelFlip || kind == Kind::kBackdoor;
    const auto poisoned = (*made)->Poison(client, Honest());
    ASSERT_TRUE(poisoned.ok()) << poisoned.status();
    bool differs = false;
    for (int64_t i = 0; i < 4; ++i) {
      differs |=
          poisoned->train->Get(i).tokens != Honest().train->Get(i).tokens;
    }
    EXPECT_EQ(differs, by_data);
    EXPECT_EQ((*made)->Replace(client, trainer_of) == nullptr, by_data);
    EXPECT_EQ(poisoned->heldout->Get(0).tokens,
              Honest().heldout->Get(0).tokens);
  }
}

TEST_F(AdversariesTest, NobodyIsOneWithoutAShareOrAKind) {
  EXPECT_EQ((*Make({.kind = Kind::kNone, .share = 0.5}, 10))->count(), 0u);
  EXPECT_EQ((*Make({.kind = Kind::kScale, .share = 0}, 10))->count(), 0u);
}

TEST_F(AdversariesTest, RefusesWhatWouldBeNoAttack) {
  const auto fault = [&](AdversarySpec spec) {
    const auto made = Make(std::move(spec), 4);
    EXPECT_EQ(KindOf(made.status()), ErrorKind::kConfig);
    return std::string(made.status().message());
  };
  EXPECT_THAT(fault({.kind = Kind::kScale, .share = 0.2}),
              HasSubstr("0.2 of 4 clients"));
  EXPECT_THAT(fault({.kind = Kind::kBackdoor, .share = 0.5, .target = "x"}),
              HasSubstr("adversary_trigger"));
  EXPECT_THAT(fault({.kind = Kind::kBackdoor, .share = 0.5, .trigger = "x"}),
              HasSubstr("adversary_target"));
}

}  // namespace
}  // namespace edgetune
