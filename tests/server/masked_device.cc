#include "tests/server/masked_device.h"

#include <cmath>
#include <utility>

#include "base/status.h"
#include "storage/blob_store.h"

namespace edgetune {
namespace {

using ActionKind = secagg::SecAggClient::Action::Kind;

std::unique_ptr<Database> MakeDatabase() {
  std::vector<std::string> migrations = SessionStore::Migrations();
  auto database = Database::Open(":memory:", migrations);
  EDGETUNE_CHECK(database.ok());
  return *std::move(database);
}

SeededRandom MakeRandom(uint32_t seed) {
  std::vector<uint8_t> bytes(32, 0x5a);
  for (size_t i = 0; i < 4; ++i) {
    bytes[i] = static_cast<uint8_t>(seed >> (8 * i));
  }
  return *SeededRandom::Make(bytes);
}

// Where a device that sends `message` may be cut off before.
Leaves MomentOf(const v1::SecAggClientMessage& message) {
  switch (message.body_case()) {
    case v1::SecAggClientMessage::kAdvertise:
      return Leaves::kBeforeKeys;
    case v1::SecAggClientMessage::kShares:
      return Leaves::kBeforeShares;
    case v1::SecAggClientMessage::kAck:
      return Leaves::kBeforeAck;
    case v1::SecAggClientMessage::kInput:
      return Leaves::kBeforeInput;
    case v1::SecAggClientMessage::kSurvivors:
      return Leaves::kBeforeSignature;
    case v1::SecAggClientMessage::kUnmask:
      return Leaves::kBeforeUnmask;
    default:
      return Leaves::kNever;
  }
}

}  // namespace

RecordedRandom::RecordedRandom(uint32_t seed) : random_(MakeRandom(seed)) {}

absl::Status RecordedRandom::Fill(std::span<uint8_t> out) {
  if (calls_left == 0) return absl::InternalError("no randomness");
  if (calls_left > 0) --calls_left;
  EDGETUNE_RETURN_IF_ERROR(random_.Fill(out));
  given.emplace_back(out.begin(), out.end());
  return absl::OkStatus();
}

MaskedDevice::MaskedDevice(Options options)
    : random(options.seed),
      options_(std::move(options)),
      database_(MakeDatabase()),
      session_store_(database_.get()),
      masking_store_(database_.get()) {}

Contribution MaskedDevice::ContributionTo(uint32_t round,
                                          v1::RoundManifest::Kind kind,
                                          size_t coordinates) const {
  Contribution from;
  from.nll_sum = 1234.5 + 31.25 * options_.number + round;
  from.tokens = 700 + static_cast<uint64_t>(options_.number);
  if (kind == v1::RoundManifest::EVAL) return from;
  from.weight = 1000 + 97 * options_.number;
  for (size_t i = 0; i < coordinates; ++i) {
    from.delta.push_back(static_cast<float>(
        0.2 * std::sin(i + 10.0 * options_.number + 100 * round)));
  }
  return from;
}

std::string MaskedDevice::SignedSet(const std::string& session) {
  const auto found = masking_store_.FindSigned(session);
  EDGETUNE_CHECK(found.ok());
  return found->has_value() ? (*found)->document : "";
}

int64_t MaskedDevice::TimesSpent() {
  int64_t times = 0;
  const absl::Status status = database_->Run([&](Transaction& transaction) {
    const auto rows = transaction.Query("SELECT session FROM spent");
    if (rows.ok()) times = static_cast<int64_t>(rows->size());
    return rows.status();
  });
  EDGETUNE_CHECK(status.ok());
  return times;
}

// --- the process

void MaskedDevice::Start() {
  const auto unfinished = session_store_.ReadUnfinished();
  EDGETUNE_CHECK(unfinished.ok());
  if (unfinished->has_value()) {
    // With its keys out the secrets behind them are gone; before that this
    // test's devices simply begin anew.
    EDGETUNE_CHECK(session_store_
                       .End((*unfinished)->id,
                            ClientSession::Ending::kCancelled, "killed",
                            options_.server->clock().Now())
                       .ok());
  }
  Reconnect();
}

void MaskedDevice::Reconnect() {
  channel_ = std::make_shared<FakeChannel>();
  seen_ = 0;
  auto connection =
      options_.server->coordinator().Connect(options_.id, channel_);
  EDGETUNE_CHECK(connection.ok());
  connection_ = *connection;
  Hello();
  if (party_.has_value()) Perform(party_->Resend());
}

void MaskedDevice::Kill() {
  if (alive()) options_.server->coordinator().Disconnect(connection_);
  channel_.reset();
  party_.reset();
  assignment_.reset();
  input_.clear();
}

void MaskedDevice::Hello() {
  v1::ClientMessage message;
  message.mutable_hello()->set_client_version("0.1.0");
  message.mutable_hello()->set_population("default");
  if (assignment_.has_value()) {
    *message.mutable_hello()->mutable_resume() = KeyOf(assignment_->id);
  }
  Send(std::move(message));
}

void MaskedDevice::Send(v1::ClientMessage message) {
  options_.server->coordinator().Receive(connection_, std::move(message),
                                         [] {});
}

bool MaskedDevice::LeavesAt(Leaves moment) {
  if (left || leaves != moment || moment == Leaves::kNever ||
      assignment_->id.round != leaves_in) {
    return false;
  }
  left = true;
  Kill();
  return true;
}

bool MaskedDevice::Work() {
  if (!alive() || seen_ == channel_->messages.size()) return false;
  Handle(channel_->messages[seen_++]);
  return true;
}

void MaskedDevice::Handle(const v1::ServerMessage& message) {
  if (message.has_assignment()) return Begin(message.assignment());
  if (message.has_outcome()) {
    outcomes.push_back(message.outcome());
    if (!assignment_.has_value() ||
        IdOf(message.outcome().session()) != assignment_->id) {
      return;
    }
    return End(message.outcome().result() == v1::Outcome::ACCEPTED
                   ? ClientSession::Ending::kAccepted
                   : ClientSession::Ending::kCancelled);
  }
  if (!message.has_secagg() || !party_.has_value() ||
      IdOf(message.secagg().session()) != assignment_->id) {
    return;
  }
  const v1::SecAggServerMessage& body = message.secagg().message();
  if (body.has_abort()) return party_->End();
  if (body.has_freeze()) record().freezes.insert(body.freeze().u3());
  Perform(party_->Handle(body));
}

// --- a session

void MaskedDevice::Begin(const v1::Assignment& assignment) {
  if (assignment_.has_value() && ClaimedId(assignment) == assignment_->id) {
    if (party_.has_value()) Perform(party_->Resend());
    return;
  }
  assignment_.reset();
  party_.reset();
  const absl::Status begun = TryBegin(assignment);
  if (!begun.ok()) {
    v1::ClientMessage message;
    *message.mutable_declined()->mutable_session() =
        KeyOf(ClaimedId(assignment));
    message.mutable_declined()->set_reason(v1::Declined::REFUSED);
    message.mutable_declined()->set_detail(std::string(begun.message()));
    declined.emplace_back(begun.message());
    Send(std::move(message));
    if (assignment_.has_value()) return End(ClientSession::Ending::kDeclined);
    Hello();
  }
}

absl::Status MaskedDevice::TryBegin(const v1::Assignment& assignment) {
  const absl::Time now = options_.server->clock().Now();
  EDGETUNE_ASSIGN_OR_RETURN(
      assignment_,
      VerifyAssignment(assignment, options_.trusted, ClientFile(), now));
  EDGETUNE_RETURN_IF_ERROR(masking_store_.Admit(assignment_->masking->history));
  EDGETUNE_RETURN_IF_ERROR(
      session_store_.Begin(assignment_->id, assignment, now));
  const MaskedTerms& terms = *assignment_->masking;
  EDGETUNE_ASSIGN_OR_RETURN(
      input_, MakeMaskedInput(terms, assignment_->plan.rounds().weight_cap(),
                              ContributionTo(assignment_->id.round,
                                             assignment_->manifest.kind(),
                                             terms.shape.coordinates),
                              random));
  EDGETUNE_RETURN_IF_ERROR(masking_store_.MarkAdvertised(assignment_->id));
  secagg::SecAggClient::Options party;
  party.manifest = terms.manifest;
  party.id = ClientIdOf(options_.id);
  party.identity = options_.identity;
  party.coordinator = options_.trusted.round;
  party.roster = terms.roster;
  party.shape = terms.shape;
  party.random = &random;
  party_.emplace(std::move(party));
  Perform(party_->Start(input_));
  return absl::OkStatus();
}

void MaskedDevice::Perform(secagg::SecAggClient::Actions actions) {
  for (Action& action : actions) {
    const absl::Status status = Perform(action);
    if (!alive()) return;
    if (!status.ok()) return Decline(status);
  }
}

absl::Status MaskedDevice::Perform(Action& action) {
  const absl::Time now = options_.server->clock().Now();
  switch (action.kind) {
    case ActionKind::kSend:
      return SendMasking(std::move(action.message));
    case ActionKind::kSpend:
      EDGETUNE_RETURN_IF_ERROR(masking_store_.Spend(
          assignment_->masking->history, action.session, now));
      record().id = assignment_->id;
      record().adapter = assignment_->manifest.adapter_digest();
      record().kind = assignment_->manifest.kind();
      record().shape = assignment_->masking->shape;
      record().input = input_;
      return absl::OkStatus();
    case ActionKind::kUpload:
      Upload(action.masked);
      return absl::OkStatus();
    case ActionKind::kRemember:
      return masking_store_.RememberSurvivors(assignment_->id, action.session,
                                              action.document, now);
    case ActionKind::kEvidence:
      evidence.push_back(action.document);
      return masking_store_.KeepEvidence(action.session, action.document, now);
    case ActionKind::kAborted:
      return secagg::AbortError(action.code, action.detail);
  }
  return absl::OkStatus();
}

absl::Status MaskedDevice::SendMasking(v1::SecAggClientMessage message) {
  if (LeavesAt(MomentOf(message))) return absl::OkStatus();
  if (message.has_survivors()) {
    record().signatures.insert(message.survivors().signature());
  }
  if (message.has_unmask()) {
    record().unmask_answers.insert(message.SerializeAsString());
  }
  const bool input = message.has_input();
  v1::ClientMessage out;
  *out.mutable_secagg()->mutable_session() = KeyOf(assignment_->id);
  *out.mutable_secagg()->mutable_message() = std::move(message);
  Send(std::move(out));
  if (input) LeavesAt(Leaves::kAfterInput);
  return absl::OkStatus();
}

// As the RPC room receives it.
void MaskedDevice::Upload(const std::string& masked) {
  if (LeavesAt(Leaves::kBeforeUpload)) return;
  record().masked = masked;
  v1::UploadKey key;
  *key.mutable_session() = KeyOf(assignment_->id);
  key.set_sha256(Sha256Bytes(masked));
  key.set_size(masked.size());
  const absl::Status sent = [&]() -> absl::Status {
    EDGETUNE_ASSIGN_OR_RETURN(
        const std::string name,
        options_.server->coordinator().AuthorizeUpload(options_.id, key));
    BlobStore& blobs = options_.server->blobs();
    const Digest digest = *DigestFromBytes(key.sha256());
    if (blobs.Has(digest)) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(const uint64_t at, blobs.PartialSize(name));
    if (at < masked.size()) {
      EDGETUNE_RETURN_IF_ERROR(blobs.AppendPartial(
          name, at,
          {reinterpret_cast<const uint8_t*>(masked.data()) + at,
           masked.size() - at},
          masked.size()));
    }
    options_.server->coordinator().CountUpload(options_.id, masked.size() - at);
    return blobs.FinishPartial(name, digest, masked.size());
  }();
  // A coordinator that is gone asks again when it is back.
  if (server_gone()) return;
  if (!sent.ok()) return Decline(sent);
  Perform(party_->Uploaded());
}

void MaskedDevice::Decline(const absl::Status& why) {
  declined.emplace_back(why.message());
  v1::ClientMessage message;
  *message.mutable_declined()->mutable_session() = KeyOf(assignment_->id);
  message.mutable_declined()->set_reason(v1::Declined::REFUSED);
  message.mutable_declined()->set_detail(std::string(why.message()));
  Send(std::move(message));
  End(ClientSession::Ending::kDeclined);
}

void MaskedDevice::End(ClientSession::Ending ending) {
  EDGETUNE_CHECK(
      session_store_
          .End(assignment_->id, ending, "", options_.server->clock().Now())
          .ok());
  if (party_.has_value()) party_->End();
  party_.reset();
  assignment_.reset();
  Hello();
}

}  // namespace edgetune
