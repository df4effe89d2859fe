// The real SecAggClient against vectors/session_*.json, which a second
// implementation made from the specification alone (make_vectors.py): with the
// same randomness every message must be the same, byte by byte.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "privacy/secagg/client.h"
#include "privacy/secagg/encoding.h"
#include "tests/privacy_secagg/random_sources.h"
#include "tests/privacy_secagg/vectors.h"

namespace edgetune::secagg {
namespace {

using nlohmann::json;
using testing::Bytes;

std::string BigEndian(uint64_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    text.push_back(static_cast<char>(value >> shift));
  }
  return text;
}
std::string Prefixed(const std::string& text) {
  return BigEndian(text.size(), 4) + text;
}

// What vectors/reference.py draws for a label of up to 32 bytes.
std::string Drawn(const std::string& seed, const std::string& label) {
  return Sha256Bytes(Prefixed(seed) + Prefixed(label) + BigEndian(0, 8));
}

class SecAggClientVectorsTest : public ::testing::TestWithParam<std::string> {
 protected:
  SecAggClientVectorsTest() {
    v1::RosterEntry entry;
    std::vector<v1::RosterEntry> entries;
    for (const json& m : members_) {
      entry.set_name(m["name"].get<std::string>());
      entry.set_client_id(Bytes(m["id"]));
      entry.set_identity_key(Bytes(m["identity_key"]));
      entry.set_status(v1::RosterEntry::ACTIVE);
      entries.push_back(entry);
      identities_.push_back(testing::KeyOf(m["identity_secret"]));
    }
    roster_.emplace(Roster::Make(std::move(entries)).value());
  }
  size_t size() const { return members_.size(); }

  // All the randomness of member `u`, in the order in which it is used.
  std::string ScriptOf(size_t u) const {
    const std::string seed = "edgetune secagg vectors: " + GetParam();
    const std::string name = members_[u]["name"];
    std::string script = Bytes(members_[u]["c_sk"]);
    script += Bytes(members_[u]["s_sk"]) + Bytes(members_[u]["nonce"]);
    script += Drawn(seed, name + " b");
    for (const std::string kind : {" b x^", " s x^"}) {
      for (uint32_t k = 1; k < SecAggThreshold(size()); ++k) {
        script += Drawn(seed, name + kind + std::to_string(k));
      }
    }
    for (size_t v = 0; v < size(); ++v) {
      if (v == u) continue;
      const std::string peer = members_[v]["name"];
      script += Drawn(seed, name + " to " + peer).substr(0, 12);
    }
    return script;
  }

  SecAggClient MakeClient(size_t u, RandomSource& random) const {
    SecAggClient::Options options;
    options.manifest = testing::DigestOf(file_["manifest"]);
    options.id = testing::IdOf(members_[u]["id"]);
    options.identity = &identities_[u];
    options.coordinator = {
        PublicKey::FromRaw(Bytes(file_["round_key"])).value()};
    options.roster = {roster_->root(), size()};
    options.shape = testing::ShapeOf(file_);
    options.random = &random;
    return SecAggClient(std::move(options));
  }

  v1::SecAggServerMessage CohortMessage() const {
    v1::SecAggServerMessage message;
    for (size_t v = 0; v < size(); ++v) {
      v1::CohortEntry& entry = *message.mutable_cohort()->add_entries();
      const json& m = members_[v];
      entry.set_client_id(Bytes(m["id"]));
      entry.set_c_pk(Bytes(m["c_pk"]));
      entry.set_s_pk(Bytes(m["s_pk"]));
      entry.set_nonce(Bytes(m["nonce"]));
      entry.set_signature(Bytes(m["adv_signature"]));
      entry.set_identity_key(Bytes(m["identity_key"]));
      entry.set_leaf_index(v);
      for (const Digest& sibling : roster_->Prove(v).path) {
        entry.add_proof(BytesOf(sibling));
      }
    }
    return message;
  }

  v1::SecAggServerMessage SharesFor(size_t v) const {
    v1::SecAggServerMessage message;
    v1::ForwardedShares& shares = *message.mutable_shares();
    shares.set_session(Bytes(file_["session"]));
    shares.set_u2(Bytes(file_["u2"]));
    shares.set_signature(Bytes(file_["u2_signature"]));
    for (size_t u = 0; u < size(); ++u) {
      if (u == v || !members_[u].contains("commitment")) continue;
      v1::ForwardedShare& share = *shares.add_shares();
      share.set_index(static_cast<uint32_t>(u));
      share.set_commitment(Bytes(members_[u]["commitment"]));
      share.set_ciphertext(
          Bytes(members_[u]["ciphertexts"][v < u ? v : v - 1]));
    }
    return message;
  }

