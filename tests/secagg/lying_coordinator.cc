#include "tests/secagg/lying_coordinator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "client/assignment.h"
#include "privacy/secagg/encoding.h"

namespace edgetune::testing {
namespace {

using ClientKind = secagg::SecAggClient::Action::Kind;
using ServerKind = secagg::SecAggServer::Action::Kind;

secagg::RingVector InputOf(const MaskedShape& shape, const Digest& manifest,
                           RandomSource& random) {
  const std::vector<float> coordinates(shape.coordinates, 0.01f);
  secagg::PlainInput input;
  input.coordinates = coordinates;
  for (const MaskedShape::Lane& lane : shape.lanes) {
    input.lanes[lane.use] = lane.bound / 2;
    if (lane.use == LaneUse::kWeight) input.weight = lane.bound / 2;
  }
  return secagg::Quantize(shape, input, secagg::CanaryOf(manifest), random)
      .value();
}

}  // namespace

LyingCoordinator::LyingCoordinator(Options options)
    : fleet({.size = options.members,
             .revoked = options.revoked,
             .unenrolled = options.unenrolled}),
      run(MakeTestRun(scratch.path(), options.members)) {
  Mask(run.plan);
  blobs_ = BlobStore::Open(scratch.File("blobs")).value();
  EDGETUNE_CHECK(blobs_->PutFile(run.model_path).ok());
  EDGETUNE_CHECK(blobs_->Put(AsBytes(run.adapter_blob)).ok());
  rpc_ = RpcServer::Start("127.0.0.1:0", fleet.server_kit, &door, blobs_.get())
             .value();
}

LyingCoordinator::~LyingCoordinator() {
  client_.reset();
  process_.reset();
}

RealClient& LyingCoordinator::MakeClient() {
  const TlsFleet::Member& victim = fleet.members[kVictim];
  client_.reset();
  client_ = std::make_unique<RealClient>(
      RealClient::Party{victim.kit, fleet.keys.trusted, &victim.identity},
      "127.0.0.1:" + std::to_string(rpc_->port()), scratch.File("victim"));
  return *client_;
}

ClientProcess& LyingCoordinator::MakeProcess() {
  process_.reset();
  process_ = std::make_unique<ClientProcess>(
      fleet, kVictim, "127.0.0.1:" + std::to_string(rpc_->port()),
      scratch.File("victim"));
  return *process_;
}

void LyingCoordinator::DamageAdapter() {
  const std::string path = *blobs_->PathOf(Sha256(run.adapter_blob));
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(100);
  file.put(static_cast<char>(run.adapter_blob[100] ^ 1));
}

Papers LyingCoordinator::MakePapers(uint32_t round, uint32_t attempt) const {
  return testing::MakePapers(run.plan, fleet, round, attempt);
}

void LyingCoordinator::Assign(const v1::Assignment& assignment) {
  const std::string& victim = fleet.members[kVictim].name;
  ASSERT_TRUE(door.WaitConnected(victim));
  v1::ServerMessage message;
  *message.mutable_assignment() = assignment;
  door.ChannelOf(victim)->Send(message);
}

v1::ClientMessage LyingCoordinator::Hear(
    const std::set<v1::ClientMessage::BodyCase>& kinds) {
  while (door.WaitReceived(heard_ + 1)) {
    v1::ClientMessage message = door.Received(heard_++);
    if (kinds.contains(message.body_case())) return message;
  }
  ADD_FAILURE() << "the client went silent";
  return {};
}

v1::Declined LyingCoordinator::ExpectDeclined(
    const v1::Assignment& assignment) {
  Assign(assignment);
  const v1::ClientMessage answer =
      Hear({v1::ClientMessage::kDeclined, v1::ClientMessage::kAccepted});
  EXPECT_TRUE(answer.has_declined()) << "it was accepted";
  if (answer.has_accepted()) Cancel(assignment);
  return answer.declined();
}

void LyingCoordinator::ExpectAccepted(const v1::Assignment& assignment) {
  Assign(assignment);
  const v1::ClientMessage answer =
      Hear({v1::ClientMessage::kDeclined, v1::ClientMessage::kAccepted});
  EXPECT_TRUE(answer.has_accepted()) << answer.declined().detail();
  if (answer.has_accepted()) Cancel(assignment);
}

void LyingCoordinator::Cancel(const v1::Assignment& assignment) {
  v1::ServerMessage message;
  *message.mutable_outcome()->mutable_session() = KeyOf(ClaimedId(assignment));
  message.mutable_outcome()->set_result(v1::Outcome::CANCELLED);
  door.ChannelOf(fleet.members[kVictim].name)->Send(message);
  Hear({v1::ClientMessage::kHello});
}

LyingCoordinator::Fate LyingCoordinator::Play(
    const v1::Assignment& assignment) {
  Fate fate;
  Reset(assignment);
  StartPeers(assignment);
  Assign(assignment);
  while (!::testing::Test::HasFailure()) {
    const v1::ClientMessage message =
        Hear({v1::ClientMessage::kDeclined, v1::ClientMessage::kSecagg});
    if (message.has_declined()) {
      fate.declined = message.declined();
      break;
    }
    if (!message.has_secagg()) break;
    if (TakeFromVictim(message.secagg().message(), fate)) break;
  }
  fate.committed = committed_;
  return fate;
}

void LyingCoordinator::Reset(const v1::Assignment& assignment) {
  peers_.clear();
  advertised_.clear();
  server_.reset();
  uploads_.clear();
  inbox_.clear();
  u2_.clear();
  b_shares.clear();
  s_shares.clear();
  committed_ = over = false;
  key_ = KeyOf(ClaimedId(assignment));
  manifest_ = secagg::ManifestDigest(assignment.manifest().payload());
  v1::RoundManifest manifest;
  EDGETUNE_CHECK(manifest.ParseFromString(assignment.manifest().payload()));
  shape_ = MaskedShapeOf(run.plan, manifest.round(), manifest.kind()).value();
  sum_.emplace(shape_);
}

void LyingCoordinator::StartPeers(const v1::Assignment& assignment) {
  for (uint32_t i = 0; i < fleet.members.size(); ++i) {
    if (i == kVictim) continue;
    Client::Options options;
    options.manifest =
        other_manifest.contains(i) ? other_manifest[i] : manifest_;
    options.id = fleet.members[i].id;
    options.identity = &fleet.members[i].identity;
    options.coordinator = fleet.keys.trusted.round;
    options.roster = {fleet.roster.root(), fleet.roster.entries().size()};
    options.shape = shape_;
    options.random = &random_;
    Client& peer = peers_.emplace(i, Client(std::move(options))).first->second;
    const auto actions = peer.Start(InputOf(shape_, manifest_, random_));
    advertised_[i] = actions.front().message.advertise();
  }
}

// True: nothing more is to come.
bool LyingCoordinator::TakeFromVictim(const Body& message, Fate& fate) {
  fate.said.push_back(message.body_case());
  if (message.has_unmask()) NoteShares(kVictim, message.unmask());
  if (stop && stop(message)) return true;
  if (message.has_advertise()) {
    BeginSession(message.advertise());
  } else {
    if (message.body_case() == Body::kAbort) fate.code = message.abort();
    Deliver(kVictim, message);
  }
  Drain();
  // Of a session that the victim left its Declined is still to come.
  return fate.code == v1::ABORT_UNSPECIFIED && (over || committed_);
}

void LyingCoordinator::BeginSession(const v1::AdvertiseKeys& keys) {
  advertised_[kVictim] = keys;
  std::vector<v1::CohortEntry> cohort;
  for (const auto& [index, advertised] : advertised_) {
    cohort.push_back(EntryOf(index, advertised));
  }
  if (cohort_made) cohort_made(cohort);
  Server::Options options;
  options.manifest = manifest_;
  options.shape = shape_;
  const absl::Time never = absl::InfiniteFuture();
  options.deadlines = {never, never, never, never, never};
  options.round_key = &fleet.keys.round;
  Server::Actions actions;
  server_.emplace(Server::Begin(options, std::move(cohort), actions).value());
  Perform(std::move(actions));
}

v1::CohortEntry LyingCoordinator::EntryOf(uint32_t index,
                                          const v1::AdvertiseKeys& keys) const {
  const auto other = other_manifest.find(index);
  return secagg::CheckAdvertisement(
             other == other_manifest.end() ? manifest_ : other->second,
             fleet.LeafOf(index), fleet.ProofOf(index), keys)
      .value();
}

void LyingCoordinator::Deliver(uint32_t index, Body message) {
  const Pass pass = to_server ? to_server(index, message) : Pass::kOn;
  if (pass == Pass::kLose) {
    return Perform(server_->Lost(index, absl::InfinitePast()));
  }
  if (pass == Pass::kOn) inbox_.emplace_back(index, std::move(message));
}

void LyingCoordinator::Drain() {
  while (!inbox_.empty()) {
    const auto [index, message] = std::move(inbox_.front());
    inbox_.pop_front();
    Perform(server_->Handle(index, message, absl::InfinitePast()));
  }
}

void LyingCoordinator::Perform(Server::Actions actions) {
  for (Server::Action& action : actions) PerformOne(action);
}

void LyingCoordinator::PerformOne(Server::Action& action) {
  if (action.kind == ServerKind::kSend) {
    v1::SecAggServerMessage message = *action.message;
    if (message.has_shares()) u2_ = message.shares().u2();
    if (!to_member || to_member(action.index, message)) {
      Tell(action.index, message);
    }
  } else if (action.kind == ServerKind::kFold) {
    EXPECT_TRUE(sum_->Add(AsBytes(UploadOf(action.digest))).ok());
  } else if (action.kind == ServerKind::kUnmask) {
    FinishSum(action);
  }
}

void LyingCoordinator::Tell(uint32_t index,
                            const v1::SecAggServerMessage& message) {
  if (index == kVictim) return SendAs(key_, message);
  PerformPeer(index, peers_.at(index).Handle(message));
}

void LyingCoordinator::PerformPeer(uint32_t index, Client::Actions actions) {
  for (Client::Action& action : actions) {
    if (action.kind == ClientKind::kSend) {
      if (action.message.has_unmask()) {
        NoteShares(index, action.message.unmask());
      }
      Deliver(index, std::move(action.message));
    } else if (action.kind == ClientKind::kUpload) {
      uploads_[Sha256Bytes(action.masked)] = std::move(action.masked);
      PerformPeer(index, peers_.at(index).Uploaded());
    }
  }
}

void LyingCoordinator::NoteShares(uint32_t holder,
                                  const v1::UnmaskShares& shares) {
  for (const auto& share : shares.b_shares()) {
    b_shares[share.index()].insert(holder);
  }
  for (const auto& share : shares.s_shares()) {
    s_shares[share.index()].insert(holder);
  }
}

void LyingCoordinator::FinishSum(Server::Action& action) {
  const auto sums = sum_->Unmask(action.masks, secagg::CanaryOf(manifest_), 1);
  committed_ = sums.ok();
  Perform(sums.ok() ? server_->Finished()
                    : server_->Fail(v1::MASK_MISMATCH, "the sum"));
}

std::string LyingCoordinator::UploadOf(const Digest& digest) const {
  const auto own = uploads_.find(DigestBytes(digest));
  if (own != uploads_.end()) return own->second;
  const auto blob = blobs_->Get(digest).value();
  return {blob->bytes().begin(), blob->bytes().end()};
}

void LyingCoordinator::SendAs(const v1::SessionKey& key,
                              const v1::SecAggServerMessage& message) {
  v1::ServerMessage out;
  *out.mutable_secagg()->mutable_session() = key;
  *out.mutable_secagg()->mutable_message() = message;
  const auto channel = door.ChannelOf(fleet.members[kVictim].name);
  if (channel != nullptr) channel->Send(out);
}

void LyingCoordinator::SignFreeze(v1::Freeze& freeze,
                                  const std::vector<bool>& u3) const {
  freeze.set_session(DigestBytes(session()));
  freeze.set_u3(secagg::BitmapOf(u3));
  freeze.set_signature(
      fleet.keys.round.Sign(secagg::FreezeBytes(session(), u2_, freeze.u3()))
          .value());
}

void LyingCoordinator::SignU2(v1::ForwardedShares& shares,
                              const std::string& u2) const {
  shares.set_u2(u2);
  shares.set_signature(
      fleet.keys.round.Sign(secagg::U2Bytes(session(), u2)).value());
}

std::string LyingCoordinator::SurvivorSignature(uint32_t member,
                                                const std::string& u2,
                                                const std::string& u3) const {
  return fleet.members[member]
      .identity.Sign(secagg::U3Bytes(session(), u2, u3))
      .value();
}

}  // namespace edgetune::testing
