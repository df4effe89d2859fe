#include "privacy/identity/envelope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/units.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

constexpr DocumentUse kUses[] = {DocumentUse::kPlan,     DocumentUse::kManifest,
                                 DocumentUse::kCard,     DocumentUse::kRoster,
                                 DocumentUse::kOverride, DocumentUse::kReceipt};
const std::string kPayload("\x08\x01payload\x00\xff", 11);

std::string Hex(std::string_view hex) { return FromHex(hex).value(); }

struct Signers {
  SigningKey release = SigningKey::Generate().value();
  SigningKey round = SigningKey::Generate().value();
  SigningKey roster = SigningKey::Generate().value();
  TrustedKeys trusted() const {
    return {
        {release.public_key()}, {round.public_key()}, {roster.public_key()}};
  }
  const SigningKey& For(DocumentUse use) const {
    const std::string_view role = RoleOf(use);
    return role == "release" ? release : role == "round" ? round : roster;
  }
  v1::Envelope Sign(DocumentUse use) const {
    return SignDocument(use, kPayload, For(use)).value();
  }
};

void ExpectRefused(const absl::Status& status, absl::StatusCode code,
                   const std::string& message) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(KindOf(status), ErrorKind::kIdentity);
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(EnvelopeTest, WhatWasSignedIsAcceptedAsWhatItIs) {
  const Signers signers;
  for (const DocumentUse use : kUses) {
    const v1::Envelope envelope = signers.Sign(use);
    EXPECT_EQ(envelope.payload(), kPayload);
    EXPECT_EQ(envelope.role(), RoleOf(use));
    EXPECT_TRUE(VerifyDocument(use, envelope, signers.trusted()).ok());
  }
}

struct Vector {
  DocumentUse use;
  const char* signature;
};
// make_envelope_vectors.py: Python and the openssl program.
constexpr Vector kVectors[] = {
    {DocumentUse::kPlan,
     "861e39cf00563641c81932a3015225edd07a0d1d393fd9d892f950ee740dba21"
     "09f475d0b1480d53313bc67a0ea85dc53199c56babf766bd4c9e1d1b890f8808"},
    {DocumentUse::kManifest,
     "0354cc7bad47face1876d69ec5a72c7b2a1f4aef7529d03a5a5ac6475c6f4e71"
     "534910a838d9d328625a92c879d3c2549d67c067ac159f4c4c08a67080dc4c01"},
    {DocumentUse::kCard,
     "7ca5ae1e65412c3e2c092c6f7d3be2b95f57b78b1508fb4b072521752abf9443"
     "5ebb0151d0d18e1431c74e9016b604d542841ea8d89ad614079a3b17bd298b03"},
    {DocumentUse::kRoster,
     "b0335368c7c9aed6d3a334f7435ffca60ce4622ff62c4a6f48d61f275a6e9b9e"
     "e5de52b95710a399107045105c160b3540fc6d37bcfd2b42fc27a80570220503"},
    {DocumentUse::kOverride,
     "40ad9904d7a0074d3da00e9f6c8e19fab39f284d0866ab0a000813984e4d119d"
     "541e7abe5693a0341d071eab78c2717b32d1aceee737681c9cdf89cebf333c0e"},
    {DocumentUse::kReceipt,
     "866aefe66c37769735378323b6d6139208ce9594640fbb3a10f829a7e4b202b9"
     "f1b2910923b86b866bc1865a33660d3908e8bdeece6c362c63de9c410b680f05"},
};

TEST(EnvelopeTest, EqualsAnIndependentImplementation) {
  const std::string der =
      Hex("302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449"
          "c5697b326919703bac031cae7f60");
  const auto key = SigningKey::FromPem("-----BEGIN PRIVATE KEY-----\n" +
                                       absl::Base64Escape(der) +
                                       "\n-----END PRIVATE KEY-----\n");
  ASSERT_TRUE(key.ok());
  for (const Vector& vector : kVectors) {
    const auto envelope = SignDocument(vector.use, kPayload, *key);
    ASSERT_TRUE(envelope.ok());
    ASSERT_EQ(envelope->signatures_size(), 1);
    EXPECT_EQ(ToHex(envelope->signatures(0).key_id()),
              "21fe31dfa154a261626bf854046fd227");
    EXPECT_EQ(ToHex(envelope->signatures(0).signature()), vector.signature);
  }
}

