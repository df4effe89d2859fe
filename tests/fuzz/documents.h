#ifndef EDGETUNE_TESTS_FUZZ_DOCUMENTS_H_
#define EDGETUNE_TESTS_FUZZ_DOCUMENTS_H_

// Signed documents as an honest release owner, coordinator and enrolment
// authority make them. The same bytes in every run.

#include "absl/time/time.h"
#include "privacy/crypto/signature.h"
#include "privacy/identity/envelope.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/roster.pb.h"

namespace edgetune::fuzz {

struct Signers {
  SigningKey release;
  SigningKey round;
  SigningKey roster;
  TrustedKeys keys;
};
const Signers& TheSigners();
// When all of them are in date.
absl::Time DocumentTime();

// Of a masked training round with two cards before it and an override.
v1::Assignment MaskedAssignment();
// Makes digests, versions and numbers inside the payloads fit each other, as
// far as the payloads can be parsed. Signatures stay.
void LinkAssignment(v1::Assignment& assignment);

// `devices` of them, every third one revoked.
v1::RosterFile MakeRosterFile(uint32_t devices);
// Entries in order, with their own ids, and the head that fits them.
void LinkRosterFile(v1::RosterFile& file);

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_DOCUMENTS_H_
