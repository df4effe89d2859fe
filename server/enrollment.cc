#include "server/enrollment.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/status.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/invitation.h"

namespace edgetune {
namespace {

constexpr uint64_t kMaxRosterBytes = 64 << 20;

absl::Status NotEnrolled(const std::string& message) {
  return Annotate(absl::PermissionDeniedError(message), ErrorKind::kIdentity,
                  "ask the operator for a new invitation");
}

absl::Status CheckSize(std::string_view field, size_t got, size_t wanted) {
  if (got == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} has {} bytes, wanted {}", field, got, wanted));
}

// The request without its proof, of which several may be good.
std::string DigestOf(const v1::EnrollRequest& request) {
  return Sha256Bytes(
      EnrollProofBytes(request.token(), request.csr(), request.identity_key()));
}

absl::Status CheckProof(const std::string& identity_key,
                        const std::string& bytes, const std::string& proof) {
  const auto key = PublicKey::FromRaw(identity_key);
  if (key.ok() && key->Verify(bytes, proof)) return absl::OkStatus();
  return NotEnrolled("the proof is not by the identity key");
}

absl::Status CheckShape(const v1::EnrollRequest& request) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize("token", request.token().size(), kTokenBytes));
  EDGETUNE_RETURN_IF_ERROR(
      CheckSize("identity_key", request.identity_key().size(), 32));
  return CheckSize("proof", request.proof().size(), 64);
}

absl::StatusOr<absl::Time> ExpiryOf(const std::string& certificate) {
  EDGETUNE_ASSIGN_OR_RETURN(const CertificateFacts facts,
                            ReadCertificate(certificate));
  return facts.not_after;
}

// A crash may have come between the roster and the row that says so.
void AddMissing(const std::vector<v1::RosterEntry>& wanted,
                std::vector<v1::RosterEntry>* entries) {
  for (const v1::RosterEntry& entry : wanted) {
    const bool there = std::any_of(
        entries->begin(), entries->end(),
        [&](const auto& other) { return other.name() == entry.name(); });
    if (!there) entries->push_back(entry);
  }
}

// Rows of one column of the type that the schema gives it.
const std::string& BytesAt(const Row& row, size_t column) {
  return std::get<Blob>(row.at(column)).bytes;
}

}  // namespace

struct EnrollmentOffice::Candidate {
  std::string name;
  std::string token_hash;
  std::string request;  // digest
  std::string identity_key;
  std::string certificate;
  bool repeated = false;  // granted before
};

const std::vector<std::string>& EnrollmentOffice::Migrations() {
  static const auto* migrations = new std::vector<std::string>{
      "CREATE TABLE tokens (hash BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, "
      "  expires_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
      // A row here is what consumes a token.
      "CREATE TABLE devices (name TEXT PRIMARY KEY, "
      "  token BLOB NOT NULL UNIQUE REFERENCES tokens (hash), "
      "  request BLOB NOT NULL, identity_key BLOB NOT NULL UNIQUE, "
      "  enrolled_ms INTEGER NOT NULL, certificate TEXT NOT NULL, "
      "  in_roster INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"
      "CREATE INDEX unsettled ON devices (name) WHERE in_roster = 0;"};
  return *migrations;
}

EnrollmentOffice::EnrollmentOffice(Dependencies dependencies)
    : deps_(std::move(dependencies)),
      limiter_(deps_.failures_per_minute),
      tokens_(deps_.kit->kit().directory + "/tokens.json"),
      roster_(deps_.kit->kit().directory + "/roster.pb") {}

absl::StatusOr<std::unique_ptr<EnrollmentOffice>> EnrollmentOffice::Open(
    Dependencies dependencies) {
  std::unique_ptr<EnrollmentOffice> office(
      new EnrollmentOffice(std::move(dependencies)));
  EDGETUNE_RETURN_IF_ERROR(office->Settle());
  EDGETUNE_RETURN_IF_ERROR(office->Tick());
  return office;
}

absl::Status EnrollmentOffice::Write(
    const std::function<absl::Status(Transaction&)>& body) {
  const absl::Status status = deps_.database->Run(body);
  // A key that is taken is an answer; anything else leaves it unknown what is
  // durable.
  if (!status.ok() && !absl::IsAlreadyExists(status)) deps_.fatal(status);
  return status;
}

// --- Enroll

absl::StatusOr<v1::EnrollResponse> EnrollmentOffice::Enroll(
    const v1::EnrollRequest& request, const std::string& caller) {
  EDGETUNE_RETURN_IF_ERROR(limiter_.Check(caller, deps_.clock->Now()));
  auto certificate = Decide(request);
  if (!certificate.ok()) {
    if (!absl::IsUnavailable(certificate.status())) {
      limiter_.CountFailure(caller, deps_.clock->Now());
    }
    LogWarning(fmt::format("enrolment from {} refused: {}", caller,
                           std::string(certificate.status().message())));
    return certificate.status();
  }
  v1::EnrollResponse response;
  response.set_certificate(*std::move(certificate));
  return response;
}