TEST(EnvelopeTest, OneUseIsNeverAcceptedAsAnother) {
  Signers signers;
  // The harder case: one key pinned for all roles.
  const TrustedKeys one_key = {{signers.round.public_key()},
                               {signers.round.public_key()},
                               {signers.round.public_key()}};
  for (const DocumentUse signed_as : kUses) {
    for (const DocumentUse offered_as : kUses) {
      if (signed_as == offered_as) continue;
      auto envelope = SignDocument(signed_as, kPayload, signers.round);
      ASSERT_TRUE(envelope.ok());
      envelope->set_role(std::string(RoleOf(offered_as)));
      ExpectRefused(VerifyDocument(offered_as, *envelope, one_key),
                    absl::StatusCode::kPermissionDenied, "is wrong");
    }
  }
}

TEST(EnvelopeTest, AnotherRoleIsRefusedByName) {
  const Signers signers;
  v1::Envelope envelope = signers.Sign(DocumentUse::kPlan);
  envelope.set_role("round");
  ExpectRefused(VerifyDocument(DocumentUse::kPlan, envelope, signers.trusted()),
                absl::StatusCode::kPermissionDenied,
                "got 'round', wanted 'release'");
}

TEST(EnvelopeTest, A14TheRoundKeyCannotSignWhatOtherRolesSign) {
  const Signers signers;
  for (const DocumentUse use :
       {DocumentUse::kRoster, DocumentUse::kOverride, DocumentUse::kPlan}) {
    const auto envelope = SignDocument(use, kPayload, signers.round);
    ASSERT_TRUE(envelope.ok());
    ExpectRefused(VerifyDocument(use, *envelope, signers.trusted()),
                  absl::StatusCode::kPermissionDenied, "unknown");
  }
}

TEST(EnvelopeTest, EveryFlippedBitIsNoticed) {
  const Signers signers;
  const v1::Envelope good = signers.Sign(DocumentUse::kCard);
  const auto flip = [](std::string* text, size_t bit) {
    (*text)[bit / 8] = static_cast<char>((*text)[bit / 8] ^ (1 << (bit % 8)));
  };
  const auto expect_refused = [&](const v1::Envelope& bad) {
    EXPECT_FALSE(
        VerifyDocument(DocumentUse::kCard, bad, signers.trusted()).ok());
  };
  for (size_t bit = 0; bit < kPayload.size() * 8; ++bit) {
    v1::Envelope bad = good;
    flip(bad.mutable_payload(), bit);
    expect_refused(bad);
  }
  for (size_t bit = 0; bit < 64 * 8; ++bit) {
    v1::Envelope bad = good;
    flip(bad.mutable_signatures(0)->mutable_signature(), bit);
    expect_refused(bad);
  }
  for (size_t bit = 0; bit < 16 * 8; ++bit) {
    v1::Envelope bad = good;
    flip(bad.mutable_signatures(0)->mutable_key_id(), bit);
    expect_refused(bad);
  }
}

TEST(EnvelopeTest, AKeyIdThatNamesAnotherTrustedKeyIsRefused) {
  const Signers signers;
  const SigningKey second = SigningKey::Generate().value();
  TrustedKeys keys = signers.trusted();
  keys.round.push_back(second.public_key());
  v1::Envelope envelope = signers.Sign(DocumentUse::kCard);
  envelope.mutable_signatures(0)->set_key_id(second.public_key().id());
  ExpectRefused(VerifyDocument(DocumentUse::kCard, envelope, keys),
                absl::StatusCode::kPermissionDenied, "is wrong");
}

TEST(EnvelopeTest, AnUnknownSecondSignerIsNoHarmButABadKnownOneIs) {
  const Signers signers;
  const SigningKey next = SigningKey::Generate().value();
  v1::Envelope envelope = signers.Sign(DocumentUse::kCard);
  const auto other = SignDocument(DocumentUse::kCard, kPayload, next);
  ASSERT_TRUE(other.ok());
  *envelope.add_signatures() = other->signatures(0);
  EXPECT_TRUE(
      VerifyDocument(DocumentUse::kCard, envelope, signers.trusted()).ok());
  envelope.mutable_signatures(1)->mutable_signature()->front() ^= 1;
  TrustedKeys both = signers.trusted();
  both.round.push_back(next.public_key());
  ExpectRefused(VerifyDocument(DocumentUse::kCard, envelope, both),
                absl::StatusCode::kPermissionDenied, "is wrong");
}

