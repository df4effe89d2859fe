#include "tests/privacy_secagg/harness.h"

#include <algorithm>
#include <cstdlib>

#include "privacy/secagg/encoding.h"

namespace edgetune::secagg {
namespace {

using ClientKind = SecAggClient::Action::Kind;
using ServerKind = SecAggServer::Action::Kind;

Stage StageOf(const v1::SecAggClientMessage& message) {
  switch (message.body_case()) {
    case v1::SecAggClientMessage::kAdvertise:
      return Stage::kR0;
    case v1::SecAggClientMessage::kShares:
      return Stage::kR2;
    case v1::SecAggClientMessage::kAck:
      return Stage::kR2b;
    case v1::SecAggClientMessage::kInput:
      return Stage::kR3;
    case v1::SecAggClientMessage::kSurvivors:
      return Stage::kR4;
    case v1::SecAggClientMessage::kUnmask:
      return Stage::kR5;
    default:
      return Stage::kNever;
  }
}

// Two thirds of a bound at most, some of it negative.
RingVector RandomInput(const MaskedShape& shape, const Digest& manifest,
                       RandomSource& random) {
  std::vector<float> coordinates(shape.coordinates);
  const double unit = shape.bound / 1.5 / (1u << 31);
  for (float& x : coordinates) {
    x = static_cast<float>((NextWord(random) - double{1u << 31}) * unit);
  }
  PlainInput input;
  input.coordinates = coordinates;
  for (const MaskedShape::Lane& lane : shape.lanes) {
    input.lanes[lane.use] = lane.bound / 2;
    if (lane.use == LaneUse::kWeight) input.weight = lane.bound / 2;
  }
  return Quantize(shape, input, CanaryOf(manifest), random).value();
}

Digest ManifestOf(const Harness::Options& options) {
  return ManifestDigest("manifest " + std::to_string(options.seed));
}

}  // namespace

size_t Runs(size_t in_short, size_t in_long) {
  const char* wanted = std::getenv("EDGETUNE_LONG");
  const bool is_long = wanted != nullptr && std::string_view(wanted) == "1";
  return (is_long ? in_long : in_short) / kShorter;
}

Harness::Harness(const Fleet& f, Options o)
    : fleet(f), options(std::move(o)), network_(Seeded(options.seed * 2 + 1)) {
  manifest = ManifestOf(options);
  deadlines_.shares = now + absl::Seconds(20);
  deadlines_.acks = now + absl::Seconds(40);
  deadlines_.input = now + absl::Seconds(60);
  deadlines_.survivors = now + absl::Seconds(80);
  deadlines_.unmask = now + absl::Seconds(100);
  clients.resize(options.n);
  for (uint32_t i = 0; i < options.n; ++i) {
    MakeClient(fleet, options, i, clients[i]);
  }
}

void Harness::MakeClient(const Fleet& fleet, const Options& options, uint32_t i,
                         Client& client) {
  const Digest manifest = ManifestOf(options);
  client.random.emplace(Seeded(options.seed * 1000 + i * 2));
  client.input = RandomInput(options.shape, manifest, *client.random);
  SecAggClient::Options party;
  party.manifest = manifest;
  party.id = fleet.members[i].id;
  party.identity = &fleet.identities[i];
  party.coordinator = {fleet.round_key.public_key()};
  party.roster = fleet.root();
  party.shape = options.shape;
  party.random = &*client.random;
  client.party.emplace(std::move(party));
}

SecAggServer::Options Harness::ServerOptions() const {
  SecAggServer::Options server_options;
  server_options.manifest = manifest;
  server_options.shape = options.shape;
  server_options.deadlines = deadlines_;
  server_options.round_key = &fleet.round_key;
  return server_options;
}

void Harness::Run() {
  Begin();
  Drain();
}

void Harness::Begin() {
  for (uint32_t i = 0; i < options.n; ++i) {
    if (clients[i].stop == Stage::kR0) continue;
    const auto actions = clients[i].party->Start(clients[i].input);
    // A lying coordinator takes anybody; the clients have to notice.
    cohort_.push_back(MakeEntry(fleet.members[i], fleet.ProofOf(i),
                                actions.front().message.advertise()));
    who_.push_back(i);
  }
  if (cohort_made) cohort_made(cohort_);
  SecAggServer::Actions actions;
  auto begun = SecAggServer::Begin(ServerOptions(), cohort_, actions);
  if (!begun.ok()) return;
  server.emplace(std::move(*begun));
  sum_.emplace(options.shape);
  Perform(std::move(actions));
}

bool Harness::Step() {
  if (!server) return false;
  const absl::Time timer = server->NextTimer();
  if (queue_.empty() && timer == absl::InfiniteFuture()) return false;
  if (queue_.empty() || queue_.begin()->first.first >= timer) {
    now = std::max(now, timer);
    Perform(server->Timer(now));
    return true;
  }
  now = std::max(now, queue_.begin()->first.first);
  const Delivery delivery = std::move(queue_.begin()->second);
  queue_.erase(queue_.begin());
  Deliver(delivery);
  return true;
}

void Harness::Drain() {
  while (Step()) {
  }
  if (server && server->phase() == kDone && !keep_clients) {
    for (Client& client : clients) client.party->End();
  }
}

void Harness::Deliver(const Delivery& delivery) {
  if (delivery.up) return Inject(delivery.index, *delivery.up);
  Client& client = member(delivery.index);
  if (!client.alive) return;
  if (delivery.down->has_cohort() && StopsAt(delivery.index, Stage::kR1)) {
    return;
  }
  Perform(delivery.index, client.party->Handle(*delivery.down));
}

// As the real shell: a vector without the form of one is never handed in.
void Harness::Inject(uint32_t index, const v1::SecAggClientMessage& message) {
  if (message.has_input() && server->phase() == SecAggServer::Phase::kInput &&
      server->Awaits(index)) {
    const auto blob = blobs.find(message.input().digest());
    if (blob != blobs.end() &&
        !CheckPacked(options.shape, ByteSpan(blob->second)).ok()) {
      return Perform(server->Unusable(index, now));
    }
  }
  Perform(server->Handle(index, message, now));
}

SecAggClient::Actions Harness::Tell(uint32_t index,
                                    const v1::SecAggServerMessage& message) {
  return member(index).party->Handle(message);
}

void Harness::Perform(uint32_t index, SecAggClient::Actions actions) {
  Client& client = member(index);
  for (SecAggClient::Action& action : actions) {
    if (!client.alive) return;
    switch (action.kind) {
      case ClientKind::kSend:
        SendUp(index, std::move(action.message));
        break;
      case ClientKind::kSpend:
        ++client.spends;
        break;
      case ClientKind::kUpload:
        ++client.uploads;
        if (StopsAt(index, Stage::kR3)) return;
        if (upload) upload(index, action.masked);
        blobs[Sha256Bytes(action.masked)] = std::move(action.masked);
        Perform(index, client.party->Uploaded());
        break;
      case ClientKind::kRemember:
        client.remembered.push_back(action.document);
        break;
      case ClientKind::kEvidence:
        client.evidence.emplace_back().ParseFromString(action.document);
        break;
      case ClientKind::kAborted:
        client.aborted = action.code;
        client.detail = action.detail;
        break;
    }
  }
}

bool Harness::StopsAt(uint32_t index, Stage stage) {
  if (stage == Stage::kNever || member(index).stop != stage) return false;
  Stop(index);
  return true;
}

void Harness::Stop(uint32_t index) {
  member(index).alive = false;
  if (options.tell_lost) Perform(server->Lost(index, now));
}

void Harness::SendUp(uint32_t index, v1::SecAggClientMessage message) {
  if (StopsAt(index, StageOf(message))) return;
  Client& client = member(index);
  if (message.has_survivors()) {
    client.survivor_signatures.insert(message.SerializeAsString());
  }
  if (message.has_unmask()) {
    client.unmask_answers.insert(message.SerializeAsString());
  }
  Chain(message.SerializeAsString());
  if (to_server && !to_server(index, message)) return;
  Post({index, nullptr,
        std::make_shared<const v1::SecAggClientMessage>(std::move(message))});
}

void Harness::Post(Delivery delivery) {
  uint32_t copies = 1;
  if (options.duplicates > NextWord(network_) % 256) {
    copies = 2 + NextWord(network_) % 2;
  }
  for (uint32_t copy = 0; copy < copies; ++copy) {
    const double part = NextWord(network_) / 4294967296.0;
    queue_[{now + options.delay * part, ++posted_}] = delivery;
  }
}

void Harness::Chain(std::string_view bytes) {
  transcript = Sha256Bytes(transcript + std::string(bytes));
}

// As a shell does: all rows of a call in one transaction, then the effects.
void Harness::Perform(SecAggServer::Actions actions) {
  std::vector<SecAggServer::Record> batch;
  for (SecAggServer::Action& action : actions) {
    if (action.kind != ServerKind::kRecord) continue;
    Chain(action.record.bytes);
    batch.push_back(std::move(action.record));
  }
  const bool dies = !batch.empty() && restarts == 0 &&
                    options.death_batch == batches.size() + 1;
  if (dies && options.death == Death::kBeforeCommit) return Restart();
  if (!batch.empty()) batches.push_back(std::move(batch));
  if (dies && options.death == Death::kAfterCommit) return Restart();
  const int life = restarts;
  for (SecAggServer::Action& action : actions) {
    if (action.kind != ServerKind::kRecord) PerformOne(action);
    if (restarts != life) return;
  }
  if (dies) Restart();
}

void Harness::PerformOne(SecAggServer::Action& action) {
  switch (action.kind) {
    case ServerKind::kSend: {
      v1::SecAggServerMessage message = *action.message;
      Chain(message.SerializeAsString());
      if (message.has_freeze()) frozen.push_back(message.freeze().u3());
      if (to_client && !to_client(action.index, message)) return;
      Post({action.index,
            std::make_shared<const v1::SecAggServerMessage>(std::move(message)),
            nullptr});
      return;
    }
    case ServerKind::kFold:
      if (!sum_->Add(ByteSpan(blobs[BytesOf(action.digest)])).ok()) {
        Perform(server->Unusable(action.index, now));
      }
      return;
    case ServerKind::kUnmask:
      return Take(action);
    case ServerKind::kRefuse:
      refusals.push_back({action.index, action.code, action.document});
      return;
    case ServerKind::kLeft:
      left.emplace_back(action.index, action.code);
      return;
    case ServerKind::kBlame:
      blames.emplace_back(action.index, action.other);
      return;
    case ServerKind::kLate:
      ++late;
      return;
    case ServerKind::kRecord:
    case ServerKind::kAborted:
      return;
  }
}

void Harness::Take(SecAggServer::Action& action) {
  auto unmasked = sum_->Unmask(action.masks, CanaryOf(manifest), 1);
  if (!unmasked.ok()) {
    mismatch = true;
    Perform(server->Fail(v1::MASK_MISMATCH, "the sum"));
    return;
  }
  sums.push_back(std::move(*unmasked));
  Perform(server->Finished());
}

void Harness::Restart() {
  ++restarts;
  queue_.clear();
  std::vector<SecAggServer::Record> records;
  for (const auto& batch : batches) {
    records.insert(records.end(), batch.begin(), batch.end());
  }
  sum_.emplace(options.shape);
  SecAggServer::Actions actions;
  auto restored =
      records.empty()
          ? SecAggServer::Begin(ServerOptions(), cohort_, actions)
          : SecAggServer::Restore(ServerOptions(), cohort_, records, actions);
  server.emplace(std::move(restored.value()));
  Perform(std::move(actions));
  for (uint32_t v = 0; v < who_.size(); ++v) {
    if (member(v).alive) Perform(v, member(v).party->Resend());
  }
}

std::vector<int64_t> Harness::PlainSum(const std::vector<bool>& members) const {
  std::vector<int64_t> sum(options.shape.size() - 2);
  for (uint32_t v = 0; v < members.size(); ++v) {
    if (!members[v]) continue;
    const std::vector<int64_t> values =
        Lifted(options.shape, clients[who_[v]].input);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  return sum;
}

std::string Harness::BrokenInvariant() const {
  for (const std::string& u3 : frozen) {
    if (u3 != frozen.front()) return "two survivor sets were sent";
  }
  size_t commits = 0;
  for (const auto& batch : batches) {
    for (const SecAggServer::Record& record : batch) {
      if (record.phase == kDone) ++commits;
    }
  }
  if (commits > 1) return "I1: committed twice";
  for (const auto& sum : sums) {
    if (sum != PlainSum(server->survivors())) return "I2: another sum";
  }
  for (const Client& client : clients) {
    if (client.survivor_signatures.size() > 1) return "I3: signed two U3";
    if (client.unmask_answers.size() > 1) return "I3: two answers to R5";
    if (client.spends > 1) return "I4: spent twice";
    if (client.uploads > 0 && client.spends == 0) return "uploaded, not spent";
    for (const std::string& bytes : client.unmask_answers) {
      v1::SecAggClientMessage message;
      message.ParseFromString(bytes);
      std::set<uint32_t> dealers;
      for (const auto& share : message.unmask().b_shares()) {
        dealers.insert(share.index());
      }
      for (const auto& share : message.unmask().s_shares()) {
        if (!dealers.insert(share.index()).second) return "I3: both kinds";
      }
    }
  }
  return "";
}

}  // namespace edgetune::secagg
