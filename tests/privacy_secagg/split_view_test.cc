// A coordinator with three colluders shows honest members two survivor sets of
// one session (design, sections 3 and 11, A10): n = 10, t = 7, c = 3.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

constexpr uint32_t kMembers = 10;
constexpr uint32_t kThreshold = 7;
constexpr uint32_t kColluders[] = {1, 4, 8};
constexpr uint32_t kHonest[] = {0, 2, 3, 5, 6, 7, 9};

const Fleet& FleetOfTen() {
  static const auto* fleet = new Fleet({.size = kMembers});
  return *fleet;
}

class SplitView {
 public:
  SplitView() : session_(FleetOfTen(), {}) {
    session_.Begin();
    while (session_.server->phase() < SecAggServer::Phase::kSurvivors) {
      session_.Step();
    }
    u2_ = session_.server->Receipt().u2();
  }

  // Tells these honest members of `u3`, adds the colluders' signatures, and
  // asks for shares with all there are.
  void Show(const std::vector<uint32_t>& honest, const std::string& u3) {
    std::map<uint32_t, std::string> signatures;
    for (const uint32_t v : honest) {
      const auto answer = session_.Tell(v, FreezeOf(u3));
      if (!answer.back().message.has_survivors()) continue;
      signatures[v] = answer.back().message.survivors().signature();
    }
    for (const uint32_t v : kColluders) {
      signatures[v] = FleetOfTen()
                          .identities[v]
                          .Sign(U3Bytes(session_.server->session(), u2_, u3))
                          .value();
    }
    v1::SecAggServerMessage request;
    request.mutable_unmask()->set_session(Session());
    for (const auto& [v, signature] : signatures) {
      auto& entry = *request.mutable_unmask()->add_signatures();
      entry.set_index(v);
      entry.set_signature(signature);
    }
    for (const uint32_t v : honest) Collect(session_.Tell(v, request));
  }

  // Whether the coordinator can open both secrets of an honest member; each
  // colluder has one share of either.
  bool OpensAnybody() const {
    return std::ranges::any_of(kHonest, [this](uint32_t v) {
      return b_shares_[v] + std::size(kColluders) >= kThreshold &&
             s_shares_[v] + std::size(kColluders) >= kThreshold;
    });
  }
  uint32_t answers() const { return answers_; }

 private:
  std::string Session() const { return BytesOf(session_.server->session()); }

  v1::SecAggServerMessage FreezeOf(const std::string& u3) const {
    v1::SecAggServerMessage message;
    v1::Freeze& freeze = *message.mutable_freeze();
    freeze.set_session(Session());
    freeze.set_u3(u3);
    freeze.set_signature(
        FleetOfTen()
            .round_key.Sign(FreezeBytes(session_.server->session(), u2_, u3))
            .value());
    return message;
  }

  void Collect(const SecAggClient::Actions& actions) {
    for (const SecAggClient::Action& action : actions) {
      if (!action.message.has_unmask()) continue;
      ++answers_;
      for (const auto& share : action.message.unmask().b_shares()) {
        ++b_shares_[share.index()];
      }
      for (const auto& share : action.message.unmask().s_shares()) {
        ++s_shares_[share.index()];
      }
    }
  }

  Harness session_;
  std::string u2_;
  uint32_t answers_ = 0;
  std::array<uint32_t, kMembers> b_shares_ = {}, s_shares_ = {};
};

std::string WithColluders(const std::vector<uint32_t>& honest) {
  std::vector<bool> members(kMembers);
  for (const uint32_t v : honest) members[v] = true;
  for (const uint32_t v : kColluders) members[v] = true;
  return BitmapOf(members);
}

// Every split of the honest seven. The first side is told of itself, or that
// everybody survived; the second of itself.
uint32_t AnswersToSplit(uint32_t split, bool everybody) {
  std::vector<uint32_t> sides[2];
  for (size_t i = 0; i < std::size(kHonest); ++i) {
    sides[split >> i & 1].push_back(kHonest[i]);
  }
  SplitView view;
  view.Show(sides[0], everybody ? BitmapOf(std::vector<bool>(kMembers, true))
                                : WithColluders(sides[0]));
  view.Show(sides[1], WithColluders(sides[1]));
  EXPECT_FALSE(view.OpensAnybody()) << split;
  // With seven signatures for one set there are too few for the other.
  EXPECT_TRUE(view.answers() == 0 || view.answers() == sides[0].size() ||
              view.answers() == sides[1].size());
  return view.answers();
}

TEST(SecAggSplitViewTest, A10NoSplitOpensAnHonestMember) {
  uint32_t answered = 0;
  for (uint32_t split = 0; split < 128; split += kShorter) {
    answered += AnswersToSplit(split, false) > 0 ? 1 : 0;
    AnswersToSplit(split, true);
  }
  // Sides of four and more get their t signatures, and answer: one set.
  EXPECT_EQ(answered, 128u / kShorter + (kShorter > 1 ? 1 : 0));
}

}  // namespace
}  // namespace edgetune::secagg
