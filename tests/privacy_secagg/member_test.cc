// What a coordinator demands of advertised keys (R0), with the codes of the
// design's section 6.

#include "privacy/secagg/member.h"

#include <gtest/gtest.h>

#include "base/status.h"
#include "tests/privacy_secagg/bend.h"

namespace edgetune::secagg {
namespace {

// Keys of member 1 of five, made by the real client.
class SecAggMemberTest : public ::testing::Test {
 protected:
  SecAggMemberTest() {
    Harness session(FleetOfFive(), Five());
    manifest_ = session.manifest;
    keys_ = session.clients[kVictim]
                .party->Start(session.clients[kVictim].input)
                .front()
                .message.advertise();
  }
  v1::AbortCode Check() const {
    const auto entry = CheckAdvertisement(
        manifest_, member_, FleetOfFive().ProofOf(kVictim), keys_);
    return entry.ok() ? v1::ABORT_UNSPECIFIED : AbortCodeOf(entry.status());
  }
  void SignAgain() {
    keys_.set_signature(FleetOfFive()
                            .identities[kVictim]
                            .Sign(AdvertiseBytes(manifest_, member_.id, keys_))
                            .value());
  }

  Digest manifest_ = {};
  RosterMember member_ = FleetOfFive().members[kVictim];
  v1::AdvertiseKeys keys_;
};

TEST_F(SecAggMemberTest, GoodKeysBecomeAnEntryThatProvesItself) {
  const auto entry = CheckAdvertisement(manifest_, member_,
                                        FleetOfFive().ProofOf(kVictim), keys_);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_TRUE(CheckEntrySizes(*entry).ok());
  EXPECT_TRUE(IsInRoster(*entry, FleetOfFive().root()));
  EXPECT_TRUE(HasSignedKeys(*entry, manifest_));
}

TEST_F(SecAggMemberTest, A13ARevokedMembersKeysAreRefused) {
  member_.active = false;
  EXPECT_EQ(Check(), v1::BAD_ROSTER);
}

TEST_F(SecAggMemberTest, AMemberWithoutAnIdentityKeyIsRefused) {
  member_.identity_key.pop_back();
  EXPECT_EQ(Check(), v1::BAD_ROSTER);
}

TEST_F(SecAggMemberTest, KeysOfAnotherLengthAreRefused) {
  for (std::string* field :
       {keys_.mutable_manifest(), keys_.mutable_c_pk(), keys_.mutable_s_pk(),
        keys_.mutable_nonce(), keys_.mutable_signature()}) {
    const std::string whole = *field;
    field->pop_back();
    EXPECT_EQ(Check(), v1::LENGTH);
    *field = whole + "x";
    EXPECT_EQ(Check(), v1::LENGTH);
    *field = whole;
  }
  EXPECT_EQ(Check(), v1::ABORT_UNSPECIFIED);
}

TEST_F(SecAggMemberTest, KeysForAnotherManifestAreRefused) {
  Flip(*keys_.mutable_manifest());
  EXPECT_EQ(Check(), v1::REPLAY);
}

TEST_F(SecAggMemberTest, A18KeysThatAnotherSignedAreRefused) {
  keys_.set_signature(FleetOfFive()
                          .identities[2]
                          .Sign(AdvertiseBytes(manifest_, member_.id, keys_))
                          .value());
  EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
}

TEST_F(SecAggMemberTest, EveryFieldIsSigned) {
  for (std::string* field :
       {keys_.mutable_c_pk(), keys_.mutable_s_pk(), keys_.mutable_nonce()}) {
    const std::string whole = *field;
    Flip(*field);
    EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
    *field = whole;
  }
  member_.id[0] ^= 1;
  EXPECT_EQ(Check(), v1::BAD_SIGNATURE);
}

TEST_F(SecAggMemberTest, A8OneKeyForBothUsesIsRefused) {
  keys_.set_s_pk(keys_.c_pk());
  SignAgain();
  EXPECT_EQ(Check(), v1::DUP_KEY);
}

TEST_F(SecAggMemberTest, A8KeysOfLowOrderAreRefused) {
  const v1::AdvertiseKeys honest = keys_;
  for (const std::string& point : KeysOfLowOrder()) {
    keys_.set_c_pk(point);
    SignAgain();
    EXPECT_EQ(Check(), v1::COHORT_INVALID);
    keys_ = honest;
    keys_.set_s_pk(point);
    SignAgain();
    EXPECT_EQ(Check(), v1::COHORT_INVALID);
    keys_ = honest;
  }
}

TEST(SecAggAbortTest, AStatusCarriesItsAbortCode) {
  const absl::Status status = AbortError(v1::DUP_KEY, "two of them");
  EXPECT_EQ(AbortCodeOf(status), v1::DUP_KEY);
  EXPECT_EQ(status.message(), "DUP_KEY: two of them");
  EXPECT_EQ(AbortCodeOf(absl::InternalError("")), v1::ABORT_UNSPECIFIED);
  EXPECT_EQ(AbortCodeOf(absl::OkStatus()), v1::ABORT_UNSPECIFIED);
}

TEST(SecAggAbortTest, EveryCodeOfThisVersionIsKnown) {
  for (int code = 1; code <= 20; ++code) {
    EXPECT_TRUE(IsKnownAbort(static_cast<v1::AbortCode>(code))) << code;
  }
  for (const int code : {0, 21, -1}) {
    EXPECT_FALSE(IsKnownAbort(static_cast<v1::AbortCode>(code))) << code;
  }
}

TEST(SecAggAbortTest, ACodeIsAddedToAStatusThatKeepsItsOwn) {
  const absl::Status status = WithAbortCode(
      v1::REPLAY, Annotate(absl::FailedPreconditionError("an old round"),
                           ErrorKind::kIdentity, "a hint"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(AbortCodeOf(status), v1::REPLAY);
  EXPECT_EQ(status.message(), "REPLAY: an old round");
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_EQ(HintOf(status), "a hint");
  EXPECT_TRUE(WithAbortCode(v1::REPLAY, absl::OkStatus()).ok());
}

}  // namespace
}  // namespace edgetune::secagg
