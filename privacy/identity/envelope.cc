#include "privacy/identity/envelope.h"

#include <fmt/format.h>

#include <cstdint>
#include <set>

#include "base/status.h"
#include "base/units.h"
#include "privacy/identity/length_prefix.h"

namespace edgetune {
namespace {

constexpr size_t kMaxPayloadBytes = 1 << 20;
constexpr int kMaxSignatures = 8;
constexpr size_t kKeyIdBytes = 16;
constexpr size_t kSignatureBytes = 64;

struct UseFacts {
  std::string_view name;     // in what is signed
  std::string_view article;  // before the name in messages
  std::string_view role;
  const std::vector<PublicKey> TrustedKeys::*keys;
};

UseFacts FactsOf(DocumentUse use) {
  switch (use) {
    case DocumentUse::kPlan:
      return {"plan", "a", "release", &TrustedKeys::release};
    case DocumentUse::kManifest:
      return {"manifest", "a", "round", &TrustedKeys::round};
    case DocumentUse::kCard:
      return {"card", "a", "round", &TrustedKeys::round};
    case DocumentUse::kRoster:
      return {"roster", "a", "roster", &TrustedKeys::roster};
    case DocumentUse::kOverride:
      return {"override", "an", "release", &TrustedKeys::release};
    case DocumentUse::kReceipt:
      break;
  }
  return {"receipt", "a", "round", &TrustedKeys::round};
}

// "a plan", "an override".
std::string Named(DocumentUse use) {
  const UseFacts facts = FactsOf(use);
  return fmt::format("{} {}", facts.article, facts.name);
}

std::string SignedBytes(DocumentUse use, std::string_view payload) {
  std::string bytes;
  AppendWithLength(fmt::format("{}{}", kIdentityLabel, FactsOf(use).name),
                   &bytes);
  AppendWithLength(RoleOf(use), &bytes);
  AppendWithLength(payload, &bytes);
  return bytes;
}

absl::Status Malformed(std::string message) {
  return Annotate(absl::InvalidArgumentError(message), ErrorKind::kIdentity);
}

absl::Status Denied(std::string message, std::string_view hint) {
  return Annotate(absl::PermissionDeniedError(message), ErrorKind::kIdentity,
                  hint);
}

absl::Status CheckPayload(DocumentUse use, size_t size) {
  if (size > 0 && size <= kMaxPayloadBytes) return absl::OkStatus();
  return Malformed(fmt::format("{} has {} bytes, wanted 1 to {}", Named(use),
                               size, kMaxPayloadBytes));
}

absl::Status CheckSignatureList(DocumentUse use, const v1::Envelope& envelope) {
  const int count = envelope.signatures_size();
  if (count < 1 || count > kMaxSignatures) {
    return Malformed(fmt::format("{} has {} signatures, wanted 1 to {}",
                                 Named(use), count, kMaxSignatures));
  }
  std::set<std::string> ids;
  for (const v1::Signature& signature : envelope.signatures()) {
    if (signature.key_id().size() != kKeyIdBytes ||
        signature.signature().size() != kSignatureBytes) {
      return Malformed(fmt::format(
          "{}'s signature is malformed: key id of {} bytes, signature of "
          "{}, wanted {} and {}",
          Named(use), signature.key_id().size(), signature.signature().size(),
          kKeyIdBytes, kSignatureBytes));
    }
    if (!ids.insert(signature.key_id()).second) {
      return Malformed(fmt::format("{} is signed twice by key {}", Named(use),
                                   ToHex(signature.key_id())));
    }
  }
  return absl::OkStatus();
}

const PublicKey* FindKey(const std::vector<PublicKey>& keys,
                         const std::string& id) {
  for (const PublicKey& key : keys) {
    if (key.id() == id) return &key;
  }
  return nullptr;
}

}  // namespace

std::string_view RoleOf(DocumentUse use) { return FactsOf(use).role; }

absl::StatusOr<v1::Envelope> SignDocument(DocumentUse use, std::string payload,
                                          const SigningKey& key) {
  EDGETUNE_RETURN_IF_ERROR(CheckPayload(use, payload.size()));
  EDGETUNE_ASSIGN_OR_RETURN(std::string signature,
                            key.Sign(SignedBytes(use, payload)));
  v1::Envelope envelope;
  envelope.set_payload(std::move(payload));
  envelope.set_role(std::string(RoleOf(use)));
  v1::Signature* entry = envelope.add_signatures();
  entry->set_key_id(key.public_key().id());
  entry->set_signature(std::move(signature));
  return envelope;
}

absl::Status VerifyDocument(DocumentUse use, const v1::Envelope& envelope,
                            const TrustedKeys& keys) {
  EDGETUNE_RETURN_IF_ERROR(CheckPayload(use, envelope.payload().size()));
  EDGETUNE_RETURN_IF_ERROR(CheckSignatureList(use, envelope));
  if (envelope.role() != RoleOf(use)) {
    return Denied(
        fmt::format("{} is signed in the wrong role: got '{}', "
                    "wanted '{}'",
                    Named(use), envelope.role().substr(0, 32), RoleOf(use)),
        "");
  }
  const std::string bytes = SignedBytes(use, envelope.payload());
  bool trusted = false;
  for (const v1::Signature& signature : envelope.signatures()) {
    const PublicKey* key = FindKey(keys.*FactsOf(use).keys, signature.key_id());
    // Another holder of the document may know this one: keys are exchanged by
    // signing with the old and the new for a while.
    if (key == nullptr) continue;
    if (!key->Verify(bytes, signature.signature())) {
      return Denied(
          fmt::format("{}'s signature by {} key {} is wrong", Named(use),
                      RoleOf(use), ToHex(signature.key_id())),
          "the document was changed after it was signed");
    }
    trusted = true;
  }
  if (trusted) return absl::OkStatus();
  return Denied(
      fmt::format("{} is signed by unknown {} key {}", Named(use), RoleOf(use),
                  ToHex(envelope.signatures(0).key_id())),
      "use the key and the kits of one provisioning");
}

absl::Status CheckHeader(const v1::DocumentHeader& header, absl::Time now,
                         std::string_view what) {
  const auto failed = [&](std::string message, std::string_view hint) {
    return Annotate(
        absl::FailedPreconditionError(fmt::format("{} {}", what, message)),
        ErrorKind::kIdentity, hint);
  };
  const absl::Time issued = absl::FromUnixMillis(header.issued_ms());
  const absl::Time expires = absl::FromUnixMillis(header.expires_ms());
  const auto text = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
  };
  if (header.version() != 1) {
    return failed(fmt::format("has version {}, this program reads version 1",
                              header.version()),
                  "update this program");
  }
  if (header.issued_ms() <= 0 || header.expires_ms() <= header.issued_ms()) {
    return failed(fmt::format("has no proper dates: issued at {} ms, expires "
                              "at {} ms",
                              header.issued_ms(), header.expires_ms()),
                  "");
  }
  if (now >= expires) {
    return failed(
        fmt::format("expired at {}, it is {}", text(expires), text(now)),
        "submit the plan again, or sign the roster again (`edgetune device "
        "publish`), or set this machine's clock right");
  }
  if (issued > now + absl::Minutes(5)) {
    return failed(fmt::format("was issued in the future, at {}; it is {}",
                              text(issued), text(now)),
                  "set this machine's clock right");
  }
  return absl::OkStatus();
}

}  // namespace edgetune
