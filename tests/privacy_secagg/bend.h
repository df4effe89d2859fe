#ifndef EDGETUNE_TESTS_PRIVACY_SECAGG_BEND_H_
#define EDGETUNE_TESTS_PRIVACY_SECAGG_BEND_H_

// Sessions in which one party lies once: what the other one does.

#include <functional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "base/units.h"
#include "privacy/secagg/encoding.h"
#include "tests/privacy_secagg/harness.h"

namespace edgetune::secagg {

// The client whose coordinator lies. Not the first, so that it has peers on
// both sides.
inline constexpr uint32_t kVictim = 1;

// A session of five (t = 4); member i is client i.
inline Harness::Options Five(uint32_t seed = 1) {
  Harness::Options options;
  options.n = 5;
  options.shape = ShapeWithLanes(20, 5, 4);
  options.seed = seed;
  return options;
}
inline const Fleet& FleetOfFive() {
  static const auto* fleet = new Fleet({.size = 5});
  return *fleet;
}
inline const PublicKey& RoundKey() {
  return FleetOfFive().round_key.public_key();
}

// How a client ended, and what left it.
struct Fate {
  v1::AbortCode code = v1::ABORT_UNSPECIFIED;
  std::string detail;
  std::set<v1::SecAggClientMessage::BodyCase> sent;
  int spends = 0;
  std::vector<v1::Contradiction> evidence;
};

// Runs a session in which the victim gets every message as `bend` leaves it.
inline Fate FateOfVictim(
    Harness& session,
    const std::function<void(v1::SecAggServerMessage&)>& bend) {
  Fate fate;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    if (index == kVictim) bend(message);
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    if (index == kVictim) fate.sent.insert(message.body_case());
    return true;
  };
  session.Run();
  const Harness::Client& victim = session.clients[kVictim];
  if (victim.aborted) fate.code = *victim.aborted;
  fate.detail = victim.detail;
  fate.spends = victim.spends;
  fate.evidence = victim.evidence;
  return fate;
}

// u-coordinates of the points whose order divides 8 below 2^255, little-endian:
// https://cr.yp.to/ecdh.html, "validate". X25519 ignores the highest bit (RFC
// 7748, section 5), so each has a second encoding.
inline std::vector<std::string> KeysOfLowOrder() {
  std::vector<std::string> keys;
  for (const char* point :
       {"0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    for (const uint8_t highest : {0x00, 0x80}) {
      keys.push_back(FromHex(point).value());
      keys.back().back() = static_cast<char>(keys.back().back() | highest);
    }
  }
  return keys;
}

// As the coordinator itself signs what it made up.
inline Digest DigestFrom(const std::string& bytes) {
  Digest digest;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}
inline void SignSet(v1::ForwardedShares& m) {
  m.set_signature(FleetOfFive()
                      .round_key.Sign(U2Bytes(DigestFrom(m.session()), m.u2()))
                      .value());
}
// U2 as a bitmap; here of all five.
inline void SignSet(v1::Freeze& m, const std::string& u2 = "\x1f") {
  m.set_signature(
      FleetOfFive()
          .round_key.Sign(FreezeBytes(DigestFrom(m.session()), u2, m.u3()))
          .value());
}

// Leaves a session in which the victim has sent `last`, and nothing after.
inline void RunUntil(v1::SecAggClientMessage::BodyCase last, Harness& session) {
  session.keep_clients = true;
  session.to_client = [&session, last](uint32_t index,
                                       v1::SecAggServerMessage&) {
    const SecAggClient::Phase phase = session.clients[kVictim].party->phase();
    return index != kVictim || static_cast<int>(phase) <= last - 1;
  };
  session.Run();
}

// The keys of an entry, signed by its own member as if it had sent them.
inline void SignEntry(const SigningKey& identity, const Digest& manifest,
                      v1::CohortEntry& entry) {
  v1::AdvertiseKeys keys;
  keys.set_c_pk(entry.c_pk());
  keys.set_s_pk(entry.s_pk());
  keys.set_nonce(entry.nonce());
  ClientId id;
  std::copy(entry.client_id().begin(), entry.client_id().end(), id.begin());
  entry.set_signature(
      identity.Sign(AdvertiseBytes(manifest, id, keys)).value());
}

// What member `index` of the session itself would sign.
inline void SignMessage(const Harness& session, uint32_t index,
                        v1::SecAggClientMessage& message) {
  const Digest& s = session.server->session();
  const ClientId& id = session.fleet.members[session.who()[index]].id;
  const SigningKey& key = session.fleet.identities[session.who()[index]];
  if (message.has_shares()) {
    v1::ShareKeys& m = *message.mutable_shares();
    m.set_signature(key.Sign(ShareKeysBytes(s, id, m)).value());
  } else if (message.has_ack()) {
    v1::ShareAck& m = *message.mutable_ack();
    const std::vector<uint32_t> bad(m.bad().begin(), m.bad().end());
    m.set_signature(key.Sign(AckBytes(s, id, bad)).value());
  } else if (message.has_input()) {
    v1::MaskedInput& m = *message.mutable_input();
    m.set_signature(key.Sign(InputBytes(s, id, m)).value());
  } else if (message.has_unmask()) {
    v1::UnmaskShares& m = *message.mutable_unmask();
    m.set_signature(key.Sign(UnmaskBytes(s, id, m)).value());
  }
}

// Another value of the same length.
inline void Flip(std::string& bytes) {
  bytes[0] = static_cast<char>(bytes[0] ^ 1);
}

// One row of a table of lies: how it is told and what it must lead to.
template <typename Message>
struct Lie {
  const char* name;
  v1::AbortCode code;
  std::function<void(Message&)> tell;

  friend std::ostream& operator<<(std::ostream& out, const Lie& lie) {
    return out << lie.name;
  }
};
template <typename Message>
std::string NameOf(const ::testing::TestParamInfo<Lie<Message>>& info) {
  return info.param.name;
}

}  // namespace edgetune::secagg

#endif  // EDGETUNE_TESTS_PRIVACY_SECAGG_BEND_H_
