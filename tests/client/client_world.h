#ifndef EDGETUNE_TESTS_CLIENT_CLIENT_WORLD_H_
#define EDGETUNE_TESTS_CLIENT_CLIENT_WORLD_H_

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "client/client.h"
#include "client/transport.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune::testing {

// Records what the client says; the test says what the coordinator does.
class ScriptedTransport final : public Transport {
 public:
  std::map<std::string, std::string> served;  // digest -> bytes
  std::map<std::string, std::string> uploads;
  absl::Status upload_refusal;  // of every Upload, when not OK

  // Waits until the client listens.
  Listener* listener();
  // The next message of this kind; others before it are passed over.
  v1::ClientMessage Next(v1::ClientMessage::BodyCase kind);

  absl::Status Start(Listener* listener) override;
  void Close() override {}
  void Send(const v1::ClientMessage& message) override;
  absl::Status Download(
      const Digest& digest, uint64_t offset,
      const std::function<absl::Status(std::span<const uint8_t>, uint64_t)>&
          sink) override;
  absl::StatusOr<v1::UploadStatus> Upload(
      const v1::UploadKey& key, uint64_t offset,
      std::span<const uint8_t> bytes) override;
  absl::StatusOr<v1::UploadStatus> QueryUpload(
      const v1::UploadKey& key) override;

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  Listener* listener_ = nullptr;
  std::vector<v1::ClientMessage> sent_;
  size_t read_ = 0;
};

// Real time, which a test may shift.
class ShiftedClock final : public Clock {
 public:
  std::atomic<int> minutes_ahead{0};
  absl::Time Now() const override {
    return absl::Now() + absl::Minutes(minutes_ahead.load());
  }
};

// A client with its files in a directory of its own, on its own thread; it may
// be stopped and started again.
class ClientWorld : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override { (void)Stop(); }

  void Start(bool once = false);
  // Asks it to end, or waits until it does by itself; what Run returned.
  absl::Status Stop();
  absl::Status Wait();

  // --- what the coordinator says
  v1::RoundManifest Manifest(uint32_t round);
  void Assign(const v1::Assignment& assignment);
  void Assign(const v1::RoundManifest& manifest);
  void Answer(const v1::SessionKey& session, v1::Outcome::Result result);

  // --- what the client says
  v1::Declined NextDeclined();
  v1::Report NextReport();
  v1::Hello NextHello();
  // Accepts the report and stops the client: one that is stopped before goes on
  // with its session at the next start.
  void EndSession(const v1::Report& report);
  // It declines as REFUSED with `part` in the reason, and has not trained.
  void ExpectRefused(const std::string& part);

  const ScratchDirectory scratch_;
  const TestKeys keys_ = MakeTestKeys();
  ShiftedClock clock_;
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

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_CLIENT_CLIENT_WORLD_H_
