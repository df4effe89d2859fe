#include "tests/secagg/scripted_device.h"

#include <chrono>
#include <utility>

#include "base/status.h"
#include "client/assignment.h"
#include "client/grpc/grpc_transport.h"
#include "privacy/secagg/encoding.h"
#include "storage/blob_store.h"

namespace edgetune::testing {

using secagg::SecAggClient;

ScriptedDevice::ScriptedDevice(const TlsFleet& fleet, uint32_t index,
                               std::string address)
    : member(fleet.members[index]),
      fleet_(fleet),
      address_(std::move(address)) {}

ScriptedDevice::~ScriptedDevice() { Stop(); }

void ScriptedDevice::Start() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = false;
    down_.reset();
  }
  transport_ = MakeGrpcTransport(member.kit, address_).value();
  thread_ = std::thread([this] { Serve(); });
  EDGETUNE_CHECK(transport_->Start(this).ok());
}

void ScriptedDevice::Disconnect() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    stopped_ = true;
    tasks_.clear();
    changed_.notify_all();
  }
  if (transport_ != nullptr) transport_->Close();
  if (thread_.joinable()) thread_.join();
}

void ScriptedDevice::Stop() {
  Disconnect();
  transport_.reset();
}

void ScriptedDevice::OnUp() {
  {
    std::lock_guard<std::mutex> lock(mu_);
    up_ = true;
  }
  Push([this] { SayHello(); });
}
void ScriptedDevice::OnMessage(const v1::ServerMessage& message) {
  Push([this, message] { Handle(message); });
}
void ScriptedDevice::OnDown(const absl::Status& status) {
  std::lock_guard<std::mutex> lock(mu_);
  down_ = status;
  if (std::exchange(up_, false)) ++ended_streams_;
  changed_.notify_all();
}

void ScriptedDevice::Push(std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mu_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
}

