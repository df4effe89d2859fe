// A whole client against a scripted coordinator.

#include "client/client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "client/assignment.h"
#include "client/status_file.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {
namespace {

using testing::FakeEngine;
using testing::MakeAssignment;
using testing::MakeManifest;
using testing::SignedPlan;
using testing::TestKeys;
using testing::TestRun;

// Records what the client says; the test says what the coordinator does.
class ScriptedTransport final : public Transport {
 public:
  std::map<std::string, std::string> served;  // digest -> bytes
  std::map<std::string, std::string> uploads;

  absl::Status Start(Listener* listener) override {
    {
      std::lock_guard<std::mutex> lock(mu_);
      listener_ = listener;
      changed_.notify_all();
    }
    listener->OnUp();
    return absl::OkStatus();
  }
  // Waits until the client listens.
  Listener* listener() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [this] { return listener_ != nullptr; });
    return listener_;
  }
  void Close() override {}
  void Send(const v1::ClientMessage& message) override {
    std::lock_guard<std::mutex> lock(mu_);
    sent_.push_back(message);
    changed_.notify_all();
  }
  absl::Status Download(
      const Digest& digest, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t>, uint64_t)>&
          sink) override {
    const std::string& bytes = served[DigestBytes(digest)];
    return sink({reinterpret_cast<const uint8_t*>(bytes.data()) + offset,
                 bytes.size() - offset},
                bytes.size());
  }
  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t,
      std::span<const uint8_t> bytes) override {
    {
      std::lock_guard<std::mutex> lock(mu_);
      uploads[key.sha256()].assign(bytes.begin(), bytes.end());
    }
    return QueryUpload(key);
  }
  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override {
    std::lock_guard<std::mutex> lock(mu_);
    v1::UploadStatus status;
    status.set_complete(uploads.contains(key.sha256()));
    if (status.complete()) status.set_committed(key.size());
    return status;
  }

  // The next message of this kind; others before it are passed over.
  v1::ClientMessage Next(v1::ClientMessage::BodyCase kind) {
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

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  Listener* listener_ = nullptr;
  std::vector<v1::ClientMessage> sent_;
  size_t read_ = 0;
};

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ = testing::MakeTestRun(scratch_.path(), 1);
    file_ = testing::MakeClientFile(scratch_.path(), "animal", 8);
    file_.state = scratch_.path();
  }
  void TearDown() override { (void)Stop(); }

  void Start(bool once = false) {
    database_ =
        *Database::Open(scratch_.File("client.db"), Client::Migrations());
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
         .engine = [this]() -> absl::StatusOr<Engine*> { return &engine_; },
         .trusted = keys_.trusted},
        {.file = file_, .once = once, .decline_pause = absl::Milliseconds(1)});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    thread_ = std::thread([this] { result_ = client_->Run(); });
  }
  absl::Status Stop() {
    if (client_ != nullptr) client_->RequestStop();
    return Wait();
  }
  absl::Status Wait() {
    if (thread_.joinable()) thread_.join();
    client_.reset();
    cache_.reset();
    database_.reset();
    return result_;
  }

  v1::RoundManifest Manifest(uint32_t round) {
    return MakeManifest(run_.plan, SignedPlan(run_.plan, keys_), round);
  }
  void Assign(const v1::Assignment& assignment) {
    v1::ServerMessage message;
    *message.mutable_assignment() = assignment;
    transport_->listener()->OnMessage(message);
  }
  void Assign(const v1::RoundManifest& manifest) {
    Assign(MakeAssignment(run_.plan, manifest, keys_));
  }
  void Answer(const v1::SessionKey& session, v1::Outcome::Result result) {
    v1::ServerMessage message;
    *message.mutable_outcome()->mutable_session() = session;
    message.mutable_outcome()->set_result(result);
    transport_->listener()->OnMessage(message);
  }
  v1::Declined NextDeclined() {
    return transport_->Next(v1::ClientMessage::kDeclined).declined();
  }
  v1::Report NextReport() {
    return transport_->Next(v1::ClientMessage::kReport).report();
  }
  v1::Hello NextHello() {
    return transport_->Next(v1::ClientMessage::kHello).hello();
  }
  void ExpectRefused(const std::string& part) {
    const v1::Declined declined = NextDeclined();
    EXPECT_EQ(declined.reason(), v1::Declined::REFUSED);
    EXPECT_NE(declined.detail().find(part), std::string::npos)
        << declined.detail();
    EXPECT_EQ(engine_.trainings, 0);
  }

  const testing::ScratchDirectory scratch_;
  const TestKeys keys_ = testing::MakeTestKeys();
  const RealClock clock_;
  FakeEngine engine_;
  TestRun run_;
  ClientFile file_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<BlobStore> cache_;
  std::unique_ptr<ScriptedTransport> transport_;
  std::unique_ptr<Client> client_;
  std::thread thread_;
  absl::Status result_;
};

