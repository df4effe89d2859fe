#include "privacy/secagg/encoding.h"

#include <gtest/gtest.h>

#include <string>

namespace edgetune::secagg {
namespace {

using std::string_literals::operator""s;

// Written by hand after the table of the header: every field stands behind its
// length, the use first.
constexpr std::string_view kPrefix = "edgetune/secagg/1/";

std::string Field(std::string_view field) {
  return "\0\0\0"s + static_cast<char>(field.size()) + std::string(field);
}
std::string Use(std::string_view use) {
  return Field(std::string(kPrefix) + std::string(use));
}

const std::string kThirtyTwo(32, '\x11');
const std::string kId(16, '\x22');

Digest SomeDigest() {
  Digest digest;
  digest.fill(0x11);
  return digest;
}
ClientId SomeId() {
  ClientId id;
  id.fill(0x22);
  return id;
}

TEST(EncodingTest, EveryFieldStandsBehindItsLength) {
  Encoder encoder("bcom");
  encoder.Add("ab").Add("").AddU16(0x0102).AddU32(0x01020304).AddU64(5);
  EXPECT_EQ(encoder.bytes(), "\0\0\0\x16"s + "edgetune/secagg/1/bcom" +
                                 "\0\0\0\x02"s + "ab" + "\0\0\0\0"s +
                                 "\0\0\0\x02\x01\x02"s +
                                 "\0\0\0\x04\x01\x02\x03\x04"s +
                                 "\0\0\0\x08\0\0\0\0\0\0\0\x05"s);
  EXPECT_EQ(encoder.Hash(), Sha256(encoder.bytes()));
}

TEST(EncodingTest, NoTwoListsOfFieldsLookAlike) {
  EXPECT_NE(Encoder("u2").Add("ab").Add("c").bytes(),
            Encoder("u2").Add("a").Add("bc").bytes());
  EXPECT_NE(Encoder("u2").Add("").bytes(), Encoder("u2").bytes());
  EXPECT_NE(Encoder("u2").Add("ab").bytes(), Encoder("u3").Add("ab").bytes());
}

TEST(EncodingTest, ManifestAndCanary) {
  EXPECT_EQ(ManifestDigest("payload"),
            Sha256(Use("manifest") + Field("payload")));
  const Digest hash = Sha256(Use("canary") + Field(kThirtyTwo));
  EXPECT_EQ(CanaryOf(SomeDigest()), hash[0] * 256 + hash[1]);
}

TEST(EncodingTest, TheSessionCoversEveryMember) {
  const std::string c_pk(32, 'c'), s_pk(32, 's');
  const MemberKeys member{SomeId(), c_pk, s_pk};
  const std::string item = kId + c_pk + s_pk;
  EXPECT_EQ(SessionId(SomeDigest(), std::vector{member, member}),
            Sha256(Use("cohort") + Field(kThirtyTwo) + Field("\0\0\0\x02"s) +
                   Field("\0\0\0\x02"s + item + item)));
}

TEST(EncodingTest, Advertisement) {
  v1::AdvertiseKeys keys;
  keys.set_c_pk("cc");
  keys.set_s_pk("ss");
  keys.set_nonce("nn");
  keys.set_manifest("not this one");
  keys.set_signature("nor this");
  EXPECT_EQ(AdvertiseBytes(SomeDigest(), SomeId(), keys),
            Use("adv") + Field(kThirtyTwo) + Field(kId) + Field("cc") +
                Field("ss") + Field("nn"));
}

TEST(EncodingTest, SharesAreHashedJoined) {
  v1::ShareKeys message;
  message.set_commitment("com");
  message.add_ciphertexts("first");
  message.add_ciphertexts("second");
  const Digest joined = Sha256("firstsecond");
  EXPECT_EQ(ShareKeysBytes(SomeDigest(), SomeId(), message),
            Use("shares") + Field(kThirtyTwo) + Field(kId) + Field("com") +
                Field(std::string(joined.begin(), joined.end())));
}

TEST(EncodingTest, SetsOfMembers) {
  EXPECT_EQ(U2Bytes(SomeDigest(), "u2"),
            Use("u2") + Field(kThirtyTwo) + Field("u2"));
  EXPECT_EQ(FreezeBytes(SomeDigest(), "u2", "u3"),
            Use("freeze") + Field(kThirtyTwo) + Field("u2") + Field("u3"));
  EXPECT_EQ(U3Bytes(SomeDigest(), "u2", "u3"),
            Use("u3") + Field(kThirtyTwo) + Field("u2") + Field("u3"));
}

TEST(EncodingTest, Acknowledgement) {
  const std::vector<uint32_t> bad = {1, 258};
  EXPECT_EQ(AckBytes(SomeDigest(), SomeId(), bad),
            Use("ack") + Field(kThirtyTwo) + Field(kId) +
                Field("\0\0\0\x02\0\x01\x01\x02"s));
  EXPECT_EQ(AckBytes(SomeDigest(), SomeId(), {}),
            Use("ack") + Field(kThirtyTwo) + Field(kId) + Field("\0\0\0\0"s));
}

TEST(EncodingTest, Input) {
  v1::MaskedInput message;
  message.set_total_length(0x0102030405);
  message.set_digest("digest");
  EXPECT_EQ(InputBytes(SomeDigest(), SomeId(), message),
            Use("input") + Field(kThirtyTwo) + Field(kId) +
                Field("\0\0\0\x01\x02\x03\x04\x05"s) + Field("digest"));
}

TEST(EncodingTest, Unmasking) {
  v1::UnmaskShares message;
  message.add_b_shares()->set_index(3);
  message.mutable_b_shares(0)->set_share("B");
  message.add_s_shares()->set_index(256);
  message.mutable_s_shares(0)->set_share("S");
  EXPECT_EQ(UnmaskBytes(SomeDigest(), SomeId(), message),
            Use("unmask") + Field(kThirtyTwo) + Field(kId) +
                Field("\0\0\0\x01\0\x03"s + "B") +
                Field("\0\0\0\x01\x01\0"s + "S"));
}

TEST(EncodingTest, BitmapsStartAtTheLowestBit) {
  std::vector<bool> members(10);
  members[0] = members[3] = members[9] = true;
  EXPECT_EQ(BitmapOf(members), "\x09\x02");
  EXPECT_EQ(MembersOf("\x09\x02", 10).value(), members);
  EXPECT_EQ(BitmapOf({}), "");
  EXPECT_TRUE(MembersOf("", 0).value().empty());
  EXPECT_EQ(MembersOf("\xFF", 8).value(), std::vector<bool>(8, true));
}

TEST(EncodingTest, BitmapsOfAnotherLengthOrWithPaddingAreRefused) {
  for (const std::string& bitmap :
       {""s, "\x01"s, "\x01\x01\x01"s, "\x01\x04"s, "\x01\x80"s}) {
    EXPECT_TRUE(absl::IsInvalidArgument(MembersOf(bitmap, 10).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(MembersOf("\0"s, 0).status()));
}

}  // namespace
}  // namespace edgetune::secagg