void ScriptedDevice::Serve() {
  std::unique_lock<std::mutex> lock(mu_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
    if (stopped_) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

void ScriptedDevice::SayHello() {
  v1::ClientMessage message;
  message.mutable_hello()->set_population("default");
  if (party_.has_value()) *message.mutable_hello()->mutable_resume() = key_;
  SendRaw(message);
  if (party_.has_value()) Perform(party_->Resend());
}

void ScriptedDevice::Handle(const v1::ServerMessage& message) {
  if (message.has_assignment()) {
    Begin(message.assignment());
  } else if (message.has_come_back()) {
    std::lock_guard<std::mutex> lock(mu_);
    idle_ = true;
    changed_.notify_all();
  } else if (message.has_secagg() && party_.has_value() &&
             IdOf(message.secagg().session()) == IdOf(key_)) {
    Perform(party_->Handle(message.secagg().message()));
  } else if (message.has_outcome()) {
    if (IdOf(message.outcome().session()) == IdOf(key_)) party_.reset();
    {
      std::lock_guard<std::mutex> lock(mu_);
      outcomes_.push_back(message.outcome());
      changed_.notify_all();
    }
    SayHello();
  }
}

void ScriptedDevice::Begin(const v1::Assignment& assignment) {
  const v1::SessionKey key = KeyOf(ClaimedId(assignment));
  if (party_.has_value() && IdOf(key) == IdOf(key_)) {
    return Perform(party_->Resend());
  }
  v1::TaskPlan plan;
  v1::RoundManifest manifest;
  EDGETUNE_CHECK(plan.ParseFromString(assignment.plan().payload()));
  EDGETUNE_CHECK(manifest.ParseFromString(assignment.manifest().payload()));
  SecAggClient::Options options;
  options.manifest = secagg::ManifestDigest(assignment.manifest().payload());
  options.id = member.id;
  options.identity = &member.identity;
  options.coordinator = fleet_.keys.trusted.round;
  options.roster.root =
      DigestFromBytes(manifest.masking().roster_root()).value();
  options.roster.leaves = manifest.masking().roster_leaves();
  options.shape =
      MaskedShapeOf(plan, manifest.round(), manifest.kind()).value();
  options.random = &random_;
  const std::vector<float> coordinates(options.shape.coordinates, value);
  secagg::PlainInput input{.coordinates = coordinates};
  for (const MaskedShape::Lane& lane : options.shape.lanes) {
    input.lanes[lane.use] = lane.use == LaneUse::kClamped ? 0 : lane.bound / 2;
    if (lane.use != LaneUse::kWeight) continue;
    input.lanes[lane.use] = input.weight = weight;
  }
  secagg::RingVector vector =
      secagg::Quantize(options.shape, input, secagg::CanaryOf(options.manifest),
                       random_)
          .value();
  {
    std::lock_guard<std::mutex> lock(mu_);
    key_ = key;
    inputs_[manifest.round()] = vector;
    upload_key_.reset();
  }
  bent_.reset();
  party_.emplace(std::move(options));
  Perform(party_->Start(std::move(vector)));
}

void ScriptedDevice::Perform(SecAggClient::Actions actions) {
  for (SecAggClient::Action& action : actions) {
    if (action.kind == Kind::kUpload) {
      Upload(std::move(action.masked));
    } else if (action.kind == Kind::kSend) {
      if (action.message.has_input() && bent_.has_value()) {
        action.message.mutable_input()->set_total_length(bent_->size());
        action.message.mutable_input()->set_digest(Sha256Bytes(*bent_));
        Sign(action.message);
      }
      if (!to_server || to_server(action.message)) Send(action.message);
    }
  }
}

void ScriptedDevice::Upload(std::string masked) {
  if (upload) {
    upload(masked);
    bent_ = masked;
  }
  v1::UploadKey key;
  *key.mutable_session() = key_;
  key.set_sha256(Sha256Bytes(masked));
  key.set_size(masked.size());
  (void)transport_->Upload(key, 0, AsBytes(masked));
  {
    std::lock_guard<std::mutex> lock(mu_);
    upload_key_ = key;
    changed_.notify_all();
  }
  if (!uploaded || uploaded()) Perform(party_->Uploaded());
}

void ScriptedDevice::Send(const Body& message) {
  v1::ClientMessage out;
  {
    std::lock_guard<std::mutex> lock(mu_);
    *out.mutable_secagg()->mutable_session() = key_;
  }
  *out.mutable_secagg()->mutable_message() = message;
  SendRaw(out);
}

void ScriptedDevice::SendRaw(const v1::ClientMessage& message) {
  transport_->Send(message);
}

void ScriptedDevice::Sign(Body& message) const {
  const SigningKey& key = member.identity;
  if (message.has_advertise()) {
    v1::AdvertiseKeys& keys = *message.mutable_advertise();
    keys.set_signature(
        key.Sign(secagg::AdvertiseBytes(
                     DigestFromBytes(keys.manifest()).value(), member.id, keys))
            .value());
    return;
  }
  const Digest& session = party_->session();
  if (message.has_shares()) {
    message.mutable_shares()->set_signature(
        key.Sign(secagg::ShareKeysBytes(session, member.id, message.shares()))
            .value());
  } else if (message.has_input()) {
    message.mutable_input()->set_signature(
        key.Sign(secagg::InputBytes(session, member.id, message.input()))
            .value());
  } else if (message.has_unmask()) {
    message.mutable_unmask()->set_signature(
        key.Sign(secagg::UnmaskBytes(session, member.id, message.unmask()))
            .value());
  } else if (message.has_ack()) {
    const auto& bad = message.ack().bad();
    const std::vector<uint32_t> indices(bad.begin(), bad.end());
    message.mutable_ack()->set_signature(
        key.Sign(secagg::AckBytes(session, member.id, indices)).value());
  }
}

bool ScriptedDevice::Wait(const std::function<bool()>& done) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, std::chrono::seconds(20), done);
}

bool ScriptedDevice::WaitIdle() {
  return Wait([this] { return idle_; });
}
bool ScriptedDevice::WaitOutcomes(size_t count) {
  return Wait([&] { return outcomes_.size() >= count; });
}
bool ScriptedDevice::WaitDown() {
  return Wait([this] { return down_.has_value(); });
}

bool ScriptedDevice::WaitUpload() {
  return Wait([this] { return upload_key_.has_value(); });
}

v1::Outcome ScriptedDevice::OutcomeAt(size_t index) {
  std::lock_guard<std::mutex> lock(mu_);
  return outcomes_.at(index);
}
absl::Status ScriptedDevice::down() {
  std::lock_guard<std::mutex> lock(mu_);
  return down_.value_or(absl::OkStatus());
}
size_t ScriptedDevice::ended_streams() {
  std::lock_guard<std::mutex> lock(mu_);
  return ended_streams_;
}
secagg::RingVector ScriptedDevice::InputOf(uint32_t round) {
  std::lock_guard<std::mutex> lock(mu_);
  return inputs_.at(round);
}
v1::SessionKey ScriptedDevice::session_key() {
  std::lock_guard<std::mutex> lock(mu_);
  return key_;
}
v1::UploadKey ScriptedDevice::upload_key() {
  std::lock_guard<std::mutex> lock(mu_);
  return upload_key_.value();
}

void ScriptedDevice::FinishUpload() {
  Push([this] { Perform(party_->Uploaded()); });
}

}  // namespace edgetune::testing
