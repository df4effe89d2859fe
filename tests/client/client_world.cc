#include "tests/client/client_world.h"

#include <chrono>
#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"

namespace edgetune::testing {

absl::Status ScriptedTransport::Start(Listener* listener) {
  listener->OnUp();  // before what a test has to say through listener()
  std::lock_guard<std::mutex> lock(mu_);
  listener_ = listener;
  changed_.notify_all();
  return absl::OkStatus();
}

Transport::Listener* ScriptedTransport::listener() {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] { return listener_ != nullptr; });
  return listener_;
}

void ScriptedTransport::Send(const v1::ClientMessage& message) {
  std::lock_guard<std::mutex> lock(mu_);
  sent_.push_back(message);
  changed_.notify_all();
}

absl::Status ScriptedTransport::Download(
    const Digest& digest, uint64_t offset,
    const std::function<absl::Status(std::span<const uint8_t>, uint64_t)>&
        sink) {
  const std::string& bytes = served[DigestBytes(digest)];
  return sink({reinterpret_cast<const uint8_t*>(bytes.data()) + offset,
               bytes.size() - offset},
              bytes.size());
}

absl::StatusOr<v1::UploadStatus> ScriptedTransport::Upload(
    const v1::UploadKey& key, uint64_t, std::span<const uint8_t> bytes) {
  EDGETUNE_RETURN_IF_ERROR(upload_refusal);
  {
    std::lock_guard<std::mutex> lock(mu_);
    uploads[key.sha256()].assign(bytes.begin(), bytes.end());
  }
  return QueryUpload(key);
}

absl::StatusOr<v1::UploadStatus> ScriptedTransport::QueryUpload(
    const v1::UploadKey& key) {
  std::lock_guard<std::mutex> lock(mu_);
  v1::UploadStatus status;
  status.set_complete(uploads.contains(key.sha256()));
  if (status.complete()) status.set_committed(key.size());
  return status;
}

v1::ClientMessage ScriptedTransport::Next(v1::ClientMessage::BodyCase kind) {
  std::unique_lock<std::mutex> lock(mu_);
  v1::ClientMessage found;
  const bool came = changed_.wait_for(lock, std::chrono::seconds(60), [&] {
    for (; read_ < sent_.size(); ++read_) {
      if (sent_[read_].body_case() != kind) continue;
      found = sent_[read_++];
      return true;
    }
    return false;
  });
  EXPECT_TRUE(came) << "the client never said " << kind;
  return found;
}

void ClientWorld::SetUp() {
  run_ = MakeTestRun(scratch_.path(), 1);
  file_ = MakeClientFile(scratch_.path(), "animal", 8);
  file_.state = scratch_.path();
}

void ClientWorld::Start(bool once) {
  database_ = *Database::Open(scratch_.File("client.db"), Client::Migrations());
  cache_ = *BlobStore::Open(scratch_.File("cache"));
  transport_ = std::make_unique<ScriptedTransport>();
  transport_->served = {
      {run_.plan.model().parts(0).sha256(), *ReadFile(run_.model_path)},
      {run_.plan.lora().initial_digest(), run_.adapter_blob}};
  auto client = Client::Make(
      {.transport = transport_.get(),
       .database = database_.get(),
       .cache = cache_.get(),
       .clock = &clock_,
       .engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
         return &engine_;
       },
       .trusted = keys_.trusted},
      {.file = file_, .once = once, .decline_pause = absl::Milliseconds(1)});
  ASSERT_TRUE(client.ok()) << client.status();
  client_ = *std::move(client);
  thread_ = std::thread([this] { result_ = client_->Run(); });
}

absl::Status ClientWorld::Stop() {
  if (client_ != nullptr) client_->RequestStop();
  return Wait();
}

absl::Status ClientWorld::Wait() {
  if (thread_.joinable()) thread_.join();
  client_.reset();
  cache_.reset();
  database_.reset();
  return result_;
}

v1::RoundManifest ClientWorld::Manifest(uint32_t round) {
  return MakeManifest(run_.plan, SignedPlan(run_.plan, keys_), round);
}

void ClientWorld::Assign(const v1::Assignment& assignment) {
  v1::ServerMessage message;
  *message.mutable_assignment() = assignment;
  transport_->listener()->OnMessage(message);
}

void ClientWorld::Assign(const v1::RoundManifest& manifest) {
  Assign(MakeAssignment(run_.plan, manifest, keys_));
}

void ClientWorld::Answer(const v1::SessionKey& session,
                         v1::Outcome::Result result) {
  v1::ServerMessage message;
  *message.mutable_outcome()->mutable_session() = session;
  message.mutable_outcome()->set_result(result);
  transport_->listener()->OnMessage(message);
}

v1::Declined ClientWorld::NextDeclined() {
  return transport_->Next(v1::ClientMessage::kDeclined).declined();
}

v1::Report ClientWorld::NextReport() {
  return transport_->Next(v1::ClientMessage::kReport).report();
}

void ClientWorld::EndSession(const v1::Report& report) {
  Answer(report.session(), v1::Outcome::ACCEPTED);
  NextHello();
  ASSERT_TRUE(Stop().ok());
}

v1::Hello ClientWorld::NextHello() {
  return transport_->Next(v1::ClientMessage::kHello).hello();
}

void ClientWorld::ExpectRefused(const std::string& part) {
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::REFUSED);
  EXPECT_NE(declined.detail().find(part), std::string::npos)
      << declined.detail();
  EXPECT_EQ(engine_.trainings, 0);
}

}  // namespace edgetune::testing
