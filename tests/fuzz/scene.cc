#include "tests/fuzz/scene.h"

#include <algorithm>
#include <set>

#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

using secagg::Harness;
using secagg::IsKnownAbort;
using secagg::SecAggClient;
using secagg::SecAggServer;

// A party that was told nonsense says what was wrong with it; that it has a
// bug itself it never says.
void RequireHonestCode(v1::AbortCode code) {
  Require(IsKnownAbort(code), "a known code");
  Require(code != v1::INTERNAL, "no message leads to INTERNAL");
}

void RequireOneKindOfShare(const v1::UnmaskShares& shown) {
  std::set<uint32_t> dealers;
  for (const auto& share : shown.b_shares()) dealers.insert(share.index());
  for (const auto& share : shown.s_shares()) {
    Require(dealers.insert(share.index()).second, "one kind of share each");
  }
}

}  // namespace

Scene::Scene(uint32_t n) : fleet_({.size = n}) {
  options_.n = n;
  // Nine lanes of 20 bits end with padding bits.
  options_.shape = secagg::ShapeWithLanes(20, n, 5);
  Harness session(fleet_, options_);
  session.clients[kDropped].stop = secagg::Stage::kR3;
  session.to_client = [&](uint32_t index, v1::SecAggServerMessage& message) {
    down_.emplace_back(index, message);
    return true;
  };
  session.to_server = [&](uint32_t index, v1::SecAggClientMessage& message) {
    up_.emplace_back(index, message);
    return true;
  };
  session.Run();
  Require(session.Committed(), "an honest session commits");
  manifest_ = session.manifest;
  cohort_ = session.server->cohort();
  for (const auto& batch : session.batches) {
    records_.insert(records_.end(), batch.begin(), batch.end());
  }
  blobs_ = session.blobs;
  sum_ = session.sums.front();
}

const Scene& Scene::Five() {
  static const auto* scene = new Scene(5);
  return *scene;
}

const Scene& Scene::Ten() {
  static const auto* scene = new Scene(10);
  return *scene;
}

SecAggServer::Options Scene::ServerOptions() const {
  SecAggServer::Options options;
  options.manifest = manifest_;
  options.shape = shape();
  options.deadlines = {Now() + absl::Seconds(20), Now() + absl::Seconds(40),
                       Now() + absl::Seconds(60), Now() + absl::Seconds(80),
                       Now() + absl::Seconds(100)};
  options.round_key = &fleet_.round_key;
  return options;
}

SecAggServer Scene::ServerIn(SecAggServer::Phase phase) const {
  std::vector<Record> past;
  for (const Record& record : records_) {
    if (record.kind == Record::Kind::kTransition && record.phase > phase) break;
    past.push_back(record);
    const bool opened = record.kind == Record::Kind::kTransition;
    if (opened && record.phase == phase) break;
  }
  SecAggServer::Actions actions;
  return SecAggServer::Restore(ServerOptions(), cohort_, past, actions).value();
}

const v1::SecAggServerMessage& Scene::Down(
    uint32_t member, v1::SecAggServerMessage::BodyCase body) const {
  for (const auto& [index, message] : down_) {
    if (index == member && message.body_case() == body) return message;
  }
  return v1::SecAggServerMessage::default_instance();
}

const v1::SecAggClientMessage& Scene::Up(
    uint32_t member, v1::SecAggClientMessage::BodyCase body) const {
  for (const auto& [index, message] : up_) {
    if (index == member && message.body_case() == body) return message;
  }
  return v1::SecAggClientMessage::default_instance();
}

Device::Device(const Scene& scene, SecAggClient::Phase phase) {
  constexpr uint32_t kMe = Scene::kVictim;
  Harness::MakeClient(scene.fleet(), scene.options(), kMe, client_);
  using Phase = SecAggClient::Phase;
  using Body = v1::SecAggServerMessage::BodyCase;
  party().Start(client_.input);
  for (const Body body :
       {Body::kCohort, Body::kShares, Body::kOpen, Body::kFreeze}) {
    if (party().phase() == phase) break;
    party().Handle(scene.Down(kMe, body));
    if (party().phase() == Phase::kMasked) party().Uploaded();
  }
  Require(party().phase() == phase, "the scene leads to every phase");
}

SecAggClient::Actions Device::Tell(const v1::SecAggServerMessage& message) {
  SecAggClient::Actions actions = party().Handle(message);
  const bool aborted = party().phase() == SecAggClient::Phase::kAborted;
  for (const SecAggClient::Action& action : actions) {
    using Kind = SecAggClient::Action::Kind;
    if (action.kind == Kind::kAborted && !message.has_abort()) {
      RequireHonestCode(action.code);
    }
    if (action.kind == Kind::kSend) {
      Require(action.message.has_abort() == aborted, "an abort is only that");
      RequireOneKindOfShare(action.message.unmask());
    }
    Require(!aborted || (action.kind != Kind::kUpload &&
                         action.kind != Kind::kRemember),
            "nothing follows a refused message");
  }
  return actions;
}

SecAggServer::Actions Tell(SecAggServer& server, uint32_t member,
                           const v1::SecAggClientMessage& message) {
  SecAggServer::Actions actions = server.Handle(member, message, Scene::Now());
  for (const SecAggServer::Action& action : actions) {
    using Kind = SecAggServer::Action::Kind;
    if (action.kind == Kind::kRefuse || action.kind == Kind::kAborted) {
      RequireHonestCode(action.code);
    }
    Require(action.kind != Kind::kSend || action.message != nullptr,
            "what is sent is there");
  }
  return actions;
}

}  // namespace edgetune::fuzz
