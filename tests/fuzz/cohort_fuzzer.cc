// A device that has advertised its keys is told who is in the cohort. Input:
// Cohort.

#include <set>

#include "tests/fuzz/scene.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using secagg::SecAggClient;

void RequireShares(const Device& device, const v1::Cohort& cohort,
                   const SecAggClient::Actions& actions) {
  Require(actions.size() == 1, "one answer");
  const v1::ShareKeys& shares = actions.front().message.shares();
  Require(shares.ciphertexts_size() + 1 == cohort.entries_size(),
          "a pair of shares for every other member");
  Require(cohort.entries_size() >= 4, "no small cohorts");
  std::set<std::string> keys;
  for (const v1::CohortEntry& entry : cohort.entries()) {
    keys.insert(entry.c_pk());
    keys.insert(entry.s_pk());
  }
  Require(keys.size() == 2 * static_cast<size_t>(cohort.entries_size()),
          "no key twice");
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t>) {
  return {0, std::make_unique<v1::Cohort>()};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  v1::SecAggServerMessage message;
  if (!Parse({data, size}, *message.mutable_cohort())) return 0;
  Device device(Scene::Five(), SecAggClient::Phase::kAdvertised);
  const auto actions = device.Tell(message);
  if (device.party().phase() != SecAggClient::Phase::kShared) return 0;
  RequireShares(device, message.cohort(), actions);
  // Said again it is answered alike; anything else is refused.
  const auto again = device.Tell(message);
  Require(again.size() == 1 && again.front().message.SerializeAsString() ==
                                   actions.front().message.SerializeAsString(),
          "the same answer to the same message");
  message.mutable_cohort()->add_entries();
  device.Tell(message);
  Require(device.party().phase() == SecAggClient::Phase::kAborted,
          "one cohort a session");
  return 0;
}
