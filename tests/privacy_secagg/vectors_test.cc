// The primitives of secure aggregation against vectors/*.json, which a second
// implementation made from the specification alone.

#include "tests/privacy_secagg/vectors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "base/units.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/kdf.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/shamir.h"

namespace edgetune::secagg {
namespace {

using nlohmann::json;
using testing::AddShares;
using testing::AllBytes;
using testing::Bytes;
using testing::DigestOf;
using testing::IdOf;
using testing::LoadCases;
using testing::LoadVectors;
using testing::RepeatingRandom;
using testing::Secret;
using testing::Spans;
using testing::Text;
using ::testing::UnorderedElementsAreArray;

// Field and shares.

std::string Combine(const std::vector<uint32_t>& holders,
                    const std::vector<std::string>& shares) {
  return Text(Interpolator::Make(holders)->Combine(Spans(shares))->bytes());
}

uint16_t Chunk(const std::string& text, size_t i) {
  return static_cast<uint16_t>(static_cast<uint8_t>(text[2 * i]) << 8 |
                               static_cast<uint8_t>(text[2 * i + 1]));
}

// Chunks of b are 1, 0, the inverse of a, and others.
TEST(FieldVectorsTest, ProductsAreThoseOfTheField) {
  const json vectors = LoadCases("field", "products");
  ASSERT_EQ(vectors.size(), 16);
  const std::string zero(kSecretSize, '\0');
  for (const json& c : vectors) {
    const std::string product = Combine(c["holders"], {Bytes(c["b"]), zero});
    EXPECT_EQ(product, Bytes(c["product"])) << c["a"];
    EXPECT_EQ(Chunk(product, 0), c["a"]);
    EXPECT_EQ(Chunk(product, 1), 0);
    EXPECT_EQ(Chunk(Bytes(c["b"]), 2), c["inverse"]);
    EXPECT_EQ(Chunk(product, 2), 1);
  }
}

TEST(FieldVectorsTest, WeightsOfHoldersAreLagranges) {
  for (const json& c : LoadCases("field", "lagrange")) {
    const std::vector<uint32_t> holders = c["holders"];
    for (size_t i = 0; i < holders.size(); ++i) {
      std::vector<std::string> shares(holders.size(),
                                      std::string(kSecretSize, '\0'));
      shares[i][1] = '\1';
      EXPECT_EQ(Chunk(Combine(holders, shares), 0), c["weights"][i])
          << c["holders"] << " " << i;
    }
  }
}

TEST(FieldVectorsTest, EveryRunOfEnoughSharesGivesTheSecret) {
  for (const json& c : LoadCases("field", "shares")) {
    const std::vector<std::string> shares = AllBytes(c["shares"]);
    const size_t t = c["threshold"];
    for (size_t first = 0; first + t <= shares.size(); ++first) {
      std::vector<uint32_t> holders(t);
      std::iota(holders.begin(), holders.end(), first);
      const std::vector<std::string> held(shares.begin() + first,
                                          shares.begin() + first + t);
      EXPECT_EQ(Combine(holders, held), Bytes(c["secret"]));
    }
  }
}

TEST(FieldVectorsTest, KnownPolynomialsGiveTheseShares) {
  for (const json& c : LoadCases("field", "constant")) {
    RepeatingRandom random(std::string(1, static_cast<char>(int{c["byte"]})));
    const auto shares = ShareSecret(Secret(c["secret"]), c["threshold"],
                                    c["shares"].size(), random);
    ASSERT_TRUE(shares.ok()) << shares.status();
    ASSERT_EQ(shares->size(), c["shares"].size());
    for (size_t i = 0; i < shares->size(); ++i) {
      EXPECT_EQ(Text((*shares)[i].bytes()), Bytes(c["shares"][i])) << i;
    }
  }
}

TEST(FieldVectorsTest, WrongSharesAreFoundAndTooManyRefused) {
  for (const json& c : LoadCases("field", "corrected")) {
    const std::vector<std::string> texts = AllBytes(c["shares"]);
    std::vector<HeldShare> shares;
    for (size_t i = 0; i < texts.size(); ++i) {
      shares.push_back({c["holders"][i], ByteSpan(texts[i])});
    }
    const auto out = CorrectShares(shares, c["threshold"]);
    if (c["secret"].is_null()) {
      EXPECT_EQ(out.status().code(), absl::StatusCode::kDataLoss) << c["name"];
      continue;
    }
    ASSERT_TRUE(out.ok()) << c["name"] << out.status();
    EXPECT_EQ(Text(out->secret.bytes()), Bytes(c["secret"])) << c["name"];
    EXPECT_THAT(out->bad,
                UnorderedElementsAreArray(std::vector<uint32_t>(c["bad"])))
        << c["name"];
  }
}

// Encodings and signatures.

TEST(EncodingVectorsTest, DigestsOfManifestCohortAndCommitment) {
  const json c = LoadVectors("encoding");
  const Digest manifest = ManifestDigest(Bytes(c["payload"]));
  EXPECT_EQ(manifest, DigestOf(c["manifest"]));
  EXPECT_EQ(CanaryOf(manifest), c["canary"]);
  EXPECT_EQ(CanaryOf(Digest{}), c["canary_of_zero"]);
  std::vector<MemberKeys> members;
  for (const json& m : c["members"]) {
    members.push_back({IdOf(m[0]), Bytes(m[1]), Bytes(m[2])});
  }
  const Digest session = SessionId(manifest, members);
  EXPECT_EQ(session, DigestOf(c["session"]));
  EXPECT_EQ(SessionId(manifest, std::span(members).first(4)),
            DigestOf(c["session_of_first_four"]));
  const Digest commitment =
      Encoder("bcom").Add(session).Add(members[0].id).Add(Bytes(c["b"])).Hash();
  EXPECT_EQ(commitment, DigestOf(c["commitment"]));
}

v1::ShareKeys ShareKeysOf(const json& fields) {
  v1::ShareKeys message;
  message.set_commitment(Bytes(fields["commitment"]));
  for (const json& text : fields["ciphertexts"]) {
    message.add_ciphertexts(Bytes(text));
  }
  return message;
}

v1::AdvertiseKeys AdvertiseOf(const Digest& manifest, const json& fields) {
  v1::AdvertiseKeys message;
  message.set_manifest(Text(manifest));
  message.set_c_pk(Bytes(fields["c_pk"]));
  message.set_s_pk(Bytes(fields["s_pk"]));
  message.set_nonce(Bytes(fields["nonce"]));
  return message;
}

v1::UnmaskShares UnmaskOf(const json& fields) {
  v1::UnmaskShares message;
  AddShares(fields["b_shares"], message.mutable_b_shares());
  AddShares(fields["s_shares"], message.mutable_s_shares());
  return message;
}

// What the signature of one vector is over, by our functions.
std::string SignedBytes(const json& all, const json& c) {
  const Digest manifest = DigestOf(all["manifest"]);
  const Digest s = DigestOf(all["session"]);
  const ClientId id = IdOf(all["id"]);
  const json& f = c["fields"];
  const std::string use = c["use"];
  if (use == "adv")
    return AdvertiseBytes(manifest, id, AdvertiseOf(manifest, f));
  if (use == "shares") return ShareKeysBytes(s, id, ShareKeysOf(f));
  if (use == "u2") return U2Bytes(s, Bytes(f["u2"]));
  if (use == "ack") return AckBytes(s, id, std::vector<uint32_t>(f["bad"]));
  if (use == "freeze") return FreezeBytes(s, Bytes(f["u2"]), Bytes(f["u3"]));
  if (use == "u3") return U3Bytes(s, Bytes(f["u2"]), Bytes(f["u3"]));
  if (use == "unmask") return UnmaskBytes(s, id, UnmaskOf(f));
  v1::MaskedInput input;
  input.set_total_length(f["total_length"]);
  input.set_digest(Bytes(f["digest"]));
  return InputBytes(s, id, input);
}

TEST(EncodingVectorsTest, EverySignatureIsOverTheseBytes) {
  const json all = LoadVectors("encoding");
  const SigningKey signer = testing::KeyOf(all["signer"]);
  EXPECT_EQ(signer.public_key().raw(), Bytes(all["signer_public"]));
  ASSERT_EQ(all["signed"].size(), 10);
  for (const json& c : all["signed"]) {
    const std::string bytes = SignedBytes(all, c);
    EXPECT_EQ(ToHex(bytes), c["bytes"]) << c["use"];
    EXPECT_EQ(ToHex(signer.Sign(bytes).value()), c["signature"]) << c["use"];
  }
}

TEST(EncodingVectorsTest, SetsAreBitmapsWithoutPaddingBits) {
  const json all = LoadVectors("encoding");
  for (const json& c : all["bitmaps"]) {
    const std::vector<bool> members = c["members"];
    EXPECT_EQ(ToHex(BitmapOf(members)), c["bitmap"]);
    EXPECT_EQ(MembersOf(Bytes(c["bitmap"]), members.size()).value(), members);
  }
  for (const json& c : all["bad_bitmaps"]) {
    EXPECT_EQ(MembersOf(Bytes(c[1]), c[0]).status().code(),
              absl::StatusCode::kInvalidArgument)
        << c;
  }
}

// Keys.

TEST(KeyVectorsTest, KeysOfSharesPairsAndSelf) {
  const json c = LoadVectors("kdf");
  const auto agreed = [&](const char* secret, const char* peer) {
    const X25519Key key =
        X25519Key::FromSecret(ByteSpan(Bytes(c[secret]))).value();
    return key.Agree(ByteSpan(Bytes(c[peer]))).value();
  };
  const auto derived = [&](const SecretBytes& key, const Encoder& info) {
    return ToHex(HkdfSha256({.key = key.bytes(),
                             .salt = DigestOf(c["session"]),
                             .info = ByteSpan(info.bytes())},
                            32)
                     ->bytes());
  };
  const ClientId u = IdOf(c["id_u"]), v = IdOf(c["id_v"]);
  const SecretBytes agreed_c = agreed("c_sk_u", "c_pk_v");
  EXPECT_EQ(ToHex(agreed_c.bytes()), c["agreed_c"]);
  EXPECT_EQ(derived(agreed_c, Encoder("enc").Add(u).Add(v)), c["enc_u_to_v"]);
  EXPECT_EQ(derived(agreed("c_sk_v", "c_pk_u"), Encoder("enc").Add(v).Add(u)),
            c["enc_v_to_u"]);
  EXPECT_EQ(ToHex(agreed("s_sk_u", "s_pk_v").bytes()), c["agreed_s"]);
  EXPECT_EQ(derived(agreed("s_sk_v", "s_pk_u"), Encoder("pair").Add(u).Add(v)),
            c["pair"]);
  EXPECT_EQ(derived(Secret(c["b"]), Encoder("self").Add(u)), c["self_u"]);
}

TEST(KeyVectorsTest, ASealedShareIsTheseBytes) {
  const json c = LoadVectors("kdf");
  const std::string aad = Encoder("share")
                              .Add(DigestOf(c["session"]))
                              .Add(IdOf(c["id_u"]))
                              .Add(IdOf(c["id_v"]))
                              .AddU16(uint16_t{c["index_v"]} + 1)
                              .Add(DigestOf(c["commitment"]))
                              .bytes();
  EXPECT_EQ(ToHex(aad), c["aad"]);
  const std::string key = Bytes(c["enc_u_to_v"]), nonce = Bytes(c["nonce"]);
  const AesGcmContext context = {ByteSpan(key), ByteSpan(nonce), ByteSpan(aad)};
  const std::string text = Bytes(c["plaintext"]);
  const std::string sealed = SealAesGcm(context, ByteSpan(text)).value();
  EXPECT_EQ(ToHex(nonce + sealed), c["ciphertext"]);
  EXPECT_EQ(Text(OpenAesGcm(context, ByteSpan(sealed))->bytes()), text);
}

TEST(KeyVectorsTest, PointsThatLeadToZeroAreRefused) {
  const json c = LoadVectors("kdf");
  const X25519Key key =
      X25519Key::FromSecret(ByteSpan(Bytes(c["c_sk_u"]))).value();
  EXPECT_EQ(Text(key.public_key()), Bytes(c["c_pk_u"]));
  for (const json& point : c["zero_points"]) {
    EXPECT_EQ(key.Agree(ByteSpan(Bytes(point))).status().code(),
              absl::StatusCode::kInvalidArgument)
        << point;
  }
}

// Roster.

std::vector<Digest> Path(const json& hashes) {
  std::vector<Digest> path;
  for (const json& hash : hashes) path.push_back(DigestOf(hash));
  return path;
}

v1::RosterEntry EntryOf(const json& member) {
  v1::RosterEntry entry;
  entry.set_name(member["name"]);
  entry.set_client_id(Bytes(member["id"]));
  entry.set_identity_key(Bytes(member["key"]));
  entry.set_enrolled_ms(member["enrolled_ms"]);
  entry.set_status(member["active"] ? v1::RosterEntry::ACTIVE
                                    : v1::RosterEntry::REVOKED);
  return entry;
}

TEST(RosterVectorsTest, IdsAndLeaves) {
  for (const json& m : LoadCases("roster", "members")) {
    const RosterMember member = {IdOf(m["id"]), Bytes(m["key"]),
                                 m["enrolled_ms"], m["active"]};
    EXPECT_EQ(ClientIdOf(m["name"].get<std::string>()), member.id);
    EXPECT_EQ(RosterLeafHash(member), DigestOf(m["leaf"])) << m["name"];
  }
}

TEST(RosterVectorsTest, RootsAndProofsOfOneToNineMembers) {
  const json vectors = LoadVectors("roster");
  for (const json& tree : vectors["trees"]) {
    std::vector<v1::RosterEntry> entries;
    for (const size_t i : tree["order"]) {
      entries.push_back(EntryOf(vectors["members"][i]));
    }
    const auto roster = Roster::Make(entries);
    ASSERT_TRUE(roster.ok()) << roster.status();
    EXPECT_EQ(roster->root(), DigestOf(tree["root"]));
    for (size_t i = 0; i < entries.size(); ++i) {
      const RosterProof proof = roster->Prove(i);
      EXPECT_EQ(proof.index, i);
      EXPECT_EQ(proof.path, Path(tree["paths"][i]));
      EXPECT_TRUE(VerifyRosterProof(proof, RosterLeafHash(roster->Member(i)),
                                    roster->root(), entries.size()));
    }
  }
}

TEST(RosterVectorsTest, ProofsOfSomethingElseAreRefused) {
  const json vectors = LoadCases("roster", "refused");
  ASSERT_GT(vectors.size(), 40);
  for (const json& c : vectors) {
    EXPECT_FALSE(VerifyRosterProof({c["index"], Path(c["path"])},
                                   DigestOf(c["leaf"]), DigestOf(c["root"]),
                                   c["leaves"]))
        << c;
  }
}

}  // namespace
}  // namespace edgetune::secagg