  v1::SecAggServerMessage OpenMessage() const {
    v1::SecAggServerMessage message;
    message.mutable_open()->set_session(Bytes(file_["session"]));
    return message;
  }

  v1::SecAggServerMessage FreezeMessage() const {
    v1::SecAggServerMessage message;
    message.mutable_freeze()->set_session(Bytes(file_["session"]));
    message.mutable_freeze()->set_u3(Bytes(file_["u3"]));
    message.mutable_freeze()->set_signature(Bytes(file_["freeze_signature"]));
    return message;
  }

  v1::SecAggServerMessage UnmaskMessage() const {
    v1::SecAggServerMessage message;
    message.mutable_unmask()->set_session(Bytes(file_["session"]));
    for (size_t v = 0; v < size(); ++v) {
      if (!members_[v].contains("u3_signature")) continue;
      auto& entry = *message.mutable_unmask()->add_signatures();
      entry.set_index(static_cast<uint32_t>(v));
      entry.set_signature(Bytes(members_[v]["u3_signature"]));
    }
    return message;
  }

  // Through R5, comparing what the member sends with what it sent there.
  void Play(size_t u) const {
    const json& m = members_[u];
    const std::string script = ScriptOf(u);
    ScriptedRandom random(ByteSpan(script));
    SecAggClient client = MakeClient(u, random);
    const auto keys = client.Start(InputOf(u))[0].message.advertise();
    EXPECT_EQ(keys.c_pk(), Bytes(m["c_pk"]));
    EXPECT_EQ(keys.signature(), Bytes(m["adv_signature"]));
    const auto dealt = client.Handle(CohortMessage())[0].message.shares();
    EXPECT_EQ(client.session(), testing::DigestOf(file_["session"]));
    if (!m.contains("commitment")) return;
    EXPECT_EQ(dealt.commitment(), Bytes(m["commitment"]));
    EXPECT_EQ(std::vector<std::string>(dealt.ciphertexts().begin(),
                                       dealt.ciphertexts().end()),
              testing::AllBytes(m["ciphertexts"]));
    EXPECT_EQ(dealt.signature(), Bytes(m["shares_signature"]));
    const auto ack = client.Handle(SharesFor(u))[0].message.ack();
    EXPECT_EQ(ack.signature(), Bytes(m["ack_signature"]));
    if (m.contains("y")) PlayInput(u, client);
  }

  void PlayInput(size_t u, SecAggClient& client) const {
    const json& m = members_[u];
    const auto upload = client.Handle(OpenMessage());
    EXPECT_EQ(upload[1].masked, Bytes(m["y"]));
    const auto input = client.Uploaded()[0].message.input();
    EXPECT_EQ(input.digest(), Bytes(m["y_sha256"]));
    EXPECT_EQ(input.signature(), Bytes(m["input_signature"]));
    const auto u3 = client.Handle(FreezeMessage())[1].message.survivors();
    EXPECT_EQ(u3.signature(), Bytes(m["u3_signature"]));
    if (!m.contains("unmask_signature")) return;
    const auto answer = client.Handle(UnmaskMessage())[0].message.unmask();
    ExpectShares(m["b_shares"], answer.b_shares());
    ExpectShares(m["s_shares"], answer.s_shares());
    EXPECT_EQ(answer.signature(), Bytes(m["unmask_signature"]));
  }

  template <typename Shares>
  static void ExpectShares(const json& wanted, const Shares& shares) {
    ASSERT_EQ(static_cast<size_t>(shares.size()), wanted.size());
    for (int i = 0; i < shares.size(); ++i) {
      EXPECT_EQ(shares[i].index(), wanted[i][0].get<uint32_t>());
      EXPECT_EQ(shares[i].share(), Bytes(wanted[i][1]));
    }
  }

  // Lanes as the file has them, some of them negative.
  RingVector InputOf(size_t u) const {
    RingVector input(testing::ShapeOf(file_).size());
    if (!members_[u].contains("x")) return input;
    for (size_t i = 0; i < input.size(); ++i) {
      input[i] = static_cast<uint32_t>(members_[u]["x"][i].get<int64_t>());
    }
    return input;
  }

  const json file_ = testing::LoadVectors("session_" + GetParam());
  const json members_ = file_["members"];
  std::vector<SigningKey> identities_;
  std::optional<Roster> roster_;
};

TEST_P(SecAggClientVectorsTest, A1EveryMessageIsTheSameByteByByte) {
  for (size_t u = 0; u < size(); ++u) {
    SCOPED_TRACE(u);
    Play(u);
  }
}

INSTANTIATE_TEST_SUITE_P(Sessions, SecAggClientVectorsTest,
                         ::testing::Values("4", "5", "7", "10"));

}  // namespace
}  // namespace edgetune::secagg
