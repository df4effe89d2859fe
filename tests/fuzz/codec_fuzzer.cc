// The canonical encoding: sets as bitmaps, and that what is signed can be read
// back in one way only. Input: a byte that says what, then fields.

#include <algorithm>

#include "privacy/secagg/encoding.h"
#include "tests/fuzz/choices.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using Fields = std::vector<std::string>;

// bytes(use, f1, ...) read by its rule alone: u32 length, then as many bytes.
Fields ReadFields(const std::string& bytes) {
  Fields fields;
  size_t at = 0;
  while (at < bytes.size()) {
    Require(bytes.size() - at >= 4, "a whole length");
    size_t length = 0;
    for (int i = 0; i < 4; ++i) {
      length = length << 8 | static_cast<uint8_t>(bytes[at++]);
    }
    Require(bytes.size() - at >= length, "a whole field");
    fields.push_back(bytes.substr(at, length));
    at += length;
  }
  return fields;
}

std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes; i-- > 0;) {
    text.push_back(static_cast<char>(value >> (8 * i)));
  }
  return text;
}

template <size_t kSize>
std::string Text(const std::array<uint8_t, kSize>& bytes) {
  return {bytes.begin(), bytes.end()};
}

void RequireFields(const std::string& bytes, const std::string& use,
                   const Fields& wanted) {
  Fields fields = ReadFields(bytes);
  Require(!fields.empty() && fields.front() == "edgetune/secagg/1/" + use,
          "the use comes first");
  fields.erase(fields.begin());
  Require(fields == wanted, "each field as it was given");
}

void CheckBitmaps(Input& input) {
  const auto n = static_cast<size_t>(input.Word(2) % 400);
  const std::string bitmap = input.Text(60);
  const auto members = secagg::MembersOf(bitmap, n);
  bool proper = bitmap.size() == (n + 7) / 8;
  for (size_t i = n; proper && i < 8 * bitmap.size(); ++i) {
    proper = (static_cast<uint8_t>(bitmap[i / 8]) >> (i % 8) & 1) == 0;
  }
  Require(members.ok() == proper, "exact bitmaps are read, no others");
  if (!members.ok()) return;
  Require(members->size() == n, "a bit for each member");
  Require(secagg::BitmapOf(*members) == bitmap, "and back");
}

struct Common {
  explicit Common(Input& input) {
    std::ranges::copy(input.Take(session.size()), session.begin());
    std::ranges::copy(input.Take(id.size()), id.begin());
  }
  Digest session = {};
  ClientId id = {};
};

void CheckKeys(Input& input) {
  const Common common(input);
  v1::AdvertiseKeys keys;
  keys.set_c_pk(input.Text(input.Below(40)));
  keys.set_s_pk(input.Text(input.Below(40)));
  keys.set_nonce(input.Text(input.Below(40)));
  RequireFields(secagg::AdvertiseBytes(common.session, common.id, keys), "adv",
                {Text(common.session), Text(common.id), keys.c_pk(),
                 keys.s_pk(), keys.nonce()});
}

void CheckShareKeys(Input& input) {
  const Common common(input);
  v1::ShareKeys message;
  message.set_commitment(input.Text(input.Below(40)));
  std::string joined;
  while (!input.empty() && message.ciphertexts_size() < 20) {
    message.add_ciphertexts(input.Text(input.Below(100)));
    joined += *message.ciphertexts().rbegin();
  }
  RequireFields(secagg::ShareKeysBytes(common.session, common.id, message),
                "shares",
                {Text(common.session), Text(common.id), message.commitment(),
                 Sha256Bytes(joined)});
}

void CheckSets(Input& input) {
  const Common common(input);
  const std::string u2 = input.Text(input.Below(50));
  const std::string u3 = input.Text(input.Below(50));
  const std::string session = Text(common.session);
  RequireFields(secagg::U2Bytes(common.session, u2), "u2", {session, u2});
  RequireFields(secagg::FreezeBytes(common.session, u2, u3), "freeze",
                {session, u2, u3});
  RequireFields(secagg::U3Bytes(common.session, u2, u3), "u3",
                {session, u2, u3});
}

void CheckAck(Input& input) {
  const Common common(input);
  std::vector<uint32_t> bad;
  while (!input.empty() && bad.size() < 300) {
    bad.push_back(static_cast<uint32_t>(input.Word(2)));
  }
  std::string list = Number(bad.size(), 4);
  for (const uint32_t index : bad) list += Number(index, 2);
  RequireFields(secagg::AckBytes(common.session, common.id, bad), "ack",
                {Text(common.session), Text(common.id), list});
}

void CheckInput(Input& input) {
  const Common common(input);
  v1::MaskedInput message;
  message.set_total_length(input.Word(8));
  message.set_digest(input.Text(input.Below(40)));
  RequireFields(secagg::InputBytes(common.session, common.id, message), "input",
                {Text(common.session), Text(common.id),
                 Number(message.total_length(), 8), message.digest()});
}

std::string FillShares(
    Input& input,
    google::protobuf::RepeatedPtrField<v1::IndexedShare>& shares) {
  std::string list;
  for (uint32_t left = input.Below(20); left > 0; --left) {
    v1::IndexedShare& share = *shares.Add();
    share.set_index(static_cast<uint32_t>(input.Word(2)));
    share.set_share(input.Text(32));
    list += Number(share.index(), 2) + share.share();
  }
  return Number(shares.size(), 4) + list;
}

void CheckUnmask(Input& input) {
  const Common common(input);
  v1::UnmaskShares message;
  const std::string b = FillShares(input, *message.mutable_b_shares());
  const std::string s = FillShares(input, *message.mutable_s_shares());
  RequireFields(secagg::UnmaskBytes(common.session, common.id, message),
                "unmask", {Text(common.session), Text(common.id), b, s});
}

void CheckCohort(Input& input) {
  const Common common(input);
  std::vector<secagg::MemberKeys> members;
  std::string list;
  while (!input.empty() && members.size() < 20) {
    secagg::MemberKeys& member = members.emplace_back();
    std::ranges::copy(input.Take(member.id.size()), member.id.begin());
    member.c_pk = input.Text(32);
    member.s_pk = input.Text(32);
    list += Text(member.id) + member.c_pk + member.s_pk;
  }
  const auto n = static_cast<uint32_t>(members.size());
  const std::string by_rule = secagg::Encoder("cohort")
                                  .Add(common.session)
                                  .Add(Number(n, 4))
                                  .Add(Number(n, 4) + list)
                                  .bytes();
  Require(secagg::SessionId(common.session, members) == Sha256(by_rule),
          "S is the digest of all keys in order");
}

constexpr std::array kChecks = {CheckBitmaps, CheckKeys,  CheckShareKeys,
                                CheckSets,    CheckAck,   CheckInput,
                                CheckUnmask,  CheckCohort};

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune::fuzz;  // NOLINT
  Input input(data, size);
  kChecks[input.Below(kChecks.size())](input);
  return 0;
}
