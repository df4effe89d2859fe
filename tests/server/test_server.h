#ifndef EDGETUNE_TESTS_SERVER_TEST_SERVER_H_
#define EDGETUNE_TESTS_SERVER_TEST_SERVER_H_

// A coordinator on a virtual clock with real SQLite and blobs in a temporary
// directory, and devices whose updates are known in advance.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/parameters.h"
#include "protos/edgetune/v1/operator.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "server/coordinator.h"
#include "tests/testing/scratch_directory.h"

namespace edgetune {

constexpr size_t kTestCoordinates = 56;  // of ValidPlan

// Collects what a device is sent.
class FakeChannel final : public DeviceChannel {
 public:
  void Send(const v1::ServerMessage& message) override {
    messages.push_back(message);
  }
  void Close(const absl::Status& reason) override { closed = reason; }

  std::vector<v1::ServerMessage> messages;
  std::optional<absl::Status> closed;
};

// Stops working at the `fail_at`-th transaction (from 0): before it is
// committed, or just after.
class FailingDatabase final : public Database {
 public:
  enum class Moment { kBefore, kAfter };
  explicit FailingDatabase(Database* real) : real_(real) {}
  absl::Status Run(
      const std::function<absl::Status(Transaction&)>& body) override;

  std::function<void()> before_commit;
  int64_t fail_at = -1;
  Moment moment = Moment::kBefore;
  int64_t count = 0;

 private:
  Database* const real_;
};

class TestServer {
 public:
  TestServer();
  ~TestServer();

  // Opens (again): what a started process does. False: something failed.
  bool Open();
  // Kills the process: no Stop, no flush.
  void Kill() { coordinator_.reset(); }
  // And closes its files, for tests that change what is in them.
  void CloseFiles();

  // A plan whose blobs are here; `name` makes the run another one.
  v1::TaskPlan MakePlan(const std::string& name = "run");
  v1::Envelope Sign(const v1::TaskPlan& plan) const;
  // Submits and returns the run id.
  std::string Submit(const v1::TaskPlan& plan);
  v1::RunStatus Show(const std::string& run_id);
  ParameterVector Adapter(const v1::RunStatus& status, int version);
  std::string AdapterBytes(const v1::RunStatus& status, int version);
  bool HasEvent(const std::string& run_id, const std::string& part);
  Digest PutBlob(const std::string& bytes);
  // What the store holds, whole and in part.
  std::vector<std::string> StoredNames();
  // Advances the clock and steps.
  void Pass(absl::Duration time);

  Coordinator& coordinator() { return *coordinator_; }
  BlobStore& blobs() { return *blobs_; }
  VirtualClock& clock() { return clock_; }
  FailingDatabase& database() { return *failing_; }
  const SigningKey& release_key() const { return release_key_; }
  const SigningKey& round_key() const { return round_key_; }
  bool dead() const { return dead_; }
  bool is_open() const { return coordinator_ != nullptr; }
  // All that survives the process lies below it.
  const std::string& directory() const { return scratch_.path(); }

  // Of masked runs; what Open gives the coordinator.
  std::shared_ptr<const PublishedRoster> roster;

 private:
  const testing::ScratchDirectory scratch_;
  VirtualClock clock_;
  SigningKey release_key_;
  SigningKey round_key_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<FailingDatabase> failing_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Coordinator> coordinator_;
  bool dead_ = false;
};

// A device that does what it is asked, step by step.
class FakeDevice {
 public:
  FakeDevice(TestServer* server, std::string id, int number)
      : server_(server), id_(std::move(id)), number_(number) {}

  // Connects and says hello, naming the session it still works on.
  void Arrive(const std::string& population = "default");
  void Leave();
  // Handles what came since; true if there was anything.
  bool Work();
  void Hello();
  void Send(v1::ClientMessage message);

  // The assignment in hand, or null.
  const v1::RoundManifest* manifest() const {
    return manifest_.has_value() ? &*manifest_ : nullptr;
  }
  v1::SessionKey Key() const;
  // `coordinates` as the round's manifest has it.
  ParameterVector Update(uint32_t round,
                         size_t coordinates = kTestCoordinates) const;
  double Weight() const { return 10.0 + 7 * number_; }
  // A good report; the update is uploaded.
  v1::Report MakeReport();
  void SendReport(const v1::Report& report);
  // Uploads as the RPC room does; the status of the refusing step.
  absl::Status Upload(const std::string& bytes, const Digest& digest);

  FakeChannel& channel() { return *channel_; }
  uint64_t connection() const { return connection_; }
  const std::string& id() const { return id_; }
  // Outcomes got so far, in order.
  std::vector<v1::Outcome> outcomes;
  int come_backs = 0;
  bool works = true;  // false: takes assignments and stays silent
  std::optional<uint32_t> silent_at;  // or only in this round
  // Changes each report of a training round, if there.
  std::function<void(v1::Report&)> amends;
  // Uploads something else before its update, never the same.
  bool trains_twice = false;

 private:
  TestServer* const server_;
  const std::string id_;
  const int number_;
  std::shared_ptr<FakeChannel> channel_;
  uint64_t connection_ = 0;
  size_t seen_ = 0;
  uint32_t trainings_ = 0;
  std::string population_ = "default";
  std::optional<v1::RoundManifest> manifest_;
};

// Four devices d1..d4.
std::vector<std::unique_ptr<FakeDevice>> MakeFleet(TestServer* server,
                                                   int count = 4);
// Steps, lets devices work and moves the clock to the next timer when nothing
// moves, until `done` (true) or nothing can ever happen (false).
bool RunUntil(TestServer& server,
              std::vector<std::unique_ptr<FakeDevice>>& fleet,
              const std::function<bool()>& done);
bool RunToEnd(TestServer& server,
              std::vector<std::unique_ptr<FakeDevice>>& fleet,
              const std::string& run_id);

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_TEST_SERVER_H_
