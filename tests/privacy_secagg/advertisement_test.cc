#include "privacy/secagg/member.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

TEST(SecAggAbortCodeTest, AStatusCarriesItsAbortCode) {
  const absl::Status status = AbortError(v1::DUP_KEY, "two of them");
  EXPECT_EQ(AbortCodeOf(status), v1::DUP_KEY);
  EXPECT_EQ(status.message(), "DUP_KEY: two of them");
  EXPECT_EQ(AbortCodeOf(absl::InternalError("")), v1::ABORT_UNSPECIFIED);
  EXPECT_EQ(AbortCodeOf(absl::OkStatus()), v1::ABORT_UNSPECIFIED);
}

TEST(SecAggAbortCodeTest, EveryCodeOfThisVersionIsKnown) {
  for (int code = 1; code <= 20; ++code) {
    EXPECT_TRUE(IsKnownAbort(static_cast<v1::AbortCode>(code))) << code;
  }
  for (const int code : {0, 21, -1}) {
    EXPECT_FALSE(IsKnownAbort(static_cast<v1::AbortCode>(code))) << code;
  }
}

// What member 2 of the five would advertise.
v1::AdvertiseKeys Advertised(const Digest& manifest) {
  v1::AdvertiseKeys keys;
  keys.set_manifest(BytesOf(manifest));
  keys.set_c_pk(std::string(32, 'c'));
  keys.set_s_pk(std::string(32, 's'));
  keys.set_nonce(std::string(16, 'n'));
  keys.set_signature(
      FleetOfFive()
          .identities[2]
          .Sign(AdvertiseBytes(manifest, FleetOfFive().members[2].id, keys))
          .value());
  return keys;
}

using KeysLie = Lie<v1::AdvertiseKeys>;
class SecAggAdvertisementTest : public testing::TestWithParam<KeysLie> {};

TEST_P(SecAggAdvertisementTest, A8IsCheckedBeforeItJoinsACohort) {
  const Digest manifest = ManifestDigest("m");
  v1::AdvertiseKeys keys = Advertised(manifest);
  GetParam().tell(keys);
  const auto entry = CheckAdvertisement(manifest, FleetOfFive().members[2],
                                        FleetOfFive().ProofOf(2), keys);
  EXPECT_EQ(AbortCodeOf(entry.status()), GetParam().code);
  if (!entry.ok()) return;
  EXPECT_EQ(entry->c_pk(), keys.c_pk());
  EXPECT_EQ(entry->identity_key(), FleetOfFive().members[2].identity_key);
  EXPECT_TRUE(IsInRoster(*entry, FleetOfFive().root()));
  EXPECT_TRUE(HasSignedKeys(*entry, manifest));
}

INSTANTIATE_TEST_SUITE_P(
    Lies, SecAggAdvertisementTest,
    testing::Values(
        KeysLie{"None", v1::ABORT_UNSPECIFIED, [](auto&) {}},
        KeysLie{"ShortManifest", v1::LENGTH,
                [](auto& m) { m.mutable_manifest()->pop_back(); }},
        KeysLie{"ShortSealingKey", v1::LENGTH,
                [](auto& m) { m.mutable_c_pk()->pop_back(); }},
        KeysLie{"LongMaskKey", v1::LENGTH,
                [](auto& m) { m.mutable_s_pk()->push_back(0); }},
        KeysLie{"NoNonce", v1::LENGTH, [](auto& m) { m.clear_nonce(); }},
        KeysLie{"ShortSignature", v1::LENGTH,
                [](auto& m) { m.mutable_signature()->pop_back(); }},
        KeysLie{"AnotherManifest", v1::REPLAY,
                [](auto& m) { m = Advertised(ManifestDigest("other")); }},
        KeysLie{"AnotherKey", v1::BAD_SIGNATURE,
                [](auto& m) { Flip(*m.mutable_s_pk()); }},
        KeysLie{"AnotherSignature", v1::BAD_SIGNATURE,
                [](auto& m) { Flip(*m.mutable_signature()); }}),
    NameOf<v1::AdvertiseKeys>);

TEST(SecAggAdvertisementTest, A13ARevokedMemberIsRefused) {
  RosterMember member = FleetOfFive().members[2];
  member.active = false;
  const Digest manifest = ManifestDigest("m");
  EXPECT_EQ(
      AbortCodeOf(CheckAdvertisement(manifest, member, FleetOfFive().ProofOf(2),
                                     Advertised(manifest))
                      .status()),
      v1::BAD_ROSTER);
}

// A certificate of one member with keys of another (A18).
TEST(SecAggAdvertisementTest, A18KeysOfAnotherMemberAreRefused) {
  const Digest manifest = ManifestDigest("m");
  EXPECT_EQ(AbortCodeOf(CheckAdvertisement(manifest, FleetOfFive().members[3],
                                           FleetOfFive().ProofOf(3),
                                           Advertised(manifest))
                            .status()),
            v1::BAD_SIGNATURE);
}

}  // namespace
}  // namespace edgetune::secagg
