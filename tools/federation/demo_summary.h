#ifndef EDGETUNE_TOOLS_FEDERATION_DEMO_SUMMARY_H_
#define EDGETUNE_TOOLS_FEDERATION_DEMO_SUMMARY_H_

// What the demo shows in the end. Stateless.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/data/wordnet.h"
#include "tools/federation/receipts.h"

namespace edgetune {

// A held-out word and how base and tuned model define it.
struct Definition {
  std::string prompt, wanted, base, tuned;
};

// What the receipts of a masked run showed, over all groups of a round.
struct DemoReceipts {
  int64_t count = 0;
  int64_t members = 0;         // the most of any round
  int64_t threshold = 0;       // how many of these had to sign
  int64_t fewest_in_sum = 0;   // of any round
  int64_t fewest_signers = 0;  // of any round
  // Devices' own logs that hold the set of a receipt they are in, and all such.
  int64_t logs_agree = 0, logs = 0;
};

struct DemoResult {
  std::vector<double> perplexity;  // base, then after each round
  double seconds = 0;              // of the federated part
  int64_t clients = 0, rounds = 0;
  uint64_t bytes_down = 0, base_bytes_down = 0, bytes_up = 0;
  int64_t client_peak_rss_bytes = 0;
  std::vector<Definition> definitions;
  std::string run_id, model_path, directory;
  bool masked = false;
  std::string privacy;  // PrivacyText of the plan
  DemoReceipts receipts;
  std::vector<WordNetFile> data;

  std::string adapter() const { return directory + "/adapter"; }
  std::string gguf() const { return directory + "/adapter.gguf"; }
  std::string run_file() const { return directory + "/run.toml"; }
  // Also a kit of public keys, for `receipt verify --kit`.
  std::string receipt_directory() const { return directory + "/receipts"; }
};

DemoReceipts Summarise(const std::vector<HeldReceipt>& receipts);

// One held-out example of each of the first `count` topics, answered greedily
// by the base and with the adapter (a PEFT directory or GGUF).
absl::StatusOr<std::vector<Definition>> DefineHeldOut(
    const std::string& model, const std::string& adapter,
    const std::vector<WordNetFile>& data, size_t count);

nlohmann::json DemoJson(const DemoResult& result);
std::string DemoText(const DemoResult& result, int width);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_DEMO_SUMMARY_H_
