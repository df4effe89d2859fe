// Whole sessions against vectors/session_*.json, which a second implementation
// made from the specification alone. Randomness is given, so both must agree
// on every byte: each step is redone with our functions and compared.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/units.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/kdf.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/shamir.h"
#include "tests/privacy_secagg/vectors.h"

namespace edgetune::secagg {
namespace {

using nlohmann::json;
using testing::AddShares;
using testing::Bytes;
using testing::DigestOf;
using testing::IdOf;
using testing::Secret;
using testing::ShapeOf;
using testing::Spans;
using testing::Text;

class SessionVectorsTest : public ::testing::TestWithParam<const char*> {
 protected:
  size_t size() const { return file_["members"].size(); }
  const json& Member(size_t i) const { return file_["members"][i]; }
  ClientId Id(size_t i) const { return IdOf(Member(i)["id"]); }
  bool Lost(size_t i, const char* step) const {
    return Member(i)["lost"] == step;
  }
  bool InU3(size_t i) const { return u3_[i]; }

  SecretBytes Agreed(const json& secret, const json& peer) const {
    return X25519Key::FromSecret(ByteSpan(Bytes(secret)))
        ->Agree(ByteSpan(Bytes(peer)))
        .value();
  }
  SecretBytes Derive(const SecretBytes& key, const Encoder& info) const {
    return HkdfSha256({key.bytes(), session_, ByteSpan(info.bytes())}, 32)
        .value();
  }
  SecretBytes SelfKey(size_t u, const SecretBytes& b) const {
    return Derive(b, Encoder("self").Add(Id(u)));
  }
  // Of u, whose secret is given, and v.
  SecretBytes PairKey(size_t u, const json& s_sk_u, size_t v) const {
    return Derive(
        Agreed(s_sk_u, Member(v)["s_pk"]),
        Encoder("pair").Add(Id(std::min(u, v))).Add(Id(std::max(u, v))));
  }
  // Of what u sends to v, by u's secret.
  SecretBytes ShareKey(size_t u, size_t v) const {
    return Derive(Agreed(Member(u)["c_sk"], Member(v)["c_pk"]),
                  Encoder("enc").Add(Id(u)).Add(Id(v)));
  }
  std::string ShareAad(size_t u, size_t v) const {
    return Encoder("share")
        .Add(session_)
        .Add(Id(u))
        .Add(Id(v))
        .AddU16(static_cast<uint16_t>(v + 1))
        .Add(Bytes(Member(u)["commitment"]))
        .bytes();
  }
  void ExpectSigned(size_t i, const char* name, const std::string& bytes) {
    EXPECT_TRUE(PublicKey::FromRaw(Bytes(Member(i)["identity_key"]))
                    ->Verify(bytes, Bytes(Member(i)[name])))
        << name << " of " << i;
  }

  // If v answered in R5, it told the share that u dealt: of the two in `text`,
  // s and then b, the one of u's fate.
  void ExpectAnswered(size_t u, size_t v, const std::string& text) const {
    if (!InU3(v) || Lost(v, "R5")) return;
    const json told = Answer(v, u);
    ASSERT_FALSE(told.is_null()) << v << " on " << u;
    EXPECT_EQ(Bytes(told), text.substr(InU3(u) ? kSecretSize : 0, kSecretSize));
  }
  // What `holder` told of the share that `dealer` dealt. Null: nothing.
  json Answer(size_t holder, size_t dealer) const {
    const char* list = InU3(dealer) ? "b_shares" : "s_shares";
    for (const json& share : Member(holder)[list]) {
      if (share[0] == dealer) return share[1];
    }
    return nullptr;
  }
  // The secret of `dealer` from the answers of the first t.
  SecretBytes Opened(size_t dealer) const {
    std::vector<std::string> shares;
    for (const size_t holder : file_["holders"]) {
      shares.push_back(Bytes(Answer(holder, dealer)));
    }
    return Interpolator::Make(file_["holders"])->Combine(Spans(shares)).value();
  }