absl::StatusOr<std::string> EnrollmentOffice::Decide(
    const v1::EnrollRequest& request) {
  EDGETUNE_ASSIGN_OR_RETURN(Candidate candidate, Examine(request));
  if (!candidate.repeated) {
    EDGETUNE_RETURN_IF_ERROR(CheckNotInRoster(candidate));
    EDGETUNE_RETURN_IF_ERROR(Consume(candidate));
    LogInfo(fmt::format("{} enrolled", candidate.name));
  }
  const absl::Status settled = Settle();
  if (settled.ok()) return std::move(candidate.certificate);
  LogError(fmt::format("{} waits for the roster: {}", candidate.name,
                       std::string(settled.message())));
  return absl::UnavailableError("the roster cannot be written now; try again");
}

// Everything that can be said about a request without changing anything, the
// cheap questions first.
absl::StatusOr<EnrollmentOffice::Candidate> EnrollmentOffice::Examine(
    const v1::EnrollRequest& request) {
  EDGETUNE_RETURN_IF_ERROR(CheckShape(request));
  Candidate candidate;
  candidate.token_hash = Sha256Bytes(request.token());
  candidate.request = DigestOf(request);
  candidate.identity_key = request.identity_key();
  EDGETUNE_ASSIGN_OR_RETURN(const Row row, FindToken(candidate.token_hash));
  candidate.name = std::get<std::string>(row.at(0));
  EDGETUNE_RETURN_IF_ERROR(CheckProof(
      request.identity_key(),
      EnrollProofBytes(request.token(), request.csr(), request.identity_key()),
      request.proof()));
  if (std::holds_alternative<Blob>(row.at(2))) {
    if (BytesAt(row, 2) != candidate.request) {
      return NotEnrolled("the token was used before");
    }
    candidate.repeated = true;
    candidate.certificate = std::get<std::string>(row.at(3));
    return candidate;
  }
  const absl::Time now = deps_.clock->Now();
  if (absl::ToUnixMillis(now) >= std::get<int64_t>(row.at(1))) {
    return NotEnrolled("the token has expired");
  }
  EDGETUNE_ASSIGN_OR_RETURN(
      candidate.certificate,
      deps_.kit->Certify(candidate.name, request.csr(), now));
  return candidate;
}

// Name, expiry, and, of a token that was used, digest of the request and
// certificate.
absl::StatusOr<Row> EnrollmentOffice::FindToken(const std::string& hash) {
  std::vector<Row> rows;
  EDGETUNE_RETURN_IF_ERROR(
      deps_.database->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            rows, transaction.Query(
                      "SELECT t.name, t.expires_ms, d.request, d.certificate "
                      "FROM tokens t LEFT JOIN devices d ON d.token = t.hash "
                      "WHERE t.hash = ?",
                      {Blob{hash}}));
        return absl::OkStatus();
      }));
  if (rows.empty()) return NotEnrolled("the token is unknown here");
  return std::move(rows.front());
}

// The roster knows devices that never came here: those of provisioning.
absl::Status EnrollmentOffice::CheckNotInRoster(
    const Candidate& candidate) const {
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster,
                            deps_.kit->ReadRoster());
  const auto& entries = roster.roster.entries();
  const bool taken =
      std::any_of(entries.begin(), entries.end(), [&](const auto& entry) {
        return entry.name() == candidate.name ||
               entry.identity_key() == candidate.identity_key;
      });
  if (!taken) return absl::OkStatus();
  return NotEnrolled(
      "a device with this name or identity key is in the roster");
}

absl::Status EnrollmentOffice::Consume(const Candidate& candidate) {
  const absl::Status status = Write([&](Transaction& transaction) {
    return transaction.Execute(
        "INSERT INTO devices (name, token, request, identity_key, "
        "enrolled_ms, certificate) VALUES (?, ?, ?, ?, ?, ?)",
        {candidate.name, Blob{candidate.token_hash}, Blob{candidate.request},
         Blob{candidate.identity_key}, absl::ToUnixMillis(deps_.clock->Now()),
         candidate.certificate});
  });
  if (!absl::IsAlreadyExists(status)) return status;
  // Another request was faster, or the identity key is another device's.
  return NotEnrolled("the token or the identity key was used before");
}

absl::StatusOr<std::vector<Row>> EnrollmentOffice::Unsettled() {
  std::vector<Row> rows;
  EDGETUNE_RETURN_IF_ERROR(
      deps_.database->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(
            rows, transaction.Query("SELECT name, identity_key, enrolled_ms, "
                                    "certificate FROM devices "
                                    "WHERE in_roster = 0"));
        return absl::OkStatus();
      }));
  return rows;
}