TEST_F(ClientTest, TrainingSessionEndsInAReportOfTheUploadedUpdate) {
  Start();
  EXPECT_EQ(NextHello().population(), "default");
  Assign(Manifest(0));
  const v1::Report report = NextReport();
  EXPECT_EQ(report.weight(), 6);  // 8 examples, a quarter held out
  EXPECT_GT(report.tokens(), 0u);
  EXPECT_GT(report.nll_sum(), 0);
  EXPECT_EQ(report.base_bytes_down(), run_.plan.model().parts(0).size());
  EXPECT_EQ(report.adapter_bytes_down(), run_.adapter_blob.size());
  const std::string update = transport_->uploads[report.update_digest()];
  EXPECT_EQ(update.size(), run_.adapter_blob.size());
  EXPECT_EQ(Sha256Bytes(update), report.update_digest());
  Answer(report.session(), v1::Outcome::ACCEPTED);
  EXPECT_FALSE(NextHello().has_resume());
}

TEST_F(ClientTest, WeightIsHeldUnderTheCap) {
  run_.plan.mutable_rounds()->set_weight_cap(4);
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().weight(), 4);
}

TEST_F(ClientTest, EvaluationSessionSendsNoUpdate) {
  Start();
  Assign(Manifest(3));
  const v1::Report report = NextReport();
  EXPECT_TRUE(report.update_digest().empty());
  EXPECT_EQ(report.weight(), 0);
  EXPECT_GT(report.tokens(), 0u);
  EXPECT_EQ(engine_.trainings, 0);
}

TEST_F(ClientTest, HeldOutFileOverridesTheShare) {
  file_.data.heldout = testing::WriteChatData(scratch_.path(), "other", 3);
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextReport().weight(), 8);
}

TEST_F(ClientTest, PlanSignedByAnotherKeyIsRefused) {
  const TestKeys strangers = testing::MakeTestKeys();
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  *assignment.mutable_plan() = SignedPlan(run_.plan, strangers);
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientTest, PlanSignedByTheRoundKeyIsRefused) {
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  *assignment.mutable_plan() = *SignDocument(
      DocumentUse::kPlan, run_.plan.SerializeAsString(), keys_.round);
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientTest, ManifestWithAFlippedByteIsRefused) {
  Start();
  v1::Assignment assignment = MakeAssignment(run_.plan, Manifest(0), keys_);
  assignment.mutable_manifest()->mutable_payload()->back() ^= 1;
  Assign(assignment);
  ExpectRefused("");
}

TEST_F(ClientTest, ExpiredManifestIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.mutable_header()->set_expires_ms(manifest.header().issued_ms() +
                                            1000);
  Assign(manifest);
  ExpectRefused("expired");
}

TEST_F(ClientTest, ManifestOfAnotherPlanIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.set_plan_digest(std::string(32, 'x'));
  Assign(manifest);
  ExpectRefused("it is for plan 78787878");
}

TEST_F(ClientTest, RoundBehindThePlansEndIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(2);
  manifest.set_round(4);
  Assign(manifest);
  ExpectRefused("training round 4");
}

TEST_F(ClientTest, ManifestWithOtherCoordinatesIsRefused) {
  Start();
  v1::RoundManifest manifest = Manifest(0);
  manifest.set_coordinates(manifest.coordinates() + 1);
  Assign(manifest);
  ExpectRefused("coordinates");
}

TEST_F(ClientTest, BaseDigestThatIsNotOfItsPartsIsRefused) {
  run_.plan.mutable_model()->set_digest(std::string(32, 'd'));
  Start();
  Assign(Manifest(0));
  ExpectRefused("model.digest");
}

TEST_F(ClientTest, PlanForAnotherPopulationIsRefused) {
  file_.population = "others";
  Start();
  Assign(Manifest(0));
  ExpectRefused("population");
}

TEST_F(ClientTest, AdapterWithOtherBytesThanItsDigestIsRefused) {
  Start();
  transport_->served[run_.plan.lora().initial_digest()][0] ^= 1;
  Assign(Manifest(0));
  ExpectRefused("");
}