  const json file_ = testing::LoadVectors(GetParam());
  const MaskedShape shape_ = ShapeOf(file_);
  const Digest manifest_ = DigestOf(file_["manifest"]);
  const Digest session_ = DigestOf(file_["session"]);
  const std::vector<bool> u2_ = MembersOf(Bytes(file_["u2"]), size()).value();
  const std::vector<bool> u3_ = MembersOf(Bytes(file_["u3"]), size()).value();
};

TEST_P(SessionVectorsTest, CohortAndSets) {
  std::vector<MemberKeys> members;
  for (size_t i = 0; i < size(); ++i) {
    const json& m = Member(i);
    members.push_back({Id(i), Bytes(m["c_pk"]), Bytes(m["s_pk"])});
    EXPECT_EQ(ClientIdOf(m["name"].get<std::string>()), Id(i));
    EXPECT_EQ(ToHex(testing::KeyOf(m["identity_secret"]).public_key().raw()),
              m["identity_key"]);
    EXPECT_EQ(u2_[i], !Lost(i, "R2"));
    EXPECT_EQ(u3_[i], u2_[i] && !Lost(i, "R3"));
    for (const std::string key : {"c", "s"}) {
      const auto pair = X25519Key::FromSecret(ByteSpan(Bytes(m[key + "_sk"])));
      EXPECT_EQ(ToHex(pair->public_key()), m[key + "_pk"]);
    }
  }
  EXPECT_EQ(SessionId(manifest_, members), session_);
  EXPECT_EQ(SecAggThreshold(size()), file_["threshold"]);
  EXPECT_EQ(CanaryOf(manifest_), file_["canary"]);
}

TEST_P(SessionVectorsTest, SignaturesOfKeysAndShares) {
  for (size_t i = 0; i < size(); ++i) {
    const json& m = Member(i);
    v1::AdvertiseKeys keys;
    keys.set_manifest(Text(manifest_));
    keys.set_c_pk(Bytes(m["c_pk"]));
    keys.set_s_pk(Bytes(m["s_pk"]));
    keys.set_nonce(Bytes(m["nonce"]));
    ExpectSigned(i, "adv_signature", AdvertiseBytes(manifest_, Id(i), keys));
    if (!u2_[i]) continue;
    v1::ShareKeys shares;
    shares.set_commitment(Bytes(m["commitment"]));
    for (const json& c : m["ciphertexts"]) shares.add_ciphertexts(Bytes(c));
    ExpectSigned(i, "shares_signature",
                 ShareKeysBytes(session_, Id(i), shares));
    ExpectSigned(i, "ack_signature", AckBytes(session_, Id(i), {}));
  }
}

TEST_P(SessionVectorsTest, SignaturesOfSurvivors) {
  const std::string u2 = BitmapOf(u2_), u3 = BitmapOf(u3_);
  const PublicKey round = PublicKey::FromRaw(Bytes(file_["round_key"])).value();
  EXPECT_TRUE(
      round.Verify(U2Bytes(session_, u2), Bytes(file_["u2_signature"])));
  EXPECT_TRUE(round.Verify(FreezeBytes(session_, u2, u3),
                           Bytes(file_["freeze_signature"])));
  for (size_t i = 0; i < size(); ++i) {
    if (!InU3(i)) continue;
    const json& m = Member(i);
    v1::MaskedInput input;
    input.set_total_length(shape_.byte_size());
    input.set_digest(Sha256Bytes(Bytes(m["y"])));
    EXPECT_EQ(ToHex(input.digest()), m["y_sha256"]);
    ExpectSigned(i, "input_signature", InputBytes(session_, Id(i), input));
    ExpectSigned(i, "u3_signature", U3Bytes(session_, u2, u3));
    if (Lost(i, "R5")) continue;
    v1::UnmaskShares answer;
    AddShares(m["b_shares"], answer.mutable_b_shares());
    AddShares(m["s_shares"], answer.mutable_s_shares());
    ExpectSigned(i, "unmask_signature", UnmaskBytes(session_, Id(i), answer));
  }
}

TEST_P(SessionVectorsTest, CommitmentsAreOfTheSeeds) {
  for (size_t u = 0; u < size(); ++u) {
    if (!u2_[u]) continue;
    const std::string seed = Bytes(Member(u)["b"]);
    EXPECT_EQ(Encoder("bcom").Add(session_).Add(Id(u)).Add(seed).Hash(),
              DigestOf(Member(u)["commitment"]));
  }
}

TEST_P(SessionVectorsTest, SharesTravelSealed) {
  for (size_t u = 0; u < size(); ++u) {
    for (size_t v = 0; v < size(); ++v) {
      if (v == u || !u2_[u]) continue;
      const SecretBytes key = ShareKey(u, v);
      const std::string aad = ShareAad(u, v);
      const std::string message = Bytes(Member(u)["ciphertexts"][v - (v > u)]);
      const std::string nonce = message.substr(0, kAesGcmNonceBytes);
      const std::string sealed = message.substr(kAesGcmNonceBytes);
      const AesGcmContext context = {key.bytes(), ByteSpan(nonce),
                                     ByteSpan(aad)};
      const auto text = OpenAesGcm(context, ByteSpan(sealed));
      ASSERT_TRUE(text.ok()) << u << " to " << v << text.status();
      EXPECT_EQ(text->size(), 2 * kSecretSize);
      EXPECT_EQ(sealed, SealAesGcm(context, text->bytes()).value());
      ExpectAnswered(u, v, Text(text->bytes()));
    }
  }
}

TEST_P(SessionVectorsTest, MaskedVectorsAreTheseBytes) {
  for (size_t u = 0; u < size(); ++u) {
    if (!InU3(u)) continue;
    std::vector<MaskTerm> terms;
    terms.push_back({SelfKey(u, Secret(Member(u)["b"])), false});
    for (size_t v = 0; v < size(); ++v) {
      if (v == u || !u2_[v]) continue;
      terms.push_back({PairKey(u, Member(u)["s_sk"], v), v > u});
    }
    RingVector lanes;
    for (const int64_t lane : Member(u)["x"]) {
      lanes.push_back(static_cast<uint32_t>(lane));
    }
    EXPECT_EQ(lanes[1], CanaryOf(manifest_));
    ASSERT_TRUE(ApplyMasks(terms, 1, lanes).ok());
    EXPECT_EQ(ToHex(PackLanes(shape_, lanes)), Member(u)["y"]) << u;
  }
}

TEST_P(SessionVectorsTest, AnswersOpenSeedsAndTheSumIsExact) {
  MaskedSum sum(shape_);
  for (size_t u = 0; u < size(); ++u) {
    if (!InU3(u)) continue;
    ASSERT_TRUE(sum.Add(ByteSpan(Bytes(Member(u)["y"]))).ok());
  }
  std::vector<MaskTerm> terms;
  for (const json& opened : file_["opened"]) {
    const size_t dealer = opened["index"];
    EXPECT_EQ(opened["kind"], InU3(dealer) ? "b" : "s");
    const SecretBytes secret = Opened(dealer);
    const std::string hex = ToHex(secret.bytes());
    EXPECT_EQ(hex, opened["secret"]);
    EXPECT_EQ(hex, Member(dealer)[InU3(dealer) ? "b" : "s_sk"]);
    if (InU3(dealer)) terms.push_back({SelfKey(dealer, secret), true});
    for (size_t u = 0; u < size(); ++u) {
      if (InU3(dealer) || !InU3(u)) continue;
      terms.push_back({PairKey(dealer, hex, u), dealer < u});
    }
  }
  const auto sums = sum.Unmask(terms, CanaryOf(manifest_), 2);
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(*sums, std::vector<int64_t>(file_["sum"]));
}

INSTANTIATE_TEST_SUITE_P(Files, SessionVectorsTest,
                         ::testing::Values("session_4", "session_5",
                                           "session_7", "session_10"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace edgetune::secagg
