// One fault at a time in a receipt that is otherwise right and signed anew.

#include "privacy/secagg/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/member.h"
#include "tests/privacy_secagg/receipt_maker.h"

namespace edgetune::secagg {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<CheckedReceipt> Check(const ReceiptMaker& maker) {
  return CheckReceipt(maker.Make(), maker.keys(), ReceiptMaker::Now());
}

void ExpectFault(const ReceiptMaker& maker, const std::string& what,
                 ErrorKind kind = ErrorKind::kFailed) {
  const absl::Status status = Check(maker).status();
  EXPECT_FALSE(status.ok()) << what;
  EXPECT_EQ(KindOf(status), kind) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(what));
}

TEST(ReceiptTest, AReceiptThatShowsEverythingIsAccepted) {
  const auto checked = Check(ReceiptMaker());
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->manifest.round(), 1u);
  EXPECT_EQ(checked->manifest.attempt(), 2u);
  ASSERT_EQ(checked->groups.size(), 2u);
  // t = floor(2n/3) + 1 by the table of the specification: 5 -> 4, 4 -> 3.
  const auto& [first, second] =
      std::tie(checked->groups[0], checked->groups[1]);
  EXPECT_EQ((std::vector{first.members, first.threshold, first.survivors,
                         first.signers}),
            (std::vector<uint32_t>{5, 4, 4, 4}));
  EXPECT_EQ((std::vector{second.members, second.threshold, second.survivors,
                         second.signers}),
            (std::vector<uint32_t>{4, 3, 4, 3}));
}

TEST(ReceiptTest, AnEvaluationHasNoResult) {
  ReceiptMaker maker;
  maker.manifest = [](v1::RoundManifest& m) {
    m.set_kind(v1::RoundManifest::EVAL);
    m.set_coordinates(0);
  };
  ExpectFault(maker, "an evaluation has no resulting adapter");
  maker.receipt = [](v1::RoundReceipt& r) { r.clear_result_digest(); };
  EXPECT_TRUE(Check(maker).ok());
}

TEST(ReceiptTest, FindsEachClientWhereItStands) {
  const ReceiptMaker maker;
  const auto checked = Check(maker).value();
  const auto place = [&](uint32_t device) {
    return FindInReceipt(checked, maker.fleet.members[device].id).value();
  };
  EXPECT_EQ(place(6).group, 1u);
  EXPECT_EQ(place(6).index, 1u);
  EXPECT_TRUE(place(6).survived && place(6).has_signed);
  EXPECT_TRUE(place(7).survived && !place(7).has_signed);
  EXPECT_FALSE(place(4).survived || place(4).has_signed);
  EXPECT_FALSE(FindInReceipt(checked, ClientIdOf("nobody")).has_value());
}

// --- who signed what

TEST(ReceiptTest, EveryRoleHasToBeThePinnedOne) {
  const ReceiptMaker maker;
  const v1::Envelope envelope = maker.Make();
  TrustedKeys keys = maker.keys();
  keys.round = {maker.fleet.foreign_key.public_key()};
  EXPECT_EQ(KindOf(CheckReceipt(envelope, keys, maker.Now()).status()),
            ErrorKind::kIdentity);
  keys = maker.keys();
  keys.roster = {maker.fleet.foreign_key.public_key()};
  EXPECT_EQ(KindOf(CheckReceipt(envelope, keys, maker.Now()).status()),
            ErrorKind::kIdentity);
}

TEST(ReceiptTest, ACardIsNoReceipt) {
  const ReceiptMaker maker;
  const v1::Envelope card =
      SignDocument(DocumentUse::kCard, maker.Make().payload(),
                   maker.fleet.round_key)
          .value();
  EXPECT_EQ(KindOf(CheckReceipt(card, maker.keys(), maker.Now()).status()),
            ErrorKind::kIdentity);
}

