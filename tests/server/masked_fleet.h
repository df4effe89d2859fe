#ifndef EDGETUNE_TESTS_SERVER_MASKED_FLEET_H_
#define EDGETUNE_TESTS_SERVER_MASKED_FLEET_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "server/masked_rows.h"
#include "tests/server/masked_device.h"
#include "tests/testing/file_faults.h"

namespace edgetune {

// A coordinator on real files and a virtual clock, six devices or more, and one
// masked run of one training round and its closing evaluation. Everything that
// the devices draw and do follows from the seed. Life: construct, bend, Run,
// perhaps Restart and Run again, then BrokenInvariant.
class MaskedFleet {
 public:
  // Who is lost where; the last one also sees a device come back at once.
  enum class Script {
    kNobody,
    kBeforeUpload,        // its masks are opened by the others' shares
    kBeforeKeysAndAfter,  // one before R0, one with its input accepted
    kBeforeAck,
    kBeforeUnmask,
  };
  static constexpr int kScripts = 5;
  struct Options {
    int devices = 6;
    uint32_t group = 300;  // most of one masking session
    uint32_t quorum = 0;   // 0: the least that masking allows
  };

  explicit MaskedFleet(uint32_t seed) : MaskedFleet(seed, Options()) {}
  MaskedFleet(uint32_t seed, const Options& options);

  void Submit();
  // Steps server and devices and moves the clock when nothing moves, until
  // `done` (true), or the server is gone or nothing can happen (false).
  bool RunUntil(const std::function<bool()>& done);
  // Until the run has ended; a paused run gets its override.
  bool Run();
  // Starts the server on its files and all streams anew. False: it does not
  // start.
  bool Restart();
  // The next version of the roster, which the server gets when it starts.
  void MakeRoster();
  // How far the open masking session has come: "masking: acks".
  std::string Phase();
  // Runs until it has come `steps` steps into `phase`.
  void StopIn(const std::string& phase, int64_t steps);
  // Ends the run with a server that has a good disk again, after a last start
  // that cleans up; empty, or what does not hold.
  std::string Finish();
  // Files of masked vectors that the coordinator holds.
  std::vector<std::string> MaskedBlobs();
  // One statement on the files of a server that was closed.
  void Change(const std::string& sql, const Row& arguments = {});
  bool IsOver() { return status().ended_ms() != 0; }
  v1::RunStatus status() { return server.Show(run_id); }

  // Nothing of the finished run contradicts I1 to I4, I6 and I8 and the set
  // that `NoteFreeze` saw (empty), or what does.
  std::string BrokenInvariant();
  // Between a kill and Restart: the survivor set that is durable by now.
  void NoteFreeze();
  std::vector<v1::Envelope> SignedReceipts();
  std::vector<v1::RoundReceipt> Receipts();

  TestServer server;
  std::vector<std::unique_ptr<MaskedDevice>> devices;
  v1::TaskPlan plan;
  v1::Envelope envelope;
  std::string run_id;
  // Of this process; set by a test that made some.
  testing::FileFaults* faults = nullptr;
  uint32_t overrides = 0;

  static constexpr const char* kPhases[] = {
      "masking: shares", "masking: acks", "masking: input",
      "masking: survivors", "masking: unmask"};

 private:
  struct Sum {
    std::vector<int64_t> values;
    MaskedShape shape;
    size_t survivors = 0;
  };

  void MakeDevices(uint32_t seed, int count);
  bool ServerGone() const;
  bool WorkOne();
  bool ReviveSomebody();
  void SignOverride();
  MaskedDevice* Find(const std::string& client_id);
  // Of the plain inputs of a receipt's survivors. nullopt: somebody never gave
  // one.
  std::optional<Sum> PlainSum(const v1::RoundReceipt& receipt);

  std::string BrokenChains(const v1::RunStatus& status);
  std::string BrokenReceipt(const v1::Envelope& receipt);
  std::string BrokenSums(const v1::RunStatus& status);
  std::string BrokenDevice(MaskedDevice& device);
  std::string LeftBehind(const v1::RunStatus& status);

  const uint32_t seed_;
  const Script script_;
  std::vector<SigningKey> identities_;
  const SigningKey authority_;
  TrustedKeys trusted_;
  Random order_;
  std::map<std::string, std::string> frozen_;  // S -> U3
};

// Of so many points of a test, how far apart those are that a run takes: few
// in a short run, more with EDGETUNE_LONG=1.
int64_t Stride(int64_t points, int64_t in_short, int64_t in_long);

void FlipByte(const std::string& path, uint64_t at, int bit);

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_MASKED_FLEET_H_
