#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_RECEIPT_MAKER_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_RECEIPT_MAKER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/time/time.h"
#include "privacy/identity/envelope.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "protos/edgetune/v1/roster.pb.h"
#include "protos/edgetune/v1/secagg.pb.h"
#include "tests/privacy_secagg/fleet.h"

namespace edgetune::secagg {

// A receipt as a lying coordinator could make it: everything is signed after
// it was bent, so that one fault stands alone. Unbent: a TRAIN round of nine
// devices in two groups. Group 0 has members 0 to 4 (t = 4), of which 0 to 3
// survived and signed; group 1 has 5 to 8 (t = 3), all survived and the third
// did not sign. Life: make, bend, Make any number of times.
class ReceiptMaker {
 public:
  explicit ReceiptMaker(Fleet::Options options = {.size = 9});

  v1::Envelope Make() const;
  TrustedKeys keys() const;
  static absl::Time Now();

  // In order of use. `advertised` and `entry` get the device, `group` its
  // number; `entry` comes before S, `group` before and `sealed` after the
  // survivors sign.
  std::function<void(v1::RosterHead&)> head = [](auto&) {};
  std::function<void(v1::RoundManifest&)> manifest = [](auto&) {};
  std::function<void(uint32_t, v1::AdvertiseKeys&)> advertised = [](uint32_t,
                                                                    auto&) {};
  std::function<void(uint32_t, v1::CohortEntry&)> entry = [](uint32_t, auto&) {
  };
  std::function<void(int, v1::GroupReceipt&)> group = [](int, auto&) {};
  std::function<void(int, v1::GroupReceipt&)> sealed = [](int, auto&) {};
  std::function<void(v1::RoundReceipt&)> receipt = [](auto&) {};
  // Devices of each group, ascending.
  std::vector<std::vector<uint32_t>> members = {{0, 1, 2, 3, 4}, {5, 6, 7, 8}};

  const Fleet fleet;
  const SigningKey roster_key;

 private:
  v1::RosterHead MakeHead() const;
  v1::RoundManifest MakeManifest(const v1::RosterHead& head) const;
  v1::CohortEntry MakeEntry(const Digest& m, uint32_t device) const;
  v1::GroupReceipt MakeGroup(const Digest& m, int number) const;
};

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_RECEIPT_MAKER_H_