TEST(ReceiptTest, AnUnsignedByteMakesItVoid) {
  const ReceiptMaker maker;
  v1::Envelope envelope = maker.Make();
  envelope.mutable_payload()->back() ^= 1;
  const auto status =
      CheckReceipt(envelope, maker.keys(), maker.Now()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
}

TEST(ReceiptTest, APayloadOfAnotherKindIsNoReceipt) {
  const ReceiptMaker maker;
  const v1::Envelope envelope =
      SignDocument(DocumentUse::kReceipt, "\xff\xff\xff", maker.fleet.round_key)
          .value();
  const auto status =
      CheckReceipt(envelope, maker.keys(), maker.Now()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not a receipt"));
}

TEST(ReceiptTest, AForeignManifestIsRefused) {
  ReceiptMaker maker;
  maker.receipt = [&](v1::RoundReceipt& r) {
    *r.mutable_manifest() =
        SignDocument(DocumentUse::kManifest, r.manifest().payload(),
                     maker.fleet.foreign_key)
            .value();
  };
  ExpectFault(maker, "manifest", ErrorKind::kIdentity);
}

TEST(ReceiptTest, AReceiptExpires) {
  const ReceiptMaker maker;
  const auto status = CheckReceipt(maker.Make(), maker.keys(),
                                   maker.Now() + absl::Hours(24 * 4000))
                          .status();
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_THAT(std::string(status.message()), HasSubstr("expired"));
}

TEST(ReceiptTest, TheRosterWasInDateWhenTheRoundBegan) {
  ReceiptMaker maker;
  maker.head = [](v1::RosterHead& head) {
    head.mutable_header()->set_issued_ms(1);
    head.mutable_header()->set_expires_ms(1'600'000'000'000);
  };
  ExpectFault(maker, "its roster expired", ErrorKind::kIdentity);
}

// --- faults that a coordinator can sign

struct Fault {
  const char* name;
  void (*bend)(ReceiptMaker&);
  const char* what;
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

class ReceiptFaultTest : public ::testing::TestWithParam<Fault> {};

TEST_P(ReceiptFaultTest, IsFound) {
  ReceiptMaker maker;
  GetParam().bend(maker);
  ExpectFault(maker, GetParam().what);
}

// Bends one part of the receipt after everything else was made.
template <auto kBend>
void InReceipt(ReceiptMaker& maker) {
  maker.receipt = [](v1::RoundReceipt& r) { kBend(r); };
}
template <auto kBend>
void InManifest(ReceiptMaker& maker) {
  maker.manifest = [](v1::RoundManifest& m) { kBend(m); };
}
// Of group 1, before its survivors sign, and after.
template <auto kBend>
void InGroup(ReceiptMaker& maker) {
  maker.group = [](int i, v1::GroupReceipt& g) {
    if (i == 1) kBend(g);
  };
}
template <auto kBend>
void InSealed(ReceiptMaker& maker) {
  maker.sealed = [](int i, v1::GroupReceipt& g) {
    if (i == 1) kBend(g);
  };
}

INSTANTIATE_TEST_SUITE_P(
    Whole, ReceiptFaultTest,
    ::testing::Values(
        Fault{"ManifestCannotBe",
              InManifest<[](auto& m) { m.set_deadline_ms(1); }>, "deadline_ms"},
        Fault{"ManifestDoesNotMask",
              InManifest<[](auto& m) { m.clear_masking(); }>, "not masked"},
        Fault{"OtherRun",
              InReceipt<[](auto& r) { r.mutable_plan_digest()->back() ^= 1; }>,
              "another run"},
        Fault{"OtherRosterVersion", InManifest<[](auto& m) {
                m.mutable_masking()->set_roster_version(2);
              }>,
              "its roster is not the one"},
        Fault{"OtherRosterRoot", InManifest<[](auto& m) {
                m.mutable_masking()->mutable_roster_root()->back() ^= 1;
              }>,
              "its roster is not the one"},
        Fault{"OtherRosterSize", InManifest<[](auto& m) {
                m.mutable_masking()->set_roster_leaves(10);
              }>,
              "its roster is not the one"},
        Fault{"RosterCannotBe",
              [](ReceiptMaker& maker) {
                maker.head = [](v1::RosterHead& head) {
                  head.set_leaf_count(uint64_t{1} << 63);
                };
                maker.manifest = [](v1::RoundManifest& m) {
                  m.mutable_masking()->set_roster_leaves(9);
                };
              },
              "a roster's head"},
        Fault{"NoSuchRing", InReceipt<[](auto& r) {
                r.set_bits(17);
                r.set_scale((65535.0 - r.n_max()) / (r.n_max() * r.bound()));
              }>,
              "could wrap"},
        Fault{"OtherScale",
              InReceipt<[](auto& r) { r.set_scale(r.scale() * 2); }>,
              "could wrap"},
        Fault{"GroupsBeyondTheLimit", InReceipt<[](auto& r) {
                r.set_n_max(301);
                r.set_scale((2147483647.0 - 301) / (301 * 0.25));
              }>,
              "could wrap"},
        Fault{"NoBase", InReceipt<[](auto& r) { r.clear_base_digest(); }>,
              "no base model"},
        Fault{"NoGroup", InReceipt<[](auto& r) { r.clear_groups(); }>,
              "no group"},
        Fault{"SurvivorsMiscounted",
              InReceipt<[](auto& r) { r.set_survivors(9); }>,
              "counts 9 survivors"},
        Fault{"NoResult", InReceipt<[](auto& r) { r.clear_result_digest(); }>,
              "no resulting adapter"},
        Fault{"NoDigestBefore",
              InReceipt<[](auto& r) { r.set_prev_receipt_digest("x"); }>,
              "the receipt before"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Cohort, ReceiptFaultTest,
    ::testing::Values(
        Fault{"TooFew",
              [](ReceiptMaker& maker) {
                maker.members[1] = {5, 6, 7};
              },
              "cohort has 3 members"},
        Fault{"TooMany", InReceipt<[](auto& r) {
                r.set_n_max(4);
                r.set_scale((2147483647.0 - 4) / (4 * 0.25));
              }>,
              "cohort has 5 members"},
        Fault{"Unsorted",
              [](ReceiptMaker& maker) {
                maker.members[1] = {6, 5, 7, 8};
              },
              "do not ascend"},
        Fault{"InTwoGroups",
              [](ReceiptMaker& maker) {
                maker.members[1] = {4, 6, 7, 8};
                // Other keys than in the first group.
                maker.advertised = [calls = 0](uint32_t device,
                                               v1::AdvertiseKeys& k) mutable {
                  if (device != 4 || ++calls != 2) return;
                  k.set_c_pk(std::string(32, 'c'));
                  k.set_s_pk(std::string(32, 's'));
                };
              },
              "in two groups"},
        Fault{"WrongSize",
              [](ReceiptMaker& maker) {
                maker.entry = [](uint32_t device, v1::CohortEntry& entry) {
                  if (device == 6) entry.mutable_client_id()->push_back('x');
                };
              },
              "client id has 17 bytes"},
        Fault{"NotEnrolled",
              [](ReceiptMaker& maker) {
                maker.entry = [](uint32_t device, v1::CohortEntry& entry) {
                  if (device == 6) entry.mutable_proof(0)->back() ^= 1;
                };
              },
              "not enrolled and active"},
        Fault{"KeysNotSigned",
              [](ReceiptMaker& maker) {
                maker.entry = [](uint32_t device, v1::CohortEntry& entry) {
                  if (device == 6) entry.mutable_signature()->front() ^= 1;
                };
              },
              "did not sign its keys"},
        Fault{"SameKeyWithinAMember",
              [](ReceiptMaker& maker) {
                maker.advertised = [](uint32_t device, v1::AdvertiseKeys& k) {
                  if (device == 6) k.set_s_pk(k.c_pk());
                };
              },
              "public keys are the same"},
        Fault{"SameKeyInTwoGroups",
              [](ReceiptMaker& maker) {
                maker.advertised = [](uint32_t device, v1::AdvertiseKeys& k) {
                  if (device == 1 || device == 6) {
                    k.set_c_pk(std::string(32, 'k'));
                  }
                };
              },
              "public keys are the same"},
        Fault{"OtherSession",
              InGroup<[](auto& g) { g.mutable_session()->back() ^= 1; }>,
              "its session is not"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Survivors, ReceiptFaultTest,
    ::testing::Values(
        Fault{"LowThreshold", InGroup<[](auto& g) { g.set_threshold(2); }>,
              "its threshold is 2"},
        Fault{"PaddingInU2",
              InGroup<[](auto& g) { g.mutable_u2()->back() = '\x1f'; }>,
              "unreadable"},
        Fault{"ShortU3", InGroup<[](auto& g) { g.clear_u3(); }>, "unreadable"},
        Fault{"SurvivorOutsideU2", InGroup<[](auto& g) {
                g.set_u2(BitmapOf({1, 1, 1, 0}));
              }>,
              "dealt no shares"},
        Fault{"TooFewSurvivors", InGroup<[](auto& g) {
                g.set_u3(BitmapOf({1, 1, 0, 0}));
              }>,
              "2 survivors are fewer"},
        Fault{"TooFewSignatures",
              InSealed<[](auto& g) { g.mutable_signatures()->RemoveLast(); }>,
              "2 signatures are fewer"},
        Fault{"SignedTwice", InSealed<[](auto& g) {
                *g.mutable_signatures(2) = g.signatures(0);
              }>,
              "counted twice"},
        Fault{"SignerBeyondTheCohort",
              InSealed<[](auto& g) { g.mutable_signatures(2)->set_index(4); }>,
              "not among the survivors"},
        Fault{
            "SignerFarBeyondTheCohort",
            InSealed<[](auto& g) { g.mutable_signatures(2)->set_index(~0u); }>,
            "not among the survivors"},
        Fault{"SignerNotASurvivor", InGroup<[](auto& g) {
                g.set_u3(BitmapOf({1, 1, 1, 0}));
              }>,
              "not among the survivors"},
        Fault{"SignedAnotherU3", InSealed<[](auto& g) {
                g.set_u3(BitmapOf({1, 1, 0, 1}));
              }>,
              "did not sign this set"},
        Fault{"SignedAnotherU2",
              [](ReceiptMaker& maker) {
                // Group 0, where one member is outside U3.
                maker.sealed = [](int i, v1::GroupReceipt& g) {
                  if (i == 0) g.set_u2(BitmapOf({1, 1, 1, 1, 0}));
                };
              },
              "did not sign this set"},
        Fault{"SignatureOfAnother",
              InSealed<[](auto& g) { g.mutable_signatures(2)->set_index(2); }>,
              "did not sign this set"}),
    [](const auto& info) { return info.param.name; });

TEST(ReceiptTest, ARevokedMemberIsFound) {
  ExpectFault(ReceiptMaker({.size = 9, .revoked = {6}}),
              "not enrolled and active");
}

}  // namespace
}  // namespace edgetune::secagg