TEST_F(ClientTest, AdapterThatIsNotFiniteIsRefused) {
  v1::RoundManifest manifest = Manifest(1);
  std::string blob = run_.adapter_blob;
  blob.replace(0, 4, std::string("\x00\x00\xc0\x7f", 4));  // NaN
  manifest.set_adapter_digest(Sha256Bytes(blob));
  Start();
  transport_->served[manifest.adapter_digest()] = blob;
  Assign(manifest);
  ExpectRefused("not finite");
}

TEST_F(ClientTest, RoundThatWasDoneIsNotDoneAgainEvenAfterARestart) {
  Start();
  NextHello();
  Assign(Manifest(1));
  Answer(NextReport().session(), v1::Outcome::ACCEPTED);
  NextHello();
  Assign(Manifest(1));
  EXPECT_NE(NextDeclined().detail().find("replay"), std::string::npos);
  ASSERT_TRUE(Stop().ok());
  Start();
  NextHello();
  Assign(Manifest(0));
  EXPECT_NE(NextDeclined().detail().find("replay"), std::string::npos);
  EXPECT_EQ(engine_.trainings, 1);
  v1::RoundManifest again = Manifest(1);
  again.set_attempt(1);
  Assign(again);
  EXPECT_EQ(NextReport().session().attempt(), 1u);
}

TEST_F(ClientTest, TrainedUpdateIsRepeatedNotTrainedAgainAfterARestart) {
  Start();
  Assign(Manifest(0));
  const v1::Report first = NextReport();
  ASSERT_TRUE(Stop().ok());  // the outcome never came
  Start();
  EXPECT_EQ(IdOf(NextHello().resume()), IdOf(first.session()));
  const v1::Report second = NextReport();
  EXPECT_EQ(second.SerializeAsString(), first.SerializeAsString());
  EXPECT_EQ(transport_->uploads.size(), 1u);
  EXPECT_EQ(engine_.trainings, 1);
}

TEST_F(ClientTest, SessionStoppedWhileTrainingIsBegunAgainAfterARestart) {
  engine_.on_step = [this](int64_t step) {
    if (step == 1) client_->RequestStop();
  };
  Start();
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  engine_.on_step = nullptr;
  Start();
  EXPECT_TRUE(NextHello().has_resume());
  const v1::Report report = NextReport();
  EXPECT_EQ(report.base_bytes_down(), 0u);
  EXPECT_EQ(engine_.trainings, 2);
}

TEST_F(ClientTest, SessionStoppedWhileEvaluatingIsBegunAgainAfterARestart) {
  engine_.on_evaluate = [this] { client_->RequestStop(); };
  Start();
  Assign(Manifest(0));
  EXPECT_TRUE(Wait().ok());
  EXPECT_EQ(engine_.trainings, 0);
  engine_.on_evaluate = nullptr;
  Start();
  EXPECT_TRUE(NextHello().has_resume());
  EXPECT_GT(NextReport().tokens(), 0u);
}

TEST_F(ClientTest, CancelledSessionStopsTrainingAndAsksForWork) {
  engine_.on_step = [this](int64_t step) {
    if (step == 1) {
      Answer(KeyOf(ClaimedId(MakeAssignment(run_.plan, Manifest(0), keys_))),
             v1::Outcome::CANCELLED);
    }
    absl::SleepFor(absl::Milliseconds(1));
  };
  run_.plan.mutable_train()->set_steps(100000);
  Start();
  NextHello();
  Assign(Manifest(0));
  EXPECT_FALSE(NextHello().has_resume());
  EXPECT_TRUE(transport_->uploads.empty());
}

TEST_F(ClientTest, ReconnectInTheMiddleResumesAndTrainsOnce) {
  engine_.on_step = [this](int64_t step) {
    if (step != 1) return;
    transport_->listener()->OnDown(absl::UnavailableError("cut"));
    transport_->listener()->OnUp();
  };
  Start();
  EXPECT_FALSE(NextHello().has_resume());
  Assign(Manifest(0));
  EXPECT_TRUE(NextHello().has_resume());
  NextReport();
  EXPECT_EQ(engine_.trainings, 1);
}

TEST_F(ClientTest, RepeatedReportIsTheSameAfterAReconnect) {
  Start();
  Assign(Manifest(0));
  const v1::Report first = NextReport();
  transport_->listener()->OnUp();
  EXPECT_EQ(NextReport().SerializeAsString(), first.SerializeAsString());
}

