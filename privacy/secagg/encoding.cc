#include "privacy/secagg/encoding.h"

#include <algorithm>

#include "privacy/crypto/secret.h"

namespace edgetune::secagg {
namespace {

constexpr std::string_view kPrefix = "edgetune/secagg/1/";

// The low `bytes` bytes of `value`, most significant first.
void AppendBigEndian(uint64_t value, int bytes, std::string& out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
}

void AppendBytes(std::span<const uint8_t> bytes, std::string& out) {
  out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// list(index u16)
std::string IndexList(std::span<const uint32_t> indices) {
  std::string list;
  AppendBigEndian(indices.size(), 4, list);
  for (const uint32_t index : indices) AppendBigEndian(index, 2, list);
  return list;
}

using Shares = google::protobuf::RepeatedPtrField<v1::IndexedShare>;

// list(index u16 ‖ share 32) as a field.
size_t ShareListSize(const Shares& shares) {
  size_t size = 4;
  for (const v1::IndexedShare& entry : shares) size += 2 + entry.share().size();
  return size;
}

void AppendShareList(const Shares& shares, std::string& out) {
  AppendBigEndian(ShareListSize(shares), 4, out);
  AppendBigEndian(shares.size(), 4, out);
  for (const v1::IndexedShare& entry : shares) {
    AppendBigEndian(entry.index(), 2, out);
    out += entry.share();
  }
}

}  // namespace

Encoder::Encoder(std::string_view use) {
  AppendBigEndian(kPrefix.size() + use.size(), 4, bytes_);
  bytes_ += kPrefix;
  bytes_ += use;
}

Encoder& Encoder::Add(std::string_view field) {
  AppendBigEndian(field.size(), 4, bytes_);
  bytes_ += field;
  return *this;
}

Encoder& Encoder::Add(std::span<const uint8_t> field) {
  AppendBigEndian(field.size(), 4, bytes_);
  AppendBytes(field, bytes_);
  return *this;
}

Encoder& Encoder::AddU16(uint16_t value) {
  AppendBigEndian(sizeof(value), 4, bytes_);
  AppendBigEndian(value, sizeof(value), bytes_);
  return *this;
}

Encoder& Encoder::AddU32(uint32_t value) {
  AppendBigEndian(sizeof(value), 4, bytes_);
  AppendBigEndian(value, sizeof(value), bytes_);
  return *this;
}

Encoder& Encoder::AddU64(uint64_t value) {
  AppendBigEndian(sizeof(value), 4, bytes_);
  AppendBigEndian(value, sizeof(value), bytes_);
  return *this;
}

Digest ManifestDigest(std::string_view payload) {
  return Encoder("manifest").Add(payload).Hash();
}

uint16_t CanaryOf(const Digest& manifest) {
  const Digest hash = Encoder("canary").Add(manifest).Hash();
  return static_cast<uint16_t>(hash[0] << 8 | hash[1]);
}

Digest SessionId(const Digest& manifest, std::span<const MemberKeys> members) {
  std::string list;
  AppendBigEndian(members.size(), 4, list);
  for (const MemberKeys& member : members) {
    AppendBytes(member.id, list);
    list += member.c_pk;
    list += member.s_pk;
  }
  return Encoder("cohort")
      .Add(manifest)
      .AddU32(static_cast<uint32_t>(members.size()))
      .Add(list)
      .Hash();
}

std::string AdvertiseBytes(const Digest& manifest, const ClientId& id,
                           const v1::AdvertiseKeys& keys) {
  return Encoder("adv")
      .Add(manifest)
      .Add(id)
      .Add(keys.c_pk())
      .Add(keys.s_pk())
      .Add(keys.nonce())
      .bytes();
}

std::string ShareKeysBytes(const Digest& session, const ClientId& id,
                           const v1::ShareKeys& message) {
  Sha256Stream joined;
  for (const std::string& ciphertext : message.ciphertexts()) {
    joined.Update(ByteSpan(ciphertext));
  }
  return Encoder("shares")
      .Add(session)
      .Add(id)
      .Add(message.commitment())
      .Add(joined.Finish())
      .bytes();
}

std::string U2Bytes(const Digest& session, std::string_view u2) {
  return Encoder("u2").Add(session).Add(u2).bytes();
}

std::string AckBytes(const Digest& session, const ClientId& id,
                     std::span<const uint32_t> bad) {
  return Encoder("ack").Add(session).Add(id).Add(IndexList(bad)).bytes();
}

std::string InputBytes(const Digest& session, const ClientId& id,
                       const v1::MaskedInput& message) {
  return Encoder("input")
      .Add(session)
      .Add(id)
      .AddU64(message.total_length())
      .Add(message.digest())
      .bytes();
}

std::string FreezeBytes(const Digest& session, std::string_view u2,
                        std::string_view u3) {
  return Encoder("freeze").Add(session).Add(u2).Add(u3).bytes();
}

std::string U3Bytes(const Digest& session, std::string_view u2,
                    std::string_view u3) {
  return Encoder("u3").Add(session).Add(u2).Add(u3).bytes();
}

std::string UnmaskBytes(const Digest& session, const ClientId& id,
                        const v1::UnmaskShares& message) {
  std::string bytes = Encoder("unmask").Add(session).Add(id).bytes();
  // No copy stays behind when this grows: the caller wipes what it gets.
  bytes.reserve(bytes.size() + 8 + ShareListSize(message.b_shares()) +
                ShareListSize(message.s_shares()));
  AppendShareList(message.b_shares(), bytes);
  AppendShareList(message.s_shares(), bytes);
  return bytes;
}

std::string BitmapOf(const std::vector<bool>& members) {
  std::string bitmap((members.size() + 7) / 8, '\0');
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i]) bitmap[i / 8] |= static_cast<char>(1 << (i % 8));
  }
  return bitmap;
}

absl::StatusOr<std::vector<bool>> MembersOf(std::string_view bitmap, size_t n) {
  if (bitmap.size() != (n + 7) / 8) {
    return absl::InvalidArgumentError("a bitmap of another length");
  }
  std::vector<bool> members(8 * bitmap.size());
  for (size_t i = 0; i < members.size(); ++i) {
    members[i] = (static_cast<uint8_t>(bitmap[i / 8]) >> (i % 8) & 1) != 0;
  }
  if (std::any_of(members.begin() + static_cast<std::ptrdiff_t>(n),
                  members.end(), [](bool set) { return set; })) {
    return absl::InvalidArgumentError("a bitmap with padding bits set");
  }
  members.resize(n);
  return members;
}

}  // namespace edgetune::secagg