// Puts devices that have a row but no place in the roster there.
absl::Status EnrollmentOffice::Settle() {
  std::lock_guard<std::mutex> lock(settle_mu_);
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<Row> rows, Unsettled());
  if (rows.empty()) return absl::OkStatus();
  std::vector<v1::RosterEntry> wanted;
  EnrollmentKit::Expiries expiries;
  for (const Row& row : rows) {
    const std::string& name = std::get<std::string>(row.at(0));
    wanted.push_back(
        MakeRosterEntry(name, BytesAt(row, 1),
                        absl::FromUnixMillis(std::get<int64_t>(row.at(2)))));
    EDGETUNE_ASSIGN_OR_RETURN(expiries[name],
                              ExpiryOf(std::get<std::string>(row.at(3))));
  }
  EDGETUNE_RETURN_IF_ERROR(
      deps_.kit->ChangeRoster(deps_.clock->Now(), [&](auto& entries) {
        AddMissing(wanted, &entries);
        return absl::OkStatus();
      }));
  EDGETUNE_RETURN_IF_ERROR(deps_.kit->RecordExpiries(expiries));
  return Write([&](Transaction& transaction) -> absl::Status {
    for (const Row& row : rows) {
      EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
          "UPDATE devices SET in_roster = 1 WHERE name = ?", {row.at(0)}));
    }
    return absl::OkStatus();
  });
}

// --- Renew

absl::StatusOr<v1::EnrollResponse> EnrollmentOffice::Renew(
    const std::string& device, const v1::RenewRequest& request) {
  // No device has a reason to renew often, so each call counts.
  const std::string caller = "device/" + device;
  EDGETUNE_RETURN_IF_ERROR(limiter_.Check(caller, deps_.clock->Now()));
  limiter_.CountFailure(caller, deps_.clock->Now());
  EDGETUNE_RETURN_IF_ERROR(CheckSize("proof", request.proof().size(), 64));
  EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster,
                            deps_.kit->ReadRoster());
  const auto index = roster.roster.Find(ClientIdOf(device));
  if (!index.has_value() || !roster.roster.Member(*index).active) {
    return NotEnrolled(
        fmt::format("device {} is revoked, or not in the roster", device));
  }
  EDGETUNE_RETURN_IF_ERROR(CheckProof(roster.roster.Member(*index).identity_key,
                                      RenewProofBytes(device, request.csr()),
                                      request.proof()));
  v1::EnrollResponse response;
  EDGETUNE_ASSIGN_OR_RETURN(
      *response.mutable_certificate(),
      deps_.kit->Certify(device, request.csr(), deps_.clock->Now()));
  EDGETUNE_ASSIGN_OR_RETURN(const absl::Time expires,
                            ExpiryOf(response.certificate()));
  EDGETUNE_RETURN_IF_ERROR(deps_.kit->RecordExpiries({{device, expires}}));
  LogInfo(fmt::format("{} renewed its certificate", device));
  return response;
}

// --- Tick

absl::Status EnrollmentOffice::Tick() {
  std::lock_guard<std::mutex> lock(tick_mu_);
  EDGETUNE_RETURN_IF_ERROR(TakeInTokens());
  EDGETUNE_RETURN_IF_ERROR(RefreshRoster());
  return PublishRoster();
}

absl::Status EnrollmentOffice::TakeInTokens() {
  if (!tokens_.Changed()) return absl::OkStatus();
  const auto take_in = [this]() -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(const std::vector<TokenRecord> tokens,
                              deps_.kit->ReadTokens());
    return Write([&](Transaction& transaction) -> absl::Status {
      for (const TokenRecord& token : tokens) {
        // A name invited again: the earlier token, if unused, is void.
        EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
            "DELETE FROM tokens WHERE name = ?1 AND hash <> ?2 AND NOT EXISTS "
            "(SELECT 1 FROM devices WHERE name = ?1)",
            {token.name, Blob{token.sha256}}));
        EDGETUNE_RETURN_IF_ERROR(transaction.Execute(
            "INSERT INTO tokens (hash, name, expires_ms) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            {Blob{token.sha256}, token.name,
             absl::ToUnixMillis(token.expires)}));
      }
      return absl::OkStatus();
    });
  };
  const absl::Status status = take_in();
  if (!status.ok()) tokens_.Forget();
  return status;
}

absl::Status EnrollmentOffice::RefreshRoster() {
  const absl::Time now = deps_.clock->Now();
  if (now < refresh_at_) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(PublishedRoster roster, deps_.kit->ReadRoster());
  absl::Time issued = absl::FromUnixMillis(roster.head.header().issued_ms());
  if (now - issued >= kRosterRefresh) {
    EDGETUNE_RETURN_IF_ERROR(
        deps_.kit->ChangeRoster(now, [](auto&) { return absl::OkStatus(); }));
    issued = now;
  }
  refresh_at_ = issued + kRosterRefresh;
  return absl::OkStatus();
}

absl::Status EnrollmentOffice::PublishRoster() {
  if (deps_.publish.empty() || !roster_.Changed()) return absl::OkStatus();
  const auto publish = [this]() -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(const PublishedRoster roster,
                              deps_.kit->ReadRoster());
    EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes,
                              ReadFile(roster_.path(), kMaxRosterBytes));
    EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(deps_.publish, bytes, 0644));
    LogInfo(fmt::format("published version {} of the roster to {}",
                        roster.head.version(), deps_.publish));
    return absl::OkStatus();
  };
  const absl::Status status = publish();
  if (!status.ok()) roster_.Forget();
  return status;
}

}  // namespace edgetune