TEST_F(ClientTest, UpdateBeyondTheBoundStaysOnTheDevice) {
  run_.plan.mutable_rounds()->set_clear_bound(1e-6);
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  EXPECT_NE(declined.detail().find("clear_bound"), std::string::npos);
  EXPECT_TRUE(transport_->uploads.empty());
}

TEST_F(ClientTest, RefusedDeviceEndsWithAnIdentityError) {
  Start();
  transport_->listener()->OnDown(absl::PermissionDeniedError("denied"));
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 2) << status;
}

TEST_F(ClientTest, OnceGivesUpOnACoordinatorThatIsNotThere) {
  Start(/*once=*/true);
  for (int i = 0; i < 8; ++i) {
    transport_->listener()->OnDown(absl::UnavailableError("refused"));
  }
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 2) << status;
}

TEST_F(ClientTest, OnceEndsWithTheSessionsFailure) {
  Start(/*once=*/true);
  Assign(Manifest(0));
  Answer(NextReport().session(), v1::Outcome::LATE);
  EXPECT_TRUE(absl::IsFailedPrecondition(Wait()));
}

TEST_F(ClientTest, OutsideItsWindowADeviceDoesNotEvenAsk) {
  const absl::CivilMinute now =
      absl::ToCivilMinute(absl::Now(), absl::LocalTimeZone());
  const int minute = now.hour() * 60 + now.minute();
  file_.policy.window =
      DailyWindow{(minute + 600) % 1440, (minute + 660) % 1440};
  Start(/*once=*/true);
  EXPECT_TRUE(Wait().ok());
  const auto status = ReadDeviceStatus(scratch_.path());
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->state, "stopped");
}

TEST_F(ClientTest, AssignmentOutsideTheWindowIsDeclinedByPolicy) {
  const absl::CivilMinute now =
      absl::ToCivilMinute(absl::Now(), absl::LocalTimeZone());
  const int minute = now.hour() * 60 + now.minute();
  file_.policy.window =
      DailyWindow{(minute + 600) % 1440, (minute + 660) % 1440};
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextDeclined().reason(), v1::Declined::POLICY);
}

TEST_F(ClientTest, BadDataEndsTheClientOnceTheCoordinatorKnows) {
  std::ofstream(file_.data.train, std::ios::app) << "{\n";
  Start();
  Assign(Manifest(0));
  const v1::Declined declined = NextDeclined();
  EXPECT_EQ(declined.reason(), v1::Declined::UNABLE);
  EXPECT_EQ(declined.detail(), "the device's data cannot be used");
  Answer(declined.session(), v1::Outcome::CANCELLED);
  const absl::Status status = Wait();
  EXPECT_EQ(ExitCodeOf(status), 4) << status;
  EXPECT_NE(status.message().find("animal.jsonl:9"), std::string::npos);
}

TEST_F(ClientTest, LastWordThatIsNotAnsweredDoesNotKeepTheClient) {
  std::ofstream(file_.data.train, std::ios::app) << "{\n";
  Start();
  Assign(Manifest(0));
  NextDeclined();
  transport_->listener()->OnDown(absl::UnavailableError("cut"));
  EXPECT_EQ(ExitCodeOf(Wait()), 4);
}

TEST_F(ClientTest, MissingDataFileIsToldBeforeAnythingElse) {
  file_.data.train = scratch_.File("nowhere.jsonl");
  const auto client = Client::Make({.transport = nullptr,
                                    .database = nullptr,
                                    .cache = nullptr,
                                    .clock = &clock_,
                                    .engine = {},
                                    .trusted = keys_.trusted},
                                   {.file = file_});
  EXPECT_EQ(ExitCodeOf(client.status()), 4);
  EXPECT_NE(client.status().message().find("nowhere.jsonl"), std::string::npos);
}

TEST_F(ClientTest, StatusNamesTheSessionAndHowTheLastOneEnded) {
  Start();
  NextHello();
  Assign(Manifest(0));
  Answer(NextReport().session(), v1::Outcome::ACCEPTED);
  NextHello();
  ASSERT_TRUE(Stop().ok());
  const auto status = ReadDeviceStatus(scratch_.path());
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->last_ending, "accepted");
  EXPECT_EQ(status->last_round, 0u);
  EXPECT_EQ(status->run_id, "");
}

}  // namespace
}  // namespace edgetune
