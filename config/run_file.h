#ifndef EDGETUNE_CONFIG_RUN_FILE_H_
#define EDGETUNE_CONFIG_RUN_FILE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace edgetune {

// What a memory budget may be, in bytes, where there is one.
inline constexpr uint64_t kSmallestMemoryBudget = 1'000'000;
inline constexpr uint64_t kLargestMemoryBudget = 1'000'000'000'000;

// A run file (TOML, schema = 1) with every default resolved. The members carry
// the names of the keys; their meaning is in docs/reference/run-file.md. Keys
// planned but not built are refused by name ("not in this version"), unknown
// ones with line, column and "did you mean".
struct RunFile {
  struct Model {
    std::string base = "smollm2-135m";
    std::string precision = "auto";
  } model;
  struct Lora {
    int64_t rank = 8;
    double alpha = 16;
    std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
    std::string rule = "fedit";
    int64_t frozen_rank = 0;         // 0: chosen by the rule
    std::vector<std::string> parts;  // of "full"; none: all of the network
  } lora;
  struct Data {
    std::string schema = "auto";
    int64_t max_length = 512;
    double holdout = 0.1;
  } data;
  struct Train {
    std::string engine = "auto";
    double lr = 1e-3;
    int64_t steps = 6;   // 0 where epochs count
    int64_t epochs = 0;  // 0: steps count
    int64_t batch = 8;
    int64_t micro_batch = 4;
    uint64_t memory_budget = 0;  // bytes; 0: none
    std::string schedule = "constant";
    int64_t warmup = 0;
    double grad_clip = 1.0;
    std::string optimizer = "adamw";
    double momentum = 0;
    double weight_decay = 0;
    std::string objective = "plain";
    double prox_mu = 0;
    double teacher_alpha = 0;
    double teacher_temperature = 2;  // these two: in the plan only of a run
    int64_t teacher_top_k = 16;      // whose teacher_alpha is above 0
    int64_t seed = 1;
  } train;
  struct Fleet {
    std::string population = "default";
    int64_t devices = 0;  // in the plan only of an objective that uses it
  } fleet;
  struct Rounds {
    int64_t count = 3;
    int64_t cohort = 4;
    double over_select = 1.0;
    int64_t quorum = 0;  // 0: cohort, and under masking at least t
    absl::Duration deadline = absl::Minutes(10);
    absl::Duration select_timeout = absl::ZeroDuration();  // 0: deadline
    absl::Duration reconnect_grace = absl::Seconds(30);
    int64_t attempts = 3;
    std::string aggregator = "mean";
    double trim = 0.25;     // these four: in the plan only of a rule that
    int64_t byzantine = 1;  // uses them
    int64_t kept = 0;       // 0: all but byzantine
    double norm_bound = 1.0;
    std::string weights = "examples";
    double weight_cap = 16384;
    double clear_bound = 64;
    int64_t eval_examples = 32;
    std::string server_optimizer = "sgd";
    double server_lr = 1.0;
    double server_beta1 = 0.9;
    double server_beta2 = 0.99;
    double server_epsilon = 1e-3;
    std::string normalise = "none";
    double fairness_q = 0;
  } rounds;
  struct SecAgg {
    bool enabled = true;
    int64_t n_min = 0;  // 0: what the largest loss before R0 leaves, at most 10
    int64_t bits = 32;
    double bound = 0.25;
    int64_t group = 300;
    int64_t max_contributions = 1;
  } secagg;
  struct Privacy {
    std::string mode = "off";
  } privacy;
  // Of `edgetune simulate` alone: a deployed run does not look at it.
  struct Simulation {
    int64_t clients = 0;  // 0: one an owner, or as many as a cohort
    std::string data;     // file or directory of examples
    std::string teacher;  // model that every client holds besides; "": none
    std::string partition = "iid";
    std::string field;  // of a JSON line: its label or owner
    double alpha = 0.5;
    int64_t shards = 2;  // a client
    double quantity_sigma = 0;
    int64_t test_every = 1;  // rounds, where the data has a test set; 0: never
    std::string devices = "uniform";
    std::string trainer = "engine";
    std::string adversary = "none";
    double adversary_share = 0.2;  // of the clients
    double adversary_scale = 10;
    std::string adversary_trigger, adversary_target;
  } simulation;
};

// Where a resolved value came from, for `config show --origin`.
struct ConfigOrigin {
  std::string key;    // "train.lr"
  std::string value;  // as TOML
  // "default", "run.toml:12", "EDGETUNE_TRAIN__LR" or "--set"
  std::string origin;
};

// Reads a run file and applies, lowest first: defaults, file, environment
// (EDGETUNE_TRAIN__LR=...), `sets` ("train.lr=1e-4"). `path` may be empty:
// defaults only. Files that [simulation] of the run file names are relative to
// it. InvalidArgument (kConfig) names file:line:column.
absl::StatusOr<RunFile> ReadRunFile(
    const std::string& path, const std::vector<std::string>& sets,
    const std::vector<std::pair<std::string, std::string>>& environment,
    std::vector<ConfigOrigin>* origins = nullptr);

// The process environment's EDGETUNE_SECTION__KEY variables.
std::vector<std::pair<std::string, std::string>> EdgetuneEnvironment();

}  // namespace edgetune

#endif  // EDGETUNE_CONFIG_RUN_FILE_H_