TEST(EnvelopeTest, MalformedSignatureListsAreRefused) {
  const Signers signers;
  const v1::Envelope good = signers.Sign(DocumentUse::kCard);
  std::vector<v1::Envelope> bad(5, good);
  bad[0].clear_signatures();
  *bad[1].add_signatures() = good.signatures(0);  // the same key id
  bad[2].mutable_signatures(0)->mutable_signature()->pop_back();
  bad[3].mutable_signatures(0)->mutable_key_id()->push_back('x');
  for (int i = 0; i < 8; ++i) {
    *bad[4].add_signatures() = good.signatures(0);
    bad[4].mutable_signatures(i + 1)->set_key_id(std::string(16, 'a' + i));
  }
  for (const v1::Envelope& envelope : bad) {
    ExpectRefused(
        VerifyDocument(DocumentUse::kCard, envelope, signers.trusted()),
        absl::StatusCode::kInvalidArgument, "sign");
  }
}

TEST(EnvelopeTest, PayloadsHaveABound) {
  const Signers signers;
  const std::string largest(1 << 20, 'p');
  const auto envelope =
      SignDocument(DocumentUse::kPlan, largest, signers.release);
  ASSERT_TRUE(envelope.ok());
  EXPECT_TRUE(
      VerifyDocument(DocumentUse::kPlan, *envelope, signers.trusted()).ok());
  ExpectRefused(
      SignDocument(DocumentUse::kPlan, largest + "p", signers.release).status(),
      absl::StatusCode::kInvalidArgument, "1048577 bytes");
  v1::Envelope bad = *envelope;
  bad.mutable_payload()->push_back('p');
  ExpectRefused(VerifyDocument(DocumentUse::kPlan, bad, signers.trusted()),
                absl::StatusCode::kInvalidArgument, "1048577 bytes");
  bad.clear_payload();
  ExpectRefused(VerifyDocument(DocumentUse::kPlan, bad, signers.trusted()),
                absl::StatusCode::kInvalidArgument, "0 bytes");
}

TEST(EnvelopeTest, WithoutPinnedKeysNothingIsTrusted) {
  const Signers signers;
  ExpectRefused(VerifyDocument(DocumentUse::kCard,
                               signers.Sign(DocumentUse::kCard), TrustedKeys{}),
                absl::StatusCode::kPermissionDenied, "unknown round key");
}

v1::DocumentHeader Header(uint32_t version, int64_t issued, int64_t expires) {
  v1::DocumentHeader header;
  header.set_version(version);
  header.set_issued_ms(issued);
  header.set_expires_ms(expires);
  return header;
}

TEST(DocumentHeaderTest, IsReadWhileInDate) {
  const absl::Time now = absl::FromUnixMillis(1800000000000);
  const int64_t at = 1800000000000;
  const auto check = [&](const v1::DocumentHeader& header) {
    return CheckHeader(header, now, "the plan");
  };
  EXPECT_TRUE(check(Header(1, at, at + 1)).ok());
  EXPECT_TRUE(check(Header(1, at + 300000, at + 300001)).ok());
  ExpectRefused(check(Header(1, at - 1, at)),
                absl::StatusCode::kFailedPrecondition,
                "the plan expired at 2027-01-15 08:00:00 UTC");
  ExpectRefused(check(Header(1, at + 300001, at + 400000)),
                absl::StatusCode::kFailedPrecondition, "in the future");
  EXPECT_THAT(HintOf(check(Header(1, at + 300001, at + 400000))),
              HasSubstr("clock"));
}

TEST(DocumentHeaderTest, MissingOrOddFieldsAreRefused) {
  const absl::Time now = absl::FromUnixMillis(1800000000000);
  const int64_t at = 1800000000000;
  const std::pair<v1::DocumentHeader, const char*> cases[] = {
      {v1::DocumentHeader(), "version 0"},
      {Header(2, at, at + 1), "version 2"},
      {Header(1, 0, at + 1), "no proper dates"},
      {Header(1, at, 0), "no proper dates"},
      {Header(1, at + 10, at + 10), "no proper dates"},
      {Header(1, INT64_MIN, INT64_MAX), "no proper dates"},
      {Header(1, INT64_MAX - 1, INT64_MAX), "in the future"},
  };
  for (const auto& [header, message] : cases) {
    ExpectRefused(CheckHeader(header, now, "the plan"),
                  absl::StatusCode::kFailedPrecondition, message);
  }
}

}  // namespace
}  // namespace edgetune
